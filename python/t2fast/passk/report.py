"""pass@k of every model and benchmark in a set of counts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from t2fast import _core, arguments
from t2fast.errors import DataError
from t2fast.passk import curve as curves
from t2fast.passk.curve import PassCurve, Scope, default_ks
from t2fast.passk.estimate import Array, Histogram, Integers, flat_ks
from t2fast.passk.extrapolate import METHOD_NAMES, Extrapolation, Method, predicted
from t2fast.passk.interval import shown
from t2fast.quantity import parse_axis
from t2fast.results import Report, Result
from t2fast.text import columns, warning_lines

if TYPE_CHECKING:
    from t2fast.data import Counts

__all__ = ["PassReport", "report"]


@dataclass(frozen=True, repr=False, eq=False)
class PassReport(Result):
    """pass@k of every model and benchmark in a set of counts; :func:`report` makes it.

    Examples
    --------
    >>> from t2fast.data import Counts
    >>> found = report(Counts.of(10, [0, 3, 10], model="m"), [1, 5])
    >>> found.curves[0].pass_at_k.round(4)
    array([0.4333, 0.6389])
    """

    #: What the numbers come from.
    counts: Counts
    #: pass@k of each (model, benchmark) at the k asked for, in the order of ``counts.groups()``.
    curves: tuple[PassCurve, ...]
    #: Their extrapolations, where k beyond the samples were asked for.
    extrapolations: tuple[Extrapolation | None, ...]
    #: The size of batches where sampling stopped at the first success, or None, for each.
    batches: tuple[int | None, ...]
    #: What to know about the whole.
    warnings: tuple[str, ...] = ()

    figure: ClassVar[str | None] = "passk:report"

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """(model, benchmark) of each part."""
        return tuple(self.counts.groups())

    @cached_property
    def bands(self) -> tuple[PassCurve, ...]:
        """The whole curve of each part with analytic intervals, for figures."""
        found = []
        for rows, one, batch in zip(self.counts.groups().values(), self.curves, self.batches, strict=True):
            counts = Histogram(self.counts.n_samples[rows], self.counts.n_correct[rows])
            ks = default_ks(counts.fewest_samples)
            found.append(curves.analytic(counts, ks, one.confidence_level, one.scope, batch))
        return tuple(found)

    def summary(self) -> str:
        """The whole result as tables of at most 80 columns."""
        return "\n".join(self._lines(titles=_plain, table=_aligned, warn=warning_lines))

    def markdown(self) -> str:
        """The whole result as Markdown: a heading and a table for each model and benchmark."""
        return "\n".join(self._lines(titles=_heading, table=_piped, warn=_bullets)) + "\n"

    def _lines(self, titles: Any, table: Any, warn: Any) -> list[str]:
        first = self.curves[0]
        what = "new samples of the same problems" if first.scope == "samples" else "new problems of the same kind"
        lines = [f"pass@k, {100 * first.confidence_level:.4g}% intervals for {what} ({first.method})"]
        groups = self.counts.groups()
        for (name, rows), one, beyond in zip(groups.items(), self.curves, self.extrapolations, strict=True):
            cells = [("k", "pass@k", "lower", "upper", "")]
            numbers = (one.k.tolist(), one.pass_at_k.tolist(), one.lower.tolist(), one.upper.tolist())
            for k, value, lower, upper in zip(*numbers, strict=True):
                cells.append((str(k), shown(value), shown(lower), shown(upper), ""))
            notes = list(one.warnings)
            if beyond is not None:
                how = f"extrapolated: {METHOD_NAMES[beyond.method]}"
                numbers = (beyond.k.tolist(), beyond.pass_at_k.tolist(), beyond.lower.tolist(), beyond.upper.tolist())
                for k, value, lower, upper in zip(*numbers, strict=True):
                    cells.append((f"{k:g}", shown(value), shown(lower), shown(upper), how))
                if beyond.backtest is not None:
                    error, n = beyond.backtest.errors()[beyond.method], beyond.backtest.predicted
                    notes.append(f"measured error of the extrapolation: {error:.4f} in pass@{n} from fewer samples")
                notes.extend(beyond.warnings)
            lines += ["", *titles(" on ".join(filter(None, name)) or "all problems", self.counts.contents(rows))]
            lines += table(cells)
            lines += warn(notes)
        return [*lines, *warn(self.warnings)]

    def headline(self) -> str:
        """What matters most, in one line: the body of the ``repr``."""
        (model, benchmark), one = self.names[0], self.curves[0]
        more = f", and {len(self.curves) - 1} more" if len(self.curves) > 1 else ""
        where = " on ".join(filter(None, (model, benchmark)))[:80] or "all problems"
        value = f"pass@{one.k[0]} = {shown(float(one.pass_at_k[0]))}" if len(one.k) else "pass@k"
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


def _plain(name: str, contents: str) -> list[str]:
    return [f"{name}: {contents}"]


def _heading(name: str, contents: str) -> list[str]:
    return [f"### {name}", "", contents, ""]


def _aligned(cells: list[tuple[str, ...]]) -> list[str]:
    return ["  " + line for line in columns(cells, left=(4,))]


def _piped(cells: list[tuple[str, ...]]) -> list[str]:
    width = 5 if any(row[4] for row in cells) else 4
    lines = ["| " + " | ".join(row[:width]) + " |" for row in cells]
    return [lines[0], "|" + "---:|" * width, *lines[1:]]


def _bullets(warnings: Any) -> list[str]:
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
      1  0.5000  0.0742  0.9258
      5  0.7292  0.0961  0.9855
    """
    level = arguments.confidence_level(confidence_level)
    curves.check(scope, method, batch)
    groups = counts.groups()
    batches, warnings = _batches(counts, groups, batch)
    fewest = [int(counts.n_samples[rows].min()) for rows in groups.values()]
    wanted = None if k is None else _whole_ks(k)
    if method == "analytic" and not any(batches):
        found = _all_at_once(counts, groups, fewest, wanted, extrapolate_with is not None, level, scope)
    else:
        found = []
        for rows, most, size in zip(groups.values(), fewest, batches, strict=True):
            inside = _inside(wanted, most, extrapolate_with is not None)
            found.append(
                curves.curve(
                    counts.n_samples[rows], counts.n_correct[rows], inside, confidence_level=level, scope=scope,
                    method=method, n_resamples=n_resamples, batch=size, seed=seed, threads=threads, progress=progress,
                )
            )  # fmt: skip
    beyond: list[Extrapolation | None] = []
    for rows, most, size in zip(groups.values(), fewest, batches, strict=True):
        outside = [] if extrapolate_with is None or wanted is None else [one for one in wanted if one > most]
        if not outside:
            beyond.append(None)
            continue
        pairs = Histogram(counts.n_samples[rows], counts.n_correct[rows])
        beyond.append(
            predicted(
                pairs, outside, extrapolate_with or "auto", level, seed=seed, batch=size, threads=threads,
                progress=progress,
            )
        )  # fmt: skip
    return PassReport(counts, tuple(found), tuple(beyond), batches, tuple(dict.fromkeys(warnings)))


