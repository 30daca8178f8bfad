"""Designs, budgets and laws as text: one line, or the cells of a table."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from t2fast.costs import Budget
from t2fast.laws import Law, RuledLaw
from t2fast.planning.design import Design, Extrapolation, Interval, value_of
from t2fast.planning.evidence import Neighbour
from t2fast.quantity import format_flops, format_quantity
from t2fast.text import WIDTH, columns

__all__ = [
    "beside",
    "beyond_words",
    "cells",
    "cost_words",
    "costs_of",
    "describe",
    "dollars",
    "interval_words",
    "law_name",
    "neighbours",
    "result_name",
    "result_names",
    "rule_data",
    "rule_lines",
    "table",
]


def law_name(law: Law) -> str:
    """What a summary calls a law."""
    return law.name or f"{law.kind} law"


def describe(law: Law, budget: Budget) -> str:
    """The law and what may be spent, in one line."""
    places = ("training", "inference", "in total")
    limits = (budget.train_limit, budget.inference_limit, budget.total_limit)
    said = [f"{cost_words(budget, one)} {name}" for name, one in zip(places, limits, strict=True) if one is not None]
    return f"Law {law_name(law)}; {', '.join(said) or 'no budget'}"


def cost_words(budget: Budget, cost: float) -> str:
    """A cost with its unit."""
    return dollars(cost) if budget.in_dollars else f"{format_flops(cost)} FLOP"


def dollars(cost: float) -> str:
    """Dollars as people write them: $10k, $0.02, $1e-4."""
    return f"${cost:.3g}" if cost < 1e3 else f"${format_quantity(cost)}"


def costs_of(design: Design) -> tuple[str, str]:
    """Costs of training and inference in the cells of a table."""
    if design.train_dollars is None or design.inference_dollars is None:
        return format_flops(design.train_flops), format_flops(design.inference_flops)
    return dollars(design.train_dollars), dollars(design.inference_dollars)


def result_name(law: Law) -> str:
    """What the law predicts, in one word."""
    if isinstance(law, RuledLaw):
        return "right" if law.wrong_cost == 0 else "worth"
    if law.kind == "accuracy":
        return "accuracy"
    return "pass@k" if law.predicts_pass else "loss"


def rule_lines(law: Law) -> list[str]:
    """The rule of a law that stands under one, as a line of a summary."""
    if not isinstance(law, RuledLaw):
        return []
    said = law.rule.headline()
    if law.wrong_cost:
        said += f"; a wrong answer costs {law.wrong_cost:g} right ones"
    if law.stop_on_success:
        said += "; sampling stops at an accepted answer"
    return textwrap.wrap(f"Rule: {said}", WIDTH, subsequent_indent="  ")


def rule_data(law: Law) -> dict[str, Any]:
    """The same as JSON data."""
    if not isinstance(law, RuledLaw):
        return {}
    data: dict[str, Any] = {"rule": law.rule.brief(), "wrong_cost": law.wrong_cost}
    return data | ({"stop_on_success": True} if law.stop_on_success else {})


def result_names(law: Law) -> list[str]:
    """Heads of the columns of results: what a rule makes, and pass@k beside it."""
    return [result_name(law)] if law.pass_law is law else [result_name(law), "pass@k"]


def interval_words(ends: Interval | None) -> str:
    """An interval in a cell of a table."""
    return (
        ""
        if ends is None
        else f"{ends.low:.2g} to {ends.high:.2g}"
        if ends.high < 1
        else f"{ends.low:.4g} to {ends.high:.4g}"
    )


def table(designs: Mapping[str, Design], law: Law, ends: Mapping[str, Interval | None] | None = None) -> list[str]:
    """Designs as aligned rows of text; with a column of intervals where there are any."""
    known = ends if ends and any(one is not None for one in ends.values()) else None
    # Two results leave no room for it beside intervals; warnings say it in words.
    wide = not (known and law.pass_law is not law)
    head = [
        "",
        "N",
        "D",
        "k",
        "D/N",
        *result_names(law),
        *(["90% interval"] if known else []),
        *(["beyond data"] if wide else []),
    ]
    rows = [head]
    for label, design in designs.items():
        interval = [interval_words(known.get(label))] if known else []
        rows.append([label, *cells(design), *interval, *([beyond_words(design.extrapolation(law))] if wide else [])])
    return columns(rows, left=(0, len(head) - 1) if wide else (0,))


def neighbours(found: Sequence[Neighbour]) -> list[str]:
    """Measured checkpoints as aligned rows of text."""
    rows = [["", "N", "D", "k", "D/N", "observed", "90% interval", "the law says"]]
    for one in found:
        sizes = (one.n_params, one.n_tokens, one.k, one.tokens_per_param)
        ends = interval_words(Interval(one.low, one.high))
        rows.append(
            ["", *(format_quantity(size) for size in sizes), f"{one.observed:.3f}", ends, f"{one.predicted:.3f}"]
        )
    return columns(rows)


def beside(unlimited: bool, flat: Interval | None, gains: Mapping[str, float]) -> list[str]:
    """How flat the optimum is and what more budget would bring; of the unlimited optimum where that is another."""
    what = "unlimited optimum" if unlimited else "optimum"
    lines = []
    if flat is not None:
        low, high = (format_quantity(end) for end in flat)
        lines.append(f"The {what} is flat: N from {low} to {high} stays within 1% of it.")
    said = [f"{gain:.2g} ({name})" for name, gain in gains.items()]
    if said:
        lines.append(f"1% more budget improves it by {', '.join(said)}.")
    return lines


def cells(design: Design) -> list[str]:
    """N, D, k, D / N and the prediction, as people write them."""
    sizes = (design.n_params, design.n_tokens)
    return [
        *(format_quantity(size) for size in sizes),
        f"{design.k:.0f}" if design.k < 1e6 else format_quantity(design.k),
        format_quantity(design.tokens_per_param),
        f"{value_of(design):.4f}",
        *([] if design.result is None else [f"{design.pass_at_k:.4f}"]),
    ]


def beyond_words(beyond: Extrapolation | None) -> str:
    """How far a design lies outside the data, in a cell of a table."""
    if beyond is None:
        return "unknown"
    symbols = {"N": beyond.n_params, "D": beyond.n_tokens, "k": beyond.k}
    if beyond.n_params == beyond.n_tokens == 1.0:
        symbols["D/N"] = beyond.tokens_per_param
    said = [f"{name} x{format_quantity(ratio, 2)}" for name, ratio in symbols.items() if ratio != 1.0]
    return ", ".join(said) or "-"
