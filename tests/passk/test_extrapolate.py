"""Beyond the samples drawn: the maximum of the likelihood, and real data."""

import csv
import json
import math

import numpy as np
import pytest
from tests.support.real_data import PASSK, needs

from t2fast import T2Error, passk

needs_data = needs(PASSK)


def log_likelihood(theta, n, c, zero=0.0):
    from scipy.special import betaln

    a, b = np.exp(theta[:2])
    inside = betaln(a + c, b + n - c) - betaln(a, b)
    if zero:
        inside = np.where(c == 0, np.log(zero + (1 - zero) * np.exp(inside)), np.log1p(-zero) + inside)
    return inside.mean()


@pytest.mark.parametrize("n", [5, 40, 10_000])
def test_beta_binomial_fit_is_the_maximum(n):
    from scipy.optimize import minimize

    rng = np.random.default_rng(8)
    c = rng.binomial(n, rng.beta(0.4, 3, 500))
    fit = passk.fit_beta_binomial(n, c)
    assert fit.success
    assert fit.log_likelihood == pytest.approx(log_likelihood(np.log([fit.a, fit.b]), n, c), abs=1e-9)
    start = np.log([fit.a, fit.b]) + 0.2
    best = minimize(
        lambda t: -log_likelihood(t, n, c), start, method="Nelder-Mead", options={"fatol": 1e-13, "xatol": 1e-8}
    )
    assert fit.log_likelihood >= -best.fun - 1e-10
    np.testing.assert_allclose(np.log([fit.a, fit.b]), best.x, atol=2e-5)
    # And with a share that never succeeds.
    c[:150] = 0
    fit = passk.fit_beta_binomial(n, c, zero_inflated=True)
    assert fit.success

    def negative(t):
        return -log_likelihood(t, n, c, 1 / (1 + np.exp(-t[2])))

    start = np.array([np.log(0.4), np.log(3), -1.0])
    best = minimize(negative, start, method="Nelder-Mead", options={"fatol": 1e-14, "xatol": 1e-8, "maxiter": 4000})
    assert fit.log_likelihood >= -best.fun - 1e-9
    if n > 5:
        assert 0.2 < fit.zero < 0.45


@pytest.mark.parametrize(
    ("n", "c", "message", "at_10"),
    [
        (10, [0, 0, 0], "no sample is correct", 0.0),
        (10, [10, 10], "no sample is correct", 1.0),
        (10, [0, 10, 10, 0], "always or never", 0.5),
        (1000, [500] * 20, "no more between problems than by chance", 1 - 0.5**10),
    ],
)
def test_limits_of_the_family_are_told(n, c, message, at_10):
    fit = passk.fit_beta_binomial(n, c)
    assert fit.success
    assert message in fit.message
    assert fit.pass_at_k(10) == pytest.approx(at_10, abs=1e-6)


def test_stopping_does_not_bias_the_likelihood():
    rng = np.random.default_rng(9)
    n, c = [], []
    for rate in rng.beta(0.5, 2, 4000):
        drawn, hits = 0, 0
        while hits == 0 and drawn < 60:
            drawn, hits = drawn + 2, rng.binomial(2, rate)
        n.append(drawn)
        c.append(int(hits))
    fit = passk.fit_beta_binomial(n, c)
    assert fit.a == pytest.approx(0.5, rel=0.12)
    assert fit.b == pytest.approx(2, rel=0.12)
    # Taking c/n for the rate is off by far more.
    assert np.mean(np.array(c) / np.array(n)) > 1.25 * 0.2
    found = passk.extrapolate(n, c, 200, batch=2, method="beta_binomial", n_resamples=50)
    truth = 1 - math.exp(math.lgamma(202) + math.lgamma(2.5) - math.lgamma(202.5) - math.lgamma(2))
    assert found.pass_at_k[0] == pytest.approx(truth, abs=0.02)
    # Stopping earlier is what the back-test compares with: problems that took longer count as b samples without success.
    tested = passk.backtest(n, c, 200, batch=2, methods=["beta_binomial"])
    assert found.backtest == tested
    assert (found.n_samples, tested.predicted) == (60, 60)
    ns, cs, problems = passk.histogram(n, c).pairs()
    ns, cs = np.repeat(ns, problems), np.repeat(cs, problems)
    b = tested.seen[0]
    fit = passk.fit_beta_binomial(np.where(ns > b, b, ns), np.where(ns > b, 0, cs))
    reached = passk.curve(n, c, [60], batch=2).pass_at_k[0]
    assert tested.error[0] == pytest.approx(abs(fit.pass_at_k(60) - reached), abs=1e-9)
    with pytest.raises(T2Error, match="at least 4 batches"):
        passk.backtest([2, 4], [1, 0], 200, batch=2)
    with pytest.raises(T2Error, match="plug_in: c/n is too high"):
        passk.extrapolate(n, c, 200, batch=2, method="plug_in")


