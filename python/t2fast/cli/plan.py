"""``t2fast plan``: the best N, D and k for a law and a budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from t2fast import planning
from t2fast.cli import options as o
from t2fast.cli.rule import rule
from t2fast.costs import Budget
from t2fast.laws import DEFAULT_LAW


@o.shared(budget=o.budget, select=rule)
def plan(
    budget: Budget,
    select: dict[str, Any],
    target: Annotated[
        str | None,
        typer.Option("--target", help="Find the cheapest budget that reaches this pass@k (or loss).", metavar="NUMBER"),
    ] = None,
    law: o.LawName = DEFAULT_LAW,
    as_json: o.AsJson = False,
    csv: o.CsvFile = None,
    plot: o.PlotFile = None,
    html: Annotated[
        Path | None, o.output("--html", "Also write the page of t2fast app to this one file.", rich_help_panel="Output")
    ] = None,
) -> None:
    """Recommend model size N, training tokens D and samples per problem k.

    The design lies within the data behind the law, and of all that the budget
    affords there its 90% predictive interval has the best lower end. Beside it
    stand checkpoints measured nearby, the cheapest design that keeps 99% of
    the result, the Chinchilla-style one, and the law's unlimited optimum.

    With --target it looks for the cheapest budget instead: training FLOP
    beside the --inference-flops given, or total FLOP over the workload.

    With --select it plans by the rule that will choose the answers, a verifier
    that errs, a vote or a score, in place of pass@k.
    """
    goal = o.number("--target", target)
    if goal is not None:
        o.no_effect("the page shows a plan, not the cheapest budget", "--html")
    result = planning.plan(law, budget, **select) if goal is None else planning.cheapest(law, budget, goal, **select)
    o.show(result, as_json, csv, plot)
    if html is not None:
        from t2fast.app.page import write_page
        from t2fast.app.question import OPTIONS, Question

        write_page(Question(o.texts(OPTIONS)), html, "--html")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(plan)
