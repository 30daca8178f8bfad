"""Mean pass@k over problems, with an interval for each k."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from t2fast import _core, arguments
from t2fast.errors import T2Error
from t2fast.passk.estimate import Array, Histogram, Integers, flat_ks, histogram
from t2fast.passk.interval import json_list, logit_intervals, quantile, shown, table, tails
from t2fast.results import Report, Result, counted
from t2fast.text import warning_lines

__all__ = ["PassCurve", "Scope", "curve"]

#: What an interval speaks about: the same problems sampled afresh, or other problems of the same kind.
Scope = Literal["samples", "problems"]


@dataclass(frozen=True, repr=False, eq=False)
class PassCurve(Result):
    """Mean pass@k with an interval for each k; :func:`curve` makes it.

    Examples
    --------
    >>> found = curve(10, [0, 3, 10, 7], [1, 5])
    >>> found.pass_at_k
    array([0.5       , 0.72916667])
    >>> found.rows()[0]["k"]
    1
    """

    #: The k, shape (ks,).
    k: Integers
    #: Mean over problems, shape (ks,), NaN where a problem has fewer than k samples.
    pass_at_k: Array
    #: Lower ends of the intervals, shape (ks,); NaN where no interval exists.
    lower: Array
    #: Upper ends of the intervals, shape (ks,).
    upper: Array
    #: Confidence level of the intervals.
    confidence_level: float
    #: What the intervals speak about: new ``"samples"`` of the same problems, or new ``"problems"``.
    scope: Scope
    #: ``"analytic"`` or ``"bootstrap"``.
    method: str
    #: How many problems there are.
    n_problems: int
    #: The smallest number of samples of a problem.
    n_samples: int
    #: What to know before using the numbers.
    warnings: tuple[str, ...] = ()

    figure: ClassVar[str | None] = "passk:curve"

    def summary(self) -> str:
        """The whole result as a table of at most 80 columns."""
        what = "new samples of the same problems" if self.scope == "samples" else "new problems of the same kind"
        rows = (
            (str(k), shown(p), shown(low), shown(high))
            for k, p, low, high in zip(self.k, self.pass_at_k, self.lower, self.upper, strict=True)
        )
        lines = [
            f"mean pass@k of {self.n_problems} problems, {self.n_samples} samples each or more",
            f"{100 * self.confidence_level:.4g}% intervals for {what} ({self.method})",
            *table(("k", "pass@k", "lower", "upper"), rows),
            *warning_lines(self.warnings),
        ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON data."""
        return {
            "k": self.k.tolist(),
            "pass_at_k": json_list(self.pass_at_k),
            "lower": json_list(self.lower),
            "upper": json_list(self.upper),
            "confidence_level": self.confidence_level,
            "scope": self.scope,
            "method": self.method,
            "n_problems": self.n_problems,
            "n_samples": self.n_samples,
            "warnings": list(self.warnings),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row per k: k, pass_at_k, lower, upper."""
        columns = (self.k.tolist(), json_list(self.pass_at_k), json_list(self.lower), json_list(self.upper))
        return [dict(zip(("k", "pass_at_k", "lower", "upper"), row, strict=True)) for row in zip(*columns, strict=True)]


def curve(
    n: npt.ArrayLike,
    c: npt.ArrayLike,
    k: npt.ArrayLike | None = None,
    *,
    confidence_level: float = 0.95,
    scope: Scope = "problems",
    method: Literal["analytic", "bootstrap"] = "analytic",
    n_resamples: int = 2000,
    seed: int = 0,
    batch: int | None = None,
    threads: int | None = None,
    progress: Report | None = None,
) -> PassCurve:
    """Mean pass@k over problems with intervals.

    Parameters
    ----------
    n, c
        Samples drawn and correct samples, broadcast over problems.
    k
        Values of k; about 40 from 1 to n by default.
    confidence_level
        Between 0 and 1.
    scope
        ``"problems"``: how far would the mean be off with other problems of the same kind? The interval to report for a
        benchmark that stands for more than itself. ``"samples"``: how far with new samples of these very problems?
        Needs 2k <= n, where the variance ``F^2 - C(n-c, 2k)/C(n, 2k)`` has an unbiased estimate; NaN beyond.
    method
        ``"analytic"``: Student's t on the logit, which stays within [0, 1],
        wider on the long tail's side where rates are skewed; or the percentile ``"bootstrap"`` over
        problems (for ``scope="problems"``).
    n_resamples, seed
        Of the bootstrap.
    batch
        The size of batches where sampling stopped at the first success, as in :func:`pass_at_k`.
    threads
        Threads to use, all by default. The result does not depend on it.
    progress
        Called with a :class:`t2fast.results.Progress` now and then.

    Raises
    ------
    T2Error
        For impossible counts, k or confidence_level, and for combinations without a meaning.

    Examples
    --------
    >>> print(curve(20, [0, 3, 10, 20, 1, 5], [1, 10]))
    mean pass@k of 6 problems, 20 samples each or more
    95% intervals for new problems of the same kind (analytic)
     k  pass@k   lower   upper
     1  0.3250  0.0741  0.7434
    10  0.7297  0.2377  0.9590
    """
    counts = histogram(n, c)
    ks = default_ks(counts.fewest_samples) if k is None else flat_ks(k)[0]
    check(scope, method, batch)
    confidence_level = arguments.confidence_level(confidence_level)
    if method == "analytic":
        return analytic(counts, ks, confidence_level, scope, batch)
    n_resamples, seed = arguments.whole("n_resamples", n_resamples, least=2), arguments.seed(seed)
    name, parameter = estimator(batch)
    ns, cs, problems = counts.pairs()
    values = _core.estimate(name, ns, cs, ks, parameter)
    with counted(progress, n_resamples, "resamples") as report:
        draws = _core.bootstrap(values, problems, n_resamples, seed, arguments.threads(threads), report)
    lower, upper = np.quantile(draws, tails(confidence_level), axis=0)
    means = counts.means(name, ks, parameter)
    return assembled(counts.problems, counts.fewest_samples, ks, means, lower, upper, confidence_level, scope, method)


def default_ks(n_samples: int) -> Integers:
    """About 40 values of k from 1 to n, evenly spaced in the logarithm."""
    return np.unique(np.round(np.geomspace(1, n_samples, 40)).astype(np.int64))


def check(scope: str, method: str, batch: int | None) -> None:
    """Refuse words that mean nothing, and combinations that do."""
    if scope not in ("samples", "problems"):
        raise T2Error(f"scope = {scope!r}: must be 'samples' (same problems, new samples) or 'problems' (new problems)")
    arguments.choice("method", method, ("analytic", "bootstrap"))
    if scope == "samples" and (method == "bootstrap" or batch is not None):
        raise T2Error(
            "scope = 'samples': has an analytic interval for a fixed number of samples only; use scope='problems'"
        )


def estimator(batch: int | None) -> tuple[str, float]:
    """The core's name of the estimator, and its parameter."""
    return ("pass_at_k", 0.0) if batch is None else ("stopped", float(arguments.whole("batch", batch, least=1)))


def analytic(counts: Histogram, ks: Integers, level: float, scope: Scope, batch: int | None) -> PassCurve:
    """The curve of counts with analytic intervals."""
    name, parameter = estimator(batch)
    means = counts.means(name, ks, parameter)
    variances = np.full(len(ks), np.nan)
    for i in np.flatnonzero(~np.isnan(means)):
        size = int(ks[i])
        variances[i] = (
            counts.samples_variance(size) if scope == "samples" else counts.problems_variance(name, size, parameter)
        )
    lower, upper = intervals(means, variances, counts.problems, level, scope)
    return assembled(counts.problems, counts.fewest_samples, ks, means, lower, upper, level, scope)


def intervals(
    means: Array, variances: Array, problems: npt.ArrayLike, level: float, scope: Scope
) -> tuple[Array, Array]:
    """Ends of analytic intervals; ``problems`` decides Student's t where the interval speaks about new ones."""
    if scope == "samples":
        quantiles = quantile(level, np.full(np.shape(problems), np.inf))
        return logit_intervals(means, np.sqrt(np.maximum(variances, 0.0)), quantiles)
    count = np.asarray(problems, np.float64)
    error = np.sqrt(np.maximum(variances, 0.0))
    quantiles = quantile(level, np.maximum(count - 1.0, 1.0))
    shift = _skew_shift(means, error, count, quantiles)
    lower, upper = (
        logit_intervals(means, error, quantiles + np.maximum(-shift, 0.0))[0],
        logit_intervals(means, error, quantiles + np.maximum(shift, 0.0))[1],
    )
    # Where all problems agree on 0 or 1: P(all are 0) <= (1 - mean)^problems for values in [0, 1] (Markov).
    bound = np.where(count > 1, 1.0 - (0.5 - 0.5 * level) ** (1.0 / count), 0.0)
    return np.where(means == 1, 1.0 - bound, lower), np.where(means == 0, bound, upper)


def _skew_shift(means: Array, error: Array, count: Array, quantiles: Array) -> Array:
    """How much further the end on the long tail's side lies, in standard errors of the logit.

    The quantile of the studentized mean under skewness (its Edgeworth expansion: Hall 1992, section 2.6) beyond what
    the logit's curvature already gives. The skewness is that of the Beta distribution with the mean and variance found.
    """
    with np.errstate(all="ignore"):
        spread = means * (1 - means)
        size = np.maximum(spread / (error**2 * count) - 1, 0.0)  # a + b of the Beta distribution
        skewness = 2 * (1 - 2 * means) * np.sqrt(size + 1) / ((size + 2) * np.sqrt(spread))
        bend = (1 - 2 * means) * error / (2 * spread)
        shift = skewness * (2 * quantiles**2 + 1) / (6 * np.sqrt(count)) - bend * quantiles**2
        # Only ever wider: a sign other than the skewness's says that the logit gives enough.
        shift = np.where(shift * skewness > 0, shift, 0.0)
    return np.where(np.isfinite(shift), shift, 0.0)


def assembled(
    problems: int,
    samples: int,
    ks: Integers,
    means: Array,
    lower: Array,
    upper: Array,
    level: float,
    scope: Scope,
    method: str = "analytic",
) -> PassCurve:
    """A curve from its numbers, with what is to be said of them."""
    warnings = tuple(_warnings(problems, samples, ks, means, lower, upper, scope, method))
    return PassCurve(ks, means, lower, upper, level, scope, method, problems, samples, warnings)


def _warnings(
    problems: int, samples: int, ks: Integers, means: Array, lower: Array, upper: Array, scope: str, method: str
) -> list[str]:
    warnings = []
    if np.isnan(means).any():
        over = ks[np.isnan(means)]
        warnings.append(
            f"k = {over[0]} exceeds n = {samples} of a problem: pass@k is undefined beyond the samples; extrapolate"
        )
    if method == "analytic":
        if scope == "samples" and (2 * ks > samples).any():
            warnings.append(f"no interval for 2k > n = {samples}: draw more samples, or use scope='problems'")
        if problems == 1 and scope == "problems":
            warnings.append("one problem tells nothing about others: use scope='samples'")
        elif (lower == upper).any():
            warnings.append(
                "an interval without width says that problems or samples all agree, not that the mean is certain"
            )
    return warnings
