"""Budgets in money: a card, its price and a family of shapes turn dollars into what the planner counts."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from t2fast import _core
from t2fast.costs.hardware import Card, load_card
from t2fast.costs.seconds import MOST_SEQUENCES, roofline
from t2fast.costs.shapes import Family, load_family

__all__ = ["PUE", "Hardware"]

#: Power of the building over that of the cards.
PUE = 1.2


@dataclass(frozen=True)
class Hardware:
    """What models are trained and served on, and what shape they have: with it, a plan's costs are dollars.

    Parameters
    ----------
    gpu, price
        A card's name or file, and dollars per hour of one.
    family, kv_group
        The family of shapes that N stands for, and query heads for each KV head instead of the family's.
    dtype, kv_dtype
        Formats of weights and of keys and values in serving; training is in bf16.
    tensor_parallel, max_batch
        Cards that share a replica, and the most sequences at once on it.
    train_tokens
        Tokens of a training sequence, for the cost of its attention.

    Raises
    ------
    T2Error
        For unknown names or numbers out of range.

    Examples
    --------
    >>> round(3600 * Hardware(gpu="h100", price=2.5).dollars_per_second, 2)
    2.5
    """

    gpu: str | Card = field(default="h100", metadata={"help": "Card: a name or a file.", "word": True})
    price: float | None = field(default=None, metadata={"help": "Dollars per hour of one card."})
    family: str | Family = field(
        default="pythia", metadata={"help": "Shape of the models: pythia, llama, qwen.", "word": True}
    )
    kv_group: float | None = field(default=None, metadata={"help": "Query heads for each KV head."})
    dtype: str = field(default="bf16", metadata={"help": "Format of the weights in serving.", "word": True})
    kv_dtype: str | None = field(default=None, metadata={"help": "Format of keys and values.", "word": True})
    tensor_parallel: float = field(default=1.0, metadata={"help": "Cards that share a replica."})
    max_batch: float = field(default=MOST_SEQUENCES, metadata={"help": "The most sequences at once."})
    train_tokens: float = field(default=2048.0, metadata={"help": "Tokens of a training sequence, for its attention."})

    def __post_init__(self) -> None:
        _ = self.shapes, self.machine(None)

    @cached_property
    def card(self) -> Card:
        """The card, at the price."""
        return load_card(self.gpu, self.price)

    @cached_property
    def shapes(self) -> Family:
        """The family of shapes."""
        return load_family(self.family, self.kv_group)

    @property
    def dollars_per_second(self) -> float:
        """Price of a card-second."""
        return self.card.dollars_per_hour / 3600

    def machine(self, max_seconds: float | None) -> _core.Roofline:
        """The core's cost model under a cap on latency."""
        return roofline(
            self.card,
            self.dtype,
            self.kv_dtype,
            self.tensor_parallel,
            max_batch=self.max_batch,
            max_seconds=max_seconds,
            train_context=self.train_tokens,
        )

    def to_dict(self) -> dict[str, Any]:
        """The hardware as JSON data: names, not whole files."""
        data = {item.name: getattr(self, item.name) for item in fields(self)}
        data |= {"gpu": self.card.name, "family": self.shapes.name, "price": self.card.dollars_per_hour}
        return {name: value for name, value in data.items() if value is not None}

    def __getstate__(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}
