"""Estimates against exact arithmetic, enumeration and published numbers."""

import csv
import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracles import passk_exact as exact
from tests.support.real_data import PASSK, needs

from t2fast import T2Error, passk

needs_data = needs(PASSK)


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
    assert isinstance(passk.pass_at_k(10, 3, 1), float)
    assert isinstance(passk.mean_pass_at_k(10, [3, 4], 1), float)
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
    with (PASSK / "llmonkeys_pythia_math_n10000.csv").open() as file:
        for row in csv.DictReader(file):
            counts.setdefault(row["model"], []).append(int(row["c"]))
    curves = {model: passk.mean_pass_at_k(10_000, c) for model, c in counts.items()}
    rows = 0
    with (PASSK / "ref_llmonkeys_pythia_math_mean_pass_at_k.csv").open() as file:
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
    with pytest.raises(T2Error, match=r"verdicts\[0\] has no trial"):
        passk.counts_from_matrix([[math.nan], [1]], missing="drop")
