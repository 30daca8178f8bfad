"""The search against exhaustive search, and the chances against simulated tables whose answer is known."""

import itertools

import numpy as np
import pytest
from tests.support.real_data import PASSK, needs

from t2fast import passk
from t2fast.choosing import Price, choose
from t2fast.choosing.ability import Ability, resamples
from t2fast.choosing.estimator import Judged
from t2fast.data import read_counts
from t2fast.errors import InfeasibleError
from t2fast.rules import AnyCorrect, BestOf, Majority, Tail, Verifier

SIZES = {"70M": 7e7, "160M": 1.6e8, "410M": 4.1e8, "1B": 1e9, "2.8B": 2.8e9, "6.9B": 6.9e9, "12B": 1.2e10}
PRICES = {f"Pythia {name}": Price(0, 2 * n * 500 * 1e-18) for name, n in SIZES.items()}


@needs(PASSK)
def test_it_agrees_with_exhaustive_search_on_the_pythia_counts():
    counts = read_counts([PASSK / "llmonkeys_pythia_math_n10000.csv"])
    curves = {m: passk.mean_pass_at_k(10_000, counts.n_correct[rows]) for (m, _), rows in counts.groups().items()}
    for budget in (1e-6, 1e-5, 3e-5, 1e-4, 4e-4):
        best = max(
            (curves[m][k - 1], -PRICES[m].of(k), m, k)
            for m in curves
            for k in range(1, min(10_000, PRICES[m].most_samples(budget)) + 1)
        )
        found = choose(counts, PRICES, budget, n_resamples=50)
        assert (found.model, found.k) == best[2:]
        assert found.result == pytest.approx(best[0], rel=1e-12)
    for target in (0.05, 0.3, 0.6):
        cheapest = min((PRICES[m].of(k), m, k) for m in curves for k in np.flatnonzero(curves[m] >= target)[:1] + 1)
        found = choose(counts, PRICES, target=target, max_k=10_000, n_resamples=50)
        assert (found.model, found.k) == cheapest[1:]


def test_the_known_best_is_picked():
    """Three models, pass@1 known: where the gap exceeds two standard errors, the best is picked nearly always."""
    random = np.random.default_rng(8)
    prices = {name: Price(0, 1.0) for name in "abc"}
    picked = clear = 0
    for _ in range(60):
        hardness = random.normal(size=150)
        # What makes a problem hard is common to the models.
        chances = {m: 1 / (1 + np.exp(hardness + shift)) for m, shift in (("a", 0.4), ("b", 0.0), ("c", 0.8))}
        counts = {m: (20, random.binomial(20, p)) for m, p in chances.items()}
        found = choose(counts, prices, 1.0, n_resamples=100, seed=1)
        truth = {m: p.mean() for m, p in chances.items()}
        gap = truth["b"] - truth["a"]
        values = [counts["b"][1] / 20 - counts["a"][1] / 20]
        if gap > 2 * np.std(values) / 150**0.5:
            clear += 1
            picked += found.model == "b"
    assert clear > 40
    assert picked >= 0.95 * clear


def test_more_samples_are_not_taken_where_they_hurt():
    tables = {"m": np.array([[0.6, 0.7, 0.5], [0.4, 0.5, 0.3]])}
    found = choose({"m": (3, [2, 1])}, {"m": Price(0, 1.0)}, 10.0, rule=Majority(), votes=tables, n_resamples=20)
    assert found.k == 2
    assert found.result == pytest.approx(0.6)
    assert found.cascade is None


def test_majority_votes_are_a_rule():
    answers = [["4", "4", "5"], ["7", "8", "7"]]
    votes = passk.maj_at_k(answers, ["4", "7"], [1, 2, 3]).value
    found = choose({"m": (3, [2, 2])}, {"m": Price(0, 1.0)}, 3.0, rule=Majority(), votes={"m": votes}, n_resamples=20)
    assert (found.k, found.result) == (3, 1.0)


def test_of_equals_the_cheaper():
    counts = {"dear": (10, [10, 10]), "cheap": (10, [10, 10])}
    found = choose(counts, {"dear": Price(0, 2.0), "cheap": Price(0, 1.0)}, target=0.9, n_resamples=20)
    assert (found.model, found.k) == ("cheap", 1)


