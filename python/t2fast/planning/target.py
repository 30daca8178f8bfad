"""The cheapest budget that reaches a target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from t2fast import _core
from t2fast.arguments import number
from t2fast.costs import Budget, as_budget
from t2fast.errors import InfeasibleError, T2Error
from t2fast.laws import DataRange, Fitted, Law, as_law, under_rule
from t2fast.planning.design import value_of
from t2fast.planning.lattice import Region, best, designs_at, least_training, region_of, values
from t2fast.planning.optimum import Plan, planned
from t2fast.planning.surroundings import refuse_impossible, surroundings
from t2fast.rules import Rule

__all__ = ["cheapest"]

#: More than any training run may cost, FLOP.
MOST_FLOPS = 1e40


def cheapest(
    law: Law | str | Path | Fitted,
    budget: Budget,
    target: float,
    *,
    rule: Rule | str | Path | None = None,
    wrong_cost: float = 0.0,
    stop_on_success: bool = False,
) -> Plan:
    """Find the cheapest design that reaches a target.

    With ``inference_flops`` in the budget, the least training cost beside it; without, the least total cost over the
    workload. The design lies within the data behind the law where one there reaches the target.

    Parameters
    ----------
    law
        As for :func:`plan`.
    budget
        Everything except ``train_flops`` and ``total_flops``, which are what is looked for.
    target
        The pass@k to reach, between 0 and 1, or the loss to fall to.
    rule, wrong_cost, stop_on_success
        How one answer will be chosen from the k samples, as for :func:`plan`.

    Returns
    -------
    Plan
        The plan at the cheapest budget; its ``budget`` holds the FLOP found.

    Raises
    ------
    InfeasibleError
        When no budget reaches the target; the message states the law's ceiling.

    Examples
    --------
    >>> found = cheapest("pythia-gsm8k", Budget(inference_flops=1.4e11), target=0.3)
    >>> found.pass_at_k >= 0.3
    True
    """
    law, budget, target = (
        under_rule(as_law(law), rule, wrong_cost, stop_on_success),
        as_budget(budget),
        number("target", target),
    )
    if not law.in_core:
        return _cheapest_measured(law, budget, target)
    wanted = "total" if budget.inference_limit is None else "train"
    wanted += "_dollars" if budget.in_dollars else "_flops"

    def at(limits: Budget) -> Budget:
        found: dict[str, Any] = {wanted: _core.cheapest(law._handle, limits._handle, target)}
        return replace(budget, **found)

    sign = 1.0 if law.predicts_pass else -1.0
    if law.data_range is not None:
        try:
            within = at(_within(budget, law.data_range))
        except InfeasibleError:
            within = None
        if within is not None:
            around = surroundings(law, within)
            inside = around.inside_data
            if inside is not None and sign * value_of(inside) >= sign * target:
                return planned(law, within, around, inside)
    found = at(budget)
    around = surroundings(law, found)
    return planned(law, found, around, around.unlimited)


def _within(budget: Budget, data: DataRange) -> Budget:
    """The budget with no more than the largest N, D and k of the data."""

    def least(limit: float | None, end: float) -> float:
        return end if limit is None else min(limit, end)

    return replace(
        budget,
        max_params=least(budget.max_params, data.n_params[1]),
        max_tokens=least(budget.max_tokens, data.n_tokens[1]),
        max_k=least(budget.max_k, data.k[1]),
    )


def _cheapest_measured(law: Law, budget: Budget, target: float) -> Plan:
    """The cheapest design of a law that the core does not know: within its data, beside a budget of inference."""
    if law.data_range is None or budget.inference_limit is None or budget.train_limit or budget.total_limit:
        raise T2Error(f"a target for a law of kind {law.kind!r} needs its data's range and inference_flops alone")
    train = "train_dollars" if budget.in_dollars else "train_flops"
    most_spent: dict[str, Any] = {train: MOST_FLOPS}
    refuse_impossible(replace(budget, **most_spent))
    region: Region = region_of(law.data_range)
    point = least_training(law, budget, region, target)
    if point is None:
        most = best(law, budget, region, lambda n, d, k: values(law, budget, n, d, k))
        if most is None:
            raise InfeasibleError("no design within the bounds of the budget and of the data; raise inference_flops")
        ceiling = float(law.value(*most))
        raise InfeasibleError(f"target = {target:g} is out of reach: the most within the data is {ceiling:.6g}")
    design = designs_at(law, budget, [point])[0]
    spent: dict[str, Any] = {train: design.costs[0]}
    within = replace(budget, **spent)
    return planned(law, within, surroundings(law, within), design)
