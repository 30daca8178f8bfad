"""What a model makes of k samples: exact within, joined beyond, with replicates that are paired."""

import numpy as np
import pytest

from t2fast import passk
from t2fast.choosing.ability import Ability, resamples
from t2fast.errors import T2Error

RANDOM = np.random.default_rng(3)
P = RANDOM.beta(0.4, 3.0, 200)
N = np.full(200, 50)


def ability(scope="problems", n=N, p=P, replicates=400, **more):
    correct = np.random.default_rng(5).binomial(n, p)
    return Ability("m", n, correct, resamples(len(p), replicates, 1), scope, 1, **more)


@pytest.mark.parametrize("scope", ["problems", "samples"])
def test_within_the_samples_it_is_the_estimate(scope):
    one = ability(scope)
    for k in (1, 7, 50):
        mean, draws = one.at(k)
        assert mean == pytest.approx(passk.mean_pass_at_k(one.n_samples, one.n_correct, k), abs=1e-15)
        assert draws.mean() == pytest.approx(mean, abs=4 * draws.std() / 20)


def test_replicates_draw_problems():
    one = ability()
    mean, draws = one.at(10)
    values = one.by_problem(10)
    often = resamples(200, 400, 1)
    assert draws[17] == pytest.approx(np.repeat(values, often[17]).mean(), rel=1e-12)
    assert draws.std() == pytest.approx(values.std() / 200**0.5, rel=0.15)
    assert mean == values.mean()


@pytest.mark.parametrize("scope", ["problems", "samples"])
def test_beyond_the_samples_it_goes_on_where_they_end(scope):
    one = ability(scope)
    one.reach(5000)
    last, last_draws = one.at(50)
    curve = [one.at(k)[0] for k in (51, 60, 100, 500, 5000)]
    assert 0 <= curve[0] - last < 0.01
    assert (np.diff(curve) > 0).all()
    truth = float((1 - (1 - P) ** 500).mean())
    mean, draws = one.at(500)
    assert mean == pytest.approx(truth, abs=0.06)
    assert np.abs(one.at(51)[1] - last_draws).max() < 0.05
    assert draws.std() > 0


def test_extrapolations_spread_as_those_of_other_samples_do():
    estimates = []
    for seed in range(40):
        one = Ability("m", N, np.random.default_rng(seed).binomial(N, P), resamples(200, 2, 1), "samples", 1)
        estimates.append(one.at(500)[0])
    assert ability("samples").at(500)[1].std() == pytest.approx(np.std(estimates), rel=0.5)


def test_samples_drawn_again_spread_as_they_do():
    """The spread under --scope samples is that of estimates from new samples of the same problems."""
    for k in (1, 10, 40):
        estimates = [passk.mean_pass_at_k(50, np.random.default_rng(seed).binomial(N, P), k) for seed in range(400)]
        assert ability("samples").at(k)[1].std() == pytest.approx(np.std(estimates), rel=0.3)


def test_a_table_is_taken_as_it_is():
    table = np.array([[0.5, 0.6], [0.1, 0.0]])
    one = Ability("m", np.full(2, 9), np.full(2, 3), resamples(2, 10, 0), table=table)
    assert one.within == 2
    assert one.at(2)[0] == 0.3
    with pytest.raises(T2Error, match="k = 3: m has 2 samples, and votes among them go no further"):
        one.at(3)


def test_replicates_that_memory_cannot_hold_are_refused():
    with pytest.raises(T2Error, match="n_resamples = 1000000: with 20000 problems at most 26843 replicates"):
        resamples(20_000, 1_000_000, 1)


@pytest.mark.parametrize("scope", ["problems", "samples"])
def test_methods_that_are_not_believed_leave_their_share_to_the_others(scope):
    """Where one method does badly on the counts, the rest is believed as a whole: no draw and no part is lost."""
    correct = np.random.default_rng(0).integers(0, 101, 20_000)
    one = Ability("m", np.full(20_000, 100), correct, resamples(20_000, 60, 1), scope, 1)
    mean, draws = one.at(200)
    weights = one._far.methods
    assert len(weights) < 3
    assert sum(weights.values()) == pytest.approx(1.0, abs=1e-12)
    assert one.at(100)[0] <= mean <= 1.0
    assert np.isfinite(draws).all()