def _whole_ks(k: npt.ArrayLike | str) -> list[int]:
    """The k asked for, each once and rising."""
    if isinstance(k, str):
        numbers: list[float] = []
        for part in k.split(","):
            # What a range gives between its ends is rounded; what is written out must be whole by itself.
            found = parse_axis(part, "k")
            numbers += map(round, found) if ":" in part else found
        k = np.asarray(numbers)
    return sorted(set(flat_ks(k)[0].tolist()))


def _inside(wanted: list[int] | None, fewest: int, extrapolated: bool) -> Integers:
    """The k of a group's curve."""
    if wanted is None:
        inside = [10**i for i in range(19) if 10**i <= fewest]
    else:
        inside = [one for one in wanted if one <= fewest] if extrapolated else wanted
    return np.asarray(inside, np.int64)


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


def _all_at_once(
    counts: Counts,
    groups: dict[tuple[str, str], Integers],
    fewest: list[int],
    wanted: list[int] | None,
    extrapolated: bool,
    level: float,
    scope: Scope,
) -> list[PassCurve]:
    """The curves of all groups with analytic intervals; the core works them out together."""
    ks = _inside(wanted, max(fewest), False)
    order = np.concatenate(list(groups.values()))
    sizes = np.asarray([len(rows) for rows in groups.values()])
    n, c = np.ascontiguousarray(counts.n_samples[order]), np.ascontiguousarray(counts.n_correct[order])
    means, variances = _core.group_means(n, c, np.cumsum(sizes), ks, scope == "samples")
    lower, upper = curves.intervals(means, variances, sizes[:, None], level, scope)
    if wanted is not None and not extrapolated:
        parts = [slice(None)] * len(sizes)
    else:
        parts = [slice(end) for end in np.searchsorted(ks, fewest, side="right").tolist()]
    return [
        curves.assembled(problems, samples, ks[part], mean[part], low[part], high[part], level, scope)
        for problems, samples, part, mean, low, high in zip(
            sizes.tolist(), fewest, parts, means, lower, upper, strict=True
        )
    ]
