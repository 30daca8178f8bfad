import numpy as np
import pytest
from tests.support.checkpoints import counts, design

import t2fast
from t2fast import fitting


def test_probabilities_become_rows():
    rng = np.random.default_rng(0)
    n, d = design(12)
    p = rng.uniform(1e-6, 1, (12, 30))
    rows = fitting.neg_log_pass_at_k(np.repeat(n, 30), np.repeat(d, 30), p.reshape(-1), [1, 10, 10_000])
    assert [len(column) for column in rows] == [36] * 4
    assert rows[2][:3].tolist() == [1, 10, 10_000]
    np.testing.assert_allclose(rows[3].reshape(12, 3)[:, 0], -np.log(p).mean(1), rtol=1e-12)
    np.testing.assert_allclose(rows[3].reshape(12, 3)[:, 1], -np.log(1 - (1 - p) ** 10).mean(1), rtol=1e-9)


def test_zero_probability_names_the_alternatives():
    with pytest.raises(t2fast.T2Error, match=r"probability\[1\] = 0 .* law t2-pass"):
        fitting.neg_log_pass_at_k([1e8] * 2, [1e9] * 2, [0.5, 0.0], [1])
    n, d, samples, correct, _ = counts()
    table = {"n_params": n, "n_tokens": d, "n_samples": samples, "n_correct": correct}
    with pytest.raises(t2fast.DataError, match=r"problems have no success.*t2-pass"):
        fitting.fit_table(table, "t2-loss")


def test_isoflop_weights_are_inverse_variances():
    n = np.array([1e8, 2e8, 4e8, 1e9, 2e9, 5e7])
    d = np.array([4e9, 2e9, 1e9, 4e10, 2e10, 1e9])
    y = np.array([3.0, 3.1, 3.2, 2.5, 2.7, 4.0])
    weights = fitting.isoflop_weights(n, d, y)
    assert weights[0] == weights[1] == weights[2]
    assert weights[3] / weights[0] == pytest.approx(np.var(y[:3]) / np.var(y[3:5]))
    assert weights.mean() == pytest.approx(1)
