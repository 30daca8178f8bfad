"""Samples drawn again: how estimates under a rule spread is how those of new samples do."""

import numpy as np
import pytest

from t2fast.choosing.ability import Ability, resamples
from t2fast.choosing.estimator import Judged
from t2fast.rules import BestOf, Verifier

P = np.random.default_rng(3).beta(0.4, 3.0, 200)


@pytest.mark.parametrize("judged", [Judged(Verifier(0.05, 0.9, "abstain"), 1.0), Judged(BestOf(1.2))])
def test_estimates_spread_as_those_of_new_samples(judged):
    n = np.full(200, 50)

    def ability(seed, replicates):
        correct = np.random.default_rng(seed).binomial(50, P)
        return Ability("m", n, correct, resamples(200, replicates, 1), "samples", 1, judged)

    for k in (1, 10, 40):
        estimates = [ability(seed, 2).by_problem(k).mean() for seed in range(120)]
        mean, draws = ability(5, 300).at(k)
        assert draws.std() == pytest.approx(np.std(estimates), rel=0.35)
        assert draws.mean() == pytest.approx(mean, abs=4 * draws.std() / 300**0.5)


def test_many_samples_are_interpolated_and_few_are_not():
    judged = Judged(Verifier(0.05, 0.9))
    for n in (50, 3000):
        correct = np.random.default_rng(1).binomial(n, P)
        one = Ability("m", np.full(200, n), correct, resamples(200, 20, 1), "samples", 1, judged)
        again = one._again
        direct = [judged.of_counts(one.n_samples, row, one._prior).values(20).mean() for row in again.correct]
        assert again.estimates(20) == pytest.approx(direct, abs=1e-12 if n == 50 else 2e-5)
