"""``t2fast frontier``: optima along a sweep of budgets."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from t2fast import planning
from t2fast.cli import options as o
from t2fast.cli.rule import rule
from t2fast.costs import Budget
from t2fast.errors import T2Error
from t2fast.laws import DEFAULT_LAW
from t2fast.quantity import parse_axis

_SWEEP = "A list, or LOW:HIGH:COUNT evenly spaced in the logarithm."


@o.shared(base=o.limits, select=rule)
def frontier(
    base: Budget,
    select: dict[str, Any],
    train_flops: Annotated[
        str | None, typer.Option(help=f"FLOP of training. {_SWEEP}", metavar="AXIS", rich_help_panel="Budget")
    ] = None,
    inference_flops: Annotated[
        str | None, typer.Option(help=f"FLOP of inference. {_SWEEP}", metavar="AXIS", rich_help_panel="Budget")
    ] = None,
    total_flops: Annotated[
        str | None, typer.Option(help=f"FLOP of both together. {_SWEEP}", metavar="AXIS", rich_help_panel="Budget")
    ] = None,
    train_dollars: Annotated[
        str | None, typer.Option(help=f"Dollars of training. {_SWEEP}", metavar="AXIS", rich_help_panel="Budget")
    ] = None,
    dollars_per_question: Annotated[
        str | None,
        typer.Option(help=f"Dollars of inference for each problem. {_SWEEP}", metavar="AXIS", rich_help_panel="Budget"),
    ] = None,
    total_dollars: Annotated[
        str | None, typer.Option(help=f"Dollars of both together. {_SWEEP}", metavar="AXIS", rich_help_panel="Budget")
    ] = None,
    law: o.LawName = DEFAULT_LAW,
    threads: o.Threads = None,
    as_json: o.AsJson = False,
    csv: o.CsvFile = None,
    plot: o.PlotFile = None,
) -> None:
    """Follow the best N, D and k along a sweep of budgets, and mark those that no other dominates."""
    given = {"inference_flops": inference_flops, "train_flops": train_flops, "total_flops": total_flops}
    given |= {"dollars_per_question": dollars_per_question, "train_dollars": train_dollars}
    given |= {"total_dollars": total_dollars}
    sweeps = {name: parse_axis(text, "--" + name.replace("_", "-")) for name, text in given.items() if text}
    if not sweeps:
        raise T2Error("no budget to sweep: give --train-flops and --inference-flops, or --total-flops")
    with o.progress_bar("planning") as progress:
        result = planning.frontier(law, base.sweep(**sweeps), threads=threads, progress=progress, **select)
    if not result.plans:
        raise T2Error(result.failures[0][1])
    o.show(result, as_json, csv, plot)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(frontier)
