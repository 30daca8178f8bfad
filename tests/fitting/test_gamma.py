import numpy as np
from scipy.special import digamma, gammaln, polygamma

from t2fast.fitting.gamma import gamma_triple


def test_gamma_and_its_derivatives_are_scipys():
    x = np.concatenate([np.geomspace(1e-9, 1e7, 400), [1.0, 2.0, 10.0]])
    found = gamma_triple(x)
    np.testing.assert_allclose(found.value, gammaln(x), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found.first, digamma(x), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found.second, polygamma(1, x), rtol=1e-12)
