"""Plans in money: exact, and 2Nk's own where nothing but matrices costs."""

import math
from dataclasses import replace

import numpy as np
import pytest

import t2fast as t2
from t2fast.costs import Card, Constants, Hardware, cost
from t2fast.errors import InfeasibleError
from t2fast.planning import compare

MODES = ("recomputed", "cached", "shared")


def question(seed):
    """A random law and a random budget in dollars that admits some design."""
    rng = np.random.default_rng(seed)
    law = t2.load_law(["pythia-gsm8k", "pythia-math", "hoffmann"][seed % 3])
    if seed % 4 == 3:
        law = t2.T2LossLaw(
            1.8, 400.0, 400.0, alpha=0.34, beta=0.28, G=10 ** rng.uniform(-2, 0.5), gamma=rng.uniform(0.1, 1)
        )
    use = t2.Workload(
        queries=10 ** rng.uniform(0, 5),
        prompt_tokens=rng.choice([0.0, 100.0, 1000.0, 4000.0]),
        answer_tokens=10 ** rng.uniform(1, 3.3),
        prompt=MODES[int(rng.integers(3))],
    )
    hardware = Hardware(
        gpu=["h100", "a100", "l40s", "b200"][int(rng.integers(4))],
        family=["pythia", "llama", "qwen"][int(rng.integers(3))],
        dtype=["bf16", "fp8"][int(rng.integers(2))],
        tensor_parallel=float(rng.choice([1, 1, 2])),
        max_batch=float(rng.choice([64, 4096])),
    )
    spent = {"train_dollars": 10 ** rng.uniform(1, 6), "dollars_per_question": 10 ** rng.uniform(-5, -1.5)}
    if seed % 5 == 4:
        spent = {"total_dollars": spent["train_dollars"] + use.queries * spent["dollars_per_question"]}
    caps = {}
    if rng.random() < 0.3:
        caps["max_seconds"] = 10 ** rng.uniform(0, 2)
    if rng.random() < 0.2:
        caps["max_watt_hours"] = 10 ** rng.uniform(-2, 1)
    return law, t2.Budget(**spent, **caps, workload=use, hardware=hardware, max_params=1e12, max_k=1e6)


def brute_force(law, budget):
    """The best value over ever finer grids of ln N and of the share of ln D, and where."""
    handle, sign = budget._handle, 1.0 if law.predicts_pass else -1.0
    total = budget.total_dollars is not None

    def at(ln_n, shares):
        n = math.exp(ln_n)
        most = handle.most_tokens(n, 1.0)
        if not most >= 1.0:
            return
        for share in shares:
            d = math.exp(share * math.log(most))
            k = handle.most_samples(n, d * (1 - 1e-15))
            if k >= 1.0:
                yield sign * float(law.value(n, d, k)), ln_n, share

    shares = np.linspace(0.3, 1.0, 71) if total else [1.0]
    best, centre, step_n, step_share = None, None, math.log(1e12) / 1200, 0.01
    for _ in range(26):
        if centre is None:
            sizes = np.linspace(0.0, math.log(1e12), 1201 if not total else 301)
            step_n = sizes[1] - sizes[0]
        else:
            sizes = centre[0] + step_n * np.linspace(-1, 1, 9)
            if total:
                shares = np.clip(centre[1] + step_share * np.linspace(-1, 1, 9), 0.0, 1.0)
            step_n, step_share = step_n / 2, step_share / 2
        points = [point for ln_n in sizes for point in at(ln_n, shares)]
        if points and (best is None or max(points)[0] > best):
            best, *centre = max(points)
        if centre is None:
            return None
    return sign * best


def point_of(design):
    return design.n_params, design.n_tokens, design.k


def assert_affordable(design, budget, seed):
    """Within every limit, by what the handle says of costs."""
    train = budget._handle.train_cost(design.n_params, design.n_tokens)
    inference = budget._handle.inference_cost(design.n_params, design.k)
    limits = (budget.train_limit, budget.inference_limit, budget.total_limit)
    for cost_of_it, limit in zip((train, inference, train + inference), limits, strict=True):
        assert limit is None or cost_of_it <= limit * (1 + 1e-9), seed


