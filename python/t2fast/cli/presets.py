"""``t2fast presets``: the laws that come with t2fast."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from t2fast.cli import options as o
from t2fast.laws import Law, load_law
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
    if law.data_range is not None:
        data = law.data_range
        lines += ["", f"data: N {_range(data.n_params)}, D {_range(data.n_tokens)}, k {_range(data.k)}"]
    return [*lines, *warning_lines(law.warnings)]


def presets(
    name: Annotated[str | None, typer.Argument(help="Show one law in full: a preset's name or a JSON file.")] = None,
    as_json: o.AsJson = False,
) -> None:
    """List the laws that come with t2fast, with the range of the data behind each; or show one."""
    if name is not None:
        law = load_law(name)
        text = json.dumps(law.to_dict(), indent=2) if as_json else "\n".join(_card(law))
    elif as_json:
        text = json.dumps([law.to_dict() for law in known().values()], indent=2)
    else:
        rows = [["name", "kind", "N", "D", "k"]]
        for law in known().values():
            data = law.data_range
            ranges = ["unknown"] * 3 if data is None else [_range(e) for e in (data.n_params, data.n_tokens, data.k)]
            rows.append([law.name, law.kind, *ranges])
        text = "\n".join([*columns(rows, left=range(5)), "", "t2fast presets NAME shows one in full."])
    sys.stdout.write(text + "\n")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(presets)
