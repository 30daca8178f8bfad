"""pass@k beyond the samples drawn, with intervals and errors that grow as far as the question reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from t2fast import _core, arguments
from t2fast.errors import T2Error
from t2fast.passk.backtest import METHOD_NAMES, METHODS, Method, PassBacktest, measured, named_method, stopped_earlier
from t2fast.passk.estimate import Array, Histogram, histogram
from t2fast.passk.interval import binomial_upper, json_list, shown, table, tails
from t2fast.results import Report, Result, counted
from t2fast.text import warning_lines

__all__ = [
    "BetaBinomial",
    "Extrapolation",
    "extrapolate",
    "fit_beta_binomial",
]


@dataclass(frozen=True, repr=False)
class BetaBinomial(Result):
    """Beta distributed success rates, a share never succeeding; :func:`fit_beta_binomial` makes it.

    Examples
    --------
    >>> found = fit_beta_binomial(20, [0, 1, 4, 9, 15])
    >>> print(f"{found.pass_at_k(100):.3f}")
    0.914
    """

    #: Parameters of the Beta distribution.
    a: float
    #: See ``a``.
    b: float
    #: Share of problems that never succeed, in [0, 1).
    zero: float
    #: Log-likelihood per problem in nats, without the binomial coefficients.
    log_likelihood: float
    #: Newton steps taken.
    n_iterations: int
    #: Whether the search ended at a maximum or at a limit of the family that is one.
    success: bool
    #: How the search ended.
    message: str

    def pass_at_k(self, k: npt.ArrayLike) -> Array:
        """pass@k of a new problem of the kind, of the shape of k (real, >= 0).

        ``(1 - zero) (1 - B(a, b+k) / B(a, b))``, within 1e-13 relative.

        Raises
        ------
        T2Error
            When a k is negative or not finite.
        """
        ks = arguments.numbers("k", k)
        if not (np.isfinite(ks) & (ks >= 0)).all():
            raise T2Error("k: must be finite and not negative")
        return _core.beta_pass_at_k(self.a, self.b, self.zero, ks.reshape(-1)).reshape(ks.shape)[()]

    def summary(self) -> str:
        """The fit in two lines."""
        zero = f", {self.zero:.4g} of problems never" if self.zero else ""
        return f"success rates: Beta(a = {self.a:.6g}, b = {self.b:.6g}){zero}\n{self.message}"

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON data."""
        return {field: getattr(self, field) for field in self.__dataclass_fields__}


#: The methods whose intervals the interval always spans, beside those of the method used.
SPANNED = METHODS[:2]

#: Below so many problems solved, or unsolved, the bootstrap has too little to draw from: exact bounds widen it.
FEW_SOLVED = 5

_OUTCOMES = {
    "converged": "converged to a maximum of the likelihood",
    "constant": "no sample is correct, or all are: success rates of 0 or 1 fit best",
    "no_spread": "counts differ no more between problems than by chance: one success rate for all fits best",
    "all_or_nothing": "problems succeed always or never: success rates of 0 and 1 fit best",
    "stalled": "did not converge: the numbers are the best met",
    "power_law": "least squares on ln(-ln pass@k)",
    "rates": "c/n taken for the success rate",
}


def fit_beta_binomial(n: npt.ArrayLike, c: npt.ArrayLike, *, zero_inflated: bool = False) -> BetaBinomial:
    """Fit Beta distributed success rates to counts by maximum likelihood (Newton's method).

    Sampling that stopped at the first success does not bias the likelihood.

    Parameters
    ----------
    n, c
        Samples drawn and correct samples, broadcast over problems.
    zero_inflated
        Fit the share of problems that never succeed as well; it is 0 where that does not help.

    Raises
    ------
    T2Error
        For impossible counts.

    Examples
    --------
    >>> print(fit_beta_binomial(20, [0, 1, 4, 9, 15]))
    success rates: Beta(a = 0.55606, b = 1.43647)
    converged to a maximum of the likelihood
    """
    fit = histogram(n, c).beta_binomial(zero_inflated)
    return BetaBinomial(
        fit.a, fit.b, fit.zero, fit.log_likelihood, fit.steps, fit.outcome != "stalled", _OUTCOMES[fit.outcome]
    )


