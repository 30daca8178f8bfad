"""Intervals: unbiased, covering, the same however they are found."""

import json
import math

import numpy as np
import pytest

from t2fast import T2Error, passk


def test_samples_variance_is_unbiased():
    """Averages the estimate over the binomial distribution of c and compares with the true variance."""
    n, p, k = 12, 0.3, 4
    weights = np.array([math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)])
    values = passk.pass_at_k(n, np.arange(n + 1), k)
    variances = [passk.histogram(n, [c]).samples_variance(k) for c in range(n + 1)]
    truth = weights @ values**2 - (weights @ values) ** 2
    assert weights @ np.array(variances) == pytest.approx(truth, rel=1e-12)


def test_the_bootstrap_agrees_with_the_analytic_interval_and_repeats():
    c = np.random.default_rng(4).binomial(40, np.random.default_rng(5).beta(0.5, 1.5, 400))
    analytic = passk.curve(40, c, [1, 10])
    drawn = passk.curve(40, c, [1, 10], method="bootstrap", seed=1)
    np.testing.assert_allclose(drawn.lower, analytic.lower, atol=0.006)
    np.testing.assert_allclose(drawn.upper, analytic.upper, atol=0.006)
    again = passk.curve(40, c, [1, 10], method="bootstrap", seed=1, threads=1)
    np.testing.assert_array_equal(again.lower, drawn.lower)
    assert passk.curve(40, c, [1, 10], method="bootstrap", seed=2).lower[0] != drawn.lower[0]


@pytest.mark.parametrize("scope", ["samples", "problems"])
def test_intervals_cover(scope):
    """A rough check that runs in a second; bench/coverage_passk.py measures closely."""
    rng = np.random.default_rng(6)
    rates = rng.beta(0.6, 1.4, 100)
    k, n, hits, trials = 5, 30, 0, 300
    truth = 1 - math.exp(math.lgamma(1.4 + k) + math.lgamma(2.0) - math.lgamma(2.0 + k) - math.lgamma(1.4))
    if scope == "samples":
        truth = (1 - (1 - rates) ** k).mean()
    for _ in range(trials):
        drawn = rates if scope == "samples" else rng.beta(0.6, 1.4, 100)
        one = passk.curve(n, rng.binomial(n, drawn), k, scope=scope)
        hits += one.lower[0] <= truth <= one.upper[0]
    assert 0.91 <= hits / trials <= 0.985


def test_curve_says_what_it_cannot_know():
    one = passk.curve(10, [3, 4, 0], [1, 6, 11], scope="samples")
    assert np.isfinite(one.lower[0])
    assert np.isnan(one.lower[1:]).all()
    assert any("k = 11 exceeds n = 10" in text for text in one.warnings)
    assert any("2k > n" in text for text in one.warnings)
    with pytest.raises(T2Error, match="scope = 'world'"):
        passk.curve(10, [3], scope="world")
    with pytest.raises(T2Error, match="confidence_level = 95"):
        passk.curve(10, [3], confidence_level=95)
    assert max(map(len, str(one).splitlines())) <= 80
    json.dumps(one.to_dict(), allow_nan=False)


def test_long_work_can_be_watched():
    seen = []
    c = np.random.default_rng(12).integers(0, 1000, 20_000)
    passk.curve(1000, c, [1, 10], method="bootstrap", n_resamples=3000, progress=seen.append)
    assert seen
    assert all(0 <= one.done <= one.total == 3000 and one.unit == "resamples" for one in seen)
    assert seen[-1].done == 3000

    def stop(_progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        passk.curve(1000, c, [1, 10], method="bootstrap", n_resamples=10**6, progress=stop)


@pytest.mark.parametrize(("a", "b"), [(0.1, 3.0), (0.05, 2.0), (0.02, 1.0), (3.0, 0.1)])
def test_few_problems_with_skewed_rates_are_covered(a, b):
    """32 problems, a few of them easy: 95% intervals hold the mean of the distribution in about 95% of experiments."""
    rng = np.random.default_rng(13)
    hits = 0
    for _ in range(1500):
        one = passk.curve(20, rng.binomial(20, rng.beta(a, b, 32)), [1])
        hits += one.lower[0] <= a / (a + b) <= one.upper[0]
    # The simulation's standard error is 0.006; without the correction for skewness (0.1, 3) reaches 0.90.
    assert 0.925 <= hits / 1500 <= 0.98
