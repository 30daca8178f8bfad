"""pass@k of every model and benchmark in a set of counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from t2fast import _core, arguments
from t2fast.errors import DataError
from t2fast.passk.backtest import METHOD_NAMES, Method
from t2fast.passk.curve import PassCurve, Scope, analytic, assembled, check, curve, default_ks, intervals
from t2fast.passk.estimate import Array, Histogram, Integers, flat_ks
from t2fast.passk.extrapolate import Extrapolation, predicted
from t2fast.passk.interval import shown
from t2fast.quantity import parse_axis
from t2fast.results import Report, Result
from t2fast.text import columns, warning_lines

if TYPE_CHECKING:
    from t2fast.data import Counts

__all__ = ["PassReport", "report"]


#: More models and benchmarks than this are shown as one table instead of a table each.
_MANY = 20


@dataclass(frozen=True, repr=False, eq=False)
class PassReport(Result):
    """pass@k of every model and benchmark in a set of counts; :func:`report` makes it.

    Groups are in the order of ``counts.groups()``.

    Examples
    --------
    >>> from t2fast.data import Counts
    >>> found = report(Counts.of(10, [0, 3, 10], model="m"), [1, 5])
    >>> found.curves[0].pass_at_k.round(4)
    array([0.4333, 0.6389])
    """

    #: What the numbers come from.
    counts: Counts
    #: All k, shape (ks,).
    k: Integers
    #: Which of them are asked for in each group, shape (groups, ks).
    asked: npt.NDArray[np.bool_]
    #: Mean pass@k, shape (groups, ks), NaN where a problem of the group has fewer than k samples.
    pass_at_k: Array
    #: Lower ends of the intervals, shape (groups, ks); NaN where no interval exists.
    lower: Array
    #: Upper ends of the intervals, shape (groups, ks).
    upper: Array
    #: Confidence level of the intervals.
    confidence_level: float
    #: What the intervals speak about: new ``"samples"`` of the same problems, or new ``"problems"``.
    scope: Scope
    #: ``"analytic"`` or ``"bootstrap"``.
    method: str
    #: Their extrapolations, where k beyond the samples were asked for.
    extrapolations: tuple[Extrapolation | None, ...]
    #: The size of batches where sampling stopped at the first success, or None, for each group.
    batches: tuple[int | None, ...]
    #: What to know about the whole.
    warnings: tuple[str, ...] = ()

    figure: ClassVar[str | None] = "passk:report"

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """(model, benchmark) of each group."""
        return tuple(self.counts.groups())

    @cached_property
    def curves(self) -> tuple[PassCurve, ...]:
        """pass@k of each group at the k asked for."""
        sizes = [(len(rows), int(self.counts.n_samples[rows].min())) for rows in self.counts.groups().values()]
        parts = zip(sizes, self.asked, self.pass_at_k, self.lower, self.upper, strict=True)
        return tuple(
            assembled(
                problems,
                samples,
                self.k[at],
                mean[at],
                low[at],
                high[at],
                self.confidence_level,
                self.scope,
                self.method,
            )
            for (problems, samples), at, mean, low, high in parts
        )

    @cached_property
    def bands(self) -> tuple[PassCurve, ...]:
        """The whole curve of each group with analytic intervals, for figures."""
        found = []
        for rows, batch in zip(self.counts.groups().values(), self.batches, strict=True):
            counts = Histogram(self.counts.n_samples[rows], self.counts.n_correct[rows])
            ks = default_ks(counts.fewest_samples)
            found.append(analytic(counts, ks, self.confidence_level, self.scope, batch))
        return tuple(found)

    def _head(self) -> str:
        what = "new samples of the same problems" if self.scope == "samples" else "new problems of the same kind"
        return f"pass@k, {100 * self.confidence_level:.4g}% intervals for {what} ({self.method})"

    def summary(self) -> str:
        """The whole result as tables of at most 80 columns; one table where models and benchmarks are many."""
        lines = [self._head()]
        if len(self.asked) > _MANY:
            lines += self._one_table()
        else:
            for title, contents, cells, notes in self._tables():
                lines += ["", f"{title}: {contents}", *("  " + line for line in columns(cells, left=(4,)))]
                lines += warning_lines(notes)
        return "\n".join([*lines, *warning_lines(self.warnings)])

    def markdown(self) -> str:
        """The whole result as Markdown: a heading and a table for each model and benchmark."""
        lines = [self._head()]
        for title, contents, cells, notes in self._tables():
            width = 5 if any(row[4] for row in cells) else 4
            rows = ["| " + " | ".join(row[:width]) + " |" for row in cells]
            lines += ["", f"### {title}", "", contents, "", rows[0], "|" + "---:|" * width, *rows[1:]]
            lines += _bullets(notes)
        return "\n".join([*lines, *_bullets(self.warnings)])

    def _tables(self) -> Iterator[tuple[str, str, list[tuple[str, ...]], list[str]]]:
        """Title, contents, cells and warnings of each group."""
        groups = self.counts.groups()
        for (name, rows), one, beyond in zip(groups.items(), self.curves, self.extrapolations, strict=True):
            cells: list[tuple[str, ...]] = [("k", "pass@k", "lower", "upper", "")]
            numbers = (one.k.tolist(), one.pass_at_k.tolist(), one.lower.tolist(), one.upper.tolist())
            for k, value, lower, upper in zip(*numbers, strict=True):
                cells.append((str(k), shown(value), shown(lower), shown(upper), ""))
            notes = list(one.warnings)
            if beyond is not None:
                how = f"extrapolated: {METHOD_NAMES[beyond.method]}"
                numbers = (beyond.k.tolist(), beyond.pass_at_k.tolist(), beyond.lower.tolist(), beyond.upper.tolist())
                for k, value, lower, upper in zip(*numbers, strict=True):
                    cells.append((f"{k:g}", shown(value), shown(lower), shown(upper), how))
                notes.append(beyond.error_words())
                if len(beyond.interval_methods) > 1:
                    names = ", ".join(METHOD_NAMES[m] for m in beyond.interval_methods)
                    notes.append(f"the extrapolated interval is the envelope of {names}")
                notes.extend(beyond.warnings)
            yield " on ".join(filter(None, name)) or "all problems", self.counts.contents(rows), cells, notes

    def _one_table(self) -> list[str]:
        """All groups below each other."""
        groups = self.counts.groups()
        sizes = [str(len(rows)) for rows in groups.values()]
        cells: list[tuple[str, ...]] = [("model", "benchmark", "problems", "k", "pass@k", "lower", "upper")]
        ks = list(map(str, self.k.tolist()))
        numbers = zip(
            self.asked.tolist(), self.pass_at_k.tolist(), self.lower.tolist(), self.upper.tolist(), strict=True
        )
        for (model, benchmark), size, beyond, (asked, values, lowers, uppers) in zip(
            groups, sizes, self.extrapolations, numbers, strict=True
        ):
            names = (model[:28], benchmark[:16], size)
            for k, wanted, value, lower, upper in zip(ks, asked, values, lowers, uppers, strict=True):
                if wanted:
                    cells.append((*names, k, shown(value), shown(lower), shown(upper)))
            if beyond is not None:
                for row in beyond.rows():
                    value, lower, upper = (shown(row[name]) for name in ("pass_at_k", "lower", "upper"))
                    cells.append((*names, f"{row['k']:g}", value, lower, upper))
        notes = []
        if np.isnan(self.pass_at_k[self.asked]).any():
            notes.append("pass@k is undefined for k beyond the samples of a problem; extrapolate")
        if self.scope == "problems" and "1" in sizes:
            notes.append("one problem tells nothing about others: use scope='samples'")
        if any(beyond is not None for beyond in self.extrapolations):
            notes.append("k beyond the samples of a group are extrapolated: --json names methods and errors")
        return ["", *columns(cells, left=(0, 1)), *warning_lines(notes)]

    def headline(self) -> str:
        """What matters most, in one line: the body of the ``repr``."""
        (model, benchmark), *others = self.names
        more = f", and {len(others)} more" if others else ""
        where = " on ".join(filter(None, (model, benchmark)))[:80] or "all problems"
        value = f"pass@{self.k[0]} = {shown(float(self.pass_at_k[0, 0]))}" if len(self.k) else "pass@k"
        return f"{value} of {where}{more}"

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON data."""
        groups = self.counts.groups()
        return {
            "results": [
                {
                    "model": model,
                    "benchmark": benchmark,
                    **one.to_dict(),
                    **self.counts.provenance(rows),
                    "extrapolation": None if beyond is None else beyond.to_dict(),
                }
                for ((model, benchmark), rows), one, beyond in zip(
                    groups.items(), self.curves, self.extrapolations, strict=True
                )
            ],
            "warnings": list(self.warnings),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row per model, benchmark and k, extrapolations included."""
        found = []
        for (model, benchmark), one, beyond in zip(self.names, self.curves, self.extrapolations, strict=True):
            names = {"model": model, "benchmark": benchmark, "n_problems": one.n_problems, "n_samples": one.n_samples}
            found += [names | row | {"extrapolated": False} for row in one.rows()]
            found += [names | row | {"extrapolated": True} for row in (beyond.rows() if beyond is not None else ())]
        return found


def _bullets(warnings: Iterable[str]) -> list[str]:
    lines = [f"* {text}" for text in warnings]
    return ["", *lines] if lines else []


def report(
    counts: Counts,
    k: npt.ArrayLike | str | None = None,
    *,
    confidence_level: float = 0.95,
    scope: Scope = "problems",
    method: Literal["analytic", "bootstrap"] = "analytic",
    n_resamples: int = 2000,
    extrapolate_with: Literal["auto"] | Method | None = None,
    batch: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: Report | None = None,
) -> PassReport:
    """Estimate pass@k of every model and benchmark in a set of counts.

    Parameters
    ----------
    counts
        From :func:`t2fast.data.read_counts` or :meth:`t2fast.data.Counts.of`.
    k
        Values of k as numbers, or as text: ``"1,10,1k"``, or ``"1:1000:7"`` for 7 of them evenly spaced in the
        logarithm and rounded; 1, 10, 100 ... as far as the samples go by default.
    extrapolate_with
        The method for k beyond the samples drawn, as in :func:`extrapolate`; None leaves those undefined.
    batch
        As in :func:`curve`; by default what the files say about it.
    confidence_level, scope, method, n_resamples, seed, threads, progress
        As in :func:`curve`.

    Raises
    ------
    T2Error
        As :func:`curve` and :func:`extrapolate`.
    DataError
        When sampling stopped at the first success for some problems of a benchmark and not for others.

    Examples
    --------
    >>> from t2fast.data import Counts
    >>> print(report(Counts.of(10, [0, 3, 10, 7], model="m"), "1,5"))
    pass@k, 95% intervals for new problems of the same kind (analytic)
    <BLANKLINE>
    m: 4 problems, 10 samples each
      k  pass@k   lower   upper
      1  0.5000  0.0576  0.9424
      5  0.7292  0.0505  0.9927
    """
    level = arguments.confidence_level(confidence_level)
    check(scope, method, batch)
    groups = counts.groups()
    batches, warnings = _batches(counts, groups, batch)
    order = np.concatenate(list(groups.values()))
    sizes = np.asarray([len(rows) for rows in groups.values()])
    fewest = np.minimum.reduceat(counts.n_samples[order], np.cumsum(sizes) - sizes)
    wanted = None if k is None else whole_ks(k)
    ks = np.asarray([10**i for i in range(16) if 10**i <= fewest.max()] if wanted is None else wanted, np.int64)
    asked = np.ones((len(groups), len(ks)), np.bool_)
    if wanted is None or extrapolate_with is not None:
        asked = ks[None, :] <= fewest[:, None]
    if method == "analytic" and not any(batches):
        n, c = counts.n_samples[order], counts.n_correct[order]
        means, variances = _core.group_means(n, c, np.cumsum(sizes), ks, scope == "samples")
        lower, upper = intervals(means, variances, sizes[:, None], level, scope)
    else:
        means, lower, upper = (np.full(asked.shape, np.nan) for _ in range(3))
        for i, (rows, size) in enumerate(zip(groups.values(), batches, strict=True)):
            one = curve(
                counts.n_samples[rows], counts.n_correct[rows], ks[asked[i]], confidence_level=level, scope=scope,
                method=method, n_resamples=n_resamples, batch=size, seed=seed, threads=threads, progress=progress,
            )  # fmt: skip
            means[i, asked[i]], lower[i, asked[i]], upper[i, asked[i]] = one.pass_at_k, one.lower, one.upper
    beyond: list[Extrapolation | None] = [None] * len(groups)
    for i, (rows, size) in enumerate(zip(groups.values(), batches, strict=True)):
        if extrapolate_with is None or asked[i].all():
            continue
        pairs = Histogram(counts.n_samples[rows], counts.n_correct[rows])
        if wanted is not None:
            beyond[i] = predicted(
                pairs, ks[~asked[i]], extrapolate_with, level, seed=seed, batch=size, threads=threads, progress=progress
            )
    return PassReport(
        counts, ks, asked, means, lower, upper, level, scope, method, tuple(beyond), batches,
        tuple(dict.fromkeys(warnings)),
    )  # fmt: skip


def whole_ks(k: npt.ArrayLike | str) -> list[int]:
    """The k asked for, each once and rising."""
    if isinstance(k, str):
        numbers: list[float] = []
        for part in k.split(","):
            # What a range gives between its ends is rounded; what is written out must be whole by itself.
            found = parse_axis(part, "k")
            numbers += map(round, found) if ":" in part else found
        k = np.asarray(numbers)
    return sorted(set(flat_ks(k)[0].tolist()))


def _batches(
    counts: Counts, groups: dict[tuple[str, str], Integers], batch: int | None
) -> tuple[tuple[int | None, ...], list[str]]:
    """The size of batches of each group where sampling stopped at the first success, and what to say of it."""
    warnings = list(counts.warnings)
    if batch is not None or counts.stopped is None:
        return (batch,) * len(groups), warnings
    found: list[int | None] = []
    for name, rows in groups.items():
        stopped = counts.stopped[rows]
        if stopped.any() and not stopped.all():
            raise DataError(
                f"{' on '.join(filter(None, name)) or 'these samples'}: sampling stopped at the first success for some "
                "problems and not for others: count them apart"
            )
        found.append(1 if stopped.any() else None)
    if any(found):
        warnings.append("sampling stopped at the first success of each problem, and estimates allow for that")
    return tuple(found), warnings