@dataclass(frozen=True, repr=False, eq=False)
class Extrapolation(Result):
    """pass@k beyond the samples drawn; :func:`extrapolate` makes it.

    Examples
    --------
    >>> found = extrapolate(40, [0, 2, 5, 9, 30, 1], [400], n_resamples=50)
    >>> found.extrapolation
    10.0
    """

    #: The k, shape (ks,).
    k: Array
    #: Predicted mean pass@k, shape (ks,).
    pass_at_k: Array
    #: Lower ends of the bootstrap intervals, shape (ks,).
    lower: Array
    #: Upper ends of the bootstrap intervals, shape (ks,).
    upper: Array
    #: Confidence level of the intervals, for new problems of the same kind, the method being right.
    confidence_level: float
    #: The method used.
    method: Method
    #: Its parameters: (ln A, gamma) of ``-ln pass@k = A k^-gamma``, or (a, b, zero) of the Beta distribution.
    parameters: tuple[float, ...]
    #: How the fit ended.
    message: str
    #: How many problems there are.
    n_problems: int
    #: The smallest number of samples of a problem; where sampling stopped at successes, of one that was not solved.
    n_samples: int
    #: The back-test, or None where samples were too few.
    backtest: PassBacktest | None
    #: The methods whose intervals the interval spans: the one used, the power law and the beta-binomial.
    interval_methods: tuple[Method, ...]
    #: Mean distance between ``pass_at_k`` and the resampled predictions of ``interval_methods``, shape (ks,).
    error: Array
    #: What to know before using the numbers.
    warnings: tuple[str, ...] = ()

    figure: ClassVar[str | None] = "passk:extrapolation"

    @property
    def extrapolation(self) -> float:
        """How many times the samples drawn the largest k is."""
        return float(np.max(self.k)) / self.n_samples

    @property
    def measured_error(self) -> float | None:
        """Mean absolute error of the method in the back-test over its largest factor, :attr:`measured_factor`."""
        return None if self.backtest is None else self.backtest.furthest(self.method)

    @property
    def measured_factor(self) -> float | None:
        """The factor of k over n that the error was measured over; asked is :attr:`extrapolation`."""
        return None if self.backtest is None else self.backtest.factor

    @property
    def stated_error(self) -> float:
        """The error to expect at the largest k: see ``error``."""
        return float(self.error[int(np.argmax(self.k))])

    def error_words(self) -> str:
        """The error to expect, and how far the back-test beside it reached."""
        stated = f"error to expect {self.stated_error:.4f} at {self.extrapolation:.3g} times the samples"
        if self.backtest is None:
            return f"{stated}, not back-tested"
        return f"{stated}; measured {self.measured_error:.4f} at {self.measured_factor:.3g} times"

    def interval_words(self) -> str:
        """What the interval is made of."""
        names = ", ".join(METHOD_NAMES[m] for m in self.interval_methods)
        return "bootstrap with refit" + (f"; envelope of\n{names}" if len(self.interval_methods) > 1 else "")

    def summary(self) -> str:
        """The whole result as a table of at most 80 columns."""
        rows = (
            (f"{k:g}", shown(p), shown(low), shown(high))
            for k, p, low, high in zip(self.k, self.pass_at_k, self.lower, self.upper, strict=True)
        )
        lines = [
            f"mean pass@k of {self.n_problems} problems beyond {self.n_samples} samples: {METHOD_NAMES[self.method]}",
            f"{100 * self.confidence_level:.4g}% intervals for new problems, {self.interval_words()}",
            *table(("k", "pass@k", "lower", "upper"), rows),
        ]
        lines.append(self.error_words())
        return "\n".join([*lines, *warning_lines(self.warnings)])

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON data."""
        return {
            "k": self.k.tolist(),
            "pass_at_k": json_list(self.pass_at_k),
            "lower": json_list(self.lower),
            "upper": json_list(self.upper),
            "confidence_level": self.confidence_level,
            "method": self.method,
            "parameters": list(self.parameters),
            "message": self.message,
            "n_problems": self.n_problems,
            "n_samples": self.n_samples,
            "extrapolation": self.extrapolation,
            "interval_methods": list(self.interval_methods),
            "error": json_list(self.error),
            "stated_error": self.stated_error,
            "measured_error": self.measured_error,
            "measured_factor": self.measured_factor,
            "backtest": None if self.backtest is None else self.backtest.to_dict(),
            "warnings": list(self.warnings),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row per k: k, pass_at_k, lower, upper."""
        columns = (self.k.tolist(), json_list(self.pass_at_k), json_list(self.lower), json_list(self.upper))
        return [dict(zip(("k", "pass_at_k", "lower", "upper"), row, strict=True)) for row in zip(*columns, strict=True)]


def extrapolate(
    n: npt.ArrayLike,
    c: npt.ArrayLike,
    k: npt.ArrayLike,
    *,
    method: Literal["auto"] | Method = "auto",
    confidence_level: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
    batch: int | None = None,
    threads: int | None = None,
    progress: Report | None = None,
) -> Extrapolation:
    """Predict mean pass@k for k beyond the samples drawn.

    Parameters
    ----------
    n, c
        Samples drawn and correct samples, broadcast over problems.
    k
        Values of k, at least 1; real numbers are allowed.
    method
        ``"power_law"``: ``-ln pass@k = A k^-gamma`` by least squares on its double logarithm.
        ``"beta_binomial"`` and ``"zero_inflated"``: Beta distributed success rates by maximum likelihood. None is best
        everywhere: ``"auto"`` takes what :func:`backtest` finds best on these counts. ``"plug_in"`` is the biased
        baseline.
    confidence_level, n_resamples, seed
        Intervals by the bootstrap over problems, with a new fit for each resample. They span those of the method used,
        the power law and the beta-binomial: counts cannot tell which of them holds far beyond the samples. The error
        to expect is the mean distance between the prediction and all these resampled predictions. Where fewer than 5
        problems were solved, the upper end is at least ``k / n`` times the exact binomial bound of the share solved
        (pass@k over k falls as k grows), and the error is what the interval's width stands for. The plug-in has its
        own interval alone.
    batch
        The size of batches where sampling stopped at the first success. The likelihood is unaffected by stopping; the
        power law then uses the curve that is unbiased under it, and the back-test stops sampling earlier.
    threads, progress
        As in :func:`curve`.

    Raises
    ------
    T2Error
        For impossible counts, k, confidence_level, or an unknown method.

    Examples
    --------
    >>> found = extrapolate(40, [0, 2, 5, 9, 30, 1], [100, 400], n_resamples=50, method="beta_binomial")
    >>> found.pass_at_k.round(3)
    array([0.845, 0.915])
    """
    return predicted(
        histogram(n, c), k, method, confidence_level, n_resamples, seed, batch, threads=threads, progress=progress
    )


