"""``t2fast fit``: a law from a table of checkpoints, or a rule from samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from t2fast import fitting
from t2fast.cli import fit_rule
from t2fast.cli import options as o
from t2fast.cli.tables import ByGroup, Columns, Units, Where, read
from t2fast.errors import T2Error
from t2fast.laws import load_law
from t2fast.quantity import parse_axis

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("fit")(_fit)


#: Options of laws, which rules don't look at.
_OF_LAWS = (
    "--law", "--where", "--unit", "--group", "--objective", "--delta", "--tie-exponents", "--E", "--loss-law",
    "--overtraining", "--by", "--backtest", "--name", "--params-counted", "--threads", "--weights", "--isoflop",
    "--isoflop-budgets", "--isoflop-tolerance", "--workers",
)  # fmt: skip


@o.shared(rule=fit_rule.wanted)
def _fit(
    tables: Annotated[
        list[Path],
        typer.Argument(
            help="A .csv, .tsv, .parquet, .jsonl or .ndjson table of checkpoints; with --rule, logs of single samples.",
            metavar="TABLE",
        ),
    ],
    law: Annotated[
        str,
        typer.Option(
            help="chinchilla, t2-loss, t2-pass; average: a mean of laws of pass@k; accuracy: by way of the loss."
        ),
    ] = "chinchilla",
    out: Annotated[Path | None, o.output("--out", "Write the law to this JSON file, for t2fast plan --law.")] = None,
    where: Where = None,
    column: Columns = None,
    unit: Units = None,
    group: ByGroup = None,
    objective: Annotated[str | None, typer.Option(help=f"Of the loss: {', '.join(fitting.OBJECTIVES)}.")] = None,
    delta: Annotated[float | None, typer.Option(help="Width of Huber's parabola.")] = None,
    tie_exponents: Annotated[bool, typer.Option("--tie-exponents", help="alpha = beta (chinchilla).")] = False,
    fixed_e: Annotated[float | None, typer.Option("--E", help="Fix E instead of fitting it.")] = None,
    loss_law: Annotated[str | None, typer.Option(help="Law of the loss, for t2-pass on counts.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="Of the forms of an average: equal, or lobo (from training budgets left out).")
    ] = None,
    overtraining: Annotated[bool, typer.Option("--overtraining", help="Add the term F (D/N)^delta.")] = False,
    bootstrap: Annotated[int, typer.Option(help="Replicates; 0 for none. Ctrl-C keeps what is done.")] = 0,
    by: Annotated[list[str] | None, typer.Option(help="What to resample: checkpoint, group, problem.")] = None,
    seed: Annotated[int, typer.Option(help="Key of the random numbers.")] = 0,
    confidence_level: Annotated[float, typer.Option("--confidence-level", help="Level of the intervals.")] = 0.9,
    backtest: Annotated[
        str | None, typer.Option(help='Also fit without these rows and predict them, e.g. "tokens_per_param > 100".')
    ] = None,
    isoflop: Annotated[
        bool,
        typer.Option("--isoflop", help="Also find the minima at equal training FLOP, a second opinion (chinchilla)."),
    ] = False,
    isoflop_budgets: Annotated[
        str | None,
        typer.Option(help="Training FLOP to group by: 1e19,1e20; else as the rows fall.", metavar="FLOP,..."),
    ] = None,
    isoflop_tolerance: Annotated[float, typer.Option(help="How far FLOP of one budget may differ.")] = 0.1,
    name: Annotated[str, typer.Option(help="The law's name in its file.")] = "",
    params_counted: Annotated[str, typer.Option(help="What N counts: total, non-embedding, ...")] = "",
    plot: Annotated[
        Path | None, o.figure("Draw data, law and residuals to this file; with --isoflop the minima.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads; all by default.")] = None,
    workers: Annotated[
        str, typer.Option(help="Of --bootstrap: local, or ray: a Ray cluster (RAY_ADDRESS); ray:8 for eight processes.")
    ] = "local",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    rule: fit_rule.Wanted | None,
) -> None:
    """Fit a scaling law to checkpoints and say how far to trust it.

    With --rule, fit instead how one of k samples becomes the answer, from logs
    of single samples: --out writes a file that t2fast plan reads.
    """
    if rule is not None:
        o.no_effect("it is an option of laws, not of --rule", *_OF_LAWS)
        found = rule.fit(tables, fit_rule.pairs(column), bootstrap or None, seed, confidence_level)
        _written(found, found.rule, out, plot, as_json)
        return
    if len(tables) > 1:
        raise T2Error(f"{len(tables)} tables: a law is fitted to one; join them first")
    table = tables[0]
    _unused(law, bootstrap, isoflop)
    data = read(table, column, unit, group, where)
    given: dict[str, Any]
    if isoflop and (law != "chinchilla" or overtraining):
        raise T2Error(
            "--isoflop: goes with --law chinchilla alone, without --overtraining, whose optima are power laws"
        )
    if isoflop_budgets is not None and not isoflop:
        raise T2Error("--isoflop-budgets: needs --isoflop")
    if law in ("average", "accuracy"):
        given = {
            "--objective": objective, "--delta": delta, "--tie-exponents": tie_exponents or None, "--E": fixed_e,
            "--loss-law": loss_law, "--overtraining": overtraining or None, "--by": by, "--backtest": backtest,
            "--plot": plot,
        }  # fmt: skip
        for flag, value in given.items():
            if value is not None:
                raise T2Error(f"{flag}: does not go with --law {law}, whose forms and draws are fixed (docs/fit.md)")
        if law == "accuracy" and weights is not None:
            raise T2Error("--weights: goes with --law average alone")
        given = {} if weights is None else {"weights": weights}
        with o.progress_bar("resampling") as progress:
            both = (fitting.average_table if law == "average" else fitting.accuracy_table)(
                data, n_resamples=bootstrap, seed=seed, threads=threads, name=name, params_counted=params_counted,
                progress=progress, **given,
            )  # fmt: skip
        if out is not None:
            both.law.save(out)
        written = f"\n\nlaw written to {out}" if out is not None else ""
        if as_json:
            o.write_json({"fit": both.to_dict()})
        else:
            o.write(both.summary() + written)
        return
    if weights is not None:
        raise T2Error("--weights: goes with --law average alone")
    minima = None
    if isoflop:  # before the fit and its bootstrap, which a refusal must not throw away
        minima = fitting.isoflop_table(
            data,
            budgets=None if isoflop_budgets is None else parse_axis(isoflop_budgets, "--isoflop-budgets"),
            tolerance=isoflop_tolerance,
            confidence_level=confidence_level,
            seed=seed,
        )
    given = {
        "objective": objective,
        "delta": delta,
        "tie_exponents": tie_exponents or None,
        "E": fixed_e,
        "loss_law": None if loss_law is None else load_law(loss_law),
        "overtraining": overtraining or None,
        "threads": threads,
    }
    options = {key: value for key, value in given.items() if value is not None}
    fit = fitting.fit_table(data, law, name=name, params_counted=params_counted, **options)
    report: dict[str, Any] = {"fit": fit.to_dict()}
    text = [fit.summary()]
    result = fit.law
    if bootstrap:
        with o.cluster(workers) as cluster, o.progress_bar("bootstrap") as progress:
            found = fit.bootstrap(bootstrap, by, seed=seed, threads=threads, cluster=cluster, progress=progress)
        report["bootstrap"] = found.to_dict(confidence_level)
        text.append(found.summary(confidence_level))
        result = found.law(confidence_level)
        report["fit"]["law"] = result.to_dict()
    if backtest is not None:
        tested = fitting.backtest(data, backtest, options={law: options})
        report["backtest"] = tested.to_dict()
        text.append(tested.summary())
    if minima is not None:
        minima = minima.beside(result)
        report["isoflop"] = minima.to_dict()
        text.append(minima.summary())
    if out is not None:
        result.save(out)
        text.append(f"law written to {out}")
    if plot is not None:
        (minima or fit).plot(plot)
        text.append(f"figure written to {plot}")
    if as_json:
        o.write_json(report)
    else:
        o.write("\n\n".join(text))


def _unused(law: str, bootstrap: int, isoflop: bool) -> None:
    """Refuse options that a fit of this law does not look at."""
    if law in ("average", "accuracy"):
        o.no_effect(f"--law {law} has the intervals of its draws", "--confidence-level")
        o.no_effect(f"--law {law} draws in this process", "--workers")
    elif not bootstrap:
        o.no_effect("it needs --bootstrap", "--by", "--workers")
        if not isoflop:
            o.no_effect("it needs --bootstrap", "--seed", "--confidence-level")
    if not isoflop:
        o.no_effect("it needs --isoflop", "--isoflop-tolerance")


def _written(found: Any, rule: Any, out: Path | None, plot: Path | None, as_json: bool) -> None:
    text = [found.summary()]
    if out is not None:
        rule.save(out)
        text.append(f"rule written to {out}")
    if plot is not None:
        found.plot(plot)
        text.append(f"figure written to {plot}")
    if as_json:
        o.write_json({"fit": found.to_dict()})
    else:
        o.write("\n\n".join(text))
