"""d' from scores: a known one comes back, whatever problems score as a whole."""

import numpy as np
import pytest
from tests.support.trials import drawn

from t2fast import fitting
from t2fast.errors import DataError
from t2fast.fitting.scores import _ranked
from t2fast.rules import Rule

RATES = np.random.default_rng(3).beta(1, 1, 200)


@pytest.mark.parametrize("d_prime", [0.3, 1.2, 2.5])
def test_d_prime_comes_back(d_prime):
    found = fitting.fit_scores(drawn(RATES, 16, d_prime=d_prime))
    assert found.rule.d_prime == pytest.approx(d_prime, abs=0.12)
    assert found.d_prime_interval[0] < d_prime < found.d_prime_interval[1]


def test_intervals_hold_the_truth():
    held = sum(
        (ends := fitting.fit_scores(drawn(RATES[:60], 8, seed, d_prime=1.0), n_resamples=100).d_prime_interval)[0]
        <= 1.0
        and ends[1] >= 1.0
        for seed in range(80)
    )
    assert 62 <= held <= 79


def test_noise_has_no_d_prime():
    found = fitting.fit_scores(drawn(RATES, 8, d_prime=-1.0))
    assert found.rule.d_prime == 0
    assert "score higher than right ones" in found.warnings[0]


def test_a_perfect_score_is_a_lower_bound():
    found = fitting.fit_scores(drawn(RATES[:10], 8, d_prime=40.0))
    assert 2 < found.rule.d_prime < 30
    assert "lower bound" in found.warnings[0]


def test_ranks_count_pairs_as_they_are():
    random = np.random.default_rng(0)
    scores, right = random.integers(0, 5, 60).astype(float), random.random(60) < 0.4
    above = scores[right][:, None] - scores[~right]
    assert _ranked(scores, right) == pytest.approx(((above > 0) + 0.5 * (above == 0)).mean(), rel=1e-12)


def test_the_rule_travels_with_its_draws():
    found = fitting.fit_scores(drawn(RATES, 8, d_prime=1.0))
    assert Rule.from_dict(found.rule.to_dict()) == found.rule
    assert found.rule.n_draws == 400


def test_what_says_nothing_is_refused():
    with pytest.raises(DataError, match="read without scores"):
        fitting.fit_scores(drawn(RATES, 4))
    with pytest.raises(DataError, match="all are right"):
        fitting.fit_scores(drawn(np.ones(4), 4, d_prime=1.0))
    with pytest.raises(DataError, match="all are wrong"):
        fitting.fit_scores(drawn(np.zeros(4), 4, d_prime=1.0))