def test_what_cannot_be_is_refused():
    counts, prices = {"m": (10, [1, 0, 2])}, {"m": Price(0, 1.0)}
    with pytest.raises(InfeasibleError, match="budget = 0.5: pays for no sample of any model; one of m costs 1"):
        choose(counts, prices, 0.5)
    with pytest.raises(
        InfeasibleError, match=r"target = 0.999: no model reaches it; the most is 0.\d+ by m with 20 samples"
    ):
        choose(counts, prices, target=0.999, max_k=20)


def test_a_model_that_cannot_be_paid_for_is_last():
    counts = {"dear": (10, [9, 8]), "cheap": (10, [1, 2])}
    found = choose(counts, {"dear": Price(0, 9.0), "cheap": Price(0, 1.0)}, 3.0, n_resamples=20)
    assert [one.model for one in found.candidates] == ["cheap", "dear"]
    assert found.candidates[1].k == 0
    assert found.candidates[1].probability_best == 0
    assert found.probability_best == 1


def test_more_money_is_never_worse():
    counts = {"a": (30, [1, 3, 9, 14, 20]), "b": (30, [4, 8, 15, 20, 30])}
    found = choose(counts, {"a": Price(0, 1e-4), "b": Price(1e-4, 1e-3)}, 5e-3, n_resamples=50)
    results = [one.result for one in found.frontier]
    assert all(x <= y + 1e-12 for x, y in itertools.pairwise(results))
    assert found.frontier[-1].budget == pytest.approx(0.05)


def test_problems_that_are_all_solved_leave_doubt_about_others():
    found = choose({"m": (10, [10] * 50)}, {"m": Price(0, 1.0)}, 1.0, n_resamples=50)
    assert (found.result, found.upper) == (1.0, 1.0)
    # One in 20 would see 50 of 50 solved, were the share as low as this.
    assert found.lower**50 == pytest.approx(0.05)


RULES = [
    (Verifier(0.02, 0.9), 0.0), (Verifier(0.1, 0.9, "abstain"), 1.0), (Verifier(0.1, 0.9, "abstain"), 6.0),
    (Verifier(0.6, 0.3), 0.0), (Verifier(0.1, slope=1.5), 0.0), (Verifier(0.2, 0.9, "abstain", slope=0.8), 2.0),
    (BestOf(1.2), 0.0), (BestOf(0.0), 0.0), (Verifier(1.0, 1.0), 0.0), (Majority(Tail.zipf(1.0, 5)), 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "wrong_cost"), RULES)
@pytest.mark.parametrize("budget", [1.0, 9.0, 60.0, 400.0])
def test_under_every_rule_it_agrees_with_exhaustive_search(rule, wrong_cost, budget):
    """All k of all models, within the samples and beyond; of equals the cheapest."""
    random = np.random.default_rng(2)
    p = {"cheap": random.beta(0.3, 2.0, 40), "dear": random.beta(0.8, 1.2, 40)}
    counts = {m: (30, random.binomial(30, q)) for m, q in p.items()}
    prices = {"cheap": Price(0, 1.0), "dear": Price(0, 4.0)}
    found = choose(counts, prices, budget, rule=rule, wrong_cost=wrong_cost, max_k=80, n_resamples=5)
    every = []
    for name, (n, c) in counts.items():
        one = Ability(name, np.full(40, n), c, resamples(40, 5, 0), "problems", 0, Judged(rule, wrong_cost))
        # Curves beyond the samples go as far as the frontier does.
        one.reach(min(80, prices[name].most_samples(10 * budget)))
        most = min(80, prices[name].most_samples(budget))
        every += [(one.at(k)[0], name, k, prices[name].of(k)) for k in range(1, most + 1)]
    top = max(value for value, *_ in every)
    if wrong_cost and top < 0:
        assert (found.model, found.k, found.result, found.cost) == (None, 0, 0.0, 0.0)
        return
    close = 1e-9 if isinstance(rule, Verifier) else 1e-7
    equal = [one for one in every if one[0] >= top - close]
    # Of the chosen model the smallest k; and no model is better.
    assert found.result >= top - 2 * close
    assert found.k == min(k for _, name, k, _ in equal if name == found.model)


