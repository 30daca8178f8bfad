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
