"""``t2fast grid``: brute force over your own N, D and k."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from t2fast import planning
from t2fast.cli import options as o
from t2fast.cli.rule import rule
from t2fast.costs import Budget
from t2fast.laws import DEFAULT_LAW
from t2fast.quantity import parse_axis


def _axis(flag: str, text: str) -> str:
    return f"{text} As a list, or as a range LOW:HIGH:COUNT evenly spaced in the logarithm: {flag}"


@o.shared(budget=o.budget, select=rule)
def grid(
    budget: Budget,
    select: dict[str, Any],
    n_params: Annotated[str, typer.Option(help=_axis("10M:10B:400", "Model sizes."), metavar="AXIS")] = "1M:100B:400",
    n_tokens: Annotated[str, typer.Option(help=_axis("1B:10T:400", "Tokens."), metavar="AXIS")] = "100M:100T:400",
    k: Annotated[
        str, typer.Option(help=_axis("1,10,100", "Samples.") + "; ranges are rounded to whole k.", metavar="AXIS")
    ] = "1:10k:200",
    law: o.LawName = DEFAULT_LAW,
    top: Annotated[int, typer.Option(help="How many of the best designs to show.")] = 5,
    threads: o.Threads = None,
    as_json: o.AsJson = False,
    csv: o.CsvFile = None,
    plot: o.PlotFile = None,
) -> None:
    """Search every combination of given N, D and k for the best that a budget admits."""
    with o.progress_bar("searching") as progress:
        result = planning.grid_search(
            law,
            budget,
            parse_axis(n_params, "--n-params"),
            parse_axis(n_tokens, "--n-tokens"),
            parse_axis(k, "--k", whole=True),
            top=top,
            threads=threads,
            progress=progress,
            **select,
        )
    o.show(result, as_json, csv, plot)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(grid)
