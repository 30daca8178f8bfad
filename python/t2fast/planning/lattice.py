"""A search over a lattice of N and D that asks a law for nothing but values.

It serves where the core's exact search does not: for laws that the core does not know (averages, laws of ability), and
for scores other than the law's own value, such as the lower end of its predictive interval. k is the best of the whole
samples that the budget pays for beside N and D: all of them, unless a rule says that more hurt. A coarse lattice over
the region is followed by ever finer ones around its best point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from t2fast import _core
from t2fast.costs import Budget
from t2fast.laws import DataRange, Law
from t2fast.planning.design import Design, Point, from_core

__all__ = ["Floats", "Region", "best", "designs_at", "least_training", "region_of", "values"]

Floats = NDArray[np.float64]
#: Scores of points (N, D, k), larger is better.
Score = Callable[[Floats, Floats, Floats], Floats]

#: Points of the coarse lattice along N and along D.
_COARSE = 17
#: The same for the finer ones, each of which spans two steps of the one before to either side.
_FINE = 9
_ROUNDS = 3


@dataclass(frozen=True)
class Region:
    """Where to search: ends of N, D and k, and the largest D / N."""

    n_params: tuple[float, float]
    n_tokens: tuple[float, float]
    k: tuple[float, float]
    max_tokens_per_param: float = math.inf


def region_of(data: DataRange) -> Region:
    """The range of the data behind a law."""
    return Region(
        data.n_params, data.n_tokens, data.k, math.inf if data.tokens_per_param is None else data.tokens_per_param[1]
    )


def values(law: Law, budget: Budget, n: Floats, d: Floats, k: Floats) -> Floats:
    """The law's values at points, tokens beyond the unique ones discounted; k = 0 is silence, which brings nothing."""
    most = np.where(k == 0, 1.0, k)
    if budget.unique_tokens is None:
        found = np.asarray(law.value(n, d, most), dtype=np.float64)
    else:
        found = np.asarray(law.value_repeated(n, d, most, budget.unique_tokens), dtype=np.float64)
    return np.where(k == 0, 0.0, found)


def designs_at(law: Law, budget: Budget, points: list[Point]) -> list[Design]:
    """Designs with what a law says of them, whether or not the core knows the law."""
    if not points:
        return []
    if law.in_core and all(point.k for point in points):
        return [from_core(law, _core.evaluate(law._handle, budget._handle, *point)) for point in points]
    n, d, k = (np.array(axis, dtype=np.float64) for axis in zip(*points, strict=True))
    found = values(law, budget, n, d, k).tolist()
    passes = values(law.pass_law, budget, n, d, k).tolist()
    samples = np.where(k == 0, 0.0, law.samples_drawn(n, d, np.maximum(k, 1.0))).tolist()
    handle, ruled = budget._handle, law.pass_law is not law
    return [
        Design(
            *point,
            pass_at_k=passed if law.predicts_pass else None,
            loss=None if law.predicts_pass else value,
            train_flops=handle.train_flops(point.n_params, point.n_tokens),
            inference_flops=handle.inference_flops(point.n_params, drawn),
            train_dollars=handle.train_cost(point.n_params, point.n_tokens) if budget.in_dollars else None,
            inference_dollars=handle.inference_cost(point.n_params, drawn) if budget.in_dollars else None,
            result=value if ruled else None,
            samples=drawn if law.stops else None,
        )
        for point, value, passed, drawn in zip(points, found, passes, samples, strict=True)
    ]


def _tokens(budget: Budget, region: Region, sizes: Floats) -> tuple[Floats, Floats]:
    """The fewest and most D at each size; the most below the fewest where there is none."""
    least = np.full(len(sizes), region.n_tokens[0])
    fewest = max(1.0, region.k[0])
    paid = np.array([budget._handle.most_tokens(n, fewest) for n in sizes.tolist()])
    return least, np.minimum(np.minimum(paid, region.n_tokens[1]), region.max_tokens_per_param * sizes)


def _samples(law: Law, budget: Budget, region: Region, n: Floats, d: Floats) -> Floats:
    """The best whole k beside each N and D; NaN where not even the fewest are affordable."""
    pairs = zip(n.tolist(), d.tolist(), strict=True)
    paid = np.array([budget._handle.most_samples(one, tokens) for one, tokens in pairs])
    enough = np.floor(np.minimum(paid * (1 + 1e-12), region.k[1])) >= max(1.0, region.k[0])
    k = np.full(len(n), np.nan)
    if enough.any():
        most = region.k[1] if budget.max_k is None else min(region.k[1], budget.max_k)
        k[enough] = law.chosen_k(n[enough], d[enough], paid[enough], most, budget.unique_tokens)
    return k


