"""``t2fast regret``: what following each strategy would have cost on checkpoints that exist."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from t2fast import fitting
from t2fast.cli import options as o
from t2fast.cli.rule import rule
from t2fast.cli.tables import Columns, Units, Where, read
from t2fast.quantity import parse_quantity

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("regret")(_regret)


@o.shared(select=rule)
def _regret(
    select: dict[str, Any],
    table: Annotated[Path, typer.Argument(help="A .csv, .tsv, .parquet, .jsonl or .ndjson table of checkpoints.")],
    where: Where = None,
    column: Columns = None,
    unit: Units = None,
    train_flops: Annotated[
        list[str] | None, typer.Option(metavar="NUMBER", help="A training budget, once for each; several by default.")
    ] = None,
    inference_flops: Annotated[
        list[str] | None, typer.Option(metavar="NUMBER", help="An inference budget, once for each; nine by default.")
    ] = None,
    strategy: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A strategy to follow, once for each; all by default.")
    ] = None,
    confidence_level: Annotated[float, typer.Option(help="Level of the intervals.")] = 0.9,
    n_resamples: Annotated[int, typer.Option(help="Resamples of the training budgets.")] = 2000,
    seed: Annotated[int, typer.Option(help="Key of the random numbers.")] = 0,
    plot: Annotated[Path | None, o.figure("Draw the regrets to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure what the advice of laws would have cost on your checkpoints.

    Each menu holds the checkpoints of about one training budget. Every strategy
    picks one, laws without having seen any of them; its regret is how much better
    the best one did.

    With --select results are what the rule makes of the samples counted, in place
    of pass@k, and laws advise by the rule.
    """
    data = read(table, column, unit, None, where)
    with o.progress_bar("following strategies") as progress:
        found = fitting.regret(
            data,
            train_flops=_numbers(train_flops, "--train-flops"),
            inference_flops=_numbers(inference_flops, "--inference-flops"),
            strategies_followed=strategy,
            **select,
            confidence_level=confidence_level,
            n_resamples=n_resamples,
            seed=seed,
            progress=progress,
        )
    o.show(found, as_json, plot=plot)


def _numbers(texts: list[str] | None, flag: str) -> list[float] | None:
    return None if texts is None else [parse_quantity(text, flag) for text in texts]
