import numpy as np
import pytest
from tests.oracles import fitting as oracle
from tests.support.checkpoints import PASS_BASE, T2_LOSS, THETA, design

import t2fast
from t2fast import fitting


def test_questions_of_values_per_question():
    rng = np.random.default_rng(4)
    n, d = design(30)
    k = np.array([1.0, 4, 16, 64, 256])
    difficulty = rng.normal(0, 1, 50)
    clean = oracle.power_sum(T2_LOSS, n[:, None], d[:, None], k)
    value = clean[:, :, None] + 0.1 * difficulty + 0.02 * rng.standard_normal((30, 5, 50))
    shape = value.shape
    rows = [np.broadcast_to(x, shape).reshape(-1) for x in (n[:, None, None], d[:, None, None], k[:, None])]
    question = np.broadcast_to(np.arange(50), shape).reshape(-1)
    fit = fitting.fit_t2_loss(*rows, value.reshape(-1), problem=question)
    means = [x.reshape(shape)[:, :, 0].reshape(-1) for x in rows]
    alone = fitting.fit_t2_loss(*means, value.mean(2).reshape(-1))
    assert fit.law.coefficients == pytest.approx(alone.law.coefficients, rel=1e-6)
    boot = fit.bootstrap(60, by="problem")
    np.testing.assert_array_equal(boot.samples[:20], fit.bootstrap(20, by="problem").samples)
    # All checkpoints share the questions' difficulty: it moves the constant as a mean of 50 of them moves, while
    # drawing checkpoints cannot see it.
    shift = 0.1 * difficulty.std() / np.sqrt(50)
    assert boot.standard_errors()["E"] == pytest.approx(shift, rel=0.35)
    both = fit.bootstrap(60, by=("checkpoint", "problem"))
    assert both.by == ("checkpoint", "problem")
    assert not np.array_equal(both.samples, boot.samples)
    with pytest.raises(t2fast.T2Error, match="no labels for it; pass problem="):
        alone.bootstrap(10, by="problem")


def test_a_replicate_over_questions_is_the_fit_to_its_means():
    rng = np.random.default_rng(5)
    n, d = design(20)
    k = np.array([1.0, 8, 64, 512])
    law = {**PASS_BASE, **THETA}
    a, b = oracle.beta_shape(law, n, d)
    p = rng.beta(a[:, None], b[:, None], (20, 40))
    rate = 1 - (1 - p[:, None, :]) ** k[:, None]
    shape = rate.shape
    rows = [np.broadcast_to(x, shape).reshape(-1) for x in (n[:, None, None], d[:, None, None], k[:, None])]
    question = np.broadcast_to(np.arange(40), shape).reshape(-1)
    loss = oracle.power_sum(PASS_BASE, rows[0], rows[1])
    fit = fitting.fit_t2_pass(rows[0], rows[1], k=rows[2], pass_at_k=rate.reshape(-1), loss=loss, problem=question)
    assert fit.n_rows == 80
    found = fit.bootstrap(2, by="problem", seed=9)
    drawn = np.random.Generator(np.random.Philox(key=[9, 1], counter=[0, 0, 0, 1])).integers(0, 40, 40)
    # Labels are numbered in the order of their texts.
    drawn = np.array(sorted(range(40), key=str))[drawn]
    means = [x.reshape(shape)[:, :, 0].reshape(-1) for x in (*rows, loss)]
    again = fitting.fit_t2_pass(
        means[0], means[1], k=means[2], pass_at_k=rate[:, :, drawn].mean(2).reshape(-1), loss=means[3]
    )
    expected = [again.law.coefficients[name] for name in found.names]
    np.testing.assert_allclose(found.samples[1], expected, rtol=1e-4)