@pytest.mark.parametrize("start", range(0, 200, 25))
def test_brute_force_finds_nothing_better(start):
    found = 0
    for seed in range(start, start + 25):
        law, budget = question(seed)
        try:
            plan = t2.plan(law, budget)
        except InfeasibleError:
            assert brute_force(law, budget) is None or budget.max_seconds is not None, seed
            continue
        value = plan.continuous.pass_at_k if law.predicts_pass else plan.continuous.loss
        best = brute_force(law, budget)
        sign = 1.0 if law.predicts_pass else -1.0
        assert sign * value >= sign * best - 1e-6 * abs(best), seed
        assert_affordable(plan.continuous, budget, seed)
        assert value == pytest.approx(float(law.value(*point_of(plan.continuous))), rel=1e-12), seed
        # A grid of two unknowns creeps along ridges; in one it must find as much.
        if budget.total_dollars is None:
            assert value == pytest.approx(best, rel=1e-6), seed
        found += 1
    assert found >= 15


@pytest.mark.parametrize("seed", range(60))
def test_what_the_planner_counts_is_the_bill(seed):
    _, budget = question(seed)
    use, hardware = budget.workload, budget.hardware
    rng = np.random.default_rng(1000 + seed)
    n, k = 10 ** rng.uniform(6, 10), 10 ** rng.uniform(0, 4)
    ask = {
        "gpu": hardware.card, "prompt_tokens": use.prompt_tokens, "answer_tokens": use.answer_tokens, "k": k,
        "prompt": use.prompt, "dtype": hardware.dtype, "tensor_parallel": hardware.tensor_parallel,
        "max_batch": hardware.max_batch, "max_seconds": budget.max_seconds,
    }  # fmt: skip
    counted = budget._handle.inference_cost(n, k)
    try:
        bill = cost(hardware.shapes.architecture(n), **ask)
    except InfeasibleError:
        assert math.isinf(counted)
    else:
        assert counted == pytest.approx(use.queries * bill.dollars, rel=1e-9)
        if budget.max_seconds is not None:
            assert bill.question.latency_seconds <= budget.max_seconds * (1 + 1e-9)


def ideal(price=3.6):
    """A card without losses, on which only matrix products take time: 1e15 FLOP per second, 1000 seconds a dollar."""
    card = Card("ideal", {"bf16": 1e15}, 1e40, 1e40, dollars_per_hour=price, constants=Constants())
    return Hardware(gpu=card, family="kaplan", train_tokens=0.0, max_batch=1e12)


@pytest.mark.parametrize("law", ["pythia-gsm8k", "hoffmann"])
@pytest.mark.parametrize("kind", ["pair", "total"])
def test_with_nothing_but_matrices_a_plan_is_2nks(law, kind):
    per_dollar = 1e15 * 1000.0
    use = t2.Workload(queries=100.0, answer_tokens=50.0)
    flops = {"train_flops": 1e20, "inference_flops": 1e18} if kind == "pair" else {"total_flops": 1e20}
    priced = {"train_dollars": 1e20 / per_dollar, "dollars_per_question": 1e18 / per_dollar / 100.0}
    if kind == "total":
        priced = {"total_dollars": 1e20 / per_dollar}
    plain = t2.plan(law, t2.Budget(**flops, workload=use))
    money = t2.plan(law, t2.Budget(**priced, workload=use, hardware=ideal()))
    value = "pass_at_k" if law == "pythia-gsm8k" else "loss"
    assert getattr(money.continuous, value) == pytest.approx(getattr(plain.continuous, value), rel=1e-9)
    # The optimum is flat: its value is sure to 1e-9, its place to the root of that.
    assert money.unlimited.k == pytest.approx(plain.unlimited.k, rel=1e-3)
    assert money.unlimited.n_params == pytest.approx(plain.unlimited.n_params, rel=1e-3)


