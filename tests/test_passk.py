"""pass@k against exact arithmetic, enumeration, simulation and published numbers."""

import csv
import json
import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracles import passk_exact as exact
from tests.support.real_data import PASSK, needs

from t2fast import T2Error, passk

DATA = PASSK
needs_data = needs(DATA)


def relative(got, expected):
    return float(abs((mpmath.mpf(float(got)) - expected) / expected))


def random_cases(count, seed):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        n = int(10 ** rng.uniform(0, 9))

        def number(n=n):
            kind = rng.integers(4)
            size = int(10 ** rng.uniform(0, math.log10(n) + 1e-9))
            return min(n, [int(rng.integers(0, n + 1)), size, int(rng.integers(0, 101)), n - size][kind])

        yield n, number(), max(1, number())


HARD = [
    (n, c, k)
    for n in (200, 10**4, 10**6, 10**9)
    for c in (0, 1, 2, 3, n // 3, n // 2, n - 2, n - 1, n)
    for k in (1, 2, 3, 10, n // 2, n - c - 13, n - c - 12, n - c - 11, n - c - 1, n - c, n - c + 1, n - 1, n)
    if 1 <= k <= n
]


def test_pass_at_k_and_log_failure_against_exact_arithmetic():
    cases = [*HARD, *random_cases(10_000, 0)]
    n, c, k = (np.array(column) for column in zip(*cases, strict=True))
    worst = {"pass": 0.0, "log": 0.0}
    for case in cases:
        log, rate = passk.log_failure(*case), passk.pass_at_k(*case)
        if case[1] == 0:
            assert log == 0
            assert rate == 0
            continue
        truth = exact.ln_failure(*case)
        if truth is None:
            assert log == -math.inf
            assert rate == 1
            continue
        with mpmath.workdps(50):
            worst["log"] = max(worst["log"], relative(log, truth))
            worst["pass"] = max(worst["pass"], relative(rate, -mpmath.expm1(truth)))
    assert len(n) == len(c) == len(k) > 10_000
    assert worst["pass"] <= 2e-15, worst
    assert worst["log"] <= 3e-15, worst


@given(st.integers(1, 60), st.data())
def test_all_estimators_against_fractions(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    failure = exact.failure(n, c, k)
    assert passk.pass_at_k(n, c, k) == pytest.approx(float(1 - failure), rel=2e-15, abs=0)
    assert passk.pass_hat_k(n, c, k) == pytest.approx(float(exact.failure(n, n - c, k)), rel=1e-13, abs=0)
    least = data.draw(st.integers(1, k))
    got = passk.g_pass_at_k(n, c, k, least / k)
    assert got == pytest.approx(float(exact.g_pass_at_k(n, c, k, least)), rel=1e-13, abs=0)


def test_g_pass_at_k_reads_tau_as_people_do():
    # 0.07 * 100 is 7.000000000000001 in floating point.
    assert passk.g_pass_at_k(200, 20, 100, 0.07) == pytest.approx(float(exact.g_pass_at_k(200, 20, 100, 7)), rel=1e-12)
    assert passk.g_pass_at_k(10, 4, 5, 0.0) == passk.pass_at_k(10, 4, 5)
    with pytest.raises(T2Error, match=r"tau = 1\.5"):
        passk.g_pass_at_k(10, 4, 5, 1.5)


@given(st.integers(1, 300), st.data())
def test_more_correct_samples_or_more_attempts_never_hurt(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    here = passk.pass_at_k(n, c, k)
    assert 0 <= here <= 1
    if c < n:
        assert passk.pass_at_k(n, c + 1, k) >= here
    if k < n:
        assert passk.pass_at_k(n, c, k + 1) >= here


def test_shapes_follow_problems_then_k():
    assert passk.pass_at_k(10, 3, 1).shape == ()
    assert passk.pass_at_k(10, [1, 2, 3], 1).shape == (3,)
    assert passk.pass_at_k(10, [1, 2, 3], [1, 5]).shape == (3, 2)
    assert passk.pass_at_k([10, 20, 30], [1, 2, 3], [1, 15, 40]).shape == (3, 3)
    assert passk.pass_at_k(10, np.ones((2, 3), int), [1, 5]).shape == (2, 3, 2)
    assert passk.pass_at_k(10, 1.0, 1) == 0.1


def test_beyond_the_samples_is_undefined_not_one():
    table = passk.pass_at_k([4, 8], [0, 8], [1, 8, 9])
    assert np.isnan(table[0, 1:]).all()
    assert table[1, 1] == 1
    assert np.isnan(table[1, 2])
    # One short problem must not drop out of the mean in silence.
    assert np.isnan(passk.mean_pass_at_k([4, 8], [0, 8], 5))


@pytest.mark.parametrize(
    ("n", "c", "k", "message"),
    [
        (10, 11, 1, r"c\[0\] = 11: must lie between 0 and n\[0\] = 10"),
        (10, [3, -1], 1, r"c\[1\] = -1"),
        ([10, 0], [3, 0], 1, r"n\[1\] = 0: a problem needs at least one sample"),
        (10, 3, 0, "k = 0: must be at least 1"),
        (10, 3, 2.5, r"k = 2\.5: must be a whole number"),
        (10, math.nan, 1, "c = nan: must be a whole number"),
        ([10, 20], [1, 2, 3], 1, "must broadcast"),
        (10, ["a"], 1, "must be whole numbers"),
    ],
)
def test_impossible_input_is_named(n, c, k, message):
    with pytest.raises(T2Error, match=message):
        passk.pass_at_k(n, c, k)


def test_large_tables_agree_with_small_ones():
    rng = np.random.default_rng(1)
    for n in (np.full(5000, 50), rng.integers(30, 60, 5000)):
        c = rng.integers(0, 31, 5000)
        table = passk.pass_at_k(n, c, [1, 7, 30])
        rows = [passk.pass_at_k(int(n[i]), int(c[i]), [1, 7, 30]) for i in range(0, 5000, 97)]
        np.testing.assert_array_equal(table[::97], rows)
        np.testing.assert_allclose(passk.mean_pass_at_k(n, c, [1, 7, 30]), table.mean(axis=0), rtol=1e-13)
    with pytest.raises(T2Error, match=r"c\[4000\] = 60"):
        passk.mean_pass_at_k(50, np.where(np.arange(5000) == 4000, 60, 1), 1)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=40))
@settings(max_examples=40)
def test_the_curve_is_the_mean_at_every_k(counts):
    curve = passk.mean_pass_at_k(400, counts)
    each = passk.pass_at_k(400, counts, np.arange(1, 401)).mean(axis=0)
    np.testing.assert_allclose(curve, each, rtol=1e-14)
    assert (np.diff(curve) >= -1e-15).all()


def test_a_long_curve_stays_accurate():
    n, counts = 30_000, np.array([0, 1, 2, 50, 3000, 15_000, 29_999, 30_000])
    ks = np.array([1, 2, 1023, 1024, 1025, 5000, 20_000, 29_999, 30_000])
    np.testing.assert_allclose(
        passk.mean_pass_at_k(n, counts)[ks - 1], passk.pass_at_k(n, counts, ks).mean(axis=0), rtol=1e-14
    )


def test_shards_combine_exactly():
    rng = np.random.default_rng(2)
    n, c = rng.integers(20, 25, 3000), rng.integers(0, 20, 3000)
    whole = passk.histogram(n, c)
    parts = passk.histogram(n[:1000], c[:1000]).merged(passk.histogram(n[1000:], c[1000:]))
    for one, other in zip(whole.pairs(), parts.pairs(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole.problems == parts.problems == 3000
    rebuilt = type(whole).from_pairs(*(column[::-1].copy() for column in whole.pairs()))
    np.testing.assert_array_equal(rebuilt.pairs()[2], whole.pairs()[2])


@needs_data
def test_reference_means_of_large_language_monkeys():
    counts = {}
    with (DATA / "llmonkeys_pythia_math_n10000.csv").open() as file:
        for row in csv.DictReader(file):
            counts.setdefault(row["model"], []).append(int(row["c"]))
    curves = {model: passk.mean_pass_at_k(10_000, c) for model, c in counts.items()}
    rows = 0
    with (DATA / "ref_llmonkeys_pythia_math_mean_pass_at_k.csv").open() as file:
        for row in csv.DictReader(file):
            rows += 1
            assert abs(curves[row["model"]][int(row["k"]) - 1] - float(row["mean_pass_at_k"])) < 1e-9
    assert rows == 707


def human_eval(n, c, k):
    """The formula of the human-eval repository."""
    if n - c < k:
        return 1.0
    return 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))


def test_drop_in_for_human_eval():
    rng = np.random.default_rng(3)
    n = rng.integers(5, 300, 200)
    c = (n * rng.random(200)).astype(int)
    for k in (1, 2, 5):
        expected = [human_eval(*pair, k) for pair in zip(n, c, strict=True)]
        np.testing.assert_allclose(passk.estimate_pass_at_k(n, c, k), expected, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(
            passk.estimate_pass_at_k(300, list(c), k), [human_eval(300, x, k) for x in c], rtol=1e-11, atol=1e-13
        )
    assert np.isnan(passk.estimate_pass_at_k(3, [0], 5)).all()
    with pytest.raises(T2Error, match="must be equal"):
        passk.estimate_pass_at_k([3, 4], [1], 1)


@pytest.mark.parametrize("batch", [1, 5])
def test_stopped_sampling_is_unbiased(batch):
    """Enumerates every course that sampling in batches until the first success can take."""
    p, most = 0.2, 4
    for k in range(1, batch * most + 1):
        mean = 0.0
        for batches in range(1, most + 1):
            before = (1 - p) ** (batch * (batches - 1))
            for c in range(0 if batches == most else 1, batch + 1):
                chance = before * math.comb(batch, c) * p**c * (1 - p) ** (batch - c)
                mean += chance * passk.pass_at_k(batch * batches, c, k, batch=batch)
        assert mean == pytest.approx(1 - (1 - p) ** k, rel=1e-12)
    with pytest.raises(T2Error, match="no whole number of batches"):
        passk.pass_at_k(7, 1, 1, batch=5 if batch == 1 else 4)


def test_missing_trials_follow_a_named_policy():
    matrix = [[1, 0, math.nan], [1, 1, 1]]
    with pytest.raises(T2Error, match=r"verdicts\[0, 2\] is missing"):
        passk.counts_from_matrix(matrix)
    np.testing.assert_array_equal(passk.counts_from_matrix(matrix, missing="drop"), [[2, 3], [1, 3]])
    np.testing.assert_array_equal(passk.counts_from_matrix(matrix, missing="fail"), [[3, 3], [1, 3]])
    with pytest.raises(T2Error, match=r"verdicts\[1, 0\] = 0.5"):
        passk.counts_from_matrix([[1, 0], [0.5, 0]])
    with pytest.raises(T2Error, match=r"verdicts\[0\] holds no trial"):
        passk.counts_from_matrix([[math.nan], [1]], missing="drop")


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=8), st.data())
@settings(max_examples=60, deadline=None)
def test_majority_against_enumeration(answers, data):
    k = data.draw(st.integers(1, len(answers)))
    for ties in ("random", "fail", "win"):
        value, error = passk.maj_at_k([answers], ["a"], k, ties=ties)
        assert value[0] == pytest.approx(float(exact.majority(answers, "a", k, ties)), rel=1e-12, abs=1e-14)
        assert error[0] == 0


def test_majority_by_drawing_agrees_with_the_exact_one():
    answers = [["a"] * 30 + ["b"] * 25 + ["c"] * 20]
    value, _ = passk.maj_at_k(answers, ["a"], [5, 20, 80])
    drawn, error = passk.maj_at_k(answers, ["a"], [5, 20, 80], exact_work=0)
    assert (np.abs(drawn - value)[0, :2] < 5 * error[0, :2]).all()
    assert np.isnan(value[0, 2])
    assert np.isnan(drawn[0, 2])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=7), st.data())
