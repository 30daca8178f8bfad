"""What a question costs with a model on a card: seconds, money, energy and latency, with intervals."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, ClassVar

from t2fast import _core
from t2fast.arguments import choice, number
from t2fast.arguments import confidence_level as checked_level
from t2fast.costs.calibration import log_gradient
from t2fast.costs.constants import Constants
from t2fast.costs.flops import PROMPTS
from t2fast.costs.hardware import Card, load_card
from t2fast.costs.money import PUE
from t2fast.costs.seconds import MOST_SEQUENCES, roofline
from t2fast.costs.shapes import Architecture, Family, load_architecture
from t2fast.errors import InfeasibleError
from t2fast.quantity import format_quantity
from t2fast.results import Result
from t2fast.text import WIDTH, columns, warning_lines

__all__ = ["CostEstimate", "QuestionCost", "cost"]

#: Parameters below which no public measurement at large batch anchors the constants.
SMALLEST_ANCHOR = 6e9


@dataclass(frozen=True)
class QuestionCost:
    """What one question costs, all its samples together.

    Attributes
    ----------
    tokens_per_second
        Output tokens per second of a replica, all its cards together.
    seconds, dollars, watt_hours
        Card-seconds of the question (of all cards), their price and energy.
    latency_seconds, first_token_seconds
        From the question to its last answer, and to its first token.
    batch
        Sequences at once on a replica.
    bound_by
        What most of the time goes into: prefill, compute, weights, kv, activations, network or overhead.
    parts
        Card-seconds of each of them.

    Examples
    --------
    >>> found = cost("8B", gpu="h100", prompt_tokens=100, answer_tokens=50).question
    >>> abs(sum(found.parts.values()) / found.seconds - 1) < 1e-12
    True
    """

    tokens_per_second: float
    seconds: float
    dollars: float
    watt_hours: float
    latency_seconds: float
    first_token_seconds: float
    batch: float
    bound_by: str
    parts: Mapping[str, float]

    def __hash__(self) -> int:
        return hash((self.seconds, self.dollars, self.batch))


@dataclass(frozen=True, repr=False)
class CostEstimate(Result):
    """What questions cost with a model on a card.

    Attributes
    ----------
    model, card, dtype, kv_dtype, tensor_parallel
        What runs, and on what.
    prompt_tokens, answer_tokens, k, prompt
        What is asked, and how its samples treat the prompt.
    question
        Its cost.
    modes
        The cost in each of the three ways to treat a prompt; ``None`` where the memory or the latency rules one out.
    intervals
        Ends of the intervals of tokens_per_second, seconds, dollars, watt_hours and latency_seconds: the model's
        scatter on measurements and the posterior of its constants.
    confidence_level
        Their level.

    Examples
    --------
    >>> found = cost("8B", gpu="h100", prompt_tokens=100, answer_tokens=50, k=8)
    >>> found.intervals["dollars"][0] < found.dollars < found.intervals["dollars"][1]
    True
    """

    model: Architecture
    card: Card
    dtype: str
    kv_dtype: str
    tensor_parallel: float
    prompt_tokens: float
    answer_tokens: float
    k: float
    prompt: str
    question: QuestionCost
    modes: Mapping[str, QuestionCost | None]
    intervals: Mapping[str, tuple[float, float]]
    confidence_level: float
    figure: ClassVar[str | None] = "costs:estimate"

    @property
    def seconds(self) -> float:
        """Card-seconds of a question."""
        return self.question.seconds

    @property
    def dollars(self) -> float:
        """Dollars of a question."""
        return self.question.dollars

    @property
    def tokens_per_second(self) -> float:
        """Output tokens per second of a replica, all its cards together."""
        return self.question.tokens_per_second

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know before trusting the numbers."""
        lines = []
        if self.model.n_params < SMALLEST_ANCHOR:
            lines.append(
                "no public measurement at large batch is of a model below 6B parameters: this one is an extrapolation; "
                "calibrate with your own (t2fast cost --calibrate)"
            )
        if self.card.constants.sigma == 0:
            lines.append("the constants carry no error: the intervals say nothing of the model's scatter")
        if self.prompt == "shared" and self.k > 1 and self.prompt_tokens > 0:
            lines.append(
                "reading a prompt's keys and values once for all samples is computed, not yet timed on a card; "
                "the other two modes are as engines do"
            )
        return tuple(lines)

    def to_dict(self) -> dict[str, Any]:
        """The estimate as JSON data; ``interval`` is that of tokens_per_second."""

        def part(cost: QuestionCost | None) -> dict[str, Any] | None:
            return None if cost is None else {**vars(cost), "parts": dict(cost.parts)}

        return {
            "model": self.model.to_dict(),
            "gpu": self.card.name,
            "dollars_per_hour": self.card.dollars_per_hour,
            "price_date": self.card.price_date,
            "dtype": self.dtype,
            "kv_dtype": self.kv_dtype,
            "tensor_parallel": self.tensor_parallel,
            "prompt_tokens": self.prompt_tokens,
            "answer_tokens": self.answer_tokens,
            "k": self.k,
            "prompt": self.prompt,
            **(part(self.question) or {}),
            "interval": list(self.intervals["tokens_per_second"]),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "confidence_level": self.confidence_level,
            "modes": {name: part(cost) for name, cost in self.modes.items()},
            "warnings": list(self.warnings),
        }

    def rows(self) -> list[dict[str, Any]]:
        """A row for each way to treat the prompt."""
        rows = []
        for name, cost in self.modes.items():
            if cost is not None:
                rows.append({"prompt": name} | {k: v for k, v in vars(cost).items() if k != "parts"} | dict(cost.parts))
        return rows

    def headline(self) -> str:
        """Price and time of a question."""
        return (
            f"${_short(self.dollars)} and {_short(self.seconds)} card-seconds per question, "
            f"{format_quantity(self.tokens_per_second)} tokens/s"
        )

    def summary(self) -> str:
        """What was asked, what it costs with intervals, and the three ways to treat a prompt side by side."""
        cards_used = f"{self.tensor_parallel:g} x " if self.tensor_parallel > 1 else ""
        asked = f"{self.prompt_tokens:g} prompt tokens, {self.answer_tokens:g} answer tokens, k {self.k:g}"
        price = f", price of {self.card.price_date}" if self.card.price_date else ""
        lines = [
            str(self.model),
            f"{cards_used}{self.card}{price}",
            f"weights {self.dtype}, keys and values {self.kv_dtype}",
            f"{asked}, prompt {self.prompt}",
            "",
        ]
        level = f"{self.confidence_level:.0%} interval"
        table = [["per question", "", level]]
        units = {
            "seconds": ("card-seconds", self.seconds),
            "dollars": ("dollars", self.dollars),
            "watt_hours": ("watt-hours", self.question.watt_hours),
            "latency_seconds": ("latency, seconds", self.question.latency_seconds),
            "tokens_per_second": ("output tokens per second", self.tokens_per_second),
        }
        for name, (label, value) in units.items():
            low, high = self.intervals[name]
            table.append([label, _short(value), f"{_short(low)} to {_short(high)}"])
        lines += columns(table)
        shares = sorted(self.question.parts.items(), key=lambda item: -item[1])
        most = [f"{name} {share / self.seconds:.0%}" for name, share in shares if share > 0.005 * self.seconds]
        said = f"{self.question.batch:.0f} sequences at once; time goes into {', '.join(most)}"
        lines += ["", *textwrap.wrap(said, WIDTH), ""]
        table = [["prompt", "dollars", "card-seconds", "batch", "bound by"]]
        for name, cost in self.modes.items():
            if cost is None:
                table.append([name, "-", "-", "-", "does not fit"])
            else:
                table.append([name, _short(cost.dollars), _short(cost.seconds), f"{cost.batch:.0f}", cost.bound_by])
        lines += columns(table, left=(0, 4))
        return "\n".join([*lines, *warning_lines(self.warnings)])


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 1e5 else format_quantity(value)


