import numpy as np
from tests.support.checkpoints import losses

from t2fast import fitting
from t2fast.fitting.draws import drawn


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
