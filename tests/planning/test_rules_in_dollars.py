"""Plans and cheapest budgets by a rule, in dollars, against every whole number of samples on grids of N and D."""

from dataclasses import replace

import numpy as np
import pytest

import t2fast as t2
from t2fast.costs import Hardware
from t2fast.errors import InfeasibleError
from t2fast.laws import under_rule

VOTE = t2.Majority(t2.Tail.zipf(1.0, 10))
RISING = t2.Majority(t2.Tail([[0.5, 0.5], [0.8, 0.2]], rates=[0.1, 0.7]))
#: A rule, what a wrong answer costs, and whether sampling stops at an accepted answer.
RULES = {
    "verifier, else a rejected sample": (t2.Verifier(0.05, 0.9), 0.0, False),
    "verifier, else silence": (t2.Verifier(0.01, 0.8, "abstain"), 0.0, False),
    "verifier, else a rejected sample, price": (t2.Verifier(0.05, 0.9), 0.5, False),
    "verifier, else silence, price": (t2.Verifier(0.05, 0.9, "abstain"), 1.0, False),
    "verifier that mostly errs, price": (t2.Verifier(0.5, 0.4, "abstain"), 20.0, False),
    "verifier with a slope, price": (t2.Verifier(0.1, 0.9, "abstain", slope=0.8), 2.0, False),
    "verifier, stops": (t2.Verifier(0.05, 0.9), 0.0, True),
    "verifier, else silence, price, stops": (t2.Verifier(0.05, 0.9, "abstain"), 1.0, True),
    "best of k": (t2.BestOf(1.2), 0.0, False),
    "best of k, price": (t2.BestOf(1.2), 0.5, False),
    "vote": (VOTE, 0.0, False),
    "vote, price": (RISING, 0.5, False),
}
MOST_K = 3000


def question(seed, price):
    """A law, and a random budget in dollars; by the published law all are silent where wrong answers cost something."""
    rng = np.random.default_rng(seed)
    law = t2.load_law("pythia-gsm8k")
    if price:
        able = {"theta0": 1.5, "theta1": 2.0, "theta2": 0.9, "theta3": 1.0, "theta4": -0.2}
        law = law.with_coefficients(law.coefficients | able)
    use = t2.Workload(
        queries=10 ** rng.uniform(1, 5), prompt_tokens=rng.choice([0.0, 100.0, 1000.0]),
        answer_tokens=10 ** rng.uniform(1, 3), prompt=["recomputed", "cached", "shared"][seed % 3],
    )  # fmt: skip
    hardware = Hardware(gpu=["h100", "a100", "l40s"][seed % 3], family="pythia")
    spent = {"train_dollars": 10 ** rng.uniform(1, 5), "dollars_per_question": 10 ** rng.uniform(-4.5, -2)}
    if seed % 2:
        spent = {"total_dollars": spent["train_dollars"] + use.queries * spent["dollars_per_question"]}
    return law, t2.Budget(**spent, workload=use, hardware=hardware, max_params=1e12, max_k=MOST_K)


