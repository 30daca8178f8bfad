"""Planning by a rule: pass@k as a special case, what was published, and what is refused."""

import json

import numpy as np
import pytest

import t2fast as t2
from t2fast.laws import under_rule

BUDGET = t2.Budget(train_flops=1e20, inference_flops=1.4e11)
SMALL = t2.Budget(train_flops=3e11, inference_flops=2e6)
PERFECT = (t2.AnyCorrect(), t2.Verifier(0.0, 1.0), t2.Verifier(0.0, 1.0, "abstain"))


@pytest.mark.parametrize("rule", PERFECT)
@pytest.mark.parametrize("law", ["pythia-gsm8k", "pythia-gsm8k-average", "lab-tiny"])
def test_a_perfect_verifier_is_pass_at_k(law, rule):
    budget = SMALL if law == "lab-tiny" else BUDGET
    ruled = under_rule(t2.load_law(law), rule)
    n, d, k = np.array([1e7, 1e8, 1e9]), np.array([1e11, 1e10, 1e9]), np.array([1.0, 7.5, 900.0])
    np.testing.assert_allclose(ruled.value(n, d, k), t2.load_law(law).value(n, d, k), rtol=0, atol=1e-9)
    plain, found = t2.plan(law, budget), t2.plan(law, budget, rule=rule)
    for name in ("design", "unlimited", "inside_data", "chinchilla"):
        one, other = getattr(plain, name), getattr(found, name)
        assert other.pass_at_k == pytest.approx(one.pass_at_k, abs=1e-9)
        assert other.k == one.k
        np.testing.assert_allclose((other.n_params, other.n_tokens), (one.n_params, one.n_tokens), rtol=1e-5)


@pytest.mark.parametrize(
    ("f", "at_pass_design", "best", "times_n", "k"),
    [(0.001, 0.381, 0.401, 1.7, 504), (0.01, 0.143, 0.209, 4.2, 206), (0.05, 0.042, 0.075, 6.2, 141)],
)
def test_what_false_positives_do_to_the_optimum(f, at_pass_design, best, times_n, k):
    # The figures are rounded in the source.
    rule = t2.Verifier(f)
    plain, found = t2.plan("pythia-gsm8k", BUDGET).unlimited, t2.plan("pythia-gsm8k", BUDGET, rule=rule).unlimited
    same = t2.compare("pythia-gsm8k", [plain], rule=rule).designs[0]
    assert same.result == pytest.approx(at_pass_design, rel=0.02)
    assert same.pass_at_k == pytest.approx(plain.pass_at_k, abs=1e-12)
    assert found.result == pytest.approx(best, rel=0.02)
    assert found.n_params / plain.n_params == pytest.approx(times_n, rel=0.03)
    assert found.k == pytest.approx(k, rel=0.02)


def test_a_price_makes_the_best_k_finite_and_silence_possible():
    rule = t2.Verifier(0.05, fallback="abstain")
    ks = [t2.plan("lab-tiny", SMALL, rule=rule, wrong_cost=c).unlimited.k for c in (0, 1, 4)]
    assert ks[0] > 5 * ks[1] > 5 * ks[2] > 0
    silent = t2.plan("lab-tiny", SMALL, rule=t2.Verifier(0.5, 0.4, "abstain"), wrong_cost=20)
    assert (silent.k, silent.result, silent.pass_at_k, silent.inference_flops) == (0, 0, 0, 0)
    assert any("silence" in line for line in silent.warnings)
    assert "k 0" in str(silent.design)
    json.dumps(silent.to_dict())


def test_sampling_that_stops_pays_for_the_mean():
    rule = t2.Verifier(0.01, 0.9)
    always = t2.plan("lab-tiny", SMALL, rule=rule).unlimited
    stopping = t2.plan("lab-tiny", SMALL, rule=rule, stop_on_success=True).unlimited
    assert stopping.result > always.result
    assert stopping.samples < stopping.k
    assert stopping.inference_flops == pytest.approx(2 * stopping.n_params * stopping.samples)
    assert stopping.inference_flops <= SMALL.inference_flops * (1 + 1e-9)
    again = t2.compare("lab-tiny", [stopping], rule=rule, stop_on_success=True).designs[0]
    assert again.samples == pytest.approx(stopping.samples)


