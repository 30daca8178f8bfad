"""The recommended design has support: intervals, neighbours, the cheapest that keeps the result, epochs, ceilings."""

from dataclasses import replace

import numpy as np
import pytest

import t2fast as t2
from t2fast.laws import Checkpoints
from t2fast.planning.evidence import ceiling_warning, intervals, nearest

BARE = replace(t2.load_law("pythia-gsm8k"), uncertainty={}, checkpoints=None)
BUDGET = t2.Budget(train_flops=1e22, inference_flops=1.4e11)
RNG = np.random.default_rng(7)
#: Draws that disagree about D: far in D/N nothing is sure.
DRAWS = {
    "B": (BARE.B * np.exp(RNG.normal(0, 0.4, 150))).tolist(),
    "beta": (BARE.beta + RNG.normal(0, 0.02, 150)).tolist(),
}
TABLE = Checkpoints(
    (1e8, 1e8, 1e9, 1e10), (3e10, 3e11, 3e11, 3e11), (1.0, 64.0, 1024.0),
    ((0.01, 0.2, 0.5), (0.01, 0.1, 0.3), (0.02, 0.4, 0.6), (0.03, 0.5, None)),
    ((0.00, 0.1, 0.4), (0.00, 0.05, 0.2), (0.01, 0.3, 0.5), (0.02, 0.4, None)),
    ((0.02, 0.3, 0.6), (0.02, 0.2, 0.4), (0.03, 0.5, 0.7), (0.04, 0.6, None)),
)  # fmt: skip
LAW = replace(BARE, uncertainty={"draws": DRAWS, "scatter": [0.4, -0.7, 0.1, -0.3, 0.5]}, checkpoints=TABLE)


def lower(law, design, budget=BUDGET):
    return intervals(law, budget, [design])[0].low


def test_the_recommendation_lies_within_the_data_and_no_grid_point_has_a_better_lower_end():
    plan = t2.plan(LAW, BUDGET)
    assert plan.extrapolation.inside
    assert plan.train_flops <= BUDGET.train_flops * (1 + 1e-9)
    assert plan.inference_flops <= BUDGET.inference_flops * (1 + 1e-9)
    low, high = plan.interval
    assert low < plan.pass_at_k < high
    few = LAW.with_fewer_draws(100)
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1.4e7, 1.2e10, 60), np.geomspace(2e9, 3e11, 60)))
    k = np.minimum(np.floor(BUDGET.inference_flops / (2 * n)), 2048)
    kept = (6 * n * d <= BUDGET.train_flops) & (k >= 1)
    brute = np.quantile(few.predictive(n[kept], d[kept], k[kept]), 0.05, axis=0).max()
    assert lower(few, plan.design) >= brute - 1e-4


def test_without_draws_the_recommendation_is_the_best_prediction_within_the_data():
    plan = t2.plan(BARE, BUDGET)
    assert plan.design == plan.inside_data
    assert plan.interval is None


def test_what_the_data_do_not_afford_falls_back_to_the_unlimited_optimum():
    plan = t2.plan(LAW, t2.Budget(train_flops=1e15, inference_flops=1.4e11))
    assert plan.design == plan.unlimited
    assert any("the recommendation extrapolates" in line for line in plan.warnings)


def test_losses_are_planned_beyond_their_data():
    plan = t2.plan("hoffmann", t2.Budget(train_flops=1e24))
    assert plan.design == plan.unlimited
    assert plan.cheapest_within_1pct is None


@pytest.mark.parametrize("budget", [BUDGET, t2.Budget(total_flops=1e21, workload=t2.Workload(queries=1e8))])
def test_the_cheapest_within_a_percent_keeps_the_result_for_less(budget):
    plan = t2.plan(LAW, budget)
    frugal = plan.cheapest_within_1pct
    assert frugal.pass_at_k >= 0.99 * plan.pass_at_k * (1 - 1e-12)
    assert frugal.train_flops < plan.train_flops
    assert frugal.extrapolation(LAW).inside
    # Nothing on a fine grid is cheaper by more than the search's resolution.
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1.4e7, 3e9, 150), np.geomspace(2e9, 3e11, 150)))
    k = np.minimum(np.floor([budget._handle.most_samples(*pair) for pair in zip(n, d, strict=True)]), 2048)
    kept = k >= 1
    enough = LAW.value(n[kept], d[kept], k[kept]) >= 0.99 * plan.pass_at_k
    assert frugal.train_flops <= 1.02 * (6 * n[kept] * d[kept])[enough].min()


