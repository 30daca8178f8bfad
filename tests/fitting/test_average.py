import copy
import json
import pickle

import numpy as np
import pytest
from tests.support.checkpoints import counts

import t2fast
from t2fast import fitting


def table(n_checkpoints=24, problems=30):
    n, d, samples, correct, problem = counts(n_checkpoints, problems)
    return n, d, {"n_samples": samples, "n_correct": correct, "problem": problem}


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
    assert [row["form"] for row in fit.rows()][:2] == ["average, equal weights", "average, lobo weights"]
    assert set(fit.to_dict()["left_out"]) == {"equal", "lobo", *fitting.FORMS}
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


def test_weights_from_budgets_left_out():
    n, d, columns = table()
    equal = fitting.fit_average(n, d, **columns, n_resamples=0)
    fit = fitting.fit_average(n, d, **columns, n_resamples=4, weights="lobo")
    assert equal.law.weights == (1 / 3, 1 / 3, 1 / 3)
    tested = fitting.left_out.left_out(n, d, *columns.values())
    assert fit.law.weights == pytest.approx(tested.weights)
    assert fit.left_out == equal.left_out == tested.scores
    # Draws and scatter belong to the mean with these weights.
    np.testing.assert_array_equal(next(fit.law.resampled()).weights, fit.law.weights)
    assert fit.law.uncertainty["scatter"] != equal.law.uncertainty["scatter"]
    best = min(fit.left_out[form].error for form in fitting.FORMS)
    gain = f"{fit.left_out['lobo'].error - best:+.4f}"
    assert gain in fit.summary()
    assert "weights from training budgets left out" in fit.law.source


def test_no_choice_at_two_budgets():
    cost, ratio = 1e15 * 8.0 ** np.arange(10), np.array([5, 80, 20, 300, 10, 150, 40, 600, 3, 100])
    n = np.sqrt(cost / 6 / ratio)
    n, d, problem = np.repeat(n, 20), np.repeat(n * ratio, 20), np.tile(np.arange(20), 10)
    correct = np.random.default_rng(0).binomial(16, np.repeat(np.linspace(0.05, 0.6, 10), 20))
    columns = {"n_samples": np.full(200, 16), "n_correct": correct, "problem": problem, "n_resamples": 0}
    fit = fitting.fit_average(n, d, **columns)
    assert fit.left_out == {}
    assert [row["form"] for row in fit.rows()] == ["average, equal weights", *fitting.FORMS]
    assert "regret" not in fit.summary()
    with pytest.raises(t2fast.T2Error, match="no two training budgets"):
        fitting.fit_average(n, d, **columns, weights="lobo")
    with pytest.raises(t2fast.T2Error, match="weights = 'fair'"):
        fitting.fit_average(n, d, **columns, weights="fair")
