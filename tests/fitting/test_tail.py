"""The tail of wrong answers from votes: known tails come back, also from few samples, and predict the vote."""

import numpy as np
import pytest
from tests.support.trials import drawn, tallies

from t2fast import fitting, passk
from t2fast.data import Tallies
from t2fast.errors import DataError
from t2fast.rules import Rule, Tail

RATES = np.random.default_rng(3).beta(1, 1, 200)


def constant(tail):
    row = np.asarray(tail.shares[0])
    return lambda p, random: row  # noqa: ARG005


@pytest.mark.parametrize("n", [8, 64])
@pytest.mark.parametrize("tail", [Tail.uniform(30), Tail.zipf(1.0, 30), Tail.geometric(0.5)], ids=str)
def test_votes_are_predicted(tail, n):
    # Few samples of each problem tell little: more problems make up for it.
    seen = np.random.default_rng(3).beta(1, 1, 1600 // n)
    found = fitting.fit_tail(tallies(np.tile(seen, 4), n, constant(tail)), rates=[])
    rates = np.random.default_rng(4).beta(1, 1, 3000)
    true, fitted = (
        passk.maj_of_tallies(tallies(rates, 32, constant(one), 5), [4, 16, 32]).value.mean(axis=0)
        for one in (tail, found.rule.tail)
    )
    np.testing.assert_allclose(fitted, true, atol=0.02)


def test_the_commonest_answer_of_few_samples_is_not_taken_at_its_face():
    votes = tallies(np.tile(RATES, 8), 8, constant(Tail.zipf(1.0, 30)))
    parts = np.split(votes.wrong, votes.starts[1:-1])
    plain = np.mean([max(part) / sum(part) for part in parts if len(part)])
    assert plain > 0.4
    assert fitting.fit_tail(votes, rates=[]).top[0] == pytest.approx(0.25, abs=0.05)


def test_change_with_the_success_rate_comes_back():
    ends = np.asarray([[0.09] * 11 + [0.01], [0.5, 0.3, 0.2] + [0.0] * 9])

    def mixture(p, random):
        return ends[int(random.random() < np.interp(p, [0.1, 0.8], [0, 1]))]

    rates = np.random.default_rng(6).beta(1, 1, 600)
    found = fitting.fit_tail(tallies(rates, 32, mixture), rates=[0.1, 0.8])
    np.testing.assert_allclose(found.top, [0.09, 0.5], atol=0.06)
    free = fitting.fit_tail(tallies(rates, 32, mixture))
    assert len(free.rates) == 4
    assert (np.diff(free.top) > 0).all()
    assert (free.top_interval[:, 0] <= free.top).all()
    assert (free.top <= free.top_interval[:, 1]).all()


def test_intervals_hold_the_truth():
    held = 0
    for seed in range(40):
        found = fitting.fit_tail(tallies(RATES[:80], 16, constant(Tail.geometric(0.5)), seed), rates=[], n_resamples=60)
        held += found.top_interval[0, 0] <= 0.5 <= found.top_interval[0, 1]
    assert held >= 30


def test_the_rule_travels_with_its_draws(tmp_path):
    found = fitting.fit_tail(drawn(RATES, 16, shares=constant(Tail.zipf(1.0, 12))), n_resamples=20)
    found.rule.save(tmp_path / "votes.json")
    assert Rule.from_dict(found.rule.to_dict()) == found.rule
    assert found.rule.n_draws == 20
    assert len(found.rows()) == len(found.rates)


def test_few_samples_are_warned_of():
    few = fitting.fit_tail(tallies(RATES[:30], 3, constant(Tail.uniform(5))))
    assert "draw more samples" in " ".join(few.warnings)


def test_what_says_nothing_is_refused():
    for votes, message in (
        (Tallies.of([4, 5], [[], []]), "all samples are right"),
        (Tallies.of([4, 5], [[1], [1]]), "no problem has two wrong samples"),
        (drawn(RATES, 4), "read without answers"),
        ([1, 2], "must be Trials with answers, or Tallies"),
        (Tallies.of([4], [[3, 1]]), "needs at least 2"),
    ):
        with pytest.raises(DataError, match=message):
            fitting.fit_tail(votes)
    good = tallies(RATES, 8, constant(Tail.uniform(5)))
    for rates in ([0.5, 0.2], [-0.1], [0.2, 1.5]):
        with pytest.raises(DataError, match="must rise, and lie between 0 and 1"):
            fitting.fit_tail(good, rates=rates)
