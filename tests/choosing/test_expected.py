"""A rule over the success rates that counts leave possible: against the law of counts, and against simulation."""

import numpy as np
import pytest

from t2fast import passk
from t2fast.choosing.expected import Expected
from t2fast.laws.ruled import core_rule
from t2fast.rules import Majority, Tail, Verifier

RULES = [Verifier(0.1, 0.9, "abstain", slope=0.8), Majority(Tail([[0.5, 0.5], [0.9, 0.1]], rates=[0.1, 0.8]))]
PRIOR = (0.6, 1.7, 0.2)


def expected(rule, wrong_cost, n, c, often=None):
    return Expected(core_rule(rule, wrong_cost), core_rule(rule, 0.0), wrong_cost, PRIOR, n, c, often)


def counts(n, random, problems):
    a, b, zero = PRIOR
    p = np.where(random.random(problems) < zero, 0.0, random.beta(a, b, problems))
    return p, random.binomial(n, p)


@pytest.mark.parametrize("rule", RULES)
def test_over_all_problems_it_is_what_the_rule_makes_of_them(rule):
    """Problems' own success rates, which the counts do not say, make what was expected, whatever the count."""
    p, c = counts(12, np.random.default_rng(3), 40_000)
    core = core_rule(rule, 0.5)
    found = expected(rule, 0.5, np.full(13, 12), np.arange(13))
    for k in (1, 6, 40):
        real = core.of_rates(p, np.full(len(p), float(k)))
        values = found.values(k)
        for count in (0, 1, 5, 8):
            some = real[c == count]
            assert some.mean() == pytest.approx(values[count], abs=4 * some.std() / len(some) ** 0.5 + 1e-6)
        assert real.mean() == pytest.approx(values[c].mean(), abs=4 * (real - values[c]).std() / 200)


def test_a_simulated_verifier_whose_errors_rise_with_the_success_rate():
    random = np.random.default_rng(4)
    rule, k = RULES[0], 5
    p, c = counts(12, random, 100_000)
    right = random.random((len(p), k)) < p[:, None]
    accepted = random.random(right.shape) < np.where(right, rule.recall, rule.false_positives(p)[:, None])
    first = accepted.argmax(axis=1)
    answer = accepted.any(axis=1) & right[np.arange(len(p)), first]
    found = expected(rule, 0.0, np.full(13, 12), np.arange(13)).values(k)[c]
    assert answer.mean() == pytest.approx(found.mean(), abs=4 * (answer - found).std() / len(p) ** 0.5)


def test_the_curve_is_the_mean_at_its_points():
    often = np.array([4, 1, 2, 2, 1])
    found = expected(RULES[0], 1.0, np.full(5, 200), np.array([0, 3, 20, 90, 200]), often)
    curve = found.curve(often, 200)
    for k in (1, 17, 64, 200):
        assert curve[k - 1] == pytest.approx(often @ found.values(k) / often.sum(), abs=1e-12)
    exact = [often @ found.values(k) / often.sum() for k in range(1, 201)]
    assert curve == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_no_rule_makes_more_than_pass_at_k(rule):
    """Whatever the fitted distribution takes the problems for."""
    n, c, often = np.full(4, 20), np.array([0, 3, 9, 14]), np.array([1, 1, 1, 1])
    found = expected(rule, 0.0, n, c, often)
    for k in (1, 5, 20):
        assert found.values(k).mean() <= passk.mean_pass_at_k(n, c, k) + 1e-12
    vote = expected(RULES[1], 0.0, n, c, often)
    assert vote.values(1).mean() == pytest.approx(passk.mean_pass_at_k(n, c, 1), abs=1e-12)
    priced = expected(rule, 2.0, n, c, often)
    wrong = 0.5 * (found.values(5) - priced.values(5))
    assert (wrong >= 0).all()


def test_problems_that_are_nearly_always_solved_have_values():
    """Narrow laws of success rates near one: votes there are as good as certain."""
    n, c = np.full(3, 10_000), np.array([9898, 9929, 9998])
    for rule in RULES:
        values = expected(rule, 0.0, n, c, np.ones(3, np.int64)).values(1)
        assert np.isfinite(values).all()
    assert expected(RULES[1], 0.0, n, c).values(51) == pytest.approx(1.0, abs=1e-9)
