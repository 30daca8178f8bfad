"""How checkpoints scatter about a law: what a prediction of a new one must allow for."""

from __future__ import annotations

import numpy as np

from t2fast.fitting.refit import Observed
from t2fast.fitting.rows import FloatArray
from t2fast.laws import Law
from t2fast.laws.logits import logit

__all__ = ["pass_residuals", "scatter"]


def pass_residuals(law: Law, observed: Observed) -> FloatArray:
    """Measured minus predicted pass@k, row by row."""
    return np.asarray(observed.value - np.asarray(law.value(observed.n_params, observed.n_tokens, observed.k)))


def scatter(law: Law, observed: Observed, n_coefficients: int) -> tuple[float, ...]:
    """Residuals of the rows fitted, in log-odds for rates and in logarithms for losses.

    They are inflated by ``sqrt(m / (m - p))``, m checkpoints and p coefficients, since a law lies nearer to the
    checkpoints that it was fitted to than to others. Rates of zero and one have no log-odds and are left out.
    """
    predicted = np.asarray(law.value(observed.n_params, observed.n_tokens, observed.k))
    if law.predicts_pass:
        inside = (observed.value > 0) & (observed.value < 1)
        residual = logit(observed.value[inside]) - logit(predicted[inside])
    else:
        residual = np.log(observed.value / predicted)
    count = len(np.unique(np.stack([observed.n_params, observed.n_tokens]), axis=1).T)
    inflation = np.sqrt(count / max(count - n_coefficients, 1))
    # In an order that has nothing to do with N, D or k: draws are paired with residuals one by one.
    shuffled = np.random.Generator(np.random.Philox(key=[0, 2])).permutation(len(residual))
    return tuple(float(f"{value:.6g}") for value in (residual * inflation)[shuffled].tolist())
