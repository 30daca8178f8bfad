"""Plans by laws with a term of overtraining: D ends where it ceases to help, and nothing better is to be found."""

import math
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracles import laws, planning
from tests.support.strategies import budgets, chinchilla_laws, loss_laws, overtrained, pass_laws

import t2fast as t2
from t2fast import _core

#: How many random plans are held against brute force; T2FAST_PLANS=500 takes two minutes.
PLANS = int(os.environ.get("T2FAST_PLANS", "30"))

GSM8K = t2.T2PassLaw(
    0, 140000, 2220, 0.676, 0.287, F=0.137, delta=0.345, theta0=-2.433, theta1=1, theta2=1, theta3=2.148, theta4=0.763
)
LOSS = t2.T2LossLaw(1.8, 480, 2100, 0.35, 0.37, G=1.0, gamma=0.3, F=0.02, delta=0.4)
PAIR = t2.Budget(train_flops=1e22, inference_flops=1.4e11)

some_laws = overtrained(st.one_of(pass_laws(), pass_laws(falling=False), loss_laws, chinchilla_laws))


@settings(max_examples=PLANS, deadline=None)
@given(some_laws, budgets())
def test_brute_force_finds_nothing_better(law, budget):
    plan = t2.plan(law, budget)
    assert plan.success, plan.message
    best = planning.zoomed(law, budget)
    if best is None:
        return
    mine, other = (
        float(laws.value(law, n, d, k, budget.unique_tokens))
        for n, d, k in ((plan.continuous.n_params, plan.continuous.n_tokens, plan.continuous.k), best[1:])
    )
    assert planning.sign(law) * (mine - other) <= 1e-9 * max(1, abs(other))


@pytest.mark.parametrize("law", [GSM8K, LOSS], ids=lambda law: law.kind)
@pytest.mark.parametrize("unique", [None, 1e10])
def test_training_stops_where_tokens_cease_to_help(law, unique):
    plan = t2.plan(law, replace(PAIR, unique_tokens=unique))
    best = plan.continuous
    assert best.n_tokens == pytest.approx(law.most_useful_tokens(best.n_params, unique), rel=1e-6)
    assert best.train_flops < 0.9 * PAIR.train_flops
    assert plan.gain_train == pytest.approx(0, abs=1e-9)
    assert t2.plan(replace(law, F=0.0), PAIR).continuous.train_flops == pytest.approx(PAIR.train_flops)


def test_a_law_of_the_loss_alone_spends_its_budget():
    # N is free, and more of it always helps.
    law = replace(t2.load_law("hoffmann"), F=0.02, delta=0.4)
    best = t2.plan(law, t2.Budget(train_flops=1e22))
    assert best.continuous.train_flops == pytest.approx(1e22)
    assert best.n_tokens < law.most_useful_tokens(best.n_params)
    assert best.n_tokens / best.n_params < 20


@settings(max_examples=30, deadline=None)
@given(overtrained(st.one_of(loss_laws, pass_laws(falling=True))), budgets(attention=False, kinds=("pair",)))
def test_the_curve_has_the_best_tokens_at_each_size(law, budget):
    sizes = np.geomspace(1e5, 1e11, 7)
    # An isoFLOP curve spends the whole budget at each size; this one spends what helps.
    for n, found in zip(sizes.tolist(), _core.curve(law._handle, budget._handle, sizes), strict=True):
        if found is None:
            continue
        most, k = planning.most_tokens(budget, n, 1), planning.most_samples(budget, n, 1)
        ds = np.exp(np.linspace(0, math.log(most), 4000))
        scan = planning.sign(law) * laws.values(law, n, ds, k, budget.unique_tokens)
        at = float(laws.values(law, n, found.n_tokens, found.k, budget.unique_tokens))
        assert planning.sign(law) * at <= scan.min() + 1e-8 * max(1, abs(at))


def test_less_than_the_fewest_tokens_is_never_wanted_but_where_the_slope_asks_for_it():
    # A law that wants a loss near 8: the best of few questions of its kind lies beyond the fewest tokens in the data.
    law = replace(GSM8K, theta3=-44.0, theta4=6.0, data_range=t2.DataRange((1e7, 1e7), (1e10, 1e13), (1, 1000)))
    plan = t2.plan(law, t2.Budget(train_flops=1e21, max_k=1000))
    inside = plan.inside_data
    d = np.geomspace(1e10, 1e13, 20_001)
    best = np.max(law.value(1e7, d, 1000))
    assert inside is not None
    assert inside.n_tokens > law.most_useful_tokens(1e7)
    assert inside.pass_at_k == pytest.approx(best, rel=1e-6)
