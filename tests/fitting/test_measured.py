import numpy as np
import pytest
from tests.support.checkpoints import counts

from t2fast import passk
from t2fast.fitting.measured import measured


def test_rates_are_unbiased_and_end_where_samples_do():
    n, d, samples, correct, _ = counts(6, 40, 50)
    samples[:40] = 200
    found = measured(n, d, samples, correct)
    assert len(found) == 6
    assert found.k == (1, 2, 4, 8, 16, 32, 64, 128)
    assert found.observed[1][6:] == (None, None)
    assert found.observed[0][7] is not None
    right = correct[40:80].astype(int)
    assert found.observed[1][3] == pytest.approx(np.mean(passk.pass_at_k(50, right, 8)), rel=1e-3)
    assert found.low[1][3] < found.observed[1][3] < found.high[1][3]
