"""Binomial weights where they matter, from one table of ln n!."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["binomial"]

Floats = NDArray[np.float64]

#: Weights further out than this many standard deviations are below 1e-20.
_FAR = 10.0


@lru_cache(maxsize=4)
def _ln_factorials(most: int) -> NDArray[np.longdouble]:
    return np.cumsum(np.log(np.maximum(np.arange(most + 1, dtype=np.longdouble), 1)))


def _table(n: int) -> NDArray[np.longdouble]:
    return _ln_factorials(1 << max(10, int(n).bit_length()))


def binomial(n: int, p: float) -> tuple[int, Floats]:
    """The weights of Binomial(n, p) from the first that matters on, and its place."""
    if p in (0.0, 1.0) or n == 0:
        return (n if p == 1.0 else 0), np.ones(1)
    reach = _FAR * np.sqrt(n * p * (1 - p)) + 40
    low, high = max(0, int(n * p - reach)), min(n, int(n * p + reach) + 1)
    at = np.arange(low, high + 1)
    ln = _table(n)
    weights = np.exp((ln[n] - ln[at] - ln[n - at] + at * np.log(p) + (n - at) * np.log1p(-p)).astype(float))
    return low, weights / weights.sum()
