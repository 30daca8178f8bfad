"""Log-odds and back, safe at zero and one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["expit", "logit"]

#: Probabilities nearer to zero or one than this count as this.
_TINY = 1e-15


def logit(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log-odds of probabilities, finite for zero and one."""
    inside = np.clip(p, _TINY, 1 - _TINY)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def expit(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probabilities of log-odds, without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -x)))
