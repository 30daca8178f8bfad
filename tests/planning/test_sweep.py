"""Sweeps of budgets and isoFLOP curves."""

import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.oracles import planning
from tests.support.plans import PAIR, PYTHIA, close, exact, value
from tests.support.strategies import budgets, loss_laws, pass_laws, powers

import t2fast as t2


def test_a_frontier_lists_plans_and_failures():
    sweep = PAIR.sweep(train_flops=[1.0, 1e20, 1e21])
    found = t2.frontier(PYTHIA, sweep)
    assert [plan.budget for plan in found.plans] == sweep[1:]
    assert found.failures[0][0] == sweep[0]
    assert "train_flops = 1 is" in found.failures[0][1]
    assert found.plans == tuple(t2.plan(PYTHIA, budget) for budget in sweep[1:])
    assert json.dumps(found.to_dict(), allow_nan=False)
    assert found.column("n_params").tolist() == [plan.n_params for plan in found.plans]


def test_an_empty_frontier_is_refused():
    with pytest.raises(t2.T2Error, match="budgets is empty"):
        t2.frontier(PYTHIA, [])


def test_an_unbounded_budget_in_a_sweep_is_an_error():
    with pytest.raises(t2.T2Error, match="unbounded"):
        t2.frontier(PYTHIA, [PAIR, t2.Budget(train_flops=1e20)])


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([PYTHIA, t2.load_law("hoffmann")]),
    st.lists(st.tuples(*[st.integers(1, 4).map(float)] * 3), max_size=12),
)
def test_pareto_is_what_comparing_all_pairs_finds(law, designs):
    from t2fast import _core

    columns = [np.array([design[i] for design in designs]) for i in range(3)]
    assert _core.pareto(law.predicts_pass, *columns).tolist() == planning.pareto(law, designs)


@settings(max_examples=60, deadline=None)
@given(st.one_of(loss_laws, pass_laws()), budgets(kinds=("pair",)), st.lists(powers(0, 12), min_size=1, max_size=20))
def test_an_isoflop_curve_spends_the_budget_at_every_size(law, budget, sizes):
    n = sorted(set(sizes))
    expected = []
    for size in n:
        # Not where exactly one sample or token is affordable, but for rounding.
        assume(abs(planning.most_samples(budget, size, 1) - 1) > 1e-9)
        assume(abs(planning.most_tokens(budget, size, 1) - 1) > 1e-9)
        d = planning.most_tokens(budget, size, 1)
        k = planning.most_samples(budget, size, d)
        if d >= 1 and k >= 1 and (budget.max_params is None or size <= budget.max_params):
            expected.append((size, d, k))
    if not expected:
        with pytest.raises(t2.InfeasibleError):
            t2.isoflop(law, budget, n)
        return
    curve = t2.isoflop(law, budget, n)
    found = np.array([(d.n_params, d.n_tokens, d.k) for d in curve.designs])
    assert found == pytest.approx(np.array(expected), rel=1e-12)
    results = [value(design) for design in curve.designs]
    assert value(curve.best) == (max(results) if law.predicts_pass else min(results))
    for design in curve.designs:
        assert close(value(design), exact(law, design, budget.unique_tokens), 1e-12)


def test_an_isoflop_curve_needs_training_flops():
    with pytest.raises(t2.T2Error, match="train_flops"):
        t2.isoflop(PYTHIA, t2.Budget(total_flops=1e20), [1e8])
    with pytest.raises(t2.T2Error, match="n_params"):
        t2.isoflop(PYTHIA, PAIR, [])


def test_a_sweep_does_not_depend_on_threads():
    sweep = PAIR.sweep(train_flops=np.geomspace(1e18, 1e24, 7), inference_flops=[1e9, 1e11])
    assert t2.frontier(PYTHIA, sweep, threads=1).plans == t2.frontier(PYTHIA, sweep, threads=4).plans


def test_an_isoflop_curve_of_a_law_without_k_leaves_out_what_one_sample_overdraws():
    curve = t2.isoflop(t2.load_law("hoffmann"), t2.Budget(train_flops=1e22, inference_flops=1e9), [1e8, 1e9, 1e10])
    assert [design.n_params for design in curve.designs] == [1e8]
