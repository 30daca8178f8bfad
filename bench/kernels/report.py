"""Results as tables on screen and as CSV, losing shapes like the others."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bench.kernels.attention import OURS
from bench.kernels.case import Case
from bench.kernels.counting import Ceilings

COLUMNS = [
    "kind", "shape", "detail", "method", "cache", "status", "note", "bytes", "flops", "floor_us", "median_us", "q1_us",
    "q3_us", "repeats", "graph", "floor_share", "times_ours", "device", "bandwidth", "matrix_flops", "versions", "date",
    "commit",
]  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """Where and when the numbers were taken."""

    device: str
    ceilings: Ceilings
    versions: str
    date: str
    commit: str


def times_ours(case: Case, cases: Sequence[Case]) -> float | None:
    """How many times longer a case took than ours with the same caches; below 1 we lose."""
    if case.timing is None:
        return None
    ours = next((c.timing for c in cases if c.method == OURS and c.cache == case.cache and c.timing), None)
    return case.timing.median / ours.median if ours else None


def write(path: Path, cases: Sequence[Case], origin: Origin) -> None:
    """Append a group of cases, after a header if the file is new."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        for case in cases:
            writer.writerow(_line(case, cases, origin))


def _line(case: Case, cases: Sequence[Case], origin: Origin) -> dict[str, object]:
    timing = case.timing
    line: dict[str, object] = {name: getattr(case, name) for name in COLUMNS[:7]}
    line |= {
        "bytes": case.work.bytes,
        "flops": case.work.flops,
        "floor_us": _number(case.work.floor(origin.ceilings), 1e6),
        "floor_share": _number(case.share(origin.ceilings)),
        "times_ours": _number(times_ours(case, cases)),
        "device": origin.device,
        "bandwidth": _number(origin.ceilings.bandwidth),
        "matrix_flops": _number(origin.ceilings.matrix),
        "versions": origin.versions,
        "date": origin.date,
        "commit": origin.commit,
    }
    if timing:
        line |= {
            "median_us": _number(timing.median, 1e6),
            "q1_us": _number(timing.low, 1e6),
            "q3_us": _number(timing.high, 1e6),
            "repeats": timing.repeats,
            "graph": timing.graph,
        }
    return line


def _number(value: float | None, unit: float = 1.0) -> str:
    return "" if value is None else f"{value * unit:.5g}"


def table(cases: Sequence[Case], ceilings: Ceilings, unshared: float | None = None) -> Table:
    """A group of cases: a line per method; share of the floor and ratio to ours with cold caches where there are any."""
    first = cases[0]
    title = f"{first.kind} {first.shape}, {first.detail}: {first.work.bytes / 1e6:.4g} MB"
    if first.work.flops:
        title += f", {first.work.flops / 1e9:.3g} GFLOP"
    title += f", floor {_time(first.work.floor(ceilings))} us"
    if unshared is not None:
        title += f", without sharing {_time(unshared)} us"
    grid = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    grid.add_column("method", no_wrap=True)
    for name in ("cold us", "quartiles", "warm us", "GB/s", "TFLOP/s", "of floor", "x ours"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("")
    graphs = any(case.timing and case.timing.graph for case in cases)
    for method in dict.fromkeys(case.method for case in cases):
        group = {case.cache: case for case in cases if case.method == method}
        case = group.get("cold") or group.get("warm") or group[""]
        timing = case.timing
        if timing is None:
            grid.add_row(method, *[""] * 7, f"{case.status}: {case.note}", style="dim")
            continue
        warm = group["warm"].timing
        ratio = times_ours(case, cases)
        share = case.share(ceilings)
        grid.add_row(
            method,
            _time(timing.median) if case.cache == "cold" else "-",
            f"{_time(timing.low)} {_time(timing.high)}",
            _time(warm.median) if warm else "-",
            f"{case.work.bytes / timing.median / 1e9:.0f}",
            f"{case.work.flops / timing.median / 1e12:.3g}" if case.work.flops else "-",
            f"{share:.0%}" if share is not None else "-",
            f"{ratio:.2f}" if ratio is not None else "-",
            ("no graph; " if graphs and not timing.graph else "") + _short(case.note),
            style="bold" if method == OURS else "red" if ratio is not None and ratio < 1 else "",
        )
    return grid


def losses(cases: Sequence[Case]) -> list[str]:
    """A line for every method that was faster than ours."""
    groups: dict[tuple[str, str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.kind, case.shape, case.detail), []).append(case)
    lines = []
    for (kind, shape, detail), group in groups.items():
        for case in group:
            ratio = times_ours(case, group)
            if ratio is not None and ratio < 1 and case.method != OURS:
                lines.append(f"{kind} {shape}, {detail}, {case.cache}: {case.method} takes {ratio:.2g} of our time")
    return lines


def _time(seconds: float) -> str:
    micro = seconds * 1e6
    return f"{micro:.2f}" if micro < 10 else f"{micro:.1f}" if micro < 1000 else f"{micro:.0f}"


def _short(note: str) -> str:
    """A plan's sentence up to its reason."""
    return note.split(" (")[0]
