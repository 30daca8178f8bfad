"""What settles a choice: it does, when it is done."""

import numpy as np
import pytest

from t2fast.choosing.ability import Ability, resamples
from t2fast.choosing.settling import _further, settling


def test_samples_are_divided_at_least_cost():
    """Against trying all divisions."""
    variances, now, wanted = [4e-4, 1e-4], [1000, 1000], 1e-4
    found = _further(variances, now, wanted)

    def left(more):
        return sum(v * n / (n + x) for v, n, x in zip(variances, now, more, strict=True))

    assert left(found) <= wanted * (1 + 1e-9)
    tried = [(x, y) for x in range(0, 12_000, 100) for y in range(0, 12_000, 100) if left((x, y)) <= wanted]
    assert sum(found) <= min(map(sum, tried)) + 2
    assert _further([1e-6, 1e-6], now, 1e-4) == [0, 0]


def test_further_samples_settle_it():
    random = np.random.default_rng(6)
    p, q = np.full(100, 0.50), np.full(100, 0.55)
    one = Ability("better", np.full(100, 10), random.binomial(10, q), resamples(100, 200, 0))
    other = Ability("worse", np.full(100, 10), random.binomial(10, p), resamples(100, 200, 0))
    found = settling((one, 1), (other, 1))
    if found.difference <= 0:
        assert found.further_samples is None
        return
    error = found.difference / 1.645
    more = 10 + found.further_samples / 200
    assert np.sqrt(2 * 0.25 / (100 * more)) == pytest.approx(min(error, np.sqrt(2 * 0.25 / 1000)), rel=0.15)


def test_no_difference_settles_nothing():
    same = Ability("a", np.full(5, 10), np.full(5, 3), resamples(5, 20, 0))
    found = settling((same, 1), (same, 1))
    assert found.further_samples is None
    assert "nothing to settle" in found.lines()[0]
