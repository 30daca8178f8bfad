"""The best of k by a noisy score on counts: against closed forms, the rule itself, and scores that were drawn."""

import math

import numpy as np
import pytest

from t2fast import passk
from t2fast.choosing.scored import Scored, wins
from t2fast.choosing.weights import binomial
from t2fast.laws.ruled import core_rule
from t2fast.rules import BestOf


def test_closed_forms():
    assert wins(1.2, 2)[1] == pytest.approx(0.5 * math.erfc(-1.2 / 2), abs=1e-12)
    for k in (1, 5, 64, 65, 3000):
        assert wins(0.0, k) == pytest.approx(np.arange(k + 1) / k, abs=1e-12)
        assert wins(0.7, k)[[0, k]] == pytest.approx([0.0, 1.0], abs=1e-12)
        assert wins(30.0, k)[1:] == pytest.approx(1.0, abs=1e-12)


def test_its_mean_is_what_the_rule_makes_at_every_success_rate():
    n, core = 60, core_rule(BestOf(1.2), 0.5)
    for p in (0.02, 0.3, 0.9):
        low, chance = binomial(n, p)
        c = low + np.arange(len(chance))
        found = Scored(BestOf(1.2), 0.5, np.full(len(c), n), c)
        for k in (1, 9, 60):
            exact = core.of_rates(np.array([p]), np.array([float(k)]))[0]
            assert chance @ found.values(k) == pytest.approx(exact, abs=1e-6)


def test_it_is_the_mean_of_the_best_of_k_metric_over_scores():
    random = np.random.default_rng(6)
    n, c, k, trials = 30, 5, 8, 4000
    right = np.arange(n) < c
    scores = random.normal(size=(trials, n)) + 1.2 * right
    drawn = passk.best_of_k(scores, np.broadcast_to(right, scores.shape), [k])
    drawn = np.asarray(getattr(drawn, "value", drawn)).ravel()
    found = Scored(BestOf(1.2), 0.0, np.array([n]), np.array([c])).values(k)[0]
    assert drawn.mean() == pytest.approx(found, abs=4 * drawn.std() / trials**0.5)
