"""Options that say how to read a table of checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2fast.data import Table, evaluate, read_table
from t2fast.errors import T2Error
from t2fast.quantity import parse_quantity

__all__ = ["ByGroup", "Columns", "Units", "Where", "read"]

Where = Annotated[str | None, typer.Option(help="Use only these rows, e.g. \"benchmark == 'gsm8k'\".")]
Columns = Annotated[list[str] | None, typer.Option(help="ROLE=COLUMN, where a column has no usual name.")]
Units = Annotated[list[str] | None, typer.Option(help="ROLE=FACTOR, e.g. n_tokens=1e9 for billions.")]
ByGroup = Annotated[str | None, typer.Option(help="Column that names the training run of each checkpoint.")]


def read(table: Path, column: list[str] | None, unit: list[str] | None, group: str | None, where: str | None) -> Table:
    """Read the table that these options describe."""
    columns = _pairs(column, "--column")
    if group is not None:
        columns["group"] = group
    units = {role: parse_quantity(factor, f"--unit {role}") for role, factor in _pairs(unit, "--unit").items()}
    data = read_table(table, columns, units)
    if where is None:
        return data
    chosen = evaluate(where, data, "--where")
    if not chosen.any():
        raise T2Error(f"--where = {where!r}: no row of {len(data)} satisfies it")
    return data.select(chosen)


def _pairs(items: list[str] | None, option: str) -> dict[str, str]:
    pairs = [item.partition("=") for item in items or []]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise T2Error(f"{option} {name}: write {option} NAME=VALUE")
    return {name: value for name, _, value in pairs}
