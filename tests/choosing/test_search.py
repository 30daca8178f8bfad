"""The search against exhaustive search, and the chances against simulated tables whose answer is known."""

import itertools

import numpy as np
import pytest
from tests.support.real_data import PASSK, needs

from t2fast import passk
from t2fast.choosing import Price, choose
from t2fast.data import read_counts
from t2fast.errors import InfeasibleError

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
    found = choose({"m": (3, [2, 1])}, {"m": Price(0, 1.0)}, 10.0, rule=tables, n_resamples=20)
    assert found.k == 2
    assert found.result == pytest.approx(0.6)
    assert found.cascade is None


def test_majority_votes_are_a_rule():
    answers = [["4", "4", "5"], ["7", "8", "7"]]
    votes = passk.maj_at_k(answers, ["4", "7"], [1, 2, 3]).value
    found = choose({"m": (3, [2, 2])}, {"m": Price(0, 1.0)}, 3.0, rule={"m": votes}, n_resamples=20)
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
