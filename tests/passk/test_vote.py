"""Votes and best scores against enumeration."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracles import passk_exact as exact

from t2fast import T2Error, passk
from t2fast.data import Tallies


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


@pytest.mark.parametrize("answers", [None, 3, float("nan"), np.array(3), [["a"], ["b"]], [np.zeros(2)]])
def test_answers_that_are_none(answers):
    with pytest.raises(T2Error, match=r"answers\[0\] = .*: must be a list of answers and one answer"):
        passk.maj_at_k([answers], ["a"], [1])
    with pytest.raises(T2Error, match=r"correct\[0\] = .*: must be a list of answers and one answer"):
        passk.maj_at_k([["a"]], [["a"]], [1])


def test_problems_alike_are_told_from_those_that_are_not():
    """Votes that are the same but for the order of wrong answers share a result; swapped with the right one they do not."""
    rng = np.random.default_rng(3)
    kinds = [
        (0, [3, 2, 1]),
        (1, [3, 2]),
        (2, [3, 1]),
        (3, [2, 1]),
        (1, [1, 1, 1, 2]),
        (5, []),
        (0, [1]),
        (1, []),
        (2, [200]),
    ]
    chosen = rng.integers(len(kinds), size=20_000)
    right = [kinds[i][0] for i in chosen]
    wrong = [list(rng.permutation(kinds[i][1])) for i in chosen]
    found = passk.maj_of_tallies(Tallies.of(right, wrong), [1, 3]).value
    alone = [passk.maj_of_tallies(Tallies.of([r], [w]), [1, 3]).value[0] for r, w in kinds]
    np.testing.assert_array_equal(found, np.array(alone)[chosen])
    assert len(np.unique(np.array(alone)[:5, 1])) == 5


def whole_number_majority(right, wrong, k):
    """maj@k, ties at random, by counting choices in whole numbers: of each wrong answer, by votes taken and ties."""
    ways = Fraction(0)
    for x in range(1, min(right, k) + 1):
        taken = {(0, 0): 1}
        for m in wrong:
            more = {}
            for (votes, ties), count in taken.items():
                for i in range(min(m, x, k - x - votes) + 1):
                    key = votes + i, ties + (i == x)
                    more[key] = more.get(key, 0) + count * math.comb(m, i)
            taken = more
        ways += math.comb(right, x) * sum(Fraction(c, 1 + t) for (votes, t), c in taken.items() if votes == k - x)
    return ways / math.comb(right + sum(wrong), k)


def test_votes_of_every_size_against_whole_numbers():
    """On both sides of what is looked up in halves (k = 32), of one sample and of all, in one call and in several."""
    rng = np.random.default_rng(11)
    right = rng.integers(1, 30, 25)
    wrong = [rng.integers(1, rng.choice([3, 6, 25]), rng.integers(1, 12)).tolist() for _ in right]
    tallies = Tallies.of(right, wrong)
    ks = [1, 2, 5, 12, 32, 33]
    together = passk.maj_of_tallies(tallies, ks).value
    for column, k in enumerate(ks):
        alone = passk.maj_of_tallies(tallies, k).value
        for problem, n in enumerate(tallies.n_samples):
            if k > n:
                assert np.isnan(together[problem, column])
                continue
            exact = float(whole_number_majority(int(right[problem]), wrong[problem], k))
            assert together[problem, column] == pytest.approx(exact, rel=1e-12)
            assert alone[problem] == pytest.approx(exact, rel=1e-12)
    for problem, n in enumerate(tallies.n_samples):
        most = max(wrong[problem])
        tied = 1 + wrong[problem].count(right[problem])
        value = passk.maj_of_tallies(tallies, int(n)).value[problem]
        assert value == (1 / tied if right[problem] >= most else 0)


def test_votes_below_zero_are_refused():
    with pytest.raises(T2Error, match="votes = -2: must be counts of samples, 0 or more"):
        passk.maj_of_tallies(Tallies(np.array([3]), np.array([1, -2]), np.array([0, 2])), [1, 2])
    with pytest.raises(T2Error, match="votes = -3"):
        passk.maj_of_tallies(Tallies(np.array([-3]), np.array([4]), np.array([0, 1])), 1)
