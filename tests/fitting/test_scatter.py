import numpy as np
import pytest
from tests.support.checkpoints import losses

from t2fast import fitting


def test_bootstraps_carry_the_scatter_of_checkpoints():
    law = fitting.fit_chinchilla(*losses(0.01)).bootstrap(50).law()
    scatter = np.array(law.uncertainty["scatter"])
    assert np.std(scatter) == pytest.approx(0.01, rel=0.25)
    draws = law.predictive(1e9, 2e10)
    assert np.std(np.log(draws)) == pytest.approx(0.01, rel=0.4)
