"""Cascades: a cheap model first, a dear one where the verifier rejects all of the first one's samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from t2fast.choosing.ability import Ability
from t2fast.choosing.prices import Price

__all__ = ["Cascade", "best_cascade"]


@dataclass(frozen=True)
class Cascade:
    """``first_k`` samples of the first model, and ``second_k`` of the second where the verifier rejects all of those.

    Attributes
    ----------
    first, first_k, second, second_k
        The models, and their samples per question.
    result
        The share of problems with a right answer.
    lower, upper
        Its interval.
    cost
        Per question, on average, in the unit of the prices.
    gain
        What it adds to the result of the best single model for the same budget.
    probability_better
        The share of replicates in which it beats that.

    Examples
    --------
    >>> from t2fast.choosing import Price, choose
    >>> counts = {"small": (20, [0, 3, 9, 19]), "large": (20, [6, 8, 15, 20])}
    >>> found = choose(counts, {"small": Price(0, 1e-4), "large": Price(0, 1e-3)}, 3e-3)
    >>> (found.cascade.first, found.cascade.first_k), (found.cascade.second, found.cascade.second_k)
    (('small', 10), ('large', 7))
    """

    first: str
    first_k: int
    second: str
    second_k: int
    result: float
    lower: float
    upper: float
    cost: float
    gain: float
    probability_better: float

    def to_dict(self) -> dict[str, Any]:
        """The cascade as JSON data."""
        return dict(self.__dict__)

    def lines(self, cost: str) -> list[str]:
        """The cascade in words."""
        result = f"{self.result:.3f} ({self.lower:.3f} to {self.upper:.3f})"
        return [
            f"cascade: {self.first} k {self.first_k}, and where all are rejected {self.second} k {self.second_k}:",
            f"  {result} for {cost} on average; {self.gain:+.3f}, better with chance {self.probability_better:.0%}",
        ]


@dataclass(frozen=True)
class _Found:
    first: Ability
    first_k: int
    second: Ability
    second_k: int
    result: float
    cost: float


def best_cascade(abilities: Sequence[Ability], prices: Mapping[str, Price], budget: float) -> _Found | None:
    """The cascade with the best result whose average cost the budget pays for; ``None`` without one.

    A problem's failures under both models are independent given the problem, so that the product of their unbiased
    estimates is unbiased. Only samples that were drawn are counted on, none beyond.
    """
    best: _Found | None = None
    for first in abilities:
        price = prices[first.name]
        most = min(price.most_samples(budget), first.within)
        for k in _sizes(most):
            failed = 1.0 - first.by_problem(k)
            left = budget - price.of(k)
            rejected = float(failed.mean())
            for second in abilities:
                if second is first or rejected <= 0.0:
                    continue
                other = min(prices[second.name].most_samples(left / rejected), second.within)
                if other < 1:
                    continue
                result = 1.0 - float((failed * (1.0 - second.by_problem(other))).mean())
                if best is None or result > best.result:
                    cost = price.of(k) + rejected * prices[second.name].of(other)
                    best = _Found(first, k, second, other, result, cost)
    return best


def _sizes(most: int) -> list[int]:
    """Numbers of first samples worth trying: each of the first few, and a quarter more each time."""
    sizes = np.unique(np.round(np.concatenate([np.arange(1, 9), 8 * 1.25 ** np.arange(1, 60)])).astype(int))
    return [int(k) for k in sizes if k <= most]


def by_problem(found: _Found) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The chance that a cascade solves each problem."""
    failed = (1.0 - found.first.by_problem(found.first_k)) * (1.0 - found.second.by_problem(found.second_k))
    return np.asarray(1.0 - failed)