@settings(max_examples=60)
def test_best_of_k_against_enumeration(samples, data):
    scores, correct = zip(*samples, strict=True)
    k = data.draw(st.integers(1, len(samples)))
    assert passk.best_of_k([scores], [correct], k)[0] == pytest.approx(
        float(exact.best_of_k(scores, correct, k)), rel=1e-12, abs=1e-14
    )
    assert passk.max_at_k([scores], k)[0] == pytest.approx(float(exact.best_of_k(scores, scores, k)), rel=1e-12)
    assert np.isnan(passk.max_at_k([scores], len(scores) + 1)[0])


def test_scored_input_is_checked():
    with pytest.raises(T2Error, match="2 scores and 1 verdicts"):
        passk.best_of_k([[1, 2]], [[1]], 1)
    with pytest.raises(T2Error, match=r"scores\[1\] = NaN"):
        passk.max_at_k([[1, math.nan]], 1)


# --------------------------------------------------------------------------------------------------------- intervals


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
    with pytest.raises(T2Error, match="ci = 95"):
        passk.curve(10, [3], ci=95)
    assert max(map(len, str(one).splitlines())) <= 80
    json.dumps(one.to_dict(), allow_nan=False)


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(7)
    rates = rng.beta(0.5, 1, 300)
    first, second = rng.binomial(50, rates), rng.binomial(50, 0.9 * rates)
    one = passk.compare((50, 50), (first, second), [1, 10])
    alone = [passk.curve(50, c, 1) for c in (first, second)]
    width = sum((a.upper[0] - a.lower[0]) ** 2 for a in alone) ** 0.5
    assert one.difference_interval[0, 1] - one.difference_interval[0, 0] < 0.5 * width
    assert one.difference_interval[0, 0] < 0.1 * rates.mean() < one.difference_interval[0, 1]
    drawn = passk.compare((50, 50), (first, second), [1, 10], method="bootstrap")
    np.testing.assert_allclose(drawn.difference_interval, one.difference_interval, atol=0.01)
    np.testing.assert_allclose(drawn.ratio_interval, one.ratio_interval, rtol=0.05)
    assert max(map(len, str(one).splitlines())) <= 80
    json.dumps(one.to_dict(), allow_nan=False)
    with pytest.raises(T2Error, match="same problems"):
        passk.compare((50, 50), (first, second[:10]), 1)


