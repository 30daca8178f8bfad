"""Two models on the same problems: differences and ratios of mean pass@k, paired."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from t2fast import _core, arguments
from t2fast.errors import T2Error
from t2fast.passk.estimate import Array, Integers, flat_counts, flat_ks
from t2fast.passk.interval import json_list, quantile, shown, table, tails
from t2fast.passk.metrics import METRICS
from t2fast.results import Report, Result, counted

__all__ = ["PassComparison", "compare", "paired", "resampled"]

Method = Literal["analytic", "bootstrap", "permutation"]


@dataclass(frozen=True, repr=False, eq=False)
class PassComparison(Result):
    """Two models on the same problems, k by k; :func:`compare` makes it.

    Examples
    --------
    >>> found = compare((10, [2, 5, 9]), (10, [1, 5, 7]), 1)
    >>> found.difference.round(4), found.ratio.round(4)
    (array([0.1]), array([1.2308]))
    """

    #: The k, shape (ks,).
    k: Integers
    #: Mean pass@k of the first model, shape (ks,).
    first: Array
    #: Mean pass@k of the second model, shape (ks,).
    second: Array
    #: first - second, shape (ks,).
    difference: Array
    #: Lower and upper ends for the difference, shape (ks, 2).
    difference_interval: Array
    #: first / second, shape (ks,).
    ratio: Array
    #: Lower and upper ends for the ratio, shape (ks, 2).
    ratio_interval: Array
    #: Confidence level of the intervals.
    confidence_level: float
    #: ``"analytic"``, ``"bootstrap"`` or ``"permutation"``, over problems, paired.
    method: str
    #: How many problems there are.
    n_problems: int
    #: What is compared: a word of :data:`t2fast.passk.METRICS`.
    metric: str = "pass"
    #: Two-sided p-values of no difference, shape (ks,); only where ``method`` is ``"permutation"``.
    p_value: Array | None = None

    figure: ClassVar[str | None] = "passk:comparison"

    def summary(self) -> str:
        """The whole result as a table of at most 80 columns."""
        tested = self.p_value is not None

        def between(ends: Array) -> str:
            # With p-values there is less room.
            low, high = (f"{end:.3f}" if tested and abs(end) < 100 else shown(end) for end in ends.tolist())
            return f"[{low}, {high}]"

        rows = (
            (
                str(self.k[i]),
                shown(self.first[i]),
                shown(self.second[i]),
                shown(self.difference[i]),
                between(self.difference_interval[i]),
                shown(self.ratio[i]),
                between(self.ratio_interval[i]),
                *((f"{self.p_value[i]:.2g}",) if self.p_value is not None else ()),
            )
            for i in range(len(self.k))
        )
        level = f"{100 * self.confidence_level:.4g}%"
        how = f"{self.n_problems} problems, paired; {level} intervals for new problems ({self.method})"
        head = how if self.metric == "pass" else f"{METRICS[self.metric]}\n{how}"
        names = ("k", "first", "second", "difference", "", "ratio", "", *(("p",) if tested else ()))
        return "\n".join([head, *table(names, rows)])

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON data."""
        return {
            "k": self.k.tolist(),
            "first": json_list(self.first),
            "second": json_list(self.second),
            "difference": json_list(self.difference),
            "difference_interval": [json_list(row) for row in self.difference_interval],
            "ratio": json_list(self.ratio),
            "ratio_interval": [json_list(row) for row in self.ratio_interval],
            "confidence_level": self.confidence_level,
            "method": self.method,
            "n_problems": self.n_problems,
            "metric": self.metric,
            "p_value": None if self.p_value is None else json_list(self.p_value),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row per k, the ends of intervals in columns of their own."""
        columns = {
            "k": self.k,
            "first": self.first,
            "second": self.second,
            "difference": self.difference,
            "difference_lower": self.difference_interval[:, 0],
            "difference_upper": self.difference_interval[:, 1],
            "ratio": self.ratio,
            "ratio_lower": self.ratio_interval[:, 0],
            "ratio_upper": self.ratio_interval[:, 1],
        }
        if self.p_value is not None:
            columns["p_value"] = self.p_value
        cells = zip(*(json_list(column) for column in columns.values()), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in cells]


def compare(
    first: tuple[npt.ArrayLike, npt.ArrayLike],
    second: tuple[npt.ArrayLike, npt.ArrayLike],
    k: npt.ArrayLike,
    *,
    confidence_level: float = 0.95,
    method: Method = "analytic",
    n_resamples: int = 2000,
    seed: int = 0,
    threads: int | None = None,
    progress: Report | None = None,
) -> PassComparison:
    """Compare mean pass@k of two models on the same problems, in the same order.

    Differences are paired: what makes a problem hard for both does not widen the interval. Ratios use the delta method
    on the logarithm, or the bootstrap.

    Parameters
    ----------
    first, second
        (n, c) of each model: samples and correct samples, broadcast over problems.
    method
        ``"analytic"`` (Student's t), ``"bootstrap"`` over problems, or ``"permutation"``: which model is which is drawn
        anew for each problem, which tests that there is no difference and turns the test into an interval.
    k, confidence_level, n_resamples, seed, threads, progress
        As in :func:`curve`, with ``scope="problems"``.

    Raises
    ------
    T2Error
        When the models have different numbers of problems, or as in :func:`curve`.

    Examples
    --------
    >>> print(compare((10, [2, 5, 9]), (10, [1, 5, 7]), 1))
    3 problems, paired; 95% intervals for new problems (analytic)
    k   first  second  difference                      ratio
    1  0.5333  0.4333      0.1000  [-0.1466, 0.3466]  1.2308  [0.7689, 1.9701]
    """
    ks = flat_ks(k)[0]
    one, other = _table("first", first, ks), _table("second", second, ks)
    return paired(
        one, other, ks, "pass", confidence_level=confidence_level, method=method, n_resamples=n_resamples, seed=seed,
        threads=threads, progress=progress,
    )  # fmt: skip


def paired(
    one: Array,
    other: Array,
    ks: Integers,
    metric: str,
    *,
    confidence_level: float,
    method: Method,
    n_resamples: int,
    seed: int,
    threads: int | None,
    progress: Report | None,
) -> PassComparison:
    """Compare two tables of values, shape (problems, ks), problem by problem."""
    confidence_level = arguments.confidence_level(confidence_level)
    n_resamples, seed = arguments.whole("n_resamples", n_resamples, least=2), arguments.seed(seed)
    arguments.choice("method", method, ("analytic", "bootstrap", "permutation"))
    problems, p_value = len(one), None
    if len(other) != problems:
        raise T2Error(f"first has {problems} problems and second {len(other)}: compare models on the same problems")
    if problems < 2:
        raise T2Error("first and second have one problem: a comparison over problems needs at least 2")
    mean, other_mean = one.mean(axis=0), other.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # A score may be negative, and has no ratio then.
        ratio = np.where((mean >= 0) & (other_mean >= 0), mean / other_mean, np.nan)
        if method == "bootstrap":
            both = np.hstack([one, other])
            draws = resampled(both, n_resamples, seed, threads, progress)
            drawn, other_drawn = draws[:, : len(ks)], draws[:, len(ks) :]
            difference_ends = np.quantile(drawn - other_drawn, tails(confidence_level), axis=0).T
            ratio_ends = np.quantile(drawn / other_drawn, tails(confidence_level), axis=0).T
            ratio_ends[np.isnan(ratio)] = np.nan
        elif method == "permutation":
            relative = one / mean - other / other_mean
            difference_ends, ratio_ends, p_value = _permuted(
                one - other, relative, ratio, confidence_level, n_resamples, seed, progress
            )
        else:
            wide = quantile(confidence_level, problems - 1)
            half = wide * (one - other).std(axis=0, ddof=1) / math.sqrt(problems)
            difference_ends = np.stack([mean - other_mean - half, mean - other_mean + half], axis=1)
            relative = (one / mean - other / other_mean).std(axis=0, ddof=1) / math.sqrt(problems)
            ratio_ends = np.stack([ratio * np.exp(-wide * relative), ratio * np.exp(wide * relative)], axis=1)
    return PassComparison(
        ks, mean, other_mean, mean - other_mean, difference_ends, ratio, ratio_ends, confidence_level, method, problems,
        metric, p_value,
    )  # fmt: skip


def resampled(values: Array, n_resamples: int, seed: int, threads: int | None, progress: Report | None) -> Array:
    """Means of values, shape (problems, columns), over resampled problems: shape (n_resamples, columns)."""
    ones = np.ones(len(values), np.int64)
    with counted(progress, n_resamples, "resamples") as report:
        return _core.bootstrap(
            np.ascontiguousarray(values), ones, n_resamples, seed, arguments.threads(threads), report
        )


def _permuted(
    difference: Array,
    relative: Array,
    ratio: Array,
    confidence_level: float,
    n_resamples: int,
    seed: int,
    progress: Report | None,
) -> tuple[Array, Array, Array]:
    """Ends of intervals for differences and ratios, and p-values, from signs drawn at random for each problem."""
    mean = difference.mean(axis=0)
    # With the difference taken out, what remains may have either sign.
    tables = np.hstack([difference, difference - mean, np.nan_to_num(relative)])
    random = np.random.Generator(np.random.Philox(seed))
    problems, width = difference.shape
    step = max(1, 2**22 // max(problems, 1))
    draws = np.empty((n_resamples, tables.shape[1]))
    with counted(progress, n_resamples, "permutations") as report:
        for begin in range(0, n_resamples, step):
            end = min(begin + step, n_resamples)
            signs = random.integers(0, 2, (end - begin, problems), dtype=np.int8) * 2.0 - 1.0
            draws[begin:end] = signs @ tables / problems
            if report is not None:
                report(end)
    plain, centred, ratios = draws[:, :width], draws[:, width : 2 * width], draws[:, 2 * width :]
    # The order drawn counts as one of the orders; sums in another order end a rounding apart.
    extreme = np.abs(plain) >= np.abs(mean) - 1e-12
    p_value = (1 + extreme.sum(axis=0)) / (1 + n_resamples)
    half, wide = (np.quantile(np.abs(part), confidence_level, axis=0) for part in (centred, ratios))
    ends = np.stack([mean - half, mean + half], axis=1)
    ratio_ends = np.stack([ratio * np.exp(-wide), ratio * np.exp(wide)], axis=1)
    return ends, ratio_ends, np.where(np.isnan(mean), np.nan, p_value)


def _table(name: str, counts: tuple[npt.ArrayLike, npt.ArrayLike], ks: Integers) -> Array:
    """pass@k of each problem, shape (problems, ks)."""
    try:
        n, c = counts
    except (TypeError, ValueError):
        raise T2Error(f"{name}: must be a pair (n, c) of samples and correct samples") from None
    ns, cs, _ = flat_counts(n, c)
    return _core.estimate("pass_at_k", ns, cs, ks, 0.0)
