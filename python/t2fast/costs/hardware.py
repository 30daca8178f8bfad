"""Cards: what their data sheets say, what an hour costs, and the constants measured on them."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

from t2fast.arguments import number, shown
from t2fast.costs.constants import Constants, default_constants
from t2fast.errors import T2Error
from t2fast.files import is_file, read_object
from t2fast.text import near

__all__ = ["FORMATS", "Card", "cards", "load_card"]

#: Bytes of a number in each format; those of 4 bits include their scales, one of 8 bits for 16 numbers.
FORMATS = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.5625, "int4": 0.5625}


@dataclass(frozen=True)
class Card:
    """An accelerator: its data sheet, its price, and the constants of the engine on it.

    Parameters
    ----------
    name, title
        What it is called, short and long.
    flops
        Dense FLOP per second by number format, bf16 at least.
    memory_bytes_per_second, memory_bytes, link_bytes_per_second
        Bandwidth and size of its memory, and what it sends to other cards, one way.
    watts
        Power of the board at work.
    dollars_per_hour, price_date
        Price of an hour, and when it was looked up.
    source
        Where the numbers come from.
    constants
        What was measured; those fitted to public measurements by default.

    Examples
    --------
    >>> print(Card("mine", {"bf16": 1e14}, memory_bytes_per_second=1e12, memory_bytes=2.4e10, dollars_per_hour=0.4))
    mine at $0.4 an hour
    """

    name: str
    flops: Mapping[str, float]
    memory_bytes_per_second: float
    memory_bytes: float
    link_bytes_per_second: float = 3.2e10
    watts: float = 700.0
    dollars_per_hour: float = 2.5
    price_date: str = ""
    title: str = ""
    source: str = ""
    constants: Constants = field(default_factory=default_constants)

    def __post_init__(self) -> None:
        if not isinstance(self.flops, Mapping) or "bf16" not in self.flops:
            raise T2Error(f"card {self.name}: flops must give the peak of bf16 at least, as {{'bf16': 9.89e14}}")
        for kind, value in self.flops.items():
            if kind not in FORMATS:
                raise T2Error(f"card {self.name}: flops of {kind!r}: {near(str(kind), FORMATS)}")
            number(f"flops of {kind}", value, low=0, low_open=True)
        for name in (
            "memory_bytes_per_second", "memory_bytes", "link_bytes_per_second", "watts", "dollars_per_hour",
        ):  # fmt: skip
            number(name, getattr(self, name), low=0, low_open=True)

    def peak(self, dtype: str) -> float:
        """FLOP per second with weights in a format: of the format itself where the card multiplies it, else of bf16.

        Weights of fewer bits than the card multiplies are unpacked first, and activations stay in 16 bits.
        """
        return self.flops.get({"fp16": "bf16"}.get(dtype, dtype), self.flops["bf16"])

    def to_dict(self) -> dict[str, Any]:
        """The card as JSON data, as :func:`load_card` reads it."""
        data: dict[str, Any] = {"schema": 1} | {item.name: getattr(self, item.name) for item in fields(self)}
        return data | {"flops": dict(self.flops), "constants": self.constants.to_dict()}

    def __hash__(self) -> int:
        return hash((self.name, self.memory_bytes, self.dollars_per_hour, self.constants))

    def __str__(self) -> str:
        """The card's name and price on one line."""
        return f"{self.title or self.name} at ${self.dollars_per_hour:g} an hour"


@functools.cache
def _shipped() -> dict[str, Any]:
    data: dict[str, Any] = json.loads((resources.files("t2fast.costs") / "cards.json").read_text(encoding="utf-8"))
    return data


def cards() -> dict[str, Card]:
    """The cards that come with t2fast, by name.

    Examples
    --------
    >>> cards()["h100"].memory_bytes_per_second
    3350000000000.0
    """
    data = _shipped()
    return {name: Card(name=name, price_date=data["price_date"], **card) for name, card in data["cards"].items()}


def load_card(card: Card | str | PathLike[str], dollars_per_hour: float | None = None) -> Card:
    """A card by name or from a file of ``t2fast cost --calibrate``, on request with another price.

    Raises
    ------
    T2Error
        For an unknown name, a file that is no card, or a price that is not positive.

    Examples
    --------
    >>> print(load_card("h100", dollars_per_hour=2.0))
    NVIDIA H100 SXM, 80 GB at $2 an hour
    """
    found = card if isinstance(card, Card) else _find(card)
    if dollars_per_hour is None:
        return found
    price = number("price", dollars_per_hour, low=0, low_open=True)
    return replace(found, dollars_per_hour=price, price_date="")


def _find(card: object) -> Card:
    if not isinstance(card, str | PathLike):
        raise T2Error(f"gpu = {shown(card)}: must be a card's name or a JSON file")
    text = str(card)
    if text.lower() in _shipped()["cards"]:
        return cards()[text.lower()]
    if not text.endswith(".json") and not is_file(text):
        raise T2Error(
            f"gpu = {text!r}: {near(text.lower(), _shipped()['cards'])} Or a file that t2fast cost --calibrate wrote"
        )
    data = read_object(text)
    names = {item.name for item in fields(Card)}
    if not {"flops", "memory_bytes", "memory_bytes_per_second"} <= data.keys():
        raise T2Error(f"{text}: is no card: it needs flops, memory_bytes and memory_bytes_per_second")
    parts = {name: value for name, value in data.items() if name in names}
    parts.setdefault("name", Path(text).stem)
    try:
        if "constants" in parts:
            parts["constants"] = Constants.from_dict(parts["constants"])
        return Card(**parts)
    except T2Error as error:
        raise T2Error(f"{text}: {error}") from None
