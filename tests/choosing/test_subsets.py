"""Rules on counts by the core's average over all draws: against scores and votes that were drawn, and at every rate."""

import numpy as np
import pytest

from t2fast import passk
from t2fast.choosing.accepted import Accepted
from t2fast.choosing.subsets import Subsets
from t2fast.choosing.weights import binomial
from t2fast.laws.ruled import core_rule
from t2fast.rules import BestOf, Majority, Tail, Verifier


@pytest.mark.parametrize("rule", [BestOf(1.2), BestOf(0.0), Majority(Tail.zipf(1.0, 5))])
def test_its_mean_is_what_the_rule_makes_at_every_success_rate(rule):
    n, core = 60, core_rule(rule, 0.5)
    for p in (0.02, 0.3, 0.9):
        low, chance = binomial(n, p)
        c = low + np.arange(len(chance))
        found = Subsets(core, np.full(len(c), n), c)
        for k in (1, 9, 60):
            exact = core.of_rates(np.array([p]), np.array([float(k)]))[0]
            assert chance @ found.values(k) == pytest.approx(exact, abs=2e-6)


@pytest.mark.parametrize("rule", [Verifier(0.05, 0.8), Verifier(0.3, 0.9, "abstain"), Verifier(0.9, 0.2)])
def test_a_verifier_by_weights_is_the_verifier_by_draws(rule):
    random = np.random.default_rng(5)
    n = random.integers(5, 400, 60)
    c = random.binomial(n, random.beta(0.5, 1.5, 60))
    core, weights = core_rule(rule, 1.5), Accepted(rule, 1.5, n, c)
    for k in (1, 2, 5):
        ks = np.full(60, k)
        assert weights.values(k) == pytest.approx(core.of_counts(n, c, ks), abs=1e-12)
        assert weights.drawn(k) == pytest.approx(core.of_counts(n, c, ks, True), abs=1e-12)


def test_it_is_the_mean_of_the_best_of_k_metric_over_scores():
    random = np.random.default_rng(6)
    n, c, k, trials = 30, 5, 8, 4000
    right = np.arange(n) < c
    scores = random.normal(size=(trials, n)) + 1.2 * right
    drawn = passk.best_of_k(scores, np.broadcast_to(right, scores.shape), [k])
    drawn = np.asarray(getattr(drawn, "value", drawn)).ravel()
    found = Subsets(core_rule(BestOf(1.2), 0.0), np.array([n]), np.array([c])).values(k)[0]
    assert drawn.mean() == pytest.approx(found, abs=4 * drawn.std() / trials**0.5)


def test_the_curve_is_the_mean_at_its_points():
    found = Subsets(core_rule(Majority(Tail.zipf(1.0, 5)), 1.0), np.full(5, 200), np.array([0, 3, 60, 90, 200]))
    often = np.array([4, 1, 2, 2, 1])
    curve = found.curve(often, 200)
    exact = [often @ found.values(k) / often.sum() for k in range(1, 201)]
    assert curve[:64] == pytest.approx(exact[:64], abs=1e-12)
    assert curve == pytest.approx(exact, abs=1e-3)
