"""``t2fast choose``: which of several models, and how many samples."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from t2fast import choosing
from t2fast.cli import options as o
from t2fast.cli.logs import logs, reading_option
from t2fast.cli.rule import rule_or_votes
from t2fast.rules import Majority

_COST = "What samples cost"


class Scope(StrEnum):
    """What chances and intervals speak about."""

    problems = "problems"
    samples = "samples"


class Billing(StrEnum):
    """How often a prompt is paid for."""

    per_sample = "per_sample"
    once = "once"


def _cost(flag: str, text: str, **more: Any) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=_COST, **more)


@o.shared(reads=logs, select=rule_or_votes)
def choose(
    files: Annotated[
        list[Path],
        typer.Argument(help="Logs or tables of each model, as passk reads them; all on the same problems."),
    ],
    prices: Annotated[
        Path | None, _cost("--prices", "CSV: model, input_dollars, output_dollars per million tokens.")
    ] = None,
    dollars_per_question: Annotated[
        str | None, _cost("--dollars-per-question", "The most that a question may cost.", metavar="NUMBER")
    ] = None,
    flops_per_question: Annotated[
        str | None, _cost("--flops-per-question", "The same in FLOP, 2N per token, without prices.", metavar="NUMBER")
    ] = None,
    target: Annotated[
        float | None, typer.Option("--target", help="Instead of a budget: the cheapest that reaches this result.")
    ] = None,
    input_tokens: Annotated[
        str | None, _cost("--input-tokens", "Tokens of a prompt, where the prices don't say.", metavar="NUMBER")
    ] = None,
    output_tokens: Annotated[
        str | None, _cost("--output-tokens", "Tokens of a sample, where the prices don't say.", metavar="NUMBER")
    ] = None,
    prompt_billed: Annotated[
        Billing, _cost("--prompt-billed", "Once per question, or with every sample.")
    ] = Billing.per_sample,
    gpu: Annotated[
        str | None, _cost("--gpu", "A card to run the models on, such as h100; N as the logs name it.", metavar="CARD")
    ] = None,
    dollars_per_hour: Annotated[
        str | None, _cost("--dollars-per-hour", "What an hour of the card costs.", metavar="NUMBER")
    ] = None,
    max_k: Annotated[int | None, typer.Option("--max-k", help="Samples per question at most.")] = None,
    common: Annotated[
        bool, typer.Option("--common", help="Keep the problems that all models have, and say how many were left out.")
    ] = False,
    scope: Annotated[
        Scope, typer.Option("--scope", help="Chances for new problems, or new samples of these problems.")
    ] = Scope.problems,
    confidence_level: Annotated[float, typer.Option("--confidence-level", help="Of the intervals.")] = 0.9,
    n_resamples: Annotated[int, typer.Option("--n-resamples", help="Replicates of the bootstrap.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    as_json: o.AsJson = False,
    csv: o.CsvFile = None,
    plot: o.PlotFile = None,
    extract: Annotated[
        str | None,
        reading_option(
            "--extract",
            "How votes find the answer in a text: numeric, math, ..., as for passk.",
            metavar="NAME",
        ),
    ] = None,
    *,
    reads: dict[str, Any],
    select: dict[str, Any],
) -> None:
    """Choose among models that exist, and how many samples to draw of each question, for a price or a target.

    A model's name is what its log says, or the name of its file.

    With --select it chooses by the rule that will choose the answers, a
    verifier that errs, a vote or a score, in place of pass@k. Votes are
    counted among the answers in the logs, or against the tail of --answers.
    """
    if gpu is None:
        o.no_effect("it needs --gpu", "--dollars-per-hour")
    counts = choosing.read_models(files, common=common, **reads)
    tokens = {"input_tokens": o.number("--input-tokens", input_tokens)}
    tokens["output_tokens"] = o.number("--output-tokens", output_tokens)
    hour = o.number("--dollars-per-hour", dollars_per_hour)
    paid = choosing.prices_of(
        counts, prices, prompt_billed=prompt_billed.value, gpu=gpu, dollars_per_hour=hour, **tokens
    )
    votes = None
    if isinstance(select["rule"], Majority) and select["rule"].tail is None:
        from t2fast.sampling import load_extractor, usual_extractor

        named = extract or usual_extractor(files)
        finder = None if named is None else load_extractor(named)
        votes = choosing.majority_tables(files, counts, max_k=max_k, extract=finder, **reads)
    else:
        o.no_effect("it needs --select majority, without --answers", "--extract")
    with o.progress_bar("Choosing") as progress:
        result = choosing.choose(
            counts,
            paid,
            choosing.one_budget(
                paid,
                dollars=o.number("--dollars-per-question", dollars_per_question),
                flops=o.number("--flops-per-question", flops_per_question),
            ),
            target=target,
            max_k=max_k,
            **select,
            votes=votes,
            scope=scope.value,
            confidence_level=confidence_level,
            n_resamples=n_resamples,
            seed=seed,
            progress=progress,
        )
    o.show(result, as_json, csv, plot)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(choose)