def test_neighbours_are_the_nearest_with_what_was_measured_at_the_designs_k():
    design = t2.compare(LAW, [(1.2e8, 4e10, 64)]).designs[0]
    found = nearest(LAW, design)
    # Only the first is near; the nearest two are shown however far they are.
    assert [(one.n_params, one.n_tokens) for one in found] == [(1e8, 3e10), (1e8, 3e11)]
    assert (found[0].observed, found[0].low, found[0].high) == (0.2, 0.1, 0.3)
    assert found[0].predicted == pytest.approx(BARE.value(1e8, 3e10, 64))
    assert found[0].tokens_per_param == 300
    many = nearest(LAW, replace(design, n_params=9e9, n_tokens=3e11, k=5000.0))
    assert [one.k for one in many] == [64, 1024]
    assert nearest(BARE, design) == ()


def test_a_plan_as_text_and_data_holds_all_of_it():
    plan = t2.plan(LAW, BUDGET)
    data = plan.to_dict()
    assert data["interval"] == list(plan.interval)
    assert {"n_params", "n_tokens", "k", "observed", "predicted"} <= data["nearest"][0].keys()
    assert data["cheapest_within_1pct"]["train_flops"] < data["train_flops"]
    assert data["unlimited"]["extrapolation"]["n_tokens"] > 1
    text = plan.summary()
    assert max(map(len, text.splitlines())) <= 80
    for words in ("recommended", "90% interval", "cheapest within 1%", "Measured nearby", "unlimited optimum"):
        assert words in text


def test_repeated_tokens_are_said_in_epochs():
    plan = t2.plan(LAW, replace(BUDGET, unique_tokens=1e9))
    assert plan.epochs == pytest.approx(plan.n_tokens / 1e9, abs=0.01)
    assert any(line.startswith("recommended trains") and "epochs on 1B unique tokens" in line for line in plan.warnings)
    assert t2.plan(LAW, BUDGET).epochs is None


def test_tokens_per_param_are_bounded_on_request():
    for budget in (BUDGET, t2.Budget(total_flops=1e21, workload=t2.Workload(queries=1e9, answer_tokens=100))):
        plan = t2.plan(LAW, replace(budget, max_tokens_per_param=50))
        for design in (plan.design, plan.unlimited, plan.chinchilla, plan.cheapest_within_1pct):
            assert design.tokens_per_param <= 50 * (1 + 1e-9)
    with pytest.raises(t2.InfeasibleError, match="max_tokens_per_param"):
        t2.plan(LAW, replace(BUDGET, max_tokens_per_param=1e-9, max_params=100))


@pytest.mark.parametrize("ratio", [5.0, 80.0, 3000.0])
@pytest.mark.parametrize("law", [BARE, t2.T2LossLaw(1.8, 480.0, 2100.0, 0.35, 0.37, G=1.0, gamma=0.3)])
def test_no_grid_beats_the_optimum_at_a_bounded_ratio(law, ratio):
    budget = replace(BUDGET, max_tokens_per_param=ratio)
    best = t2.plan(law, budget).continuous
    n = np.geomspace(1e6, 1e11, 4001)
    d = np.minimum(BUDGET.train_flops / (6 * n), ratio * n)
    k = BUDGET.inference_flops / (2 * n)
    kept = k >= 1
    values = law.value(n[kept], d[kept], k[kept])
    if law.predicts_pass:
        assert best.pass_at_k >= values.max() - 1e-9
    else:
        assert best.loss <= values.min() + 1e-9


def test_a_low_ceiling_is_said_first():
    line = ceiling_warning(BARE, 1)
    assert line.startswith("this law can never exceed a pass@1 of 1.8%")
    assert ceiling_warning(BARE, 1000) is None
    assert ceiling_warning(t2.load_law("hoffmann"), 1) is None
    found = t2.compare(BARE, [(70e9, 1.4e12, 1), (30e9, 3e12, 10)])
    assert found.warnings[0] == line
    assert found.summary().splitlines()[2].startswith("! this law can never exceed a pass@1 of 1.8%")


def test_intervals_are_printed_wherever_a_prediction_is():
    compared = t2.compare(LAW, [(1e8, 1e11, 100), (1e9, 1e11, 10)])
    assert "90% interval" in compared.summary()
    assert compared.to_dict()["designs"][0]["interval"] == list(compared.intervals[0])
    swept = t2.frontier(LAW, t2.Budget(inference_flops=1.4e11).sweep(train_flops=[1e20, 1e21]))
    assert "90% interval" in swept.summary()
    assert max(map(len, swept.summary().splitlines())) <= 80
    grid = t2.grid_search(LAW, BUDGET, [1e8, 1e9], [1e10, 1e11], [10, 100])
    assert grid.interval == intervals(LAW, BUDGET, [grid.best])[0]
    assert "90% predictive interval of the best" in grid.summary()


def test_a_target_is_reached_within_the_data_if_it_can_be():
    plan = t2.cheapest(LAW, t2.Budget(inference_flops=1.4e11), 0.45)
    assert plan.pass_at_k >= 0.45
    assert plan.extrapolation.inside
    beyond = t2.cheapest(LAW, t2.Budget(inference_flops=1.4e11), 0.52)
    assert beyond.pass_at_k >= 0.52
    assert not beyond.extrapolation.inside
