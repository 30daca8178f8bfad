import copy
import json
import pickle

import numpy as np
import pytest
from tests.oracles import fitting as oracle
from tests.support.checkpoints import PASS_BASE, THETA, counts, losses

from t2fast import fitting


def test_sandwich_and_profile_agree_with_the_bootstrap():
    fit = fitting.fit_chinchilla(*losses(0.01, 200), objective="squared_log")
    boot = fit.bootstrap(600)
    for name in ("E", "alpha", "beta"):
        assert fit.standard_errors[name] == pytest.approx(boot.standard_errors()[name], rel=0.25)
        low, high = fit.profile(name, 0.9)
        assert low < fit.law.coefficients[name] < high
        assert high - low == pytest.approx(2 * 1.645 * fit.standard_errors[name], rel=0.25)
    assert fit.profile("A", 0.5)[1] < fit.profile("A", 0.95)[1]


def test_summary_and_json():
    for fit in (
        fitting.fit_chinchilla(*losses(0.01)),
        fitting.fit_t2_pass(*counts()[:2], **dict(zip(("n_samples", "n_correct"), counts()[2:4], strict=True))),
    ):
        assert all(len(line) <= 80 for line in fit.summary().splitlines())
        assert str(fit) == fit.summary()
        assert json.loads(json.dumps(fit.to_dict()))["law"]["kind"] == fit.law.kind
        boot = fit.bootstrap(20)
        assert all(len(line) <= 80 for line in boot.summary().splitlines())
        json.dumps(boot.to_dict())


def test_fits_and_bootstraps_pickle_copy_and_compare():
    n, d, samples, correct, problem = counts(20, 20)
    k = np.array([1.0, 8, 64])
    rows = (np.repeat(n[::20], 3), np.repeat(d[::20], 3))
    rate = oracle.pass_at_k({**PASS_BASE, **THETA}, *rows, np.tile(k, 20))
    loss = oracle.power_sum(PASS_BASE, *rows)
    for fit in (
        fitting.fit_chinchilla(*losses(0.01)),
        fitting.fit_t2_pass(n, d, n_samples=samples, n_correct=correct, problem=problem),
        fitting.fit_t2_pass(*rows, k=np.tile(k, 20), pass_at_k=rate, loss=loss),
    ):
        boot = fit.bootstrap(20)
        back = fitting.LawBacktest("N > 1", 1, 1, {}, {"chinchilla": "no rows"})
        for one in (fit, boot, back):
            assert pickle.loads(pickle.dumps(one)) == one
            assert copy.deepcopy(one) == one
            assert len(repr(one)) < 200
            assert one.rows() is not None
        again = pickle.loads(pickle.dumps(fit))
        assert again.bootstrap(20) == boot
        assert again != fitting.fit_chinchilla(*losses(0.02))
