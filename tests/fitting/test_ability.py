import numpy as np
import pytest
from scipy.special import betaln
from tests.support.checkpoints import counts, design

import t2fast
from t2fast import fitting
from t2fast.fitting.ability import Tally, abilities, fit_beta_ability
from t2fast.laws import ItemResponseLaw


def table(n_checkpoints=24, problems=30):
    n, d, samples, correct, problem = counts(n_checkpoints, problems)
    return n, d, {"n_samples": samples, "n_correct": correct, "problem": problem}


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
    forms = fitting.forms.fit_forms(n, d, **columns)
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
    left_out = fit_beta_ability(forms.tally, weights, law)
    kept = np.flatnonzero(np.repeat(weights, 30))
    again = fitting.forms.fit_forms(n[kept], d[kept], **{name: values[kept] for name, values in columns.items()})
    np.testing.assert_allclose(left_out.value(n[:90], d[:90], 4), again.beta.value(n[:90], d[:90], 4), rtol=1e-3)


@pytest.mark.parametrize("shape", ["one size", "one budget", "few"])
def test_checkpoints_that_determine_no_quadratic_are_refused(shape):
    n, d = design(10)
    n, d = {"one size": (np.full(10, 1e8), d), "one budget": (n, 1e18 / n), "few": (n[:6], d[:6])}[shape]
    tally = Tally(n, d, np.arange(len(n)), np.zeros(len(n), int), np.full(len(n), 10.0), np.ones(len(n)))
    with pytest.raises(t2fast.T2Error, match="do not determine an ability that is quadratic"):
        tally.design()
