"""What a plan in money adds up to on its card, and what sharing a prompt is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from t2fast.costs import Budget, CostEstimate, cost
from t2fast.planning.design import Design, value_of
from t2fast.planning.words import dollars
from t2fast.text import columns

__all__ = ["PromptMode", "bill_lines", "estimate"]


@dataclass(frozen=True)
class PromptMode:
    """The design that the same budget pays for when its samples treat their prompt in another way.

    Attributes
    ----------
    design
        The design.
    dollars_per_question
        What a question costs with it.

    Examples
    --------
    >>> from t2fast import Budget, Workload, plan
    >>> from t2fast.costs import Hardware
    >>> use = Workload(prompt_tokens=1000, answer_tokens=150)
    >>> budget = Budget(train_dollars=1e4, dollars_per_question=1e-4, workload=use, hardware=Hardware("h100"))
    >>> found = plan("pythia-gsm8k", budget).modes
    >>> found["shared"].design.k > found["recomputed"].design.k
    True
    """

    design: Design
    dollars_per_question: float

    def to_dict(self) -> dict[str, Any]:
        """The design's numbers and the dollars per question as JSON data."""
        return self.design.to_dict() | {"dollars_per_question": self.dollars_per_question}


def estimate(budget: Budget, design: Design) -> CostEstimate | None:
    """What a question costs with a design, by the samples drawn; ``None`` where costs are FLOP, or none is drawn."""
    use, hardware = budget.workload, budget.hardware
    if hardware is None or design.k == 0:
        return None
    return cost(
        hardware.shapes.architecture(design.n_params),
        gpu=hardware.card,
        prompt_tokens=use.prompt_tokens,
        answer_tokens=use.answer_tokens,
        k=design.k if design.samples is None else design.samples,
        prompt=use.prompt,
        dtype=hardware.dtype,
        kv_dtype=hardware.kv_dtype,
        tensor_parallel=hardware.tensor_parallel,
        max_batch=hardware.max_batch,
        # A plan spends its latency to the last digit.
        max_seconds=None if budget.max_seconds is None else budget.max_seconds * (1 + 1e-9),
    )


def bill_lines(found: CostEstimate, design: Design, modes: Mapping[str, PromptMode | None]) -> list[str]:
    """The bill of a design, and the ways to treat a prompt side by side."""
    question = found.question
    low, high = found.intervals["dollars"]
    train = "" if design.train_dollars is None else f"{dollars(design.train_dollars)} to train; "
    lines = [
        f"{train}each question {dollars(found.dollars)} ({dollars(low)} to {dollars(high)}),",
        f"{found.seconds:.3g} card-seconds, {question.watt_hours:.3g} Wh, {question.latency_seconds:.3g} s to the last "
        "answer,",
        *([] if design.samples is None else [f"for the {design.samples:.3g} samples drawn on average,"]),
        f"bound by {question.bound_by}; {found.card}, {question.batch:.0f} sequences at once",
    ]
    if found.prompt_tokens > 0:
        table = [["prompt", "N", "k", "result", "per question"]]
        for name, mode in modes.items():
            if mode is None:
                table.append([name, "-", "-", "-", "out of reach"])
                continue
            one = mode.design
            size = f"{one.n_params / 1e6:.3g}M" if one.n_params < 1e9 else f"{one.n_params / 1e9:.3g}B"
            table.append([name, size, f"{one.k:.0f}", f"{value_of(one):.4f}", dollars(mode.dollars_per_question)])
        lines += ["", *columns(table)]
    return lines
