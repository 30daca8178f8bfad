"""``t2fast passk``: pass@k with intervals from evaluation logs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from t2fast import passk as verb
from t2fast.cli import options as o
from t2fast.data import read_counts
from t2fast.errors import T2Error

_READING = "Reading"


class Scope(StrEnum):
    """What intervals speak about."""

    samples = "samples"
    problems = "problems"


class Missing(StrEnum):
    """What a trial without a verdict is."""

    error = "error"
    drop = "drop"
    fail = "fail"


class Method(StrEnum):
    """How to go beyond the samples drawn."""

    auto = "auto"
    power_law = "power_law"
    beta_binomial = "beta_binomial"
    zero_inflated = "zero_inflated"
    plug_in = "plug_in"


def _option(flag: str, text: str, **more: Any) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=_READING, **more)


def passk(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Logs, tables or folders of them, - for a pipe; recognised by content.", show_default=False
        ),
    ],
    k: Annotated[
        list[str] | None,
        typer.Option("-k", help="Values of k: 1,10,1k or a range 1:1k:7; 1,10,100... by default.", metavar="K"),
    ] = None,
    confidence_level: Annotated[float, typer.Option("--confidence-level", help="Of the intervals.")] = 0.95,
    scope: Annotated[
        Scope, typer.Option("--scope", help="Intervals for new problems, or new samples of the same problems.")
    ] = Scope.problems,
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap", help="Bootstrap over problems instead of the analytic interval.")
    ] = False,
    extrapolate: Annotated[
        Method | None, typer.Option("--extrapolate", help="Predict pass@k beyond the samples drawn with this method.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--stopped-batch", help="Samples per batch, if sampling stopped at the first success.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the bootstrap and the back-test.")] = 0,
    model: Annotated[str | None, _option("--model", "Model's name instead of the file's.")] = None,
    benchmark: Annotated[str | None, _option("--benchmark", "Benchmark's name instead of the file's.")] = None,
    missing: Annotated[Missing, _option("--missing", "What a trial without a verdict is.")] = Missing.error,
    skip_malformed: Annotated[bool, _option("--skip-malformed", "Leave malformed lines out and count them.")] = False,
    threshold: Annotated[float | None, _option("--threshold", "Least score that counts as correct.")] = None,
    metric: Annotated[str | None, _option("--metric", "Metric, scorer or column of verdicts to take.")] = None,
    column: Annotated[
        list[str] | None,
        _option(
            "--column",
            "What a column is: problem=NAME, verdict, n, c, trial ...; may be repeated.",
            metavar="ROLE=NAME",
        ),
    ] = None,
    n_params: Annotated[
        str | None, _option("--n-params", "Parameters of the model, for t2fast fit.", metavar="N")
    ] = None,
    n_tokens: Annotated[str | None, _option("--n-tokens", "Its training tokens, for t2fast fit.", metavar="D")] = None,
    log_filter: Annotated[str | None, _option("--filter", "Filter of lm-evaluation-harness to take.")] = None,
    as_json: o.AsJson = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown instead of a table.", rich_help_panel="Output")
    ] = False,
    out: Annotated[
        Path | None,
        o.output("--out", "Also write the counts to this CSV file, for t2fast fit.", rich_help_panel="Output"),
    ] = None,
    plot: o.PlotFile = None,
    threads: o.Threads = None,
) -> None:
    """Estimate pass@k from counted samples, with intervals.

    Reads (n, c) tables, one trial per row, 0/1 matrices, and the logs of
    human-eval, evalplus, lm-evaluation-harness, inspect and tau-bench.

    Beyond the samples drawn pass@k is undefined; --extrapolate auto predicts
    it with the method that predicts these counts best.
    """
    with o.flags():
        counts = read_counts(
            files,
            model=model,
            benchmark=benchmark,
            missing=missing.value,
            malformed="skip" if skip_malformed else "error",
            threshold=threshold,
            metric=metric,
            filter=log_filter,
            columns=dict(_pair(one) for one in column or ()),
            n_params=o.number("--n-params", n_params),
            n_tokens=o.number("--n-tokens", n_tokens),
        )
        with o.progress_bar("Resampling") as progress:
            result = verb.report(
                counts,
                ",".join(k) if k else None,
                confidence_level=confidence_level,
                scope=scope.value,
                method="bootstrap" if bootstrap else "analytic",
                extrapolate_with=None if extrapolate is None else extrapolate.value,
                batch=batch,
                seed=seed,
                threads=threads,
                progress=progress,
            )
    if as_json:
        o.show(result, as_json)
    else:
        o.write(o.as_flags(result.markdown() if markdown else result.summary()))
    if out is not None:
        counts.write_csv(out)
    if plot is not None:
        result.plot(plot)


def _pair(text: str) -> tuple[str, str]:
    role, equals, name = text.partition("=")
    if not equals:
        raise T2Error(f"--column {text!r}: write ROLE=NAME, for example problem=task")
    return role.strip(), name


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(passk)
