"""``t2fast presets``: the laws that come with t2fast."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from t2fast.cli import options as o
from t2fast.laws import DEFAULT_LAW, Law, load_law
from t2fast.laws import presets as known
from t2fast.quantity import format_quantity
from t2fast.text import columns, warning_lines


def _range(ends: tuple[float, float]) -> str:
    low, high = (format_quantity(end) for end in ends)
    return low if low == high else f"{low}..{high}"


def _card(law: Law) -> list[str]:
    lines = [f"{law.name}: {law.title}", f"kind {law.kind}; N counts {law.params_counted} parameters", law.source, ""]
    intervals, errors = law.uncertainty.get("intervals", {}), law.uncertainty.get("standard_errors", {})
    for name, value in law.coefficients.items():
        line = f"  {name:<7}{value:>14.8g}"
        if name in intervals:
            low, high = intervals[name]
            line += f"  {low:.4g} to {high:.4g}"
        elif name in errors:
            line += f"  +- {errors[name]:.3g}"
        lines.append(line)
    if intervals:
        lines.append(f"  {law.uncertainty['level']:.0%} intervals: {law.uncertainty['method']}")
    if law.held_out:
        lines += ["", f"held out: {law.held_out}"]
    if law.data_range is not None:
        data = law.data_range
        lines += ["", f"data: N {_range(data.n_params)}, D {_range(data.n_tokens)}, k {_range(data.k)}"]
    return [*lines, *warning_lines(law.warnings)]


def _ranges(law: Law) -> tuple[str, str, str]:
    data = law.data_range
    if data is None:
        return "unknown", "unknown", "unknown"
    return _range(data.n_params), _range(data.n_tokens), _range(data.k)


def _groups(laws: Iterable[Law]) -> list[str]:
    """Tables of laws, one for each purpose; what all of a group's data have in common stands in its title."""
    by_purpose: dict[str, list[Law]] = {}
    for law in laws:
        by_purpose.setdefault(law.purpose or "others", []).append(law)
    lines = []
    # What commands plan with comes first.
    for purpose, group in sorted(by_purpose.items(), key=lambda item: DEFAULT_LAW not in [law.name for law in item[1]]):
        ranges = list(zip(*map(_ranges, group), strict=True))
        common = [f"{name} {column[0]}" for name, column in zip("NDk", ranges, strict=True) if len({*column}) == 1]
        own = {name: column for name, column in zip("NDk", ranges, strict=True) if len({*column}) > 1}
        rows = [["", "name", *own, "held out"]]
        for i, law in enumerate(group):
            rows.append(["", law.name, *(column[i] for column in own.values()), law.held_out or "not tested"])
        lines += [purpose, *([f"  data: {', '.join(common)}"] if common else []), *columns(rows, left=range(6)), ""]
    return lines


def presets(
    name: Annotated[str | None, typer.Argument(help="Show one law in full: a preset's name or a JSON file.")] = None,
    as_json: o.AsJson = False,
) -> None:
    """List the laws that come with t2fast, what they are for, their data and errors held out; or show one."""
    if name is not None:
        law = load_law(name)
        text = json.dumps(law.to_dict(), indent=2) if as_json else "\n".join(_card(law))
    elif as_json:
        text = json.dumps([law.to_dict() for law in known().values()], indent=2)
    else:
        text = "\n".join([*_groups(known().values()), "t2fast presets NAME shows one in full."])
    sys.stdout.write(text + "\n")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(presets)
