import numpy as np
import pytest
from tests.oracles import fitting as oracle
from tests.support.checkpoints import LAW, losses

from t2fast import fitting


def test_constant_tokens_per_parameter():
    n = np.geomspace(1e7, 1e10, 30)
    y = oracle.power_sum(LAW, n, 20 * n) * np.exp(0.005 * np.random.default_rng(0).standard_normal(30))
    fit = fitting.fit_chinchilla(n, 20 * n * np.exp(0.01 * np.random.default_rng(1).standard_normal(30)), y)
    assert any("D is nearly a function of N" in line for line in fit.warnings)
    assert not any("nearly a function" in line for line in fitting.fit_chinchilla(*losses(0.01)).warnings)


def test_no_irreducible_loss():
    n, d, y = losses(law={**LAW, "E": 1e-12})
    fit = fitting.fit_chinchilla(n, d, y)
    assert not fit.interior or fit.law.E < 1e-4
    fixed = fitting.fit_chinchilla(n, d, y, E=0.0)
    assert fixed.law.E == 0
    assert fixed.law.alpha == pytest.approx(LAW["alpha"], rel=1e-5)
