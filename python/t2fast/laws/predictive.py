"""What a law says with all its uncertainty: the laws of a bootstrap, and the scatter of checkpoints around them.

A law's ``uncertainty`` may carry

* ``"draws"``: for each coefficient a list, one number for each resampled law (:meth:`t2fast.laws.Law.resampled`);
* ``"scatter"``: residuals of the checkpoints around the law, inflated for the coefficients fitted: differences of
  logit(pass@k), or of the logarithm of a loss. A checkpoint not yet trained will miss the law by as much.

Together they make predictive draws: draw i is the i-th law's value, moved by residual i modulo their number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast.errors import LawError

if TYPE_CHECKING:
    from t2fast.laws.law import Law

__all__ = ["predictive"]

#: Success rates are kept this far from 0 and 1 before their logits are taken.
_EDGE = 1e-12


def predictive(
    law: Law, n_params: ArrayLike, n_tokens: ArrayLike, k: ArrayLike = 1.0, unique_tokens: float | None = None
) -> NDArray[np.float64]:
    """Draws of what checkpoints of N parameters and D tokens will show at k samples.

    Returns
    -------
    array of shape (draws, *the arguments' broadcast shape)
        pass@k in [0, 1], or losses, according to the law.

    Raises
    ------
    LawError
        When the law carries no draws.
    """
    n, d, samples = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (n_params, n_tokens, k)))
    sizes, tokens, ks = (np.ascontiguousarray(x).reshape(-1) for x in (n, d, samples))
    values = law._predict(sizes, tokens, ks, unique_tokens)
    scatter = np.asarray(law.uncertainty.get("scatter", ()), dtype=np.float64)
    if scatter.size:
        if not np.isfinite(scatter).all():
            raise LawError("uncertainty.scatter: must be a list of finite numbers")
        moved = scatter[np.arange(len(values)) % scatter.size, None]
        if law.predicts_pass:
            # Between the worst, all answers wrong, and the best.
            low = law.lowest
            inner = np.clip((values - low) / (1 - low), _EDGE, 1 - _EDGE)
            odds = inner / (1 - inner) * np.exp(moved)
            values = low + (1 - low) * odds / (1 + odds)
        else:
            values = values * np.exp(moved)
    return values.reshape(len(values), *n.shape)
