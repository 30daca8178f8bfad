"""``t2fast plan``: the best N, D and k for a law and a budget."""

from __future__ import annotations

from typing import Annotated

import typer

from t2fast import planning
from t2fast.cli import options as o
from t2fast.errors import T2Error
from t2fast.laws import load_law


def plan(
    train_flops: o.TrainFlops = None,
    inference_flops: o.InferenceFlops = None,
    total_flops: o.TotalFlops = None,
    target: Annotated[
        str | None,
        typer.Option("--target", help="Find the cheapest budget that reaches this pass@k (or loss).", metavar="NUMBER"),
    ] = None,
    law: o.LawName = "pythia-gsm8k",
    max_params: o.MaxParams = None,
    max_tokens: o.MaxTokens = None,
    max_k: o.MaxK = None,
    unique_tokens: o.UniqueTokens = None,
    queries: o.Queries = "1",
    prompt_tokens: o.PromptTokens = "0",
    answer_tokens: o.AnswerTokens = "1",
    prompt_per_sample: o.PromptPerSample = False,
    attention: o.CountAttention = False,
    aspect_ratio: o.AspectRatio = "128",
    train_context: o.TrainContext = "2048",
    as_json: o.AsJson = False,
    csv: o.CsvFile = None,
    plot: o.PlotFile = None,
) -> None:
    """Recommend model size N, training tokens D and samples per question k.

    Beside the best design it shows the best inside the data behind the law,
    and the Chinchilla-style one with k chosen last, at the same budgets.

    With --target it looks for the cheapest budget instead: training FLOP
    beside the --inference-flops given, or total FLOP over the workload.
    """
    use = o.workload(queries, prompt_tokens, answer_tokens, prompt_per_sample, attention, aspect_ratio, train_context)
    budget = o.budget(
        use,
        train_flops=train_flops,
        inference_flops=inference_flops,
        total_flops=total_flops,
        max_params=max_params,
        max_tokens=max_tokens,
        max_k=max_k,
        unique_tokens=unique_tokens,
    )
    goal = o.number("--target", target)
    if goal is None and budget.train_flops is budget.inference_flops is budget.total_flops is None:
        raise T2Error("no budget: give --train-flops and --inference-flops, or --total-flops, or a --target")
    chosen = load_law(law)
    result = planning.plan(chosen, budget) if goal is None else planning.cheapest(chosen, budget, goal)
    o.show(result, as_json)
    designs = {"recommended": result.design, "inside_data": result.inside_data, "chinchilla": result.chinchilla}
    o.write_csv(csv, [{"design": name} | one.to_dict() for name, one in designs.items() if one is not None])
    if plot is not None:
        result.plot(plot)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(plan)
