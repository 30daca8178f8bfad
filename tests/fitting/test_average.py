import copy
import json
import pickle

import numpy as np
import pytest
from scipy.special import betaln, digamma, gammaln, polygamma
from tests.support.checkpoints import counts, design, losses

import t2fast
from t2fast import fitting
from t2fast.fitting.ability import Tally, abilities, fit_beta_ability
from t2fast.fitting.draws import drawn
from t2fast.fitting.gamma import gamma_triple
from t2fast.laws import ItemResponseLaw


def table(n_checkpoints=24, problems=30):
    n, d, samples, correct, problem = counts(n_checkpoints, problems)
    return n, d, {"n_samples": samples, "n_correct": correct, "problem": problem}


def test_gamma_and_its_derivatives_are_scipys():
    x = np.concatenate([np.geomspace(1e-9, 1e7, 400), [1.0, 2.0, 10.0]])
    found = gamma_triple(x)
    np.testing.assert_allclose(found.value, gammaln(x), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found.first, digamma(x), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found.second, polygamma(1, x), rtol=1e-12)


def test_draws_are_the_cores():
    # A replicate of the core's bootstrap is the fit to the rows drawn, each as often as it was drawn.
    n, d, y = losses(0.01, 30)
    fit = fitting.fit_chinchilla(n, d, y, objective="squared_log")
    boot = fit.bootstrap(3, seed=2**40 + 7)
    for replicate in range(3):
        times = drawn(30, 2**40 + 7, replicate)
        assert times.sum() == 30
        rows = np.repeat(np.arange(30), times)
        again = fitting.fit_chinchilla(n[rows], d[rows], y[rows], objective="squared_log")
        np.testing.assert_allclose([again.law.alpha, again.law.E], boot.samples[replicate][[3, 0]], rtol=1e-5)


def test_item_response_recovers_abilities_and_difficulties():
    rng = np.random.default_rng(0)
    n, d = design(20)
    x, y = np.log(n / 3e8), np.log(d / 4e10)
    ability = 0.3 + 0.6 * x + 0.4 * y - 0.05 * x * x + 0.02 * x * y - 0.06 * y * y
    difficulty = rng.normal(0, 1.5, 60)
    p = 1 / (1 + np.exp(difficulty - ability[:, None]))
    shape = (20, 60)
    at, problem = (a.ravel() for a in np.indices(shape))
    tally = Tally(n, d, at, problem, np.full(1200, 400.0), rng.binomial(400, p).ravel().astype(float))
    found = abilities(tally)
    gap = ability.mean() - difficulty.mean()
    assert found.ability.mean() - found.difficulty.mean() == pytest.approx(gap, abs=0.05)
    np.testing.assert_allclose(found.ability - found.ability.mean(), ability - ability.mean(), atol=0.15)
    law = found.law()
    assert isinstance(law, ItemResponseLaw)
    np.testing.assert_allclose(law.value(n, d, 8), (1 - (1 - p) ** 8).mean(1), atol=0.03)


def test_beta_ability_is_the_optimum_of_the_likelihood():
    n, d, columns = table()
    forms = fitting.average.fit_forms(n, d, **columns)
    law = forms.beta

    def cost(values):
        changed = law.with_coefficients(values)
        h = changed.abilities(n, d)
        mean, nu = 1 / (1 + np.exp(-h)), np.exp(changed.concentration[0] - changed.concentration[1] * h)
        a, b = mean * nu, (1 - mean) * nu
        c, m = columns["n_correct"], columns["n_samples"]
        return -np.sum(betaln(a + c, b + m - c) - betaln(a, b))

    best = cost(law.coefficients)
    rng = np.random.default_rng(0)
    for _ in range(100):
        moved = {name: value + 3e-3 * rng.standard_normal() for name, value in law.coefficients.items()}
        assert cost(moved) >= best - 1e-5
    weights = np.ones(24)
    weights[3] = 0
    without = columns["n_correct"].reshape(24, -1), None
    assert without[0].shape == (24, 30)
    left_out = fit_beta_ability(forms.tally, weights, law)
    kept = np.flatnonzero(np.repeat(weights, 30))
    again = fitting.average.fit_forms(n[kept], d[kept], **{name: values[kept] for name, values in columns.items()})
    np.testing.assert_allclose(left_out.value(n[:90], d[:90], 4), again.beta.value(n[:90], d[:90], 4), rtol=1e-3)


def test_an_average_carries_draws_scatter_and_residuals():
    n, d, columns = table()
    fit = fitting.fit_average(n, d, **columns, n_resamples=12, name="mine")
    assert len(list(fit.law.resampled())) == 12
    draws = fit.law.predictive(1e9, 5e10, [1, 16])
    assert draws.shape == (12, 2)
    assert ((draws >= 0) & (draws <= 1)).all()
    assert fit.errors["average"] < 0.05
    assert set(fit.errors) == {"average", *fitting.FORMS}
    assert fit == fitting.fit_average(n, d, **columns, n_resamples=12, name="mine")
    for again in (pickle.loads(pickle.dumps(fit)), copy.deepcopy(fit)):
        assert again == fit
    assert t2fast.Law.from_dict(json.loads(json.dumps(fit.law.to_dict()))) == fit.law
    assert all(len(line) <= 80 for line in fit.summary().splitlines())
    assert len(fit.rows()) == 4
    json.dumps(fit.to_dict())


def test_the_first_form_resamples_as_its_own_bootstrap():
    n, d, columns = table()
    fit = fitting.fit_average(n, d, **columns, n_resamples=6, seed=3)
    alone = fitting.fit_t2_pass(n, d, **columns, group=n, overtraining=True).bootstrap(6, seed=3)
    place = alone.names.index("alpha")
    np.testing.assert_allclose(fit.law.laws[0].uncertainty["draws"]["alpha"], alone.samples[:, place], rtol=1e-6)


def test_what_cannot_be_averaged():
    n, d, columns = table()
    few = slice(0, 5 * 30)
    with pytest.raises(t2fast.T2Error):
        fitting.fit_average(n[few], d[few], **{name: values[few] for name, values in columns.items()})
    with pytest.raises(t2fast.T2Error, match="2 training runs"):
        fitting.fit_average(n, d, **columns, group=(n > 1e9).tolist())


def test_bootstraps_carry_the_scatter_of_checkpoints():
    law = fitting.fit_chinchilla(*losses(0.01)).bootstrap(50).law()
    scatter = np.array(law.uncertainty["scatter"])
    assert np.std(scatter) == pytest.approx(0.01, rel=0.25)
    draws = law.predictive(1e9, 2e10)
    assert np.std(np.log(draws)) == pytest.approx(0.01, rel=0.4)
