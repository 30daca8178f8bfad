"""Further samples go where they help most."""

import json
import math

import numpy as np
import pytest

from t2fast import T2Error, passk


def test_allocation_is_the_optimum():
    n, c, k, budget = np.array([10, 10, 10, 12]), np.array([0, 3, 9, 5]), 4, 9
    found = passk.allocate(n, c, k, budget)
    assert found.n_samples.sum() == budget
    fit = passk.fit_beta_binomial(n, c, zero_inflated=True)
    from t2fast import _core

    squares = _core.sensitivities(n, c, k, (fit.a, fit.b, fit.zero))
    every = [m for m in np.ndindex(*(budget + 1,) * 4) if sum(m) == budget]
    best = min((squares / (n + np.array(m))).sum() for m in every)
    assert (squares / (n + found.n_samples)).sum() == pytest.approx(best, rel=1e-12)
    assert found.error_after <= found.error_even <= found.error_before
    assert found.error_after == pytest.approx(math.sqrt(best) / 4, rel=1e-12)


def test_sensitivity_is_the_posterior_mean():
    from scipy.integrate import quad

    from t2fast import _core

    a, b, n, c, k = 0.7, 2.5, 12, 3, 5
    top = quad(lambda p: k * k * p * (1 - p) ** (2 * k - 1) * p ** (a + c - 1) * (1 - p) ** (b + n - c - 1), 0, 1)[0]
    bottom = quad(lambda p: p ** (a + c - 1) * (1 - p) ** (b + n - c - 1), 0, 1)[0]
    got = _core.sensitivities(np.array([n]), np.array([c]), k, (a, b, 0.0))[0]
    assert got == pytest.approx(top / bottom, rel=1e-8)


def test_short_problems_come_first():
    found = passk.allocate([2, 10], [1, 5], 5, 4)
    assert found.n_samples[0] >= 3
    with pytest.raises(T2Error, match="budget = 2: 3 further samples are needed"):
        passk.allocate([2, 10], [1, 5], 5, 2)


def test_enough_predicts_what_it_takes():
    rng = np.random.default_rng(11)
    c = rng.binomial(20, rng.beta(0.5, 1, 200))
    now = passk.enough(20, c, 5, 0.01)
    assert not now.enough
    assert passk.enough(20, c, 5, 0.2).enough
    after = passk.allocate(20, c, 5, now.further_samples)
    assert 1.96 * after.error_after == pytest.approx(0.01, rel=0.01)
    assert now.half_width_problems > now.half_width
    json.dumps(now.to_dict(), allow_nan=False)


def test_samples_that_all_agree_are_not_enough():
    for c in ([0, 0, 0], [10, 10], [0, 10, 10]):
        now = passk.enough(10, c, 5, 0.001)
        assert not now.enough
        assert now.half_width > 0
        assert passk.allocate(10, c, 5, 30).error_after < now.half_width / 1.96
