"""Beyond the samples: curves begin where the samples end, and go where the truth goes."""

import numpy as np
import pytest

from t2fast.choosing.ability import Ability, resamples
from t2fast.choosing.beyond import joined
from t2fast.choosing.estimator import Judged
from t2fast.rules import BestOf, Majority, Tail, Verifier

P = np.random.default_rng(3).beta(0.4, 3.0, 300)


def test_a_curve_is_joined_to_what_was_measured():
    rising, falling = np.array([0.2, 0.6, 0.8]), np.array([0.8, 0.6, 0.2])
    assert joined(rising, 0.4) == pytest.approx([0.4, 0.7, 0.85])
    assert joined(falling, 0.4) == pytest.approx([0.4, 0.3, 0.1])
    assert joined(2 * rising - 1, 2 * 0.4 - 1, 1.0) == pytest.approx(2 * np.array([0.4, 0.7, 0.85]) - 1)


@pytest.mark.parametrize("scope", ["problems", "samples"])
@pytest.mark.parametrize(
    "judged",
    [
        Judged(Verifier(0.02, 0.9)), Judged(Verifier(0.02, 0.9, "abstain"), 1.0), Judged(Verifier(0.05, slope=0.8)),
        Judged(BestOf(1.2)), Judged(Majority(Tail.zipf(1.0, 10)), 0.5),
    ],
)  # fmt: skip
def test_every_rule_goes_where_the_truth_goes(judged, scope):
    correct = np.random.default_rng(5).binomial(60, P)
    one = Ability("m", np.full(300, 60), correct, resamples(300, 60, 1), scope, 1, judged)
    one.reach(2000)
    start, starts = one.at(60)
    next_, nexts = one.at(61)
    assert next_ == pytest.approx(start, abs=0.01)
    assert np.abs(nexts - starts).max() < 0.05
    for k in (10, 60, 500, 2000):
        mean, draws = one.at(k)
        truth = float(judged.of_rates(P, k).mean())
        assert mean == pytest.approx(truth, abs=4 * float(draws.std()) + 0.01)
        assert draws.std() > 0
        assert draws.mean() == pytest.approx(mean, abs=0.03)
    assert one.passed(500) == pytest.approx(float((1 - (1 - P) ** 500).mean()), abs=0.06)


def test_a_verifier_without_errors_is_pass_at_k_beyond_too():
    correct = np.random.default_rng(5).binomial(60, P)
    plain, ruled = (
        Ability("m", np.full(300, 60), correct, resamples(300, 30, 1), "problems", 1, judged)
        for judged in (Judged(), Judged(Verifier(0.0, 1.0)))
    )
    for k in (1, 30, 60, 61, 900):
        assert ruled.at(k)[0] == pytest.approx(plain.at(k)[0], abs=1e-12)
        assert ruled.at(k)[1] == pytest.approx(plain.at(k)[1], abs=1e-12)
        assert ruled.passed(k) == pytest.approx(plain.at(k)[0], abs=1e-12)