def predicted(
    counts: Histogram,
    k: npt.ArrayLike,
    method: str = "auto",
    confidence_level: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
    batch: int | None = None,
    *,
    threads: int | None = None,
    progress: Report | None = None,
) -> Extrapolation:
    """The extrapolation of counts."""
    confidence_level = arguments.confidence_level(confidence_level)
    ks = np.atleast_1d(arguments.numbers("k", k))
    if ks.ndim != 1 or not ks.size or not (np.isfinite(ks) & (ks >= 1)).all():
        raise T2Error("k: must be finite numbers of at least 1, in one dimension")
    n_resamples, seed = arguments.whole("n_resamples", n_resamples, least=2), arguments.seed(seed)
    threads = arguments.threads(threads)
    samples = counts.fewest_samples
    warnings: list[str] = []
    found: PassBacktest | None = None
    chosen: Method
    if batch is not None:
        batch = arguments.whole("batch", batch, least=1)
    methods: tuple[Method, ...] = METHODS if method == "auto" else (named_method(method),)
    n, c, problems = counts.pairs()
    if batch is not None:
        # How far sampling went on: problems with fewer samples were solved, and say how they do at any k.
        samples = int(n[c == 0].min() if (c == 0).any() else n.max())
        if samples >= 4 * batch and method != "plug_in":
            found = stopped_earlier(counts, float(ks.max()), methods, batch)
    elif samples >= 4:
        found = measured(counts, float(ks.max()), methods, seed=seed, threads=threads)
    if method != "auto":
        chosen = named_method(method)
    elif found is not None:
        chosen = found.best
    else:
        chosen = "power_law" if batch is None else "beta_binomial"
        warnings.append("no back-test chose the method: too few samples")
    spans = (chosen, *(m for m in SPANNED if m != chosen and chosen != "plug_in"))
    with counted(progress, len(spans) * n_resamples, "resamples") as report:
        found_by = [
            counts.extrapolate(m, ks, n_resamples, seed, batch, threads, _after(i * n_resamples, report))
            for i, m in enumerate(spans)
        ]
    drawn, resampled = found_by[0], np.stack([one.resampled for one in found_by])
    error = np.abs(resampled - drawn.values).mean(axis=(0, 1))
    ends = np.quantile(resampled, tails(confidence_level), axis=1)
    lower, upper = ends[0].min(axis=0), ends[1].max(axis=0)
    solved = int(problems[c > 0].sum())
    if solved < FEW_SOLVED:
        share = binomial_upper(solved, counts.problems, confidence_level)
        upper = np.maximum(upper, np.minimum(1.0, np.maximum(ks / samples, 1.0) * share))
        warnings.append(f"{solved} of {counts.problems} problems solved: the upper ends are bounds, not estimates")
    failed = int(problems[c < n].sum())
    if failed < FEW_SOLVED:
        # pass@k is at least pass@1, and that at least the share of problems whose every sample is correct.
        lower = np.minimum(lower, 1.0 - binomial_upper(failed, counts.problems, confidence_level))
    if min(solved, failed) < FEW_SOLVED:
        # The mean distance of a normal distribution is sqrt(2 / pi) standard deviations.
        width = (upper - lower) / (2 * NormalDist().inv_cdf(0.5 + 0.5 * confidence_level))
        error = np.maximum(error, (2 / np.pi) ** 0.5 * width)
    if ks.max() > 100 * samples:
        warnings.append(
            f"k = {ks.max():g} is {ks.max() / samples:.3g} times the samples drawn: the method decides, not the data"
        )
    if drawn.outcome == "constant":
        warnings.append(_OUTCOMES["constant"] if chosen != "power_law" else "pass@k is the same at every k drawn")
    return Extrapolation(
        ks,
        drawn.values,
        lower,
        upper,
        confidence_level,
        chosen,
        tuple(drawn.parameters),
        _OUTCOMES.get(drawn.outcome, drawn.outcome),
        counts.problems,
        samples,
        found,
        spans,
        error,
        tuple(warnings),
    )


def _after(before: int, report: Callable[[int], object] | None) -> Callable[[int], object] | None:
    """What a part of the work reports to when other parts came before."""
    return None if report is None else lambda done: report(before + done)
