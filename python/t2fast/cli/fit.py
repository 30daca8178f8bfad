"""``t2fast fit``: a law from a table of checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from t2fast import fitting
from t2fast.data import evaluate, read_table
from t2fast.errors import T2Error
from t2fast.laws import as_law
from t2fast.quantity import parse_quantity

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("fit")(_fit)


def _pairs(items: list[str] | None, option: str) -> dict[str, str]:
    pairs = [item.partition("=") for item in items or []]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise T2Error(f"{option} {name}: write {option} NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _fit(
    table: Annotated[Path, typer.Argument(help="A .csv, .tsv, .parquet, .jsonl or .ndjson table of checkpoints.")],
    law: Annotated[str, typer.Option(help="chinchilla, t2-loss or t2-pass.")] = "chinchilla",
    out: Annotated[Path | None, typer.Option(help="Write the law to this JSON file, for t2fast plan --law.")] = None,
    where: Annotated[str | None, typer.Option(help="Use only these rows, e.g. \"benchmark == 'gsm8k'\".")] = None,
    column: Annotated[list[str] | None, typer.Option(help="ROLE=COLUMN, where a column has no usual name.")] = None,
    unit: Annotated[list[str] | None, typer.Option(help="ROLE=FACTOR, e.g. n_tokens=1e9 for billions.")] = None,
    group: Annotated[str | None, typer.Option(help="Column that names the training run of each checkpoint.")] = None,
    objective: Annotated[str | None, typer.Option(help=f"Of the loss: {', '.join(fitting.OBJECTIVES)}.")] = None,
    delta: Annotated[float | None, typer.Option(help="Width of Huber's parabola.")] = None,
    tie_exponents: Annotated[bool, typer.Option("--tie-exponents", help="alpha = beta (chinchilla).")] = False,
    fixed_e: Annotated[float | None, typer.Option("--E", help="Fix E instead of fitting it.")] = None,
    loss_law: Annotated[str | None, typer.Option(help="Law of the loss, for t2-pass on counts.")] = None,
    bootstrap: Annotated[int, typer.Option(help="Replicates; 0 for none. Ctrl-C keeps what is done.")] = 0,
    by: Annotated[list[str] | None, typer.Option(help="What to resample: checkpoint, group, question.")] = None,
    seed: Annotated[int, typer.Option(help="Key of the random numbers.")] = 0,
    level: Annotated[float, typer.Option(help="Level of the intervals.")] = 0.9,
    backtest: Annotated[
        str | None, typer.Option(help='Also fit without these rows and predict them, e.g. "tokens_per_param > 100".')
    ] = None,
    name: Annotated[str, typer.Option(help="The law's name in its file.")] = "",
    params_counted: Annotated[str, typer.Option(help="What N counts: total, non-embedding, ...")] = "",
    plot: Annotated[Path | None, typer.Option(help="Draw data, law and residuals to this file.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; all by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fit a scaling law to checkpoints and say how far to trust it."""
    columns = _pairs(column, "--column")
    if group is not None:
        columns["group"] = group
    units = {role: parse_quantity(factor, f"--unit {role}") for role, factor in _pairs(unit, "--unit").items()}
    data = read_table(table, columns, units)
    if where is not None:
        data = data.select(evaluate(where, data, "--where"))
    given: dict[str, Any] = {
        "objective": objective,
        "delta": delta,
        "tie_exponents": tie_exponents or None,
        "E": fixed_e,
        "loss_law": None if loss_law is None else as_law(loss_law),
        "threads": threads,
    }
    options = {key: value for key, value in given.items() if value is not None}
    fit = fitting.fit_table(data, law, name=name, params_counted=params_counted, **options)
    report: dict[str, Any] = {"fit": fit.to_dict()}
    text = [fit.summary()]
    result = fit.law
    if bootstrap:
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("bootstrap", total=bootstrap)
            found = fit.bootstrap(
                bootstrap, by, seed=seed, threads=threads, progress=lambda done: progress.update(task, completed=done)
            )
        report["bootstrap"] = found.to_dict(level)
        text.append(found.summary(level))
        result = found.law(level)
        report["fit"]["law"] = result.to_dict()
    if backtest is not None:
        tested = fitting.backtest(data, backtest, options={law: options})
        report["backtest"] = tested.to_dict()
        text.append(tested.summary())
    if out is not None:
        result.save(out)
        text.append(f"law written to {out}")
    if plot is not None:
        fit.plot(plot)
        text.append(f"figure written to {plot}")
    typer.echo(json.dumps(report, indent=2) if as_json else "\n\n".join(text))
