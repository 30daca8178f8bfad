"""A design: N, D and k with what the law predicts and what it costs, and how far it lies outside the data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from t2fast.laws import Law
from t2fast.quantity import format_quantity

__all__ = ["Design", "Extrapolation", "cautions", "data_ends", "from_core", "value_of"]

_Flat = tuple[float, float, float, float, float, float, float]


@dataclass(frozen=True)
class Extrapolation:
    """How far a design lies outside the data behind its law, as a ratio to the nearest end of the data's range.

    1 means inside; 50 means fifty times the largest value in the data; 0.5 half the smallest.
    """

    n_params: float
    n_tokens: float
    k: float

    @property
    def inside(self) -> bool:
        """True when N, D and k are all within the data's range."""
        return self.n_params == self.n_tokens == self.k == 1.0


@dataclass(frozen=True, slots=True)
class Design:
    """A model to train and a number of samples to draw, with what the law predicts and what it costs.

    Attributes
    ----------
    n_params, n_tokens, k
        N, D (repeats included) and samples per question; k is whole except in continuous optima.
    pass_at_k
        Predicted pass@k in [0, 1]; ``None`` for a law of losses.
    loss
        For a law of losses its prediction; for a pass law the Chinchilla loss inside it (repeated tokens discounted).
    train_flops, inference_flops
        Cost of training, and of inference over the workload.
    """

    n_params: float
    n_tokens: float
    k: float
    pass_at_k: float | None
    loss: float
    train_flops: float
    inference_flops: float

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
        beyond = {name: _beyond(getattr(self, name), getattr(data, name)) for name in ("n_params", "n_tokens", "k")}
        if law.kind == "chinchilla":
            beyond["k"] = 1.0
        return Extrapolation(**beyond)

    def to_dict(self) -> dict[str, Any]:
        """The design as JSON data, D / N included and an absent pass@k left out."""
        data = asdict(self) | {"tokens_per_param": self.tokens_per_param}
        data["k"] = int(self.k) if float(self.k).is_integer() else self.k
        if self.pass_at_k is None:
            del data["pass_at_k"]
        return data

    def __str__(self) -> str:
        """N, D, k, prediction and D / N on one line."""
        result = f"loss {self.loss:.4g}" if self.pass_at_k is None else f"pass@k {self.pass_at_k:.3f}"
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


def from_core(law: Law, flat: _Flat) -> Design:
    """A design from the numbers that the core returns."""
    n, d, k, value, loss, train, inference = flat
    if law.predicts_pass:
        return Design(n, d, k, value, loss, train, inference)
    return Design(n, d, k, None, value, train, inference)


def value_of(design: Design) -> float:
    """What the law predicts for a design: its pass@k, or its loss for a law of losses."""
    return design.loss if design.pass_at_k is None else design.pass_at_k


LABELS = {"n_params": "parameters", "n_tokens": "tokens", "k": "samples per question"}


def cautions(law: Law, design: Design, what: str = "the recommendation") -> list[str]:
    """What to say about a design outside the data, a line for each of N, D and k."""
    beyond = design.extrapolation(law)
    data = law.data_range
    if beyond is None or data is None:
        return ["the range of the data behind this law is unknown: how far this extrapolates cannot be said"]
    lines = []
    for name, label in LABELS.items():
        ratio = getattr(beyond, name)
        if ratio == 1.0:
            continue
        low, high = getattr(data, name)
        value = format_quantity(getattr(design, name))
        if ratio > 1:
            lines.append(
                f"{what} asks for {value} {label}, {format_quantity(ratio, 2)} times the {format_quantity(high)} "
                "at which the data end"
            )
        else:
            lines.append(
                f"{what} asks for {value} {label}, {format_quantity(1 / ratio, 2)} times below the "
                f"{format_quantity(low)} at which the data begin"
            )
    return lines


def data_ends(law: Law) -> list[tuple[float, float]] | None:
    """The ranges of N, D and k in the data behind a law, as the core takes them."""
    data = law.data_range
    return None if data is None else [data.n_params, data.n_tokens, data.k]
