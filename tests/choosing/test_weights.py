"""Binomial weights against exact fractions."""

from math import comb

import pytest

from t2fast.choosing.weights import binomial


@pytest.mark.parametrize(("n", "p"), [(0, 0.3), (7, 0.0), (7, 1.0), (12, 0.25), (900, 0.01), (2000, 0.5)])
def test_binomial_weights(n, p):
    low, found = binomial(n, p)
    assert found.sum() == pytest.approx(1.0, abs=1e-14)
    for k, weight in enumerate(found, low):
        exact = comb(n, k) * int(p * 2**60) ** k * (2**60 - int(p * 2**60)) ** (n - k) / 2 ** (60 * n)
        assert weight == pytest.approx(exact, rel=1e-11, abs=1e-25)
