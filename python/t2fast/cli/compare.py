"""``t2fast compare``: given designs side by side."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from t2fast import planning
from t2fast.cli import options as o
from t2fast.cli.rule import rule
from t2fast.costs import Hardware, Workload
from t2fast.errors import T2Error
from t2fast.laws import DEFAULT_LAW
from t2fast.quantity import parse_quantity


def design(text: str) -> planning.Point:
    """A design as it is written: N:D or N:D:k=K."""
    parts = text.split(":")
    if len(parts) not in (2, 3):
        raise T2Error(f"design = {text!r}: write N:D or N:D:k=K, for example 70B:1.4T:k=10")
    n, d = (parse_quantity(part, f"design {text!r}") for part in parts[:2])
    k = parse_quantity(parts[2].removeprefix("k="), f"design {text!r}") if len(parts) == 3 else 1.0
    return planning.Point(n, d, k)


@o.shared(use=o.use, select=rule)
def compare(
    designs: Annotated[list[str], typer.Argument(help="Designs N:D:k=K, for example 70B:1.4T:k=1 30B:3T:k=10.")],
    use: tuple[Workload, Hardware | None],
    select: dict[str, Any],
    law: o.LawName = DEFAULT_LAW,
    as_json: o.AsJson = False,
    csv: o.CsvFile = None,
) -> None:
    """Compare designs: prediction, costs of training and inference, and when each costs less than the first.

    Costs are FLOP; with any option of the card they are dollars.
    """
    result = planning.compare(law, [design(text) for text in designs], *use, **select)
    o.show(result, as_json, csv)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(compare)