def test_the_back_test_picks_the_method_that_made_the_data():
    rng = np.random.default_rng(10)
    c = rng.binomial(500, rng.beta(3, 60, 400))
    found = passk.extrapolate(500, c, [1000, 5000], n_resamples=200)
    assert found.method in ("beta_binomial", "zero_inflated")
    assert found.backtest.best == found.method
    assert (found.lower <= found.pass_at_k).all()
    assert (found.pass_at_k <= found.upper).all()
    again = passk.extrapolate(500, c, [1000, 5000], n_resamples=200, threads=1)
    np.testing.assert_array_equal(found.lower, again.lower)
    assert found.extrapolation == 10
    assert "error to expect" in str(found)
    assert set(found.interval_methods) == {found.method, "power_law", "beta_binomial"}
    for result in (found, found.backtest):
        assert max(map(len, str(result).splitlines())) <= 80
        json.dumps(result.to_dict(), allow_nan=False)
    with pytest.raises(T2Error, match="method = 'magic'"):
        passk.extrapolate(500, c, 1000, method="magic")
    with pytest.raises(T2Error, match="at least 4"):
        passk.backtest(3, [1, 2, 0], 100)


@needs_data
def test_extrapolation_table_on_real_data():
    """Mean absolute error in pass@10000 of seven models, from n samples: no worse than the table that is known."""
    known = {"power_law": {100: 0.029, 1000: 0.025}, "beta_binomial": {100: 0.076, 1000: 0.027}}
    counts = {}
    with (PASSK / "llmonkeys_pythia_math_n10000.csv").open() as file:
        for row in csv.DictReader(file):
            counts.setdefault(row["model"], []).append(int(row["c"]))
    for method, table in known.items():
        for n, error in table.items():
            errors = []
            for c in counts.values():
                whole = passk.histogram(10_000, c)
                truth = whole.means("pass_at_k", np.array([10_000]))[0]
                for replicate in range(10):
                    fewer = whole.subsample(n, 1, replicate)
                    errors.append(abs(fewer.extrapolate(method, np.array([1e4]), 0, 0).values[0] - truth))
            # Subsamples differ from those behind the table: allow their scatter.
            assert np.mean(errors) <= 1.25 * error + 0.003


def test_intervals_span_the_methods_and_the_error_is_the_distance_of_their_draws():
    c = np.random.default_rng(11).binomial(10, np.random.default_rng(12).beta(0.3, 3, 100))
    found = passk.extrapolate(10, c, [1000, 100], n_resamples=100)
    assert set(found.interval_methods) >= {"power_law", "beta_binomial", found.method}
    draws = np.array([passk.histogram(10, c).extrapolate(m, found.k, 100, 0).resampled for m in found.interval_methods])
    low, high = np.quantile(draws, [0.025, 0.975], axis=1)
    np.testing.assert_allclose(found.lower, low.min(axis=0))
    np.testing.assert_allclose(found.upper, high.max(axis=0))
    assert "envelope of" in str(found)
    np.testing.assert_allclose(found.error, [np.mean(np.abs(draws[..., i] - found.pass_at_k[i])) for i in (0, 1)])
    assert found.measured_factor == pytest.approx(10 / 3)
    assert found.extrapolation == 100
    assert found.stated_error == found.error[0]
    assert "at 100 times the samples; measured" in str(found)
    data = found.to_dict()
    assert data["stated_error"] == found.stated_error
    assert data["measured_factor"] == found.measured_factor
    baseline = passk.extrapolate(10, c, 100, method="plug_in", n_resamples=20)
    assert baseline.interval_methods == ("plug_in",)


@needs_data
@pytest.mark.parametrize("n", [10, 100])
def test_real_counts_are_covered_and_errors_are_stated(n):
    """GSM8K at 10 times the samples: the method alone covers 0.6 to 0.7 of 95%, and states a third of its error."""
    counts = {}
    with (PASSK.parent / "laws" / "pythia_passk_counts.csv").open() as file:
        for row in csv.DictReader(file):
            if row["benchmark"] == "gsm8k" and float(row["d_tokens"]) >= 2e9:
                counts.setdefault(row["model"], []).append((int(row["num_samples"]), int(row["num_correct"])))
    covered, ratios = [], []
    for rows in counts.values():
        samples, correct = np.transpose(rows)
        if samples.min() < 10 * n:
            continue
        whole = passk.histogram(samples, correct)
        truth = whole.means("pass_at_k", np.array([10 * n]))[0]
        ns, cs, problems = whole.subsample(n, 3, 0).pairs()
        if problems[cs > 0].sum() < 5:
            continue
        one = passk.extrapolate(np.repeat(ns, problems), np.repeat(cs, problems), 10 * n, n_resamples=200)
        covered.append(one.lower[0] <= truth <= one.upper[0])
        ratios.append(one.stated_error / abs(one.pass_at_k[0] - truth))
    assert len(covered) >= 15
    assert np.mean(covered) >= 0.9
    assert 0.5 <= np.median(ratios) <= 2


def test_no_success_bounds_what_more_samples_can_give():
    found = passk.extrapolate(10, np.zeros(100, int), [50, 10_000], n_resamples=20)
    # P(no success of 100 problems) = 0.025 at a pass@10 of this; pass@k is at most k / 10 times that.
    np.testing.assert_allclose(found.upper, [5 * (1 - 0.025**0.01), 1.0], rtol=1e-9)
    assert found.lower[0] == 0
    sure = passk.extrapolate(10, np.full(100, 10), [50], n_resamples=20)
    assert sure.lower[0] == pytest.approx(0.025**0.01)
    assert sure.upper[0] == 1


def test_subsamples_are_hypergeometric():
    whole = passk.histogram(20, np.full(20_000, 6))
    n, c, problems = whole.subsample(8, 0, 0).pairs()
    assert (n == 8).all()
    expected = [math.comb(6, x) * math.comb(14, 8 - x) / math.comb(20, 8) for x in c]
    np.testing.assert_allclose(problems / 20_000, expected, atol=0.015)
