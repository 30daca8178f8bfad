"""Binomial and hypergeometric weights against exact fractions."""

from math import comb

import pytest

from t2fast.choosing.weights import binomial, hypergeometric


@pytest.mark.parametrize(("n", "p"), [(0, 0.3), (7, 0.0), (7, 1.0), (12, 0.25), (900, 0.01), (3000, 0.5)])
def test_binomial_weights(n, p):
    low, found = binomial(n, p)
    assert found.sum() == pytest.approx(1.0, abs=1e-14)
    for k, weight in enumerate(found, low):
        exact = comb(n, k) * int(p * 2**60) ** k * (2**60 - int(p * 2**60)) ** (n - k) / 2 ** (60 * n)
        assert weight == pytest.approx(exact, rel=1e-11, abs=1e-25)


@pytest.mark.parametrize(("n", "c", "k"), [(5, 0, 3), (5, 5, 3), (9, 4, 6), (1000, 13, 700), (3000, 1500, 1000)])
def test_hypergeometric_weights(n, c, k):
    low, found = hypergeometric(n, c, k)
    for j, weight in enumerate(found, low):
        assert weight == pytest.approx(comb(c, j) * comb(n - c, k - j) / comb(n, k), rel=1e-11)