def best_of_grids(law, budget, sizes, rounds):
    """The most that the law says of any affordable point, on grids of N and D ever finer around it; 0 is silence."""
    handle = budget._handle
    # Every whole number up to 64, and a hundred more.
    ks = np.unique(np.concatenate([np.arange(1, 65), np.geomspace(64, MOST_K, 101).round()]))
    # What is worth something may be a small part of a coarse grid that is otherwise worth less than silence.
    best, centre = -np.inf, None
    low, high = np.array([np.log(1e6), 0.3]), np.array([np.log(1e12), 1.0])
    for number in range(rounds):
        points = []
        shares = np.linspace(low[1], high[1], sizes // 2 + 1)
        if number == 0:
            # Where questions are few nearly all is spent on training.
            shares = np.union1d(shares, 1 - np.geomspace(1e-7, 0.02, 12))
        for n in np.exp(np.linspace(low[0], high[0], sizes)):
            most = handle.most_tokens(n, 1.0)
            if not most >= 1.0:
                continue
            for share in shares:
                d = most**share * (1 - 1e-12)
                paid = handle.most_samples(n, d)
                if paid >= 1.0:
                    points.append((n, d, min(paid, MOST_K), share))
        if not points:
            break
        n, d, paid, share = (column[:, None] for column in np.array(points).T)
        # The largest that is paid for, and the odd number below it.
        last = np.floor(paid * (1 + 1e-12))
        k = np.concatenate([np.broadcast_to(ks, (len(n), len(ks))), last, np.maximum(last - 1, 1)], axis=1)
        points = [column.ravel() for column in np.broadcast_arrays(n, d, k)]
        drawn = law.samples_drawn(*points).reshape(k.shape)
        values = np.where(drawn <= paid * (1 + 1e-12), law.value(n, d, k), -np.inf)
        at = np.unravel_index(int(np.argmax(values)), values.shape)
        if values[at] > best:
            best, centre = values[at], (np.log(n[at[0], 0]), share[at[0], 0])
        if centre is None:
            break
        width = (high - low) / sizes * 3
        low, high = np.array(centre) - width / 2, np.array(centre) + width / 2
        high[1] = min(high[1], 1.0)
    return max(best, 0.0) if law.wrong_cost > 0 else best


def check(rule, price, stop, seeds, sizes, rounds):
    """Plans are not beaten and spend what they may; how many there were, and by how much the grids fell short."""
    planned, worst = 0, -np.inf
    for seed in seeds:
        law, budget = question(seed, price)
        ruled = under_rule(law, rule, price, stop)
        try:
            found = t2.plan(law, budget, rule=rule, wrong_cost=price, stop_on_success=stop)
        except InfeasibleError:
            assert not np.isfinite(best_of_grids(ruled, budget, sizes, 1)), seed
            continue
        best, design = best_of_grids(ruled, budget, sizes, rounds), found.unlimited
        worst = max(worst, best - design.result)
        assert best <= design.result + 1e-6, (seed, best, design)
        assert best >= 0.9 * design.result - 0.01, (seed, best, design)
        if design.k == 0:
            assert (design.result, design.inference_dollars) == (0, 0)
            continue
        point = design.n_params, design.n_tokens, design.k
        assert design.result == pytest.approx(float(ruled.value(*point)), abs=1e-9), seed
        assert design.pass_at_k == pytest.approx(float(law.value(*point)), abs=1e-9), seed
        limits = (budget.train_limit, budget.inference_limit, budget.total_limit)
        drawn = design.samples if stop else design.k
        spent = budget._handle.train_cost(*point[:2]), budget._handle.inference_cost(point[0], drawn)
        for cost, limit in zip((*spent, sum(spent)), limits, strict=True):
            assert limit is None or cost <= limit * (1 + 1e-9), seed
        planned += 1
    return planned, worst


@pytest.mark.parametrize("name", RULES)
def test_no_grid_beats_a_plan(name):
    planned, _ = check(*RULES[name], range(3), sizes=14, rounds=5)
    assert planned >= 1 or name == "verifier that mostly errs, price"


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
def test_no_finer_grid_beats_a_plan_over_fifty_budgets(name):
    planned, worst = check(*RULES[name], range(100, 150), sizes=60, rounds=8)
    print(f"{name}: {planned} plans, grid less plan at most {worst:.1e}")
    assert planned >= 25 or name == "verifier that mostly errs, price"


@pytest.mark.parametrize("name", RULES)
def test_the_cheapest_reaches_its_target_and_nothing_cheaper_does(name):
    rule, price, stop = RULES[name]
    by = {"rule": rule, "wrong_cost": price, "stop_on_success": stop}
    for seed in (0, 2):
        law, budget = question(seed, price)
        law = replace(law, data_range=None)
        plan = t2.plan(law, budget, **by)
        if plan.result <= 0:
            continue
        target = 0.8 * plan.result
        rest = {"workload": budget.workload, "hardware": budget.hardware, "max_params": 1e12, "max_k": MOST_K}
        open_ended = t2.Budget(dollars_per_question=budget.dollars_per_question, **rest)
        found = t2.cheapest(law, open_ended, target, **by)
        assert found.result >= target * (1 - 1e-9)
        assert found.budget.train_dollars < budget.train_dollars
        less = t2.Budget(
            train_dollars=found.budget.train_dollars * 0.999, dollars_per_question=budget.dollars_per_question, **rest
        )
        try:
            assert t2.plan(law, less, **by).result < target
            assert best_of_grids(under_rule(law, rule, price, stop), less, 16, 4) < target
        except InfeasibleError:
            assert best_of_grids(under_rule(law, rule, price, stop), less, 16, 1) <= 0


USE = t2.Workload(prompt_tokens=1000, answer_tokens=150, prompt="cached")
BUDGET = t2.Budget(train_dollars=1e4, dollars_per_question=1e-4, workload=USE, hardware=Hardware(price=2.5))


def test_the_bill_of_sampling_that_stops_is_for_the_samples_drawn():
    found = t2.plan("pythia-gsm8k", BUDGET, rule=t2.Verifier(0.01, 0.9), stop_on_success=True)
    assert found.design.samples < found.k
    assert found.bill.dollars == pytest.approx(found.design.inference_dollars, rel=1e-9)
    assert found.bill.dollars <= 1e-4 * (1 + 1e-9)
    assert found.modes["cached"].dollars_per_question == pytest.approx(found.bill.dollars)
    assert "samples drawn on average" in str(found)


@pytest.mark.parametrize("law", ["pythia-gsm8k", "pythia-gsm8k-average"])
def test_silence_costs_nothing_and_has_no_bill(law):
    rule, price = t2.Verifier(0.5, 0.4, "abstain"), 20
    found = t2.plan(law, BUDGET, rule=rule, wrong_cost=price)
    assert (found.k, found.result, found.bill) == (0, 0, None)
    assert {one.costs[1] for one in found.designs.values()} == {0}
    assert {one.dollars_per_question for one in found.modes.values()} == {0}
    assert "silence, k = 0, is best" in str(found)
    in_flops = t2.Budget(train_flops=1e20, inference_flops=1e14, workload=USE)
    assert t2.plan(law, in_flops, rule=rule, wrong_cost=price).inference_flops == 0
