"""What a rule makes of a fitted distribution, and of draws of its parameters."""

import numpy as np
import pytest

from t2fast import _core
from t2fast.choosing.estimator import Judged, by_draw
from t2fast.errors import T2Error
from t2fast.rules import AnyCorrect, BestOf, Majority, Tail, Verifier

KS = np.array([1.0, 10.0, 300.0])
PRIOR = (0.4, 2.0, 0.1)


def test_over_success_rates_a_perfect_verifier_makes_pass_at_k():
    passed = _core.beta_pass_at_k(*PRIOR, KS)
    for judged in (Judged(), Judged(Verifier(0.0, 1.0)), Judged(Verifier(0.0, 1.0), 2.0)):
        cost = judged.wrong_cost
        assert judged.of_prior(PRIOR, KS) == pytest.approx(passed - cost * (1 - passed), abs=1e-12)
        # Another prediction of pass@k is followed; of one sample it is none.
        other = np.append(passed[0], passed[1:] * 1.05)
        assert judged.of_prior(PRIOR, KS, other) == pytest.approx(other * (1 + cost) - cost, abs=1e-12)
    # Where samples after the first add nothing, none of it is.
    for rule in (BestOf(0.0), Verifier(1.0, 1.0)):
        assert Judged(rule).of_prior(PRIOR, KS, passed * 1.1) == pytest.approx(passed[0], abs=1e-7)


def test_over_success_rates_it_is_what_drawn_ones_make():
    random = np.random.default_rng(1)
    p = np.where(random.random(20_000) < 0.1, 0.0, random.beta(0.4, 2.0, 20_000))
    for judged in (
        Judged(Verifier(0.1, 0.9, "abstain", slope=0.8), 0.5),
        Judged(BestOf(1.0)),
        Judged(Verifier(0.02), 1.0),
    ):
        for k, found in zip(KS, judged.of_prior(PRIOR, KS), strict=True):
            values = judged.of_rates(p, k)
            assert values.mean() == pytest.approx(found, abs=4 * values.std() / len(p) ** 0.5)
    judged = Judged(Verifier(0.02), stops=True)
    drawn = judged.core.of_rates(p, np.full(len(p), 30.0), True)
    assert drawn.mean() == pytest.approx(judged.drawn_of_prior(PRIOR, 30), abs=4 * drawn.std() / len(p) ** 0.5)


def test_draws_of_the_rule_are_taken_in_turn():
    rule = Verifier(0.1, 0.9, draws={"false_positive": [0.05 + 0.01 * i for i in range(30)]})
    judges = Judged(rule, 1.0).judges
    assert [one.rule.false_positive for one in judges[:3]] == pytest.approx([0.1, 0.05, 0.06])
    assert len(judges) == 13
    taken = np.zeros(20)
    for rows, place in by_draw(judges):
        taken[rows] = place
    assert taken.tolist() == [*range(1, 13), *range(1, 9)]
    assert Judged(AnyCorrect()).judges == [Judged(AnyCorrect())]
    assert by_draw([1]) == [(slice(None), 0)]


def test_what_cannot_be():
    with pytest.raises(T2Error, match="sampling stops at the first accepted answer, and a majority accepts none"):
        Judged(Majority(Tail.uniform(3)), stops=True)
