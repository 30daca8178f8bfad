"""Any of the estimators for every model and benchmark of a log, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from t2fast import arguments
from t2fast.data import Counts, Trials
from t2fast.errors import DataError
from t2fast.passk.compare import resampled
from t2fast.passk.curve import Scope, check, default_ks
from t2fast.passk.estimate import Array, Integers
from t2fast.passk.interval import json_list, logit_intervals, quantile, shown, tails
from t2fast.passk.metrics import Metrics, chosen
from t2fast.passk.report import whole_ks
from t2fast.passk.vote import Ties
from t2fast.results import Report, Result
from t2fast.text import columns, warning_lines, wrapped

__all__ = ["MetricReport", "measure"]


@dataclass(frozen=True, repr=False, eq=False)
class MetricReport(Result):
    """Metrics of every model and benchmark in a log; :func:`measure` makes it.

    Examples
    --------
    >>> found = measure(Counts.of(10, [0, 3, 10, 7], model="m"), ["pass", "pass-hat"], [1, 5])
    >>> found.values[0].round(4)
    array([[0.5   , 0.7292],
           [0.5   , 0.2708]])
    """

    #: Where the numbers come from.
    source: Counts | Trials
    #: What is estimated, and how.
    metrics: Metrics
    #: All k, shape (ks,); avg@n takes all samples whatever k is.
    k: Integers
    #: Means over problems, shape (groups, metrics, ks), NaN where a problem has fewer than k samples.
    values: Array
    #: Lower ends of the intervals, of the same shape; NaN where no interval exists.
    lower: Array
    #: Upper ends of the intervals, of the same shape.
    upper: Array
    #: Standard errors of the means from drawing votes, of the same shape; 0 where exact.
    drawing_error: Array
    #: pass@k of the same samples, shape (groups, ks): what a perfect verifier would make of them.
    pass_at_k: Array
    #: Confidence level of the intervals.
    confidence_level: float
    #: What the intervals speak about: new ``"samples"`` of the same problems, or new ``"problems"``.
    scope: Scope
    #: ``"analytic"`` or ``"bootstrap"``.
    method: str
    #: What to know about the whole.
    warnings: tuple[str, ...] = ()

    figure: ClassVar[str | None] = "passk:metrics"

    @property
    def counts(self) -> Counts:
        """The counts of samples."""
        return self.source.counts if isinstance(self.source, Trials) else self.source

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """(model, benchmark) of each group."""
        return tuple(self.counts.groups())

    @cached_property
    def curves(self) -> tuple[Integers, tuple[tuple[Array, Array, Array], ...]]:
        """About 20 k up to the fewest samples, and (values, lower, upper) of each group at them: for figures."""
        ks = default_ks(int(self.counts.n_samples.min()))
        ks = ks[:: max(1, len(ks) // 20)] if len(ks) > 24 else ks
        groups = self.counts.groups().values()
        found = []
        for rows in groups:
            values, lower, upper, _ = _estimated(
                self.source, self.metrics, rows, ks, self.confidence_level, self.scope, "analytic", 2, None, None
            )
            found.append((values, lower, upper))
        return ks, tuple(found)

    def tail(self, rows: Integers) -> dict[str, float] | None:
        """The commonest wrong answer's mean share of a problem's wrong samples: of all, and of hard and easy problems.

        None without votes, or where no problem has two wrong samples. ``fitting.fit_tail`` allows for the few samples
        of each problem, and makes a rule of it.
        """
        if "maj" not in self.metrics.names or not isinstance(self.source, Trials):
            return None
        tallies = self.source.tallies(rows)
        n, right = tallies.n_samples, tallies.right
        told, p = n - right >= 2, right / n
        if not told.any():
            return None
        top, middle = tallies.top_shares(), float(np.median(p[told]))
        found = {"top_share": float(top[told].mean())}
        for name, part in (("hard", told & (p <= middle)), ("easy", told & (p > middle))):
            if part.any():
                found[f"{name}_rate"], found[f"{name}_top_share"] = float(p[part].mean()), float(top[part].mean())
        return found

    def notes(self, rows: Integers) -> list[str]:
        """What to know of a group before using its numbers."""
        fewest = int(self.counts.n_samples[rows].min())
        found = []
        over = self.k[self.k > fewest]
        if len(over) and set(self.metrics.names) != {"avg"}:
            found.append(f"k = {over[0]} exceeds n = {fewest} of a problem: undefined beyond the samples")
        if self.scope == "samples" and (2 * self.k > fewest).any():
            found.append(f"no interval for 2k > n = {fewest}: draw more samples, or use scope='problems'")
        if len(rows) == 1 and self.scope == "problems":
            found.append("one problem tells nothing about others: use scope='samples'")
        return found

    def _groups(self) -> Iterator[tuple[str, Integers, int]]:
        for place, (name, rows) in enumerate(self.counts.groups().items()):
            yield " on ".join(filter(None, name)) or "all problems", rows, place

    def _tail_lines(self, rows: Integers) -> list[str]:
        tail = self.tail(rows)
        if tail is None:
            return []
        text = f"the commonest wrong answer has {tail['top_share']:.0%} of a problem's wrong samples"
        if "easy_rate" in tail:
            text += (
                f": {tail['hard_top_share']:.0%} where {tail['hard_rate']:.0%} are right, "
                f"{tail['easy_top_share']:.0%} where {tail['easy_rate']:.0%} are"
            )
        return wrapped(text, "  ")

    def _head(self) -> str:
        what = "new samples of the same problems" if self.scope == "samples" else "new problems of the same kind"
        return f"{100 * self.confidence_level:.4g}% intervals for {what} ({self.method})"

    def _cells(self, place: int, rows: Integers) -> list[tuple[str, ...]]:
        """The table of a group: metric, k, value, lower, upper, error of drawing."""
        found: list[tuple[str, ...]] = [("metric", "k", "value", "lower", "upper", "")]
        for i, name in enumerate(self.metrics.names):
            n = self.counts.n_samples[rows]
            for j, k in enumerate(self.k.tolist()):
                if name == "avg":
                    if j:
                        break
                    k = str(n[0]) if n.min() == n.max() else f"{n.min()}-{n.max()}"
                numbers = (shown(float(part[place, i, j])) for part in (self.values, self.lower, self.upper))
                error = float(self.drawing_error[place, i, j])
                drawn = f"votes drawn, +-{error:.2g}" if error > 0 else ""
                found.append((self.metrics.label(name), str(k), *numbers, drawn))
        return found

    def summary(self) -> str:
        """The whole result as tables of at most 80 columns."""
        lines = [self._head()]
        for title, rows, place in self._groups():
            lines += ["", f"{title}: {self.counts.contents(rows)}"]
            lines += ["  " + line for line in columns(self._cells(place, rows), left=(0, 5))]
            lines += self._tail_lines(rows)
            lines += warning_lines(self.notes(rows))
        return "\n".join([*lines, *warning_lines(self.warnings)])

    def markdown(self) -> str:
        """The whole result as Markdown: a heading and a table for each model and benchmark."""
        lines = [self._head()]
        for title, rows, place in self._groups():
            cells = self._cells(place, rows)
            width = 6 if any(row[5] for row in cells) else 5
            table = ["| " + " | ".join(row[:width]) + " |" for row in cells]
            lines += ["", f"### {title}", "", self.counts.contents(rows), "", table[0], "|---|" + "---:|" * (width - 1)]
            lines += table[1:]
            lines += ["", *(line.strip() for line in self._tail_lines(rows))] if self._tail_lines(rows) else []
            notes = self.notes(rows)
            lines += ["", *(f"* {text}" for text in notes)] if notes else []
        return "\n".join([*lines, *(["", *(f"* {text}" for text in self.warnings)] if self.warnings else [])])

    def headline(self) -> str:
        """What matters most, in one line: the body of the ``repr``."""
        (model, benchmark), *others = self.names
        where = " on ".join(filter(None, (model, benchmark)))[:60] or "all problems"
        more = f", and {len(others)} more" if others else ""
        name = self.metrics.names[0]
        at = f" at k = {self.k[0]}" if name != "avg" else ""
        return f"{self.metrics.label(name)}{at}: {shown(float(self.values[0, 0, 0]))} of {where}{more}"

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON data."""
        results = []
        for ((model, benchmark), rows), place in zip(
            self.counts.groups().items(), range(len(self.values)), strict=True
        ):
            for i, name in enumerate(self.metrics.names):
                width = 1 if name == "avg" else len(self.k)
                one: dict[str, Any] = {"model": model, "benchmark": benchmark, "metric": name}
                if name == "g-pass":
                    one["tau"] = self.metrics.tau
                if name == "maj":
                    one |= {"ties": self.metrics.ties, "tail": self.tail(rows)}
                one["k"] = None if name == "avg" else self.k.tolist()
                for field in ("values", "lower", "upper", "drawing_error"):
                    one[field.removesuffix("s")] = json_list(getattr(self, field)[place, i, :width])
                if name != "avg":
                    one["pass_at_k"] = json_list(self.pass_at_k[place])
                one |= {
                    "confidence_level": self.confidence_level, "scope": self.scope, "method": self.method,
                    "n_problems": len(rows), "n_samples": int(self.counts.n_samples[rows].min()),
                    "warnings": self.notes(rows), **self.counts.provenance(rows),
                }  # fmt: skip
                results.append(one)
        return {"results": results, "warnings": list(self.warnings)}

    def rows(self) -> list[dict[str, Any]]:
        """One row per model, benchmark, metric and k."""
        found = []
        for place, (model, benchmark) in enumerate(self.names):
            for i, name in enumerate(self.metrics.names):
                for j, k in enumerate(self.k.tolist()):
                    if name == "avg" and j:
                        break
                    parts = (self.values, self.lower, self.upper, self.drawing_error)
                    value, lower, upper, error = (json_list(part[place, i, j : j + 1])[0] for part in parts)
                    found.append(
                        {"model": model, "benchmark": benchmark, "metric": name, "k": None if name == "avg" else k,
                         "value": value, "lower": lower, "upper": upper, "drawing_error": error,
                         "pass_at_k": json_list(self.pass_at_k[place, j : j + 1])[0]}
                    )  # fmt: skip
        return found


