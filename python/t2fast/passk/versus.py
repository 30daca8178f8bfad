"""Two models on the problems they share, by any of the metrics, problem by problem."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from t2fast.data import Counts, Trials
from t2fast.errors import DataError
from t2fast.passk.compare import Method, PassComparison, paired
from t2fast.passk.estimate import Integers
from t2fast.passk.metrics import METRICS, Metrics, chosen
from t2fast.passk.report import whole_ks
from t2fast.passk.vote import Ties
from t2fast.results import Report, Result
from t2fast.text import warning_lines

__all__ = ["Versus", "versus"]


@dataclass(frozen=True, repr=False, eq=False)
class Versus(Result):
    """Two models on the problems they share, metric by metric; :func:`versus` makes it.

    Examples
    --------
    >>> one, other = Counts.of(10, [2, 5, 9], model="a"), Counts.of(10, [1, 5, 7], model="b")
    >>> versus(one, other, k=1).comparisons[0].difference.round(4)
    array([0.1])
    """

    #: Name of the first model.
    first: str
    #: Name of the second model.
    second: str
    #: One comparison for each metric.
    comparisons: tuple[PassComparison, ...]
    #: What to know before using the numbers.
    warnings: tuple[str, ...] = ()

    figure: ClassVar[str | None] = "passk:versus"

    def summary(self) -> str:
        """The comparisons as tables of at most 80 columns."""
        lines = [f"first:  {self.first[:70]}", f"second: {self.second[:70]}"]
        for one in self.comparisons:
            # A comparison of pass@k names it only beside others.
            named = [METRICS["pass"]] if one.metric == "pass" and len(self.comparisons) > 1 else []
            lines += ["", *named, one.summary()]
        return "\n".join([*lines, *warning_lines(self.warnings)])

    def markdown(self) -> str:
        """The comparisons as Markdown tables."""
        lines = [f"first: {self.first}, second: {self.second}"]
        for one in self.comparisons:
            head = ["k", "first", "second", "difference", "lower", "upper", "ratio", "lower", "upper"]
            head += ["p"] if one.p_value is not None else []
            how = next(line for line in one.summary().splitlines() if "paired" in line)
            lines += ["", f"### {METRICS[one.metric]}", "", how, ""]
            lines += ["| " + " | ".join(head) + " |", "|" + "---:|" * len(head)]
            for row in one.rows():
                cells = ("-" if value is None else f"{value:.4g}" for value in row.values())
                lines.append("| " + " | ".join(cells) + " |")
        return "\n".join([*lines, *(["", *(f"* {text}" for text in self.warnings)] if self.warnings else [])])

    def headline(self) -> str:
        """What matters most, in one line: the body of the ``repr``."""
        one = self.comparisons[0]
        return f"{self.first[:60]} - {self.second[:60]}: {one.difference[0]:+.4f} in {METRICS[one.metric]}"

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON data."""
        return {
            "first": self.first,
            "second": self.second,
            "comparisons": [one.to_dict() for one in self.comparisons],
            "warnings": list(self.warnings),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row per metric and k."""
        return [{"metric": one.metric} | row for one in self.comparisons for row in one.rows()]


def versus(
    first: Counts | Trials,
    second: Counts | Trials,
    metric: str | Iterable[str] = "pass",
    k: npt.ArrayLike | str | None = None,
    *,
    tau: float | None = None,
    ties: Ties = "random",
    draws: int = 10_000,
    confidence_level: float = 0.95,
    method: Method = "analytic",
    n_resamples: int = 2000,
    seed: int = 0,
    threads: int | None = None,
    progress: Report | None = None,
) -> Versus:
    """Compare two models on the problems they share, with any of the metrics.

    Parameters
    ----------
    first, second
        What :func:`measure` takes, of one model each. Problems that only one of them has are left out, and a warning
        says how many.
    metric, k, tau, ties, draws
        As in :func:`measure`.
    method, confidence_level, n_resamples, seed, threads, progress
        As in :func:`compare`.

    Raises
    ------
    DataError
        When one of them holds several models, or they share fewer than two problems.
    T2Error
        As :func:`measure` and :func:`compare`.

    Examples
    --------
    >>> one, other = Counts.of(10, [2, 5, 9], model="a"), Counts.of(10, [1, 5, 7], model="b")
    >>> print(versus(one, other, "pass-hat", 1))
    first:  a
    second: b
    <BLANKLINE>
    pass^k
    3 problems, paired; 95% intervals for new problems (analytic)
    k   first  second  difference                      ratio
    1  0.5333  0.4333      0.1000  [-0.1466, 0.3466]  1.2308  [0.7689, 1.9701]
    """
    metrics = Metrics(chosen(metric), tau, ties, draws, seed)
    names, places = zip(*(_problems(name, one) for name, one in (("first", first), ("second", second))), strict=True)
    shared = [problem for problem in places[0] if problem in places[1]]
    if len(shared) < 2:
        raise DataError(
            f"{names[0]} and {names[1]} share {len(shared)} problems by benchmark and problem: a paired comparison "
            "needs at least 2; give both the same names with benchmark="
        )
    warnings = [
        f"{len(own) - len(shared)} problems that only {name} has were left out"
        for name, own in zip(names, places, strict=True)
        if len(own) > len(shared)
    ]
    sources = (first, second)
    rows = [np.asarray([own[problem] for problem in shared], np.int64) for own in places]
    fewest = min(int(_counts(one).n_samples[at].min()) for one, at in zip(sources, rows, strict=True))
    ks = np.asarray([10**i for i in range(16) if 10**i <= fewest] if k is None else whole_ks(k), np.int64)
    found = []
    for name in metrics.names:
        at: Integers = ks[:1] if name == "avg" else ks
        one, other = (
            metrics.values(name, source, own, at, threads)[0] for source, own in zip(sources, rows, strict=True)
        )
        found.append(
            paired(
                one, other, at, name, confidence_level=confidence_level, method=method, n_resamples=n_resamples,
                seed=seed, threads=threads, progress=progress,
            )
        )  # fmt: skip
    if any(np.isnan(one.first).any() or np.isnan(one.second).any() for one in found):
        warnings.append(f"k beyond n = {fewest} samples of a problem: undefined")
    return Versus(names[0], names[1], tuple(found), tuple(warnings))


def _counts(source: Counts | Trials) -> Counts:
    return source.counts if isinstance(source, Trials) else source


def _problems(name: str, source: Counts | Trials) -> tuple[str, dict[tuple[str, str], int]]:
    """A model's name, and the row of each of its problems."""
    if not isinstance(source, Counts | Trials):
        raise DataError(f"{name}: must be Counts or Trials, as read_counts and read_trials give")
    counts = _counts(source)
    models = list(dict.fromkeys(counts.model))
    if len(models) > 1:
        raise DataError(f"{name} holds {len(models)} models, {', '.join(models[:4])}: compare one model with one other")
    if counts.stopped is not None and counts.stopped.any():
        raise DataError(
            f"{name}: sampling stopped at the first success of each problem: compare fixed numbers of samples"
        )
    problems = zip(counts.benchmark, counts.problem_id, strict=True)
    own = Path(counts.files[0]).name if counts.files else name
    return models[0] or own, {problem: row for row, problem in enumerate(problems)}
