import json

import numpy as np
import pytest
from tests.support.checkpoints import counts, losses

import t2fast
from t2fast import fitting


class TestUncertainPlan:
    def test_intervals_hold_the_plan_and_the_average_is_no_worse(self):
        n, d, samples, correct, _ = counts()
        fit = fitting.fit_t2_pass(n, d, n_samples=samples, n_correct=correct)
        budget = t2fast.Budget(train_flops=1e20, inference_flops=1e11)
        found = t2fast.plan(fit.bootstrap(60), budget).uncertainty
        assert found.recommended == t2fast.plan(fit.law, budget).unlimited
        for name in ("n_params", "n_tokens", "k"):
            low, high = found.intervals[name]
            assert 0.5 * low <= getattr(found.recommended, name) <= 2 * high
        assert found.mean_best >= found.mean_recommended
        assert 0 <= found.beats_chinchilla <= 1
        assert found.n_laws + found.n_infeasible == 60
        assert all(len(line) <= 80 for line in found.summary().splitlines())
        json.dumps(found.to_dict())
        pytest.importorskip("matplotlib")
        assert len(found.plot().axes) == 2

    def test_a_law_with_draws_plans_as_its_bootstrap(self):
        fit = fitting.fit_chinchilla(*losses(0.01))
        boot = fit.bootstrap(40)
        budget = t2fast.Budget(train_flops=1e21)
        carried, direct = t2fast.plan(boot.law(), budget).uncertainty, t2fast.plan(boot, budget).uncertainty
        assert carried.intervals["n_params"] == pytest.approx(direct.intervals["n_params"], rel=1e-6)
        assert carried.n_laws == 40
        assert t2fast.plan(fit.law, budget).uncertainty is None

    def test_losses_are_minimised(self):
        fit = fitting.fit_chinchilla(*losses(0.01))
        found = t2fast.plan(fit.bootstrap(40), t2fast.Budget(train_flops=1e21)).uncertainty
        assert found.mean_best <= found.mean_recommended
        assert found.beats_chinchilla is None
        low, high = found.intervals["loss"]
        assert low < found.recommended.loss < high


def test_planning_with_a_fit_is_planning_with_its_bootstrap():
    n, d = np.meshgrid(np.geomspace(1e7, 1e10, 8), np.geomspace(1e9, 1e12, 8))
    law = t2fast.load_law("hoffmann")
    noise = np.random.default_rng(1).normal(0, 1e-3, n.size)
    fit = fitting.fit_chinchilla(n.ravel(), d.ravel(), law.value(n, d).ravel() * np.exp(noise))
    budget = t2fast.Budget(train_flops=1e22)
    found = t2fast.plan(fit, budget)
    assert found.to_dict() == t2fast.plan(fit.bootstrap(1000), budget).to_dict()
    low, high = found.uncertainty.intervals["n_params"]
    assert low < found.n_params < high