@pytest.mark.parametrize("law", ["lab-tiny", "pythia-gsm8k-average"])
def test_everything_that_plans_takes_a_rule(law):
    rule, budget = t2.Verifier(0.05, 0.9), SMALL if law == "lab-tiny" else BUDGET
    found = t2.plan(law, budget, rule=rule)
    assert 0 < found.result < found.pass_at_k
    assert found.rule == rule
    assert found.to_dict()["rule"]["false_positive"] == 0.05
    assert "Rule: verifier" in str(found)
    ways = [t2.frontier(law, [budget], rule=rule), t2.compare(law, [found.design], rule=rule)]
    n, d = found.n_params, found.n_tokens
    ways.append(t2.grid_search(law, budget, [n / 2, n], [d / 4, d], [1, found.k // 2, found.k], rule=rule))
    if law == "lab-tiny":
        ways += [t2.isoflop(law, budget, [n / 2, n], rule=rule)]
    for one in ways:
        assert one.to_dict()["rule"]["kind"] == "verifier"
        assert "pass@k" in str(one)
        assert one.rows()[0]["result"] <= found.unlimited.result + 1e-9
    reached = t2.cheapest(law, t2.Budget(inference_flops=budget.inference_flops), 0.7 * found.result, rule=rule)
    assert reached.train_flops < budget.train_flops
    assert reached.result >= 0.7 * found.result * (1 - 1e-9)


def test_intervals_carry_the_rules_own_uncertainty():
    sure = t2.Verifier(0.05)
    unsure = t2.Verifier(0.05, draws={"false_positive": np.linspace(0.005, 0.2, 50)})
    budget = t2.Budget(train_flops=1e20, inference_flops=1.4e11)
    at = (504e6, 33e9, 139)
    narrow, wide = (t2.compare("pythia-gsm8k", [at], rule=rule).intervals[0] for rule in (sure, unsure))
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)
    assert t2.plan("lab-tiny", SMALL, rule=unsure).interval is not None
    assert t2.plan("pythia-gsm8k", budget, rule=unsure).uncertainty.intervals["result"].low > 0


def test_a_grid_looks_at_every_k_where_more_may_hurt():
    rule, ks = t2.Verifier(0.05, 0.9, "abstain"), np.arange(1.0, 60.0)
    n, d = np.geomspace(1e4, 1e5, 12), np.geomspace(5e5, 1e7, 12)
    found = t2.grid_search("lab-tiny", SMALL, n, d, ks, rule=rule, wrong_cost=1, top=3, surface=True)
    paid = (6 * n[:, None] * d <= SMALL.train_flops)[..., None] & (2 * n[:, None, None] * ks <= SMALL.inference_flops)
    values = np.sort(found.surface[paid])[::-1]
    np.testing.assert_allclose([one.result for one in found.top], values[:3], rtol=0, atol=1e-11)
    assert 1 < found.best.k < 20
    assert np.nanmax(found.plane.k) < 30
    assert t2.plan("lab-tiny", SMALL, rule=rule, wrong_cost=1).unlimited.result >= found.best.result - 1e-9
    with pytest.raises(t2.T2Error, match="counts all k samples"):
        t2.grid_search("lab-tiny", SMALL, n, d, ks, rule=rule, stop_on_success=True)


@pytest.mark.parametrize(
    ("tail", "at_pass_design", "best"),
    [
        (t2.Tail.uniform(30), 0.579, 0.616),
        (t2.Tail.zipf(1.0, 30), 0.448, 0.541),
        (t2.Tail.geometric(0.5), 0.367, 0.477),
    ],
)
def test_what_votes_do_to_the_optimum(tail, at_pass_design, best):
    rule, plain = t2.Majority(tail), t2.plan("lab-tiny", SMALL).unlimited
    assert t2.compare("lab-tiny", [plain], rule=rule).designs[0].result == pytest.approx(at_pass_design, rel=0.02)
    found = t2.plan("lab-tiny", SMALL, rule=rule).unlimited
    assert found.result == pytest.approx(best, rel=0.02)
    assert found.n_params > 2 * plain.n_params


def test_scores_and_votes_plan_with_an_average_of_laws():
    for rule in (t2.BestOf(1.2), t2.Majority(t2.Tail.uniform(10))):
        found = t2.plan("pythia-gsm8k-average", BUDGET, rule=rule)
        # Two votes are worth one, so that a vote which loses to wrong answers is one sample: pass@1.
        assert 0 < found.result <= found.pass_at_k * (1 + 1e-12)
        assert (found.k == 1) == isinstance(rule, t2.Majority)
        assert np.isfinite(found.unlimited.result)
        axes = (np.geomspace(1e8, 3e9, 4), np.geomspace(5e9, 3e11, 4), np.array([1.0, 4, 16, 64, 256]))
        grid = t2.grid_search("pythia-gsm8k-average", BUDGET, *axes, rule=rule, surface=True)
        paid = 6 * axes[0][:, None] * axes[1] <= BUDGET.train_flops
        paid = paid[..., None] & (2 * axes[0][:, None, None] * axes[2] <= BUDGET.inference_flops)
        assert grid.best.result == pytest.approx(grid.surface[paid].max(), abs=1e-12)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rule": "nowhere.json"}, "no such file"),
        ({"rule": 3}, "must be a rule"),
        ({"rule": t2.Verifier(0.1), "wrong_cost": -1}, "wrong_cost = -1: must be at least 0"),
        ({"rule": t2.BestOf(1.0), "stop_on_success": True}, "stops at the first accepted"),
    ],
)
def test_what_is_no_rule_is_named(given, says):
    with pytest.raises(t2.T2Error, match=says):
        t2.plan("pythia-gsm8k", BUDGET, **given)