def _estimated(
    source: Counts | Trials,
    metrics: Metrics,
    rows: Integers,
    ks: Integers,
    level: float,
    scope: Scope,
    method: str,
    n_resamples: int,
    threads: int | None,
    progress: Report | None,
) -> tuple[Array, Array, Array, Array]:
    """Means, ends and errors of drawing of one group, each of shape (metrics, ks)."""
    counts = source.counts if isinstance(source, Trials) else source
    shape = (len(metrics.names), len(ks))
    means, lower, upper, errors = (np.full(shape, np.nan) for _ in range(4))
    problems = len(rows)
    for i, name in enumerate(metrics.names):
        values, drawing = metrics.values(name, source, rows, ks, threads)
        means[i] = values.mean(axis=0)
        errors[i] = np.sqrt((drawing**2).sum(axis=0)) / problems
        known = np.isfinite(means[i])
        if not known.any():
            continue
        if method == "bootstrap":
            draws = resampled(values[:, known], n_resamples, metrics.seed, threads, progress)
            lower[i, known], upper[i, known] = np.quantile(draws, tails(level), axis=0)
            continue
        if scope == "samples":
            n, c = counts.n_samples[rows], counts.n_correct[rows]
            variance = metrics.samples_variances(name, n, c, ks).mean(axis=0) / problems
            freedom = np.inf
        else:
            variance = values.var(axis=0, ddof=1) / problems if problems > 1 else np.full(len(ks), np.nan)
            freedom = max(problems - 1.0, 1.0)
        error, wide = np.sqrt(np.maximum(variance, 0.0)), quantile(level, freedom)
        if name == "max":  # a score may lie anywhere
            lower[i], upper[i] = means[i] - wide * error, means[i] + wide * error
        else:
            lower[i], upper[i] = logit_intervals(means[i], error, wide)
    return means, lower, upper, errors


