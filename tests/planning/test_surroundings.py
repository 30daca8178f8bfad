"""A law's own optima: exact, whatever the law, the budget and the bounds."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.oracles import laws, planning
from tests.support.plans import PAIR, PYTHIA, better_by, close, exact, meets, value
from tests.support.strategies import any_laws, budgets, loss_laws, pass_laws, powers

import t2fast as t2
from t2fast import fitting
from t2fast.datasets import load_lab


@settings(max_examples=60, deadline=None)
@given(any_laws, budgets())
def test_no_dense_scan_finds_a_better_optimum(law, budget):
    plan = t2.plan(law, budget)
    mine = plan.continuous
    assert meets(budget, mine)
    assert plan.success, plan.message
    assert close(value(mine), exact(law, mine, budget.unique_tokens), 1e-12)
    _, n, d, k = planning.optimum(law, budget, 40)
    other = float(laws.value(law, n, d, max(k, 1.0), budget.unique_tokens))
    assert better_by(law, value(mine), other) >= -1e-9 * max(1.0, abs(other))


@settings(max_examples=200, deadline=None)
@given(any_laws, budgets(), st.data())
def test_exact_beats_or_equals_every_grid(law, budget, data):
    axis = lambda low, high: sorted(set(data.draw(st.lists(powers(low, high), min_size=1, max_size=12))))  # noqa: E731
    n, d = axis(4, 11), axis(6, 13)
    k = sorted({1, *data.draw(st.lists(st.integers(1, 20_000), min_size=1, max_size=12))})
    plan = t2.plan(law, budget)
    assert meets(budget, plan.design)
    assert float(plan.design.k).is_integer()
    tolerance = 1e-9 * max(1.0, abs(value(plan.continuous)))
    assert better_by(law, value(plan.continuous), value(plan.design)) >= -tolerance
    for other in (plan.chinchilla, plan.inside_data):
        if other is not None:
            assert meets(budget, other)
            assert better_by(law, value(plan.design), value(other)) >= -tolerance
    try:
        grid = t2.grid_search(law, budget, n, d, k)
    except t2.InfeasibleError:
        return
    assert better_by(law, value(plan.continuous), value(grid.best)) >= -tolerance


@settings(max_examples=60, deadline=None)
@given(any_laws, budgets(), st.floats(1.01, 100), st.sampled_from(["train_flops", "inference_flops", "total_flops"]))
def test_more_budget_never_hurts(law, budget, factor, name):
    assume(getattr(budget, name) is not None)
    less, more = t2.plan(law, budget), t2.plan(law, replace(budget, **{name: factor * getattr(budget, name)}))
    tolerance = 1e-9 * max(1.0, abs(value(less.continuous)))
    assert better_by(law, value(more.continuous), value(less.continuous)) >= -tolerance
    assert better_by(law, value(more.design), value(less.design)) >= -tolerance
    for gain in (less.gain_train, less.gain_inference, less.gain_total):
        assert gain is None or gain >= -tolerance


@settings(max_examples=60, deadline=None)
@given(any_laws, budgets(kinds=("pair",)), st.integers(1, 12))
def test_more_queries_for_more_flops_change_nothing(law, budget, power):
    # A power of two scales without rounding, so that the two problems are the same in every digit.
    use = replace(budget.workload, queries=budget.workload.queries * 2**power)
    scaled = replace(budget, workload=use, inference_flops=budget.inference_flops * 2**power)
    one, other = t2.plan(law, budget), t2.plan(law, scaled)
    for name in ("n_params", "n_tokens", "k", "pass_at_k", "loss"):
        assert getattr(one, name) == getattr(other, name)


def test_ten_times_the_queries_for_ten_times_the_flops():
    scaled = replace(PAIR, workload=t2.Workload(queries=10), inference_flops=1.4e12)
    one, other = t2.plan(PYTHIA, PAIR), t2.plan(PYTHIA, scaled)
    assert one.k == other.k
    assert one.n_params == pytest.approx(other.n_params, rel=1e-6)
    assert one.pass_at_k == pytest.approx(other.pass_at_k, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.one_of(loss_laws, pass_laws()), budgets(attention=False, kinds=("pair",)))
def test_the_flat_interval_is_where_results_are_within_a_percent(law, budget):
    plan = t2.plan(law, budget)
    best = value(plan.continuous)
    assume(abs(best) > 1e-6)
    low, high = plan.flat_n_params
    assert low <= plan.continuous.n_params * (1 + 1e-9)
    assert high >= plan.continuous.n_params * (1 - 1e-9)

    def best_at(n):
        most = planning.most_tokens(budget, n, 1)
        k = planning.most_samples(budget, n, 1)
        if most < 1 or k < 1:
            return None
        ds = np.exp(np.linspace(0, math.log(most), 20_000))
        results = laws.values(law, n, ds, k, budget.unique_tokens)
        return results.max() if law.predicts_pass else results.min()

    for n, inside in ((low * 1.002, True), (high / 1.002, True), (low / 1.01, False), (high * 1.01, False)):
        at = best_at(n)
        if at is not None and (budget.max_params is None or n <= budget.max_params) and n >= 1 and low * 1.01 < high:
            loss_of_result = better_by(law, best, at)
            assert (loss_of_result <= 0.0101 * abs(best)) if inside else (loss_of_result >= 0.0099 * abs(best))


@pytest.mark.parametrize(("name", "field"), [("train_flops", "gain_train"), ("inference_flops", "gain_inference")])
def test_gains_are_what_one_percent_more_brings(name, field):
    for law in (PYTHIA, t2.T2LossLaw(1.8, 480, 2100, 0.35, 0.37, G=1.0, gamma=0.3)):
        before = t2.plan(law, PAIR)
        after = t2.plan(law, replace(PAIR, **{name: 1.01 * getattr(PAIR, name)}))
        expected = better_by(law, value(after.continuous), value(before.continuous))
        assert getattr(before, field) == pytest.approx(expected, rel=1e-5)
    assert before.gain_total is None


def test_bounds_are_kept_to_the_last_digit():
    for size in (7e9, 352184262.1736882, 28954054.874147907):
        plan = t2.plan(t2.load_law("hoffmann"), t2.Budget(train_flops=1e25, max_params=size))
        assert plan.n_params <= size


def test_a_ridge_between_bounds_is_followed_to_its_end():
    # One budget for both, while D and k meet their own bounds: the optimum lies where three kinks cross.
    law = t2.T2LossLaw(0.0, 173.4707589520833, 22906.143657091383, 0.5365573693360179, 0.693036383807506,
                       G=4.6525855547589305, gamma=0.7480849598442716)  # fmt: skip
    budget = t2.Budget(total_flops=1.000000002e15, max_params=1e8, max_tokens=1e8, max_k=461, unique_tokens=1e8)
    plan = t2.plan(law, budget)
    assert plan.success
    # D and k at their bounds, and all the rest for parameters.
    n = 1.000000002e15 / (6e8 + 2 * 461)
    assert plan.continuous.loss == pytest.approx(float(laws.value(law, n, 1e8, 461)), rel=1e-9)


def test_a_corner_where_all_splits_are_one_is_no_trap():
    # At the largest N only k = 1 is affordable, however the budget is split; a little below, the split matters.
    law = t2.T2LossLaw(2.85, 10.0, 10.0, 0.5, 0.588, G=0.0316558597079989, gamma=0.1729807156906617)
    budget = t2.Budget(train_flops=5.236e20, inference_flops=2e6, total_flops=2.618e20)
    _, n, d, k = planning.optimum(law, budget, 60)
    assert t2.plan(law, budget).continuous.loss <= float(laws.value(law, n, d, k)) + 1e-9


def test_fewer_tokens_than_affordable_may_be_best():
    # With theta4 > 0 a lower loss can hurt; where k is at its bound, budget is then better left unspent.
    law = t2.T2PassLaw(0.0, 10**3.5, 10**3.5, 0.4765625, 0.625, theta0=0, theta1=1.5, theta2=1, theta3=0, theta4=1)
    budget = t2.Budget(train_flops=1e15, inference_flops=2e7, total_flops=5.0000001e14)
    _, n, d, k = planning.optimum(law, budget, 60)
    assert t2.plan(law, budget).continuous.pass_at_k >= float(laws.value(law, n, d, k)) - 1e-9


@settings(max_examples=100, deadline=None)
@given(any_laws, budgets())
def test_unlimited_by_unique_tokens_nothing_is_discounted(law, budget):
    plenty, none = replace(budget, unique_tokens=1e30), replace(budget, unique_tokens=None)
    one, other = t2.plan(law, plenty), t2.plan(law, none)
    assert value(one.continuous) == pytest.approx(value(other.continuous), rel=1e-9, abs=1e-12)


def test_a_law_without_k_has_a_chinchilla_design_that_trains_under_a_total_budget():
    life = t2.Workload(queries=1e9, prompt_tokens=200, answer_tokens=1000)
    plan = t2.plan(t2.load_law("hoffmann"), t2.Budget(total_flops=1e22, workload=life))
    assert plan.chinchilla.loss == pytest.approx(plan.loss, rel=0.05)
    assert plan.chinchilla.loss >= plan.loss


def test_data_of_a_single_size_leave_tokens_to_choose():
    law = replace(PYTHIA, data_range=t2.DataRange((75e6, 75e6), (2e9, 3e13), (1, 1e4)))
    life = t2.Workload(queries=1e9, prompt_tokens=500, answer_tokens=300)
    inside = t2.plan(law, t2.Budget(total_flops=1e22, workload=life)).inside_data
    axes = ([75e6], np.geomspace(2e9, 3e13, 2000), np.arange(1, 1000))
    grid = t2.grid_search(law, t2.Budget(total_flops=1e22, workload=life), *axes)
    assert inside.pass_at_k >= grid.best.pass_at_k


def test_where_five_bounds_meet_the_real_k_is_no_worse_than_the_whole_one():
    theta = {"theta0": 2.7503070706417034, "theta1": 1.0, "theta2": 0.5112431501245707}
    theta |= {"theta3": 1.1657135099546698, "theta4": 0.9804237882266902}
    base = {"E": 2.2800834653760207, "A": 17.286435093126766, "B": 59223.11018329526}
    law = t2.T2PassLaw(**base, alpha=0.34512998466853134, beta=0.6999999999999998, **theta)
    budget = t2.Budget(
        train_flops=9.298717586966555e17,
        inference_flops=2e6,
        total_flops=4.6493587934932774e17,
        max_params=1e6,
        max_tokens=9078708769907.365,
        max_k=105,
    )
    plan = t2.plan(law, budget)
    assert plan.continuous.pass_at_k >= plan.pass_at_k - 1e-9


def test_the_ridge_where_samples_end_to_be_affordable_is_climbed_to_its_top():
    theta = {"theta0": 0.0, "theta1": 3.7909120661878757, "theta2": 1 / 3, "theta3": 0.0, "theta4": 0.17419964484982042}
    law = t2.T2PassLaw(0.0, 3714.2307569427635, 676.9553640762243, 0.6002676213146808, 1 / 3, **theta)
    use = {"queries": 2818.485288286266, "prompt_tokens": 0.0, "answer_tokens": 17.277461673428196}
    attention = t2.Attention(aspect_ratio=111.08249884915176, train_context=602.341670971052)
    budget = t2.Budget(
        train_flops=3.3499076540398027e19,
        inference_flops=2.696539921922736e16,
        total_flops=1.6763020969808628e19,
        workload=t2.Workload(**use, prompt="recomputed", attention=attention),
        max_params=512463601.9014588,
    )
    plan = t2.plan(law, budget)
    assert plan.continuous.pass_at_k >= plan.pass_at_k * (1 - 1e-12)


def test_an_optimum_at_the_corner_of_tokens_and_budget_is_found():
    # Near the largest N that still affords max_tokens, the samples left fall from thousands to one within 0.01% of N.
    law = t2.T2LossLaw(1 / 3, 3572.9, 2018.3, alpha=0.5673, beta=0.6254, G=0.10938, gamma=1.1311)
    budget = t2.Budget(
        total_flops=3.9e16,
        workload=t2.Workload(queries=1.0, prompt_tokens=0.0, answer_tokens=1.0),
        max_tokens=2e7,
    )
    plan = t2.plan(law, budget)
    assert plan.continuous.n_tokens == pytest.approx(2e7, rel=1e-9)
    # Along that corner one unknown is left.
    n = np.linspace(0.9, 1.0, 2_000_001) * 3.9e16 / (6 * 2e7)
    k = (3.9e16 - 6 * 2e7 * n) / (2 * n)
    best = np.min(np.where(k >= 1, laws.values(law, n, 2e7, np.maximum(k, 1.0)), np.inf))
    assert plan.continuous.loss <= best


def test_k_beyond_the_resolution_of_floating_point_is_still_planned():
    theta = {
        "theta0": 1.6,
        "theta1": 3.585744276718213,
        "theta2": 0.73,
        "theta3": 3.12,
        "theta4": 1.9953712510083004e-15,
    }
    law = t2.T2PassLaw(0.7, 1014.8490144804948, 93753.010435791, 0.25, 0.20424222196829217, **theta)
    use = t2.Workload(queries=17.770019293322505, prompt_tokens=20.163809688767937, answer_tokens=10.0**0.25)
    for flops in np.geomspace(1e23, 2e23, 50):
        plan = t2.plan(law, t2.Budget(total_flops=flops, max_tokens=1e7, workload=replace(use, prompt="recomputed")))
        assert plan.k > 2**53


def test_a_mean_of_forms_of_small_models_plans_models_as_small():
    """The laws of a laboratory describe models far below 100k parameters and 1M tokens."""
    law = fitting.average_table(load_lab().counts, n_resamples=0).law
    plan = t2.plan(law, t2.Budget(train_flops=1e10, inference_flops=2e5))
    assert law.data_range.n_params[0] <= plan.design.n_params < 1e5
    assert plan.unlimited.n_params < 1e5
    assert plan.chinchilla.tokens_per_param == pytest.approx(20)
    with pytest.raises(t2.T2Error, match=r"admit no model of \d+ parameters and [\d.]+k tokens"):
        t2.plan(law, t2.Budget(train_flops=1e6, max_k=8))
