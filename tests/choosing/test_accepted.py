"""An erring verifier on counts: against every order and every verdict, and against the rule itself."""

import itertools

import numpy as np
import pytest

from t2fast import passk
from t2fast.choosing.accepted import Accepted
from t2fast.choosing.weights import binomial
from t2fast.laws.ruled import core_rule
from t2fast.rules import Verifier

RULES = [
    Verifier(0.2, 0.7, "abstain"), Verifier(0.2, 0.7, "rejected"), Verifier(0.0, 0.6, "rejected"),
    Verifier(0.9, 0.3, "rejected"), Verifier(1.0, 1.0, "abstain"), Verifier(0.0, 1.0, "rejected"),
]  # fmt: skip


def by_hand(rule, n, c, k, wrong_cost):
    """Every order in which samples can be drawn, and all verdicts on them: value and samples drawn."""
    value = drawn = orders = 0.0
    for rights in itertools.combinations(range(n), c):
        orders += 1
        for verdicts in itertools.product((True, False), repeat=k):
            chance, answer, stop = 1.0, None, k
            for i, accepted in enumerate(verdicts):
                rate = rule.recall if i in rights else rule.false_positive
                chance *= rate if accepted else 1 - rate
                if accepted and answer is None:
                    answer, stop = float(i in rights), i + 1
            if answer is None and rule.fallback == "rejected":
                answer = sum(i in rights for i in range(k)) / k
            value += chance * (0.0 if answer is None else answer - wrong_cost * (1 - answer))
            drawn += chance * stop
    return value / orders, drawn / orders


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("wrong_cost", [0.0, 1.5])
def test_it_is_the_average_over_all_draws(rule, wrong_cost):
    n, c = np.array([6, 6, 6, 6, 4]), np.array([0, 2, 5, 6, 1])
    found = Accepted(rule, wrong_cost, n, c)
    for k in range(1, 5):
        exact = [by_hand(rule, *pair, k, wrong_cost) for pair in zip(n.tolist(), c.tolist(), strict=True)]
        assert found.values(k) == pytest.approx([value for value, _ in exact], abs=1e-14)
        assert found.drawn(k) == pytest.approx([drawn for _, drawn in exact], abs=1e-13)


def test_without_errors_it_is_pass_at_k():
    n = np.repeat([50, 1000, 10_000], 4)
    c = np.array([0, 1, 20, 50, 0, 3, 400, 1000, 1, 70, 5000, 9999])
    for k in (1, 7, 50):
        for fallback in ("abstain", "rejected"):
            found = Accepted(Verifier(0.0, 1.0, fallback), 0.0, n, c).values(k)
            assert found == pytest.approx(passk.pass_at_k(n, c, k), abs=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_its_mean_is_what_the_rule_makes_at_every_success_rate(rule):
    n, core = 60, core_rule(rule, 0.5)
    for p in (0.02, 0.3, 0.9):
        low, chance = binomial(n, p)
        c = low + np.arange(len(chance))
        found = Accepted(rule, 0.5, np.full(len(c), n), c)
        for k in (1, 9, 60):
            assert chance @ found.values(k) == pytest.approx(
                core.of_rates(np.array([p]), np.array([float(k)]))[0], abs=1e-12
            )


def test_it_is_what_a_simulated_verifier_makes_of_the_samples():
    random = np.random.default_rng(2)
    rule, n, c, k, trials = Verifier(0.05, 0.8, "rejected"), 40, 6, 12, 200_000
    right = np.argsort(random.random((trials, n)), axis=1)[:, :k] < c
    accepted = random.random((trials, k)) < np.where(right, rule.recall, rule.false_positive)
    # Where none is accepted the first is as good as any.
    answer = right[np.arange(trials), accepted.argmax(axis=1)]
    found = Accepted(rule, 0.0, np.array([n]), np.array([c])).values(k)[0]
    assert answer.mean() == pytest.approx(found, abs=4 * answer.std() / trials**0.5)


@pytest.mark.parametrize("n", [[40] * 5, [40, 55, 41, 60, 300]])
def test_the_curve_is_the_mean_at_every_k(n):
    rule, n, c, often = (
        Verifier(0.1, 0.9, "abstain"),
        np.array(n),
        np.array([0, 3, 9, 20, 40]),
        np.array([3, 1, 2, 5, 1]),
    )
    found = Accepted(rule, 2.0, n, c)
    means = [often @ found.values(k) / often.sum() for k in range(1, 41)]
    assert found.curve(often, 40) == pytest.approx(means, abs=1e-12)
