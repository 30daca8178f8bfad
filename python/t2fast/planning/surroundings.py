"""A law's own optima: unlimited, within its data, and Chinchilla's; by the core where it knows the law."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from t2fast import _core
from t2fast.costs import Budget
from t2fast.errors import InfeasibleError
from t2fast.laws import Law, T2LossLaw
from t2fast.planning.design import Design, Interval, Point, from_core, value_of
from t2fast.planning.lattice import Floats, Region, best, designs_at, region_of, values
from t2fast.quantity import format_quantity

__all__ = ["STAND_IN", "Surroundings", "best_at_sizes", "from_outcome", "refuse_impossible", "surroundings"]

#: Sizes, tokens and samples beyond which no plan is looked for, but for laws of smaller models.
_EVERYTHING = Region((1e5, 1e14), (1e6, 1e18), (1.0, math.inf))
#: How far below the smallest models and shortest runs behind a law plans are looked for.
_BELOW = 10.0


#: A law that the core knows, of which only budgets are asked: what they afford depends on no law.
STAND_IN = T2LossLaw(1.0, 1.0, 1.0, 0.3, 0.3, G=1.0, gamma=0.3)


@dataclass(frozen=True)
class Surroundings:
    """What :class:`t2fast.planning.Plan` says under the same names."""

    unlimited: Design
    continuous: Design
    inside_data: Design | None
    chinchilla: Design | None
    flat_n_params: Interval | None
    gain_train: float | None
    gain_inference: float | None
    gain_total: float | None
    success: bool
    n_evaluations: int


def surroundings(law: Law, budget: Budget) -> Surroundings:
    """The optima of a law under a budget.

    Raises
    ------
    InfeasibleError
        When the budget admits no design.
    T2Error
        When N, D or k is unbounded.
    """
    if law.in_core:
        return from_outcome(law, _core.plan_budget(law._handle, budget._handle, law.data_range))
    return _by_lattice(law, budget)


def from_outcome(law: Law, outcome: _core.Plan) -> Surroundings:
    """The same from what the core returns."""
    inside, chinchilla = outcome.inside_data, outcome.chinchilla
    return Surroundings(
        unlimited=from_core(law, outcome.best),
        continuous=from_core(law, outcome.continuous),
        inside_data=None if inside is None else from_core(law, inside),
        chinchilla=None if chinchilla is None else from_core(law, chinchilla),
        flat_n_params=Interval(*outcome.flat_n_params),
        gain_train=outcome.gain_train,
        gain_inference=outcome.gain_inference,
        gain_total=outcome.gain_total,
        success=outcome.converged,
        n_evaluations=outcome.evaluations,
    )


def refuse_impossible(budget: Budget) -> None:
    """Raise as the core does for a budget that leaves something unbounded, or admits nothing at all."""
    _core.curve(STAND_IN._handle, budget._handle, np.ones(1))


def _everything(law: Law) -> Region:
    """Where plans of a law are looked for: further down for one of models smaller than language models are."""
    if law.data_range is None:
        return _EVERYTHING
    least = (law.data_range.n_params[0] / _BELOW, law.data_range.n_tokens[0] / _BELOW)
    (low_n, high_n), (low_d, high_d) = _EVERYTHING.n_params, _EVERYTHING.n_tokens
    return Region((min(low_n, least[0]), high_n), (min(low_d, least[1]), high_d), _EVERYTHING.k)


def _by_lattice(law: Law, budget: Budget) -> Surroundings:
    refuse_impossible(budget)
    count = 0

    def score(n: Floats, d: Floats, k: Floats) -> Floats:
        nonlocal count
        count += len(n)
        found = values(law, budget, n, d, k)
        return found if law.predicts_pass else -found

    region = _everything(law)
    point = best(law, budget, region, score)
    if point is None:
        n, d = (format_quantity(ends[0]) for ends in (region.n_params, region.n_tokens))
        raise InfeasibleError(f"the budget and its bounds admit no model of {n} parameters and {d} tokens: raise them")
    inside = None if law.data_range is None else best(law, budget, region_of(law.data_range), score)
    found = designs_at(law, budget, [point, *([] if inside is None else [inside])])
    return Surroundings(
        unlimited=found[0],
        continuous=found[0],
        inside_data=None if inside is None else found[1],
        chinchilla=_twenty(law, budget),
        flat_n_params=None,
        gain_train=None,
        gain_inference=None,
        gain_total=None,
        success=True,
        n_evaluations=count,
    )


def best_at_sizes(law: Law, budget: Budget, sizes: list[float]) -> list[Design]:
    """The best design at each size of a law that the core does not know; sizes without one are left out."""
    sign = 1.0 if law.predicts_pass else -1.0
    points = []
    for n in sizes:
        at = replace(_everything(law), n_params=(n, n))
        points.append(best(law, budget, at, lambda n, d, k: sign * values(law, budget, n, d, k)))
    return designs_at(law, budget, [point for point in points if point is not None])


def _twenty(law: Law, budget: Budget) -> Design | None:
    """The best design at 20 tokens per parameter, for laws that have no loss to be optimal in; k chosen last."""
    points = []
    low, high = _everything(law).n_params
    for n in np.geomspace(low, high, 1 + round(200 * math.log10(high / low))).tolist():
        d = 20.0 * n
        if d <= budget._handle.most_tokens(n, 1.0) * (1 + 1e-9):
            paid = budget._handle.most_samples(n, d)
            if min(paid, budget.max_k or math.inf) * (1 + 1e-12) >= 1:
                points.append(Point(n, d, paid))
    if not points:
        return None
    n_at, d_at, paid_at = (np.array(axis) for axis in zip(*points, strict=True))
    chosen = law.chosen_k(n_at, d_at, paid_at, budget.max_k or math.inf, budget.unique_tokens)
    points = [Point(*point[:2], k) for point, k in zip(points, chosen.tolist(), strict=True)]
    if budget.total_limit is None:
        # A budget of training alone is spent on the largest model.
        return designs_at(law, budget, points[-1:])[0]
    return (max if law.predicts_pass else min)(designs_at(law, budget, points), key=value_of)
