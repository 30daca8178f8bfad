"""Designs, budgets and laws as text: one line, or the cells of a table."""

from __future__ import annotations

from t2fast.costs import Budget
from t2fast.laws import Law
from t2fast.planning.design import Design, Extrapolation, value_of
from t2fast.quantity import format_flops, format_quantity
from t2fast.text import columns

__all__ = ["beyond_words", "cells", "describe", "law_name", "result_name", "table"]


def law_name(law: Law) -> str:
    """What a summary calls a law."""
    return law.name or f"{law.kind} law"


def describe(law: Law, budget: Budget) -> str:
    """The law and what may be spent, in one line."""
    costs = {
        "training": budget.train_flops,
        "inference": budget.inference_flops,
        "in total": budget.total_flops,
    }
    said = [f"{format_flops(flops)} FLOP {name}" for name, flops in costs.items() if flops is not None]
    return f"Law {law_name(law)}; {', '.join(said) or 'no budget'}"


def result_name(law: Law) -> str:
    """What the law predicts, in one word."""
    return "pass@k" if law.predicts_pass else "loss"


def table(designs: dict[str, Design], law: Law) -> list[str]:
    """Designs as aligned rows of text."""
    rows = [["", "N", "D", "k", "D/N", result_name(law), "beyond data"]]
    rows += [[label, *cells(design), beyond_words(design.extrapolation(law))] for label, design in designs.items()]
    return columns(rows, left=(0, 6))


def cells(design: Design) -> list[str]:
    """N, D, k, D / N and the prediction, as people write them."""
    sizes = (design.n_params, design.n_tokens)
    return [
        *(format_quantity(size) for size in sizes),
        f"{design.k:.0f}" if design.k < 1e6 else format_quantity(design.k),
        format_quantity(design.tokens_per_param),
        f"{value_of(design):.4f}",
    ]


def beyond_words(beyond: Extrapolation | None) -> str:
    """How far a design lies outside the data, in a cell of a table."""
    if beyond is None:
        return "unknown"
    symbols = {"N": beyond.n_params, "D": beyond.n_tokens, "k": beyond.k, "D/N": beyond.tokens_per_param}
    said = [f"{name} x{format_quantity(ratio, 2)}" for name, ratio in symbols.items() if ratio != 1.0]
    return ", ".join(said) or "-"
