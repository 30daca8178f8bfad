"""Laws that the core does not know are planned by a lattice that asks for values alone."""

from dataclasses import replace

import numpy as np
import pytest

import t2fast as t2
from t2fast.laws import LawAverage
from t2fast.planning.lattice import best, region_of

LAW = replace(t2.load_law("pythia-gsm8k"), uncertainty={}, checkpoints=None)
#: An average of one law with itself is that law, but the core does not know it.
SAME = LawAverage((LAW, LAW), data_range=LAW.data_range)
OTHER = LawAverage((LAW, replace(LAW, F=0.5, delta=0.4)), data_range=LAW.data_range)
BUDGETS = [
    t2.Budget(train_flops=1e21, inference_flops=1.4e11),
    t2.Budget(total_flops=1e21, workload=t2.Workload(queries=1e8, prompt_tokens=100, answer_tokens=200)),
    t2.Budget(train_flops=1e21, inference_flops=1.4e11, unique_tokens=1e10, max_tokens_per_param=500),
]


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_lattice_finds_what_the_core_finds(budget):
    exact, searched = t2.plan(LAW, budget), t2.plan(SAME, budget)
    assert searched.design.pass_at_k == pytest.approx(exact.inside_data.pass_at_k, abs=1e-3)
    assert searched.unlimited.pass_at_k == pytest.approx(exact.unlimited.pass_at_k, abs=1e-3)
    for design in (searched.design, searched.unlimited, searched.chinchilla, searched.cheapest_within_1pct):
        assert design.train_flops <= (budget.train_flops or budget.total_flops) * (1 + 1e-9)
        assert float(design.k).is_integer()
    assert max(map(len, searched.summary().splitlines())) <= 80


def test_no_grid_finds_better():
    budget = BUDGETS[0]
    plan = t2.plan(OTHER, budget)
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1.4e7, 1.2e10, 200), np.geomspace(2e9, 3e11, 200)))
    k = np.minimum(np.floor(budget.inference_flops / (2 * n)), 2048)
    kept = (6 * n * d <= budget.train_flops) & (k >= 1)
    assert plan.pass_at_k >= OTHER.value(n[kept], d[kept], k[kept]).max() - 1e-3


def test_chinchillas_rule_stands_in_where_there_is_no_loss():
    plan = t2.plan(OTHER, BUDGETS[0])
    assert plan.chinchilla.tokens_per_param == pytest.approx(20)
    assert plan.chinchilla.train_flops == pytest.approx(1e21, rel=0.03)
    assert plan.chinchilla.loss is None
    assert "loss" not in plan.chinchilla.to_dict()


def test_grid_compare_frontier_and_figures_take_any_law():
    budget = BUDGETS[0]
    axes = np.geomspace(1e7, 1e10, 9), np.geomspace(1e9, 1e12, 9), [1, 10, 100, 1000]
    exact, searched = t2.grid_search(LAW, budget, *axes), t2.grid_search(SAME, budget, *axes, surface=True)
    assert searched.index[0].tolist() == exact.index[0].tolist()
    np.testing.assert_allclose(searched.plane.values, exact.plane.values, rtol=1e-9)
    np.testing.assert_array_equal(searched.plane.k, exact.plane.k)
    assert searched.surface.shape == (9, 9, 4)
    pair = [(1e8, 1e11, 10), (1e9, 1e11, 1)]
    for one, other in zip(t2.compare(LAW, pair).designs, t2.compare(SAME, pair).designs, strict=True):
        assert other.pass_at_k == pytest.approx(one.pass_at_k)
        assert other.train_flops == one.train_flops
    sweep = budget.sweep(train_flops=[1.0, 1e20, 1e21])
    found = t2.frontier(SAME, sweep)
    assert len(found.plans) == 2
    assert found.failures[0].budget == sweep[0]
    assert found.summary()
    pytest.importorskip("matplotlib")
    for result in (t2.plan(SAME, budget), found, searched):
        assert result.plot().axes


def test_a_target_for_a_law_that_the_core_does_not_know():
    plan = t2.cheapest(OTHER, t2.Budget(inference_flops=1.4e11), 0.1)
    assert plan.pass_at_k >= 0.1
    assert plan.budget.train_flops == pytest.approx(plan.train_flops)
    with pytest.raises(t2.InfeasibleError, match="out of reach"):
        t2.cheapest(OTHER, t2.Budget(inference_flops=1.4e11), 0.99)


def test_nothing_affordable_in_a_region_is_nothing():
    assert (
        best(LAW, t2.Budget(train_flops=1e3, inference_flops=1e9), region_of(LAW.data_range), lambda *at: at[0]) is None
    )
    with pytest.raises(t2.T2Error, match="unbounded"):
        t2.plan(SAME, t2.Budget(train_flops=1e20))
