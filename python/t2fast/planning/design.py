"""A design: N, D and k with what the law predicts and what it costs, and how far it lies outside the data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from t2fast import _core
from t2fast.laws import DataRange, Law
from t2fast.quantity import format_quantity
from t2fast.results import Result

__all__ = ["Design", "Extrapolation", "Interval", "Point", "cautions", "from_core", "value_of"]


class Point(NamedTuple):
    """A model size, training tokens and samples per problem, before anything is known of them.

    Examples
    --------
    >>> Point(70e9, 1.4e12)
    Point(n_params=70000000000.0, n_tokens=1400000000000.0, k=1.0)
    """

    n_params: float
    n_tokens: float
    k: float = 1.0


class Interval(NamedTuple):
    """The two ends of an interval.

    Examples
    --------
    >>> Interval(0.16, 0.63).high
    0.63
    """

    low: float
    high: float


@dataclass(frozen=True)
class Extrapolation:
    """How far a design lies outside the data behind its law, as a ratio to the nearest end of the data's range.

    1 means inside; 50 means fifty times the largest value in the data; 0.5 half the smallest.

    Examples
    --------
    >>> Extrapolation(n_params=1.0, n_tokens=52.0, k=1.0).inside
    False
    """

    n_params: float
    n_tokens: float
    k: float
    tokens_per_param: float = 1.0

    @property
    def inside(self) -> bool:
        """True when N, D, k and D / N are all within the data's range."""
        return self.n_params == self.n_tokens == self.k == self.tokens_per_param == 1.0


@dataclass(frozen=True, repr=False)
class Design(Result):
    """A model to train and a number of samples to draw, with what the law predicts and what it costs.

    Attributes
    ----------
    n_params, n_tokens, k
        N, D (repeats included) and samples per problem; k is whole except in continuous optima.
    pass_at_k
        Predicted pass@k in [0, 1]; ``None`` for a law of losses.
    loss
        For a law of losses its prediction; for a pass law the Chinchilla loss inside it (repeated tokens discounted),
        or ``None`` for a law that has none.
    train_flops, inference_flops
        Cost of training, and of inference over the workload, FLOP.
    train_dollars, inference_dollars
        The same in dollars, where the budget counts them; ``None`` otherwise.
    result
        What a rule makes of the samples: the share of questions answered right, less the price of wrong answers.
        ``pass_at_k`` beside it is what a perfect verifier would make of the same samples. ``None`` without a rule.
    samples
        Samples drawn per problem on average, which are paid for, where sampling stops at an accepted answer.

    Examples
    --------
    >>> from t2fast import compare
    >>> design = compare("pythia-gsm8k", [(160e6, 60e9, 256)]).designs[0]
    >>> design.tokens_per_param, design.train_flops
    (375.0, 5.76e+19)
    """

    n_params: float
    n_tokens: float
    k: float
    pass_at_k: float | None
    loss: float | None
    train_flops: float
    inference_flops: float
    train_dollars: float | None = None
    inference_dollars: float | None = None
    result: float | None = None
    samples: float | None = None

    @property
    def costs(self) -> tuple[float, float]:
        """Cost of training and of inference in dollars, or in FLOP where the budget counts those."""
        if self.train_dollars is None or self.inference_dollars is None:
            return self.train_flops, self.inference_flops
        return self.train_dollars, self.inference_dollars

    @property
    def tokens_per_param(self) -> float:
        """D / N; Chinchilla's rule of thumb is 20."""
        return self.n_tokens / self.n_params

    @property
    def total_flops(self) -> float:
        """Training and inference together."""
        return self.train_flops + self.inference_flops

    def extrapolation(self, law: Law) -> Extrapolation | None:
        """How far the design lies outside the data behind a law; ``None`` when the law does not know its data."""
        data = law.data_range
        if data is None:
            return None
        beyond = {
            name: 1.0 if name == "k" and self.k == 0 else _beyond(getattr(self, name), getattr(data, name))
            for name in ("n_params", "n_tokens", "k")
        }
        if law.kind == "chinchilla":
            beyond["k"] = 1.0
        if data.tokens_per_param is not None:
            # Laws are measured down to a few tokens per parameter, and fail above the largest ratio seen.
            beyond["tokens_per_param"] = max(1.0, _beyond(self.tokens_per_param, data.tokens_per_param))
        return Extrapolation(**beyond)

    def to_dict(self) -> dict[str, Any]:
        """The design as JSON data, D / N included and an absent pass@k left out."""
        data = asdict(self) | {"tokens_per_param": self.tokens_per_param}
        data["k"] = int(self.k) if float(self.k).is_integer() else self.k
        return {name: value for name, value in data.items() if value is not None}

    def summary(self) -> str:
        """N, D, k, prediction and D / N on one line."""
        result = f"loss {self.loss:.4g}" if self.pass_at_k is None else f"pass@k {self.pass_at_k:.3f}"
        if self.result is not None:
            result = f"result {self.result:.3f} ({result})"
        return (
            f"N {format_quantity(self.n_params)}, D {format_quantity(self.n_tokens)}, "
            f"k {format_quantity(self.k, 4)}: {result}, {format_quantity(self.tokens_per_param)} tokens/param"
        )


def _beyond(value: float, ends: tuple[float, float]) -> float:
    low, high = ends
    # Bounds of the data are met to rounding only.
    if value > high * (1 + 1e-9):
        return value / high
    if value < low * (1 - 1e-9):
        return value / low
    return 1.0


def from_core(law: Law, found: _core.Design) -> Design:
    """A design from the numbers that the core returns."""
    train_dollars, inference_dollars = found.dollars or (None, None)
    ruled = law.pass_law is not law
    return Design(
        found.n_params,
        found.n_tokens,
        found.k,
        pass_at_k=found.pass_at_k if law.predicts_pass else None,
        loss=found.loss if law.predicts_pass else found.value,
        train_flops=found.train_flops,
        inference_flops=found.inference_flops,
        train_dollars=train_dollars,
        inference_dollars=inference_dollars,
        result=found.value if ruled else None,
        samples=found.samples if law.stops else None,
    )


def value_of(design: Design) -> float:
    """What the law predicts for a design: what the rule makes of it, its pass@k, or its loss for a law of losses."""
    if design.result is not None:
        return design.result
    value = design.loss if design.pass_at_k is None else design.pass_at_k
    assert value is not None, "a design has a pass@k or a loss"
    return value


def cautions(law: Law, design: Design, what: str = "the recommendation") -> list[str]:
    """What to say about a design outside the data: one line, naming each of N, D and k that lies there."""
    beyond, data = design.extrapolation(law), law.data_range
    if beyond is None or data is None:
        return ["this law does not say which data it rests on: how far it extrapolates here is unknown"]
    parts = list(_beyond_data(design, beyond, data))
    return [f"{what} extrapolates: {', '.join(parts)}"] if parts else []


def _beyond_data(design: Design, beyond: Extrapolation, data: DataRange) -> Iterable[str]:
    for name, symbol in (("n_params", "N"), ("n_tokens", "D"), ("k", "k"), ("tokens_per_param", "D/N")):
        ratio = getattr(beyond, name)
        if ratio == 1.0:
            continue
        low, high = (format_quantity(end) for end in getattr(data, name))
        value = format_quantity(getattr(design, name), 4 if name == "k" else 3)
        if ratio > 1:
            yield f"{symbol} = {value} is {format_quantity(ratio, 2)} times the largest in the data ({high})"
        else:
            yield f"{symbol} = {value} is {format_quantity(1 / ratio, 2)} times below the smallest in the data ({low})"
