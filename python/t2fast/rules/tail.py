"""How the wrong answers to a question share what the right one leaves: what a vote is up against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from t2fast.arguments import items, number, shown, whole
from t2fast.errors import T2Error

__all__ = ["Tail"]

#: Wrong answers that a tail may tell apart.
_MOST_ANSWERS = 1000
#: How far from one shares may sum.
_CLOSE = 1e-6


@dataclass(frozen=True)
class Tail:
    """Shares of the wrong answers to a question, the commonest first.

    Parameters
    ----------
    shares
        For each of the success rates in ``rates`` a list of shares that sum to one; or one list, which holds for all
        questions. They are sorted.
    rates
        Rising success rates p, between 0 and 1. Between two of them a question has one tail or the other, with
        probabilities linear in p; beyond the first and last it has theirs. Empty for a single list.
    name
        What to call it.

    Raises
    ------
    T2Error
        For shares that are negative or don't sum to one, rates out of order, or as many lists as there are not rates.

    Examples
    --------
    >>> Tail.uniform(4).shares
    ((0.25, 0.25, 0.25, 0.25),)
    >>> Tail([[0.5, 0.5], [0.9, 0.1]], rates=[0.1, 0.8]).top(0.45)
    0.7
    """

    shares: tuple[tuple[float, ...], ...]
    rates: tuple[float, ...] = ()
    name: str = "given shares"

    def __post_init__(self) -> None:
        rows = [row.tolist() if isinstance(row, np.ndarray) else row for row in items("shares", self.shares, "shares")]
        if rows and not any(isinstance(row, Sequence) for row in rows):
            rows = [rows]
        object.__setattr__(self, "shares", tuple(_row(row) for row in rows))
        rates = tuple(number("rates", rate, low=0, high=1) for rate in items("rates", self.rates, "success rates"))
        object.__setattr__(self, "rates", rates)
        if not self.shares:
            raise T2Error("shares is empty: give the shares of the wrong answers, the commonest first")
        if len(self.shares) != max(1, len(rates)):
            raise T2Error(f"{len(self.shares)} lists of shares for {len(rates)} rates: give one list for each rate")
        if any(b <= a for a, b in pairwise(rates)):
            raise T2Error(f"rates = {shown(rates)}: must rise")

    @classmethod
    def uniform(cls, m: int) -> Tail:
        """Take m wrong answers, each as common as the others."""
        m = whole("m", m, least=1, most=_MOST_ANSWERS)
        return cls(((1.0 / m,) * m,), name=f"uniform over {m}")

    @classmethod
    def zipf(cls, s: float, m: int) -> Tail:
        """Take m wrong answers, the j-th with a share proportional to j^-s."""
        s, m = number("s", s, low=0), whole("m", m, least=1, most=_MOST_ANSWERS)
        weights = np.arange(1, m + 1, dtype=np.float64) ** -s
        return cls((tuple((weights / weights.sum()).tolist()),), name=f"Zipf with exponent {s:g} over {m}")

    @classmethod
    def geometric(cls, q: float) -> Tail:
        """Each wrong answer q times as common as the one before; what remains below a share of 1e-6 is left out."""
        q = number("q", q, low=0, high=0.98)
        m = 1 if q == 0 else max(1, int(np.ceil(np.log(1e-6) / np.log(q))))
        weights = q ** np.arange(m, dtype=np.float64)
        return cls((tuple((weights / weights.sum()).tolist()),), name=f"geometric with ratio {q:g}")

    def top(self, p: float) -> float:
        """The mean share of the commonest wrong answer, of questions with success rate p."""
        first = [row[0] for row in self.shares]
        return first[0] if not self.rates else float(np.interp(p, self.rates, first))

    def to_dict(self) -> dict[str, Any]:
        """The tail as JSON data."""
        return {"name": self.name, "rates": list(self.rates), "shares": [list(row) for row in self.shares]}

    @classmethod
    def from_dict(cls, data: object, origin: str = "tail") -> Tail:
        """Build a tail from JSON data.

        Raises
        ------
        T2Error
            For a missing, unknown or malformed key.
        """
        if not isinstance(data, Mapping) or not {"shares"} <= set(data) <= {"name", "rates", "shares"}:
            raise T2Error(f"{origin}: must be an object with name, rates and shares")
        if not isinstance(data.get("name", ""), str):
            raise T2Error(f"{origin}: name must be text")
        return cls(**data)

    def __str__(self) -> str:
        return self.name


def _row(row: object) -> tuple[float, ...]:
    found = [number("shares", share, low=0, high=1) for share in items("shares", row, "shares")]
    if not 1 <= len(found) <= _MOST_ANSWERS:
        raise T2Error(f"a tail has 1 to {_MOST_ANSWERS} wrong answers, not {len(found)}")
    total = sum(found)
    if abs(total - 1) > _CLOSE:
        raise T2Error(
            f"shares sum to {total:.6g}: the shares of the wrong answers must sum to 1; divide them by their sum"
        )
    # Shares that sum to one but for rounding stay as they are, so that files come back the same.
    scale = total if abs(total - 1) > 1e-12 else 1.0
    return tuple(sorted((share / scale for share in found), reverse=True))