BUDGET = t2.Budget(
    train_dollars=1e4,
    dollars_per_question=1e-4,
    workload=t2.Workload(prompt_tokens=1000, answer_tokens=150),
    hardware=Hardware(price=2.5),
)


def test_a_plan_spends_what_it_says():
    plan = t2.plan("pythia-gsm8k", BUDGET)
    assert plan.continuous.inference_dollars == pytest.approx(1e-4, rel=1e-9)
    assert plan.bill.dollars == pytest.approx(plan.design.inference_dollars, rel=1e-9)
    assert plan.modes["shared"].design.k > plan.modes["cached"].design.k > plan.modes["recomputed"].design.k
    assert "card-seconds" in str(plan)


def test_card_hours_and_energy_are_budgets_too():
    hours = replace(BUDGET, train_dollars=None, train_gpu_hours=4000.0)
    assert t2.plan("pythia-gsm8k", hours).unlimited == t2.plan("pythia-gsm8k", BUDGET).unlimited
    energy = replace(BUDGET, dollars_per_question=None, max_watt_hours=0.01)
    assert t2.plan("pythia-gsm8k", energy).bill.question.watt_hours <= 0.01 * (1 + 1e-9)


def test_the_cheapest_reaches_its_target():
    budget = replace(BUDGET, train_dollars=None)
    plan = t2.cheapest("pythia-gsm8k", budget, 0.3)
    assert plan.pass_at_k >= 0.3
    assert plan.budget.train_dollars == pytest.approx(plan.budget.train_limit)
    less = replace(budget, train_dollars=plan.budget.train_dollars * 0.99)
    assert t2.plan("pythia-gsm8k", less).inside_data.pass_at_k < 0.3


def test_grids_and_frontiers_count_dollars():
    grid = t2.grid_search(
        "pythia-gsm8k", BUDGET, np.geomspace(7e7, 5e8, 40), np.geomspace(2e10, 3e11, 20), np.arange(1, 600)
    )
    plan = t2.plan("pythia-gsm8k", BUDGET)
    assert grid.best.pass_at_k <= plan.unlimited.pass_at_k
    assert grid.best.inference_dollars <= 1e-4 * (1 + 1e-9)
    front = t2.frontier("pythia-gsm8k", BUDGET.sweep(dollars_per_question=[1e-5, 1e-4, 1e-3]))
    assert front.pareto.all()
    assert "dollars" in str(front)


def test_a_comparison_in_dollars():
    found = compare("pythia-gsm8k", [(1.6e8, 3e11, 100), (4.1e8, 3e11, 40)], BUDGET.workload, BUDGET.hardware)
    assert found.designs[0].train_dollars < found.designs[1].train_dollars
    with pytest.raises(InfeasibleError, match="design 1: N = 1T does not fit"):
        compare("pythia-gsm8k", [(1e12, 3e11, 1)], BUDGET.workload, BUDGET.hardware)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_flops": 1e20}, "counts FLOP or dollars"),
        ({"train_dollars": 0.0}, "train_dollars = 0: must be above 0"),
        ({"max_seconds": -1.0}, "max_seconds = -1"),
        ({"dollars_per_question": "much"}, "dollars_per_question = 'much'"),
        ({"hardware": "h100"}, "must be a t2fast.costs.Hardware"),
    ],
)
def test_bad_budgets_are_named(change, message):
    with pytest.raises(t2.T2Error, match=message):
        replace(BUDGET, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_seconds": 1e-3}, "max_seconds"),
        ({"dollars_per_question": 1e-12}, "dollars_per_question = 1e-12 is too small"),
        ({"train_dollars": None}, "train_dollars, total_dollars or max_tokens"),
    ],
)
def test_what_no_design_meets_is_said(change, message):
    with pytest.raises(t2.T2Error, match=message):
        t2.plan("pythia-gsm8k", replace(BUDGET, **change))