def cost(
    model: Architecture | str | float | PathLike[str],
    *,
    gpu: Card | str | PathLike[str] = "h100",
    prompt_tokens: float,
    answer_tokens: float,
    k: float = 1,
    prompt: str = "shared",
    price: float | None = None,
    dtype: str = "bf16",
    kv_dtype: str | None = None,
    tensor_parallel: float = 1,
    batch: float | None = None,
    max_batch: float = MOST_SEQUENCES,
    max_seconds: float | None = None,
    family: str | Family = "llama",
    kv_group: float | None = None,
    confidence_level: float = 0.9,
) -> CostEstimate:
    """Estimate what a question with k answers costs.

    Parameters
    ----------
    model, family, kv_group
        As :func:`load_architecture` takes them: a size, a name, or a file.
    gpu, price
        As :func:`load_card` takes them; the price in dollars per hour of one card.
    prompt_tokens, answer_tokens, k
        Lengths of the prompt and of each answer, and the number of answers.
    prompt
        ``"recomputed"`` for each sample, ``"cached"`` and read by each, or ``"shared"``, read once for all.
    dtype, kv_dtype
        Formats of weights and of keys and values: bf16, fp8, int8, fp4, ...; keys and values are fp8 beside fp8
        weights, and bf16 otherwise.
    tensor_parallel
        Cards that share a replica.
    batch, max_batch
        Sequences at once on a replica: exactly ``batch``, or as many as fit and no more than ``max_batch``.
    max_seconds
        The most seconds from a question to its last answer; the batch is lowered to meet it.
    confidence_level
        Level of the intervals.

    Returns
    -------
    CostEstimate
        Seconds, dollars, energy and latency, and the same for the other ways to treat the prompt.

    Raises
    ------
    InfeasibleError
        When the model, a sequence or the batch does not fit, or no batch meets the latency.
    T2Error
        For other arguments out of range.

    Examples
    --------
    >>> estimate = cost("llama-3.1-8b", gpu="h100", price=2.5, prompt_tokens=1000, answer_tokens=300, k=16)
    >>> estimate.question.bound_by
    'compute'
    >>> estimate.modes["recomputed"].dollars > 2 * estimate.dollars
    True
    """
    shape = load_architecture(model, family, kv_group)
    card = load_card(gpu, price)
    choice("prompt", prompt, PROMPTS)
    level = checked_level(confidence_level)
    prompt_tokens = number("prompt_tokens", prompt_tokens, low=0)
    answer_tokens = number("answer_tokens", answer_tokens, low=0, low_open=True)
    k = number("k", k, low=1)

    def bill(constants: Constants, mode: str) -> _core.Bill:
        machine = roofline(
            replace(card, constants=constants),
            dtype,
            kv_dtype,
            tensor_parallel,
            batch=batch,
            max_batch=max_batch,
            max_seconds=max_seconds,
        )
        return machine.bill(shape._handle, prompt_tokens, answer_tokens, k, mode)

    def question(mode: str) -> QuestionCost:
        found = bill(card.constants, mode)
        parts = dict(found.parts)
        return QuestionCost(
            tokens_per_second=found.tokens_per_second,
            seconds=found.seconds,
            dollars=found.seconds * card.dollars_per_hour / 3600,
            watt_hours=found.seconds * card.watts * PUE / 3600,
            latency_seconds=found.latency,
            first_token_seconds=found.first_token,
            batch=found.batch,
            bound_by=max(parts, key=lambda name: parts[name]),
            parts=parts,
        )

    def other(mode: str) -> QuestionCost | None:
        try:
            return question(mode)
        except InfeasibleError:
            return None

    asked = question(prompt)
    modes = {mode: asked if mode == prompt else other(mode) for mode in PROMPTS}

    def ends(value: float, of: Callable[[_core.Bill], float]) -> tuple[float, float]:
        gradient = log_gradient(lambda constants: of(bill(constants, prompt)), card.constants)
        half = card.constants.spread(gradient, level)
        return value * math.exp(-half), value * math.exp(half)

    speed = ends(asked.tokens_per_second, lambda bill: bill.tokens_per_second)
    slower, faster = asked.tokens_per_second / speed[1], asked.tokens_per_second / speed[0]
    intervals = {
        "tokens_per_second": speed,
        "seconds": (asked.seconds * slower, asked.seconds * faster),
        "dollars": (asked.dollars * slower, asked.dollars * faster),
        "watt_hours": (asked.watt_hours * slower, asked.watt_hours * faster),
        "latency_seconds": ends(asked.latency_seconds, lambda bill: bill.latency),
    }
    return CostEstimate(
        model=shape,
        card=card,
        dtype=dtype,
        kv_dtype=kv_dtype or ("fp8" if dtype == "fp8" else "bf16"),
        tensor_parallel=float(tensor_parallel),
        prompt_tokens=prompt_tokens,
        answer_tokens=answer_tokens,
        k=k,
        prompt=prompt,
        question=asked,
        modes=modes,
        intervals=intervals,
        confidence_level=level,
    )