def test_a_law_of_losses_knows_no_success_rates():
    with pytest.raises(t2.T2Error, match="predicts losses"):
        t2.plan("hoffmann", t2.Budget(train_flops=1e21), rule=t2.Verifier(0.1))


def test_a_law_stands_under_one_rule():
    law = under_rule(t2.load_law("pythia-gsm8k"), t2.Verifier(0.01))
    assert t2.plan(law, BUDGET).rule == t2.Verifier(0.01)
    with pytest.raises(
        t2.T2Error, match=r"best-of: law pythia-gsm8k stands under a rule already \(verifier: false pos"
    ):
        t2.plan(law, BUDGET, rule=t2.BestOf(1))


def test_two_votes_are_no_better_than_one():
    """A tie of two is decided by chance, so the second vote buys nothing and is not recommended."""
    budget = t2.Budget(train_flops=1e20, inference_flops=1.4e11)
    assert t2.plan("pythia-gsm8k", budget, rule=t2.Majority(t2.Tail.zipf(1.0, 30))).k == 1


NOTHING_GAINED = [
    (t2.BestOf(0), 0), (t2.Verifier(1, 1), 0), (t2.Verifier(0.4, 0.4), 1e-6), (t2.Verifier(1, 1, "abstain"), 1e-6)
]  # fmt: skip


@pytest.mark.parametrize(("rule", "wrong_cost"), NOTHING_GAINED)
def test_where_samples_change_nothing_the_fewest_are_named(rule, wrong_cost):
    for stop in (False, True) if isinstance(rule, t2.Verifier) else (False,):
        found = t2.plan("lab-tiny", SMALL, rule=rule, wrong_cost=wrong_cost, stop_on_success=stop)
        assert {one.k for one in found.designs.values()} == {1}
        law = under_rule(t2.load_law("pythia-gsm8k-average"), rule, wrong_cost, stop)
        k = law.chosen_k(np.array([1e8, 1e9]), np.array([1e11, 1e10]), np.array([500.0, 20.0]), 1e6)
        assert k.tolist() == [1, 1]
