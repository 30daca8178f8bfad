"""Plans and their inverse: what is recommended, said and refused."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.support.plans import PAIR, PYTHIA, better_by, value
from tests.support.strategies import budgets, loss_laws, pass_laws

import t2fast as t2


def test_the_optimum_of_a_law_with_known_answers():
    # A latent-loss fit to the same counts as the preset, by SciPy and rounded, whose optimum was found independently.
    scales = {"A": 0.457 * 1e9**0.528, "B": 0.3805 * 1e11**0.514}
    theta = {"theta0": -3.39, "theta1": 1.0, "theta2": 0.5506, "theta3": 3.243, "theta4": 0.794}
    best = t2.plan(t2.T2PassLaw(E=0.0, alpha=0.528, beta=0.514, **scales, **theta), PAIR)
    assert best.n_params == pytest.approx(8.0e7, rel=0.01)
    assert best.tokens_per_param == pytest.approx(2.6e3, rel=0.02)
    assert best.k == pytest.approx(875, abs=10)
    assert best.pass_at_k == pytest.approx(0.48, abs=0.005)
    assert best.chinchilla.pass_at_k == pytest.approx(0.32, abs=0.005)
    assert 65 <= best.chinchilla.tokens_per_param <= 71
    assert best.success


def test_the_unlimited_optimum_is_beyond_the_data_and_says_so():
    plan = t2.plan(PYTHIA, t2.Budget(train_flops=1e22, inference_flops=1.4e11))
    assert plan.unlimited.n_tokens == pytest.approx(1.6e13, rel=0.05)
    assert plan.unlimited.extrapolation(PYTHIA).n_tokens == pytest.approx(plan.unlimited.n_tokens / 300e9)
    assert any("D = 15.7T is 52 times the largest in the data (300B)" in line for line in plan.warnings)
    assert plan.extrapolation.inside
    assert plan.inside_data.extrapolation(PYTHIA).inside
    assert plan.inside_data.n_tokens <= 300e9 * (1 + 1e-9)


def test_chinchillas_closed_form():
    law = t2.load_law("chinchilla-240")
    best = t2.plan(law, t2.Budget(train_flops=5.76e23))
    # Hoffmann et al. 2022, equation 4.
    power = law.beta / (law.alpha + law.beta)
    g = (law.alpha * law.A / (law.beta * law.B)) ** (1 / (law.alpha + law.beta))
    assert best.n_params == pytest.approx(g * (5.76e23 / 6) ** power, rel=1e-6)
    assert best.k == 1


@settings(max_examples=25, deadline=None)
@given(st.one_of(loss_laws, pass_laws()), budgets(kinds=("pair",)), st.booleans())
def test_cheapest_is_cheapest(law, budget, at_fixed_inference):
    target = value(t2.plan(law, budget).design)
    if law.predicts_pass:
        assume(0.001 < target < 0.999)
    question = replace(budget, train_flops=None)
    if not at_fixed_inference:
        question = replace(question, inference_flops=None)
    found = t2.cheapest(law, question, target)
    name = "train_flops" if at_fixed_inference else "total_flops"
    assert better_by(law, value(found), target) >= -1e-9 * abs(target)
    if at_fixed_inference:
        assert found.budget.train_flops <= budget.train_flops * (1 + 1e-6)
    assert found.budget.inference_flops == question.inference_flops
    less = replace(found.budget, **{name: 0.999 * getattr(found.budget, name)})
    try:
        cheaper = t2.plan(law, less)
    except t2.InfeasibleError:
        return
    assert better_by(law, value(cheaper), target) <= 1e-9 * abs(target)


def test_cheapest_states_the_ceiling():
    with pytest.raises(t2.InfeasibleError) as error:
        t2.cheapest(PYTHIA, t2.Budget(inference_flops=1.4e11), 0.9999)
    ceiling = float(str(error.value).split("within the bounds is ")[1].split(",")[0])
    assert "target = 0.9999" in str(error.value)
    assert 0.5 < ceiling < 0.9999
    with pytest.raises(t2.InfeasibleError):
        t2.cheapest(PYTHIA, t2.Budget(inference_flops=1.4e11), ceiling + 1e-5)
    assert t2.cheapest(PYTHIA, t2.Budget(inference_flops=1.4e11), ceiling - 1e-3).pass_at_k >= ceiling - 1e-3
    with pytest.raises(t2.InfeasibleError, match=r"1\.69"):
        t2.cheapest(t2.load_law("hoffmann"), t2.Budget(), 1.69)


@pytest.mark.parametrize("target", [0.0, 1.0, -0.5, 2.0, math.nan, math.inf])
def test_cheapest_refuses_targets_that_are_no_rates(target):
    with pytest.raises(t2.T2Error, match=r"target = .*must"):
        t2.cheapest(PYTHIA, t2.Budget(inference_flops=1.4e11), target)


def test_cheapest_names_a_target_that_is_no_number():
    with pytest.raises(t2.T2Error, match="target = 'high'"):
        t2.cheapest(PYTHIA, t2.Budget(inference_flops=1.4e11), "high")


def test_cheapest_refuses_what_it_is_to_find():
    with pytest.raises(t2.T2Error, match="train_flops"):
        t2.cheapest(PYTHIA, PAIR, 0.3)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (t2.Budget(train_flops=5, inference_flops=1e9), ["train_flops = 5", "needs 6"]),
        (t2.Budget(train_flops=1e20, inference_flops=1), ["inference_flops = 1", "needs 2"]),
        (t2.Budget(total_flops=7), ["total_flops = 7", "needs 8"]),
    ],
)
def test_a_budget_too_small_for_one_sample_of_one_parameter(budget, words):
    with pytest.raises(t2.InfeasibleError) as error:
        t2.plan(PYTHIA, budget)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("budget", "what"),
    [
        (t2.Budget(), "tokens"),
        (t2.Budget(inference_flops=1e11), "training tokens is unbounded"),
        (t2.Budget(train_flops=1e20), "k is unbounded"),
        (t2.Budget(max_tokens=1e9, max_k=5), "parameters is unbounded"),
    ],
)
def test_what_nothing_limits_is_named(budget, what):
    with pytest.raises(t2.T2Error, match=what) as error:
        t2.plan(PYTHIA, budget)
    assert "give" in str(error.value)


def test_a_bound_on_k_that_holds_no_whole_number():
    plan = t2.plan(PYTHIA, replace(PAIR, max_k=1.5))
    assert plan.k == 1
    assert plan.continuous.k == pytest.approx(1.5)


def test_k_beyond_the_data_is_a_caution():
    plan = t2.plan(PYTHIA, t2.Budget(train_flops=1e20, inference_flops=1e15))
    assert plan.unlimited.k > PYTHIA.data_range.k[1]
    assert any("k = " in line and "times the largest in the data (2.05k)" in line for line in plan.warnings)


@pytest.mark.parametrize("law", ["pythia-gsm8k", "hoffmann", "muennighoff-c4"])
def test_a_plan_as_data_and_as_text(law):
    plan = t2.plan(t2.load_law(law), replace(PAIR, unique_tokens=1e12))
    data = json.loads(json.dumps(plan.to_dict(), allow_nan=False))
    assert data["k"] == plan.k
    assert isinstance(data["k"], int)
    for key in (
        "n_params",
        "n_tokens",
        "k",
        "tokens_per_param",
        "chinchilla",
        "inside_data",
        "extrapolation",
        "warnings",
    ):
        assert key in data
    assert ("pass_at_k" in data) == (law == "pythia-gsm8k")
    assert data["budget"]["train_flops"] == 1e20
    assert all(len(line) <= 80 for line in str(plan).splitlines())