# ----------------------------------------------------------------------------------------------------- extrapolation


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
    found = passk.extrapolate(n, c, 200, batch=2, method="beta_binomial", replicates=50)
    truth = 1 - math.exp(math.lgamma(202) + math.lgamma(2.5) - math.lgamma(202.5) - math.lgamma(2))
    assert found.pass_at_k[0] == pytest.approx(truth, abs=0.02)
    assert found.backtest is None
    with pytest.raises(T2Error, match="plug_in: c/n is too high"):
        passk.extrapolate(n, c, 200, batch=2, method="plug_in")


def test_the_back_test_picks_the_method_that_made_the_data():
    rng = np.random.default_rng(10)
    c = rng.binomial(500, rng.beta(3, 60, 400))
    found = passk.extrapolate(500, c, [1000, 5000], replicates=200)
    assert found.method in ("beta_binomial", "zero_inflated")
    assert found.backtest.best == found.method
    assert (found.lower <= found.pass_at_k).all()
    assert (found.pass_at_k <= found.upper).all()
    again = passk.extrapolate(500, c, [1000, 5000], replicates=200, threads=1)
    np.testing.assert_array_equal(found.lower, again.lower)
    assert found.extrapolation == 10
    assert "measured error" in str(found)
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
    with (DATA / "llmonkeys_pythia_math_n10000.csv").open() as file:
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
                    errors.append(abs(fewer.extrapolate(method, np.array([1e4]), 0, 0)[0][0] - truth))
            # Subsamples differ from those behind the table: allow their scatter.
            assert np.mean(errors) <= 1.25 * error + 0.003


