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
from t2fast.results import Report, Result, counted

__all__ = ["PassComparison", "compare"]


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
    #: ``"analytic"`` or ``"bootstrap"``, over problems, paired.
    method: str
    #: How many problems there are.
    n_problems: int

    figure: ClassVar[str | None] = "passk:comparison"

    def summary(self) -> str:
        """The whole result as a table of at most 80 columns."""
        rows = (
            (
                str(self.k[i]),
                shown(self.first[i]),
                shown(self.second[i]),
                shown(self.difference[i]),
                f"[{shown(self.difference_interval[i, 0])}, {shown(self.difference_interval[i, 1])}]",
                shown(self.ratio[i]),
                f"[{shown(self.ratio_interval[i, 0])}, {shown(self.ratio_interval[i, 1])}]",
            )
            for i in range(len(self.k))
        )
        level = f"{100 * self.confidence_level:.4g}%"
        head = f"{self.n_problems} problems, paired; {level} intervals for new problems ({self.method})"
        return "\n".join([head, *table(("k", "first", "second", "difference", "", "ratio", ""), rows)])

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
        cells = zip(*(json_list(column) for column in columns.values()), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in cells]


def compare(
    first: tuple[npt.ArrayLike, npt.ArrayLike],
    second: tuple[npt.ArrayLike, npt.ArrayLike],
    k: npt.ArrayLike,
    *,
    confidence_level: float = 0.95,
    method: Literal["analytic", "bootstrap"] = "analytic",
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
    k, confidence_level, method, n_resamples, seed, threads, progress
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
    confidence_level = arguments.confidence_level(confidence_level)
    n_resamples, seed = arguments.whole("n_resamples", n_resamples, least=2), arguments.seed(seed)
    arguments.choice("method", method, ("analytic", "bootstrap"))
    ks = flat_ks(k)[0]
    one, other = _table("first", first, ks), _table("second", second, ks)
    problems = len(one)
    if len(other) != problems:
        raise T2Error(f"first has {problems} problems and second {len(other)}: compare models on the same problems")
    if problems < 2:
        raise T2Error("first and second have one problem: a comparison over problems needs at least 2")
    mean, other_mean = one.mean(axis=0), other.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = mean / other_mean
        if method == "bootstrap":
            both = np.ascontiguousarray(np.hstack([one, other]))
            ones = np.ones(problems, np.int64)
            with counted(progress, n_resamples, "resamples") as report:
                draws = _core.bootstrap(both, ones, n_resamples, seed, arguments.threads(threads), report)
            drawn, other_drawn = draws[:, : len(ks)], draws[:, len(ks) :]
            difference_ends = np.quantile(drawn - other_drawn, tails(confidence_level), axis=0).T
            ratio_ends = np.quantile(drawn / other_drawn, tails(confidence_level), axis=0).T
        else:
            wide = quantile(confidence_level, problems - 1)
            half = wide * (one - other).std(axis=0, ddof=1) / math.sqrt(problems)
            difference_ends = np.stack([mean - other_mean - half, mean - other_mean + half], axis=1)
            relative = (one / mean - other / other_mean).std(axis=0, ddof=1) / math.sqrt(problems)
            ratio_ends = np.stack([ratio * np.exp(-wide * relative), ratio * np.exp(wide * relative)], axis=1)
    return PassComparison(
        ks, mean, other_mean, mean - other_mean, difference_ends, ratio, ratio_ends, confidence_level, method, problems
    )


def _table(name: str, counts: tuple[npt.ArrayLike, npt.ArrayLike], ks: Integers) -> Array:
    """pass@k of each problem, shape (problems, ks)."""
    try:
        n, c = counts
    except (TypeError, ValueError):
        raise T2Error(f"{name}: must be a pair (n, c) of samples and correct samples") from None
    ns, cs, _ = flat_counts(n, c)
    return _core.estimate("pass_at_k", ns, cs, ks, 0.0)
