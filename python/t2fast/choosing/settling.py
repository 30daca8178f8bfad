"""What it takes to be sure which of two models is better: more samples, or more problems."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from t2fast import passk
from t2fast.choosing.ability import Ability

__all__ = ["Settling", "settling"]

#: The chance of being right that settles a choice.
_SURE = 0.95


@dataclass(frozen=True)
class Settling:
    """What would settle the choice between the best model and its nearest rival.

    Attributes
    ----------
    chosen, rival
        The best model, and the one that is most likely to be better after all.
    difference
        How much better the chosen one is.
    probability
        What counts as sure: 0.95.
    further_samples
        Further samples in all, of both models on the problems at hand, until it is settled for these problems; 0 where
        it is, ``None`` where the difference is 0.
    further_samples_chosen, further_samples_rival
        How they divide: in proportion to what is unknown about each (see :func:`t2fast.passk.allocate` for problems).
    problems_needed
        Problems in all, with as many samples each as now, until it is settled for problems of the kind.

    Examples
    --------
    >>> from t2fast.choosing import Price, choose
    >>> counts = {"a": (20, [1, 3, 9, 14]), "b": (20, [2, 8, 15, 20])}
    >>> found = choose(counts, {"a": Price(0, 1e-3), "b": Price(0, 1e-3)}, 2e-3)
    >>> found.settling.rival, found.settling.further_samples
    ('a', 0)
    """

    chosen: str
    rival: str
    difference: float
    probability: float
    further_samples: int | None
    further_samples_chosen: int | None
    further_samples_rival: int | None
    problems_needed: int | None

    def lines(self) -> list[str]:
        """In words."""
        if self.further_samples is None or self.problems_needed is None:
            return [f"no difference to {self.rival} was found: nothing to settle"]
        if self.further_samples == 0:
            here = "settled for these problems"
        else:
            more = f"{self.further_samples_chosen} more samples of {self.chosen} and {self.further_samples_rival} of"
            here = f"for these problems: {more} {self.rival} settle it"
        return [
            f"nearest rival: {self.rival}, {self.difference:.3f} behind for the same price",
            f"  {here}",
            f"  for problems of the kind: {self.problems_needed} problems settle it",
        ]


def settling(chosen: tuple[Ability, int], rival: tuple[Ability, int]) -> Settling:
    """How many more samples or problems would make it sure that the first is better than the second."""
    (one, k), (other, other_k) = chosen, rival
    difference = one.at(k)[0] - other.at(other_k)[0]
    if not difference > 0:
        return Settling(one.name, other.name, difference, _SURE, None, None, None, None)
    problems = len(one.n_samples)
    wanted = (difference / NormalDist().inv_cdf(_SURE)) ** 2
    # Squares of standard errors under new samples of the same problems.
    errors = [passk.allocate(a.n_samples, a.n_correct, at, 0).error_before for a, at in (chosen, rival)]
    now = [int(a.n_samples.sum()) for a, _ in (chosen, rival)]
    further = _further([e**2 for e in errors], now, wanted)
    spread = _problem_variance(chosen, rival)
    needed = max(2, math.ceil(problems * spread / wanted)) if math.isfinite(spread) else None
    return Settling(one.name, other.name, difference, _SURE, sum(further), further[0], further[1], needed)


def _further(variances: list[float], now: list[int], wanted: float) -> list[int]:
    """Samples to add to each model until the sum of variances, each falling as 1/n, is as wanted, at least cost."""
    if sum(variances) <= wanted:
        return [0, 0]
    # Neyman: n in proportion to the root of variance times n, but never fewer than are there.
    roots = [math.sqrt(v * n) for v, n in zip(variances, now, strict=True)]
    both = [sum(roots) * root / wanted for root in roots]
    for i, j in ((0, 1), (1, 0)):
        if both[i] < now[i]:
            left = wanted - variances[i]
            both[i], both[j] = now[i], roots[j] ** 2 / left if left > 0 else math.inf
    return [max(0, math.ceil(b - n)) for b, n in zip(both, now, strict=True)]


def _problem_variance(chosen: tuple[Ability, int], rival: tuple[Ability, int]) -> float:
    """The variance of the difference over new problems, sampled as these were."""
    if all(k <= a.within for a, k in (chosen, rival)):
        values = chosen[0].by_problem(chosen[1]) - rival[0].by_problem(rival[1])
        return float(values.var(ddof=1)) / len(values)
    return float(np.var(chosen[0].at(chosen[1])[1] - rival[0].at(rival[1])[1], ddof=1))