def test_subsamples_are_hypergeometric():
    whole = passk.histogram(20, np.full(20_000, 6))
    n, c, problems = whole.subsample(8, 0, 0).pairs()
    assert (n == 8).all()
    expected = [math.comb(6, x) * math.comb(14, 8 - x) / math.comb(20, 8) for x in c]
    np.testing.assert_allclose(problems / 20_000, expected, atol=0.015)


# -------------------------------------------------------------------------------------------------------- allocation


def test_allocation_is_the_optimum():
    n, c, k, budget = np.array([10, 10, 10, 12]), np.array([0, 3, 9, 5]), 4, 9
    found = passk.allocate(n, c, k, budget)
    assert found.samples.sum() == budget
    fit = passk.fit_beta_binomial(n, c, zero_inflated=True)
    from t2fast import _core

    squares = _core.sensitivities(n, c, k, (fit.a, fit.b, fit.zero))
    every = [m for m in np.ndindex(*(budget + 1,) * 4) if sum(m) == budget]
    best = min((squares / (n + np.array(m))).sum() for m in every)
    assert (squares / (n + found.samples)).sum() == pytest.approx(best, rel=1e-12)
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
    assert found.samples[0] >= 3
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


def test_long_work_can_be_watched():
    seen = []
    c = np.random.default_rng(12).integers(0, 1000, 20_000)
    passk.curve(
        1000, c, [1, 10], method="bootstrap", replicates=3000, progress=lambda done, total: seen.append((done, total))
    )
    assert seen
    assert all(0 <= done <= total == 3000 for done, total in seen)

    def stop(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        passk.curve(1000, c, [1, 10], method="bootstrap", replicates=10**6, progress=stop)


def test_samples_that_all_agree_are_not_enough():
    for c in ([0, 0, 0], [10, 10], [0, 10, 10]):
        now = passk.enough(10, c, 5, 0.001)
        assert not now.enough
        assert now.half_width > 0
        assert passk.allocate(10, c, 5, 30).error_after < now.half_width / 1.96