def measure(
    source: Counts | Trials,
    metric: str | Iterable[str] = "pass",
    k: npt.ArrayLike | str | None = None,
    *,
    tau: float | None = None,
    ties: Ties = "random",
    draws: int = 10_000,
    confidence_level: float = 0.95,
    scope: Scope = "problems",
    method: Literal["analytic", "bootstrap"] = "analytic",
    n_resamples: int = 2000,
    seed: int = 0,
    threads: int | None = None,
    progress: Report | None = None,
) -> MetricReport:
    """Estimate metrics of every model and benchmark in a log.

    Parameters
    ----------
    source
        Counts (:func:`t2fast.data.read_counts`) for pass, pass-hat, g-pass and avg; trials
        (:func:`t2fast.data.read_trials`) with answers for maj, with scores for best-of and max.
    metric
        One or several of ``"pass"`` (any of k is right), ``"pass-hat"`` (all are), ``"g-pass"`` (at least tau k are),
        ``"maj"`` (the right answer gets the most votes), ``"best-of"`` (the sample with the best score is right),
        ``"max"`` (the best score itself) and ``"avg"`` (the share of right samples among all).
    k
        As in :func:`report`.
    tau
        Of g-pass, in [0, 1].
    ties, draws
        Of maj, as in :func:`maj_at_k`.
    confidence_level, method, n_resamples, seed, threads, progress
        As in :func:`curve`.
    scope
        As in :func:`curve`; ``"samples"`` for pass, pass-hat, g-pass and avg alone.

    Raises
    ------
    T2Error
        For unknown metrics, settings that no metric asked for takes, and as :func:`curve`.
    DataError
        When the source lacks the answers or scores that a metric needs, or sampling stopped at the first success.

    Examples
    --------
    >>> print(measure(Counts.of(10, [0, 3, 10, 7], model="m"), "pass-hat,avg", "1,5"))
    95% intervals for new problems of the same kind (analytic)
    <BLANKLINE>
    m: 4 problems, 10 samples each
      metric   k   value   lower   upper
      pass^k   1  0.5000  0.0576  0.9424
      pass^k   5  0.2708  0.0073  0.9495
      avg@n   10  0.5000  0.0576  0.9424
    """
    level = arguments.confidence_level(confidence_level)
    n_resamples = arguments.whole("n_resamples", n_resamples, least=2)
    check(scope, method, None)
    metrics = Metrics(chosen(metric), tau, ties, draws, seed)
    if not isinstance(source, Counts | Trials):
        raise DataError(
            f"source = {arguments.shown(source)}: must be Counts or Trials, as read_counts and read_trials give"
        )
    counts = source.counts if isinstance(source, Trials) else source
    if counts.stopped is not None and counts.stopped.any():
        raise DataError(
            "sampling stopped at the first success of each problem: only pass@k can be estimated from such samples "
            "(passk.report)"
        )
    groups = counts.groups()
    fewest = max(int(counts.n_samples[rows].min()) for rows in groups.values())
    ks = np.asarray([10**i for i in range(16) if 10**i <= fewest] if k is None else whole_ks(k), np.int64)
    found = [
        _estimated(source, metrics, rows, ks, level, scope, method, n_resamples, threads, progress)
        for rows in groups.values()
    ]
    values, lower, upper, errors = (np.stack(part) for part in zip(*found, strict=True))
    perfect = np.stack([Metrics().values("pass", counts, rows, ks)[0].mean(axis=0) for rows in groups.values()])
    warnings = list(counts.warnings)
    if isinstance(source, Trials) and source.answers is not None and "maj" in metrics.names:
        silent = int((source.answers < 0).sum())
        if silent:
            warnings.append(f"{silent} samples gave no answer: they vote together, for one wrong answer")
    return MetricReport(
        source, metrics, ks, values, lower, upper, errors, perfect, level, scope, method, tuple(dict.fromkeys(warnings))
    )