def _sizes(law: Law, budget: Budget, region: Region, count: int) -> Floats:
    """Sizes evenly spread in the logarithm between the smallest and the largest that are affordable at all."""
    low, high = region.n_params
    if budget.max_params is not None:
        high = min(high, budget.max_params)

    def affordable(n: float) -> bool:
        ends = [axis[0] for axis in _tokens(budget, region, np.array([n]))]
        return (
            ends[0] <= ends[1] * (1 + 1e-12)
            and not np.isnan(_samples(law, budget, region, *np.array([[n], ends[:1]])))[0]
        )

    if low > high:
        return np.empty(0)
    if not affordable(high):
        # Costs rise with N; a bound on D / N may forbid the smallest sizes, and then the lattice finds what is left.
        inside, outside = low, high
        while outside / inside > 1.0005:
            middle = math.sqrt(inside * outside)
            inside, outside = (middle, outside) if affordable(middle) else (inside, middle)
        high = inside
    return np.geomspace(low, high, count) if high > low else np.array([low])


def _points(
    law: Law, budget: Budget, region: Region, sizes: Floats, places: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """N, D, k and place for every size and place of ln D between its ends, without what is not affordable."""
    least, most = _tokens(budget, region, sizes)
    rows = most >= least * (1 - 1e-12)
    n, place = (axis.ravel() for axis in np.meshgrid(sizes[rows], places, indexing="ij"))
    low, high = (np.repeat(np.log(end[rows]), len(places)) for end in (least, np.maximum(most, least)))
    d = np.exp(low + place * (high - low))
    # At its upper end D is what the budget pays for, in every digit.
    d = np.where(place == 1.0, np.repeat(np.maximum(most, least)[rows], len(places)), d)
    k = _samples(law, budget, region, n, d)
    kept = ~np.isnan(k)
    return n[kept], d[kept], k[kept], place[kept]


def best(law: Law, budget: Budget, region: Region, score: Score) -> Point | None:
    """The point of a region with the best score; ``None`` where the budget admits none."""
    sizes = _sizes(law, budget, region, _COARSE)
    if not len(sizes):
        return None
    step_n = math.log(sizes[-1] / sizes[0]) / (_COARSE - 1) if len(sizes) > 1 else 0.0
    places, step_place = np.linspace(0.0, 1.0, _COARSE), 1.0 / (_COARSE - 1)
    low, high = sizes[0], sizes[-1]
    found: tuple[float, Point, float] | None = None
    for _ in range(1 + _ROUNDS):
        n, d, k, place = _points(law, budget, region, sizes, places)
        if not len(n):
            break
        scores = score(n, d, k)
        top = int(np.argmax(scores))
        if found is None or scores[top] > found[0]:
            found = (float(scores[top]), Point(float(n[top]), float(d[top]), float(k[top])), float(place[top]))
        centre = math.log(found[1].n_params)
        offsets = np.linspace(-2.0, 2.0, _FINE)
        sizes = np.unique(np.clip(np.exp(centre + offsets * step_n / 2), low, high))
        places = np.unique(np.clip(found[2] + offsets * step_place / 2, 0.0, 1.0))
        step_n, step_place = step_n / 4, step_place / 4
    return None if found is None else found[1]


def least_training(law: Law, budget: Budget, region: Region, target: float) -> Point | None:
    """The point of a region with the least training cost at which a law reaches a target; ``None`` when none does."""
    sizes = _sizes(law, budget, region, 3 * _COARSE)
    sign = 1.0 if law.predicts_pass else -1.0
    found: tuple[float, Point] | None = None
    places = np.linspace(0.0, 1.0, 6 * _COARSE)
    for _ in range(1 + _ROUNDS):
        n, d, k, place = _points(law, budget, region, sizes, places)
        reached = sign * values(law, budget, n, d, k) >= sign * target
        if not reached.any():
            break
        n, d, k, place = n[reached], d[reached], k[reached], place[reached]
        costs = np.array([budget._handle.train_cost(*pair) for pair in zip(n.tolist(), d.tolist(), strict=True)])
        top = int(np.argmin(costs))
        if found is None or costs[top] < found[0]:
            found = (float(costs[top]), Point(float(n[top]), float(d[top]), float(k[top])))
        near = float(place[top])
        step_n, step_place = (math.log(sizes[-1] / sizes[0]) / max(1, len(sizes) - 1)), places[1] - places[0]
        offsets = np.linspace(-2.0, 2.0, 4 * _FINE + 1)
        sizes = np.unique(np.clip(np.exp(math.log(n[top]) + offsets * step_n), sizes[0], sizes[-1]))
        places = np.unique(np.clip(near + offsets * step_place, 0.0, 1.0))
    return None if found is None else found[1]