@pytest.mark.parametrize(("rule", "wrong_cost"), RULES)
def test_under_every_rule_targets_are_met_by_the_smallest_k(rule, wrong_cost):
    random = np.random.default_rng(2)
    counts = {"m": (30, random.binomial(30, random.beta(0.8, 1.2, 40)))}
    one = Ability("m", np.full(40, 30), counts["m"][1], resamples(40, 5, 0), "problems", 0, Judged(rule, wrong_cost))
    one.reach(60)
    values = [one.at(k)[0] for k in range(1, 61)]
    for target in (0.42, 0.5, 0.55):
        reached = [k for k, value in enumerate(values, 1) if value >= target]
        if not reached:
            with pytest.raises(InfeasibleError, match="no model reaches it"):
                choose(counts, {"m": Price(0, 1.0)}, target=target, rule=rule, wrong_cost=wrong_cost, max_k=60)
            continue
        found = choose(
            counts, {"m": Price(0, 1.0)}, target=target, rule=rule, wrong_cost=wrong_cost, max_k=60, n_resamples=5
        )
        assert found.k == reached[0]


def test_the_rule_decides_between_a_sure_and_a_lucky_model():
    """One model solves half of the problems always, another each of them three times in ten."""
    counts = {"sure": (100, [100, 0] * 20), "lucky": (100, [30] * 40)}
    prices = {"sure": Price(0, 1.0), "lucky": Price(0, 0.1)}

    def best(rule=None, **more):
        found = choose(counts, prices, 1.0, rule=rule, n_resamples=20, **more)
        return found.model, found.k

    assert best() == ("lucky", 10)
    assert best(AnyCorrect()) == ("lucky", 10)
    assert best(Verifier(0.001)) == ("lucky", 10)
    assert best(Verifier(0.5, 0.5)) == ("sure", 1)
    assert best(BestOf(3.0)) == ("lucky", 10)
    assert best(BestOf(0.0)) == ("sure", 1)
    assert best(Majority(Tail.uniform(1))) == ("sure", 1)
    # Wrong answers so dear that only an infallible test pays: the sure model's wrong ones are never accepted.
    assert best(Verifier(0.0, 0.5, "abstain"), wrong_cost=5)[0] == "lucky"
    assert best(Verifier(0.2, fallback="rejected"), wrong_cost=5) == (None, 0)


def test_sampling_that_stops_pays_for_the_samples_drawn():
    counts, prices = {"m": (50, [5, 20, 45, 50])}, {"m": Price(0, 1.0)}
    for rule in (None, Verifier(0.05, 0.9)):
        found = choose(counts, prices, 4.0, rule=rule, stop_on_success=True, n_resamples=10)
        plain = choose(counts, prices, 4.0, rule=rule, n_resamples=10)
        assert plain.k == 4
        assert found.k > 4
        assert found.cost <= 4.0
        assert found.result > plain.result
        one = Ability(
            "m",
            np.full(4, 50),
            np.array(counts["m"][1]),
            resamples(4, 5, 0),
            judged=Judged(rule or AnyCorrect(), stops=True),
        )
        assert found.cost == pytest.approx(one.samples_drawn(found.k), rel=1e-12)
        assert 0 < one.samples_drawn(51) - one.samples_drawn(50) < 0.1
        assert one.samples_drawn(1) == pytest.approx(1.0, rel=1e-12)
    assert choose(counts, prices, 2.0, stop_on_success=True, n_resamples=10).cascade is None


def test_draws_of_the_rule_widen_the_interval():
    counts = {"m": (40, [5, 20, 39, 40, 0, 12])}
    sure = choose(counts, {"m": Price(0, 1.0)}, 8.0, rule=Verifier(0.2, 0.9), scope="samples")
    draws = {"false_positive": [0.05, 0.35] * 6}
    unsure = choose(counts, {"m": Price(0, 1.0)}, 8.0, rule=Verifier(0.2, 0.9, draws=draws), scope="samples")
    assert unsure.result == sure.result
    assert unsure.upper - unsure.lower > 1.2 * (sure.upper - sure.lower)


def test_silence_is_chosen_where_no_model_is_worth_it():
    found = choose({"m": (20, [1, 2, 0])}, {"m": Price(0, 1.0)}, 5.0, rule=BestOf(0.5), wrong_cost=4, n_resamples=50)
    assert (found.model, found.k, found.result, found.interval, found.cost) == (None, 0, 0.0, (0.0, 0.0), 0.0)
    assert found.probability_best == pytest.approx(1.0)
    assert found.candidates[0].result < 0
    assert all(step.model is None for step in found.frontier)
    assert "silence" in found.summary()
    assert found.to_dict()["model"] is None
