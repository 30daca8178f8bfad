"""What the best of k by a noisy score makes of counts, averaged over all ways to draw the k samples.

Of k drawn samples j are right with hypergeometric probability; right ones score N(d', 1), wrong ones N(0, 1), and the
best is a right one with probability

    w(j, k) = integral of j phi(x - d') Phi(x - d')^(j - 1) Phi(x)^(k - j) dx.

The average is unbiased for every success rate.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from t2fast.choosing.weights import hypergeometric
from t2fast.rules import BestOf

__all__ = ["Scored", "wins"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Distance between nodes of the score, in standard deviations, and where scores end.
_STEP, _END = 0.06, 9.0
#: Numbers of right samples that share a power.
_BLOCK = 64


class Scored:
    """The best of k, over problems with given counts.

    Parameters
    ----------
    rule, wrong_cost
        The rule, and what a wrong answer costs, in right ones.
    n_samples, n_correct
        Counts of distinct problems.
    """

    def __init__(self, rule: BestOf, wrong_cost: float, n_samples: Integers, n_correct: Integers) -> None:
        self._d_prime, self._cost = rule.d_prime, wrong_cost
        self._pairs = list(zip(n_samples.tolist(), n_correct.tolist(), strict=True))

    def values(self, k: int) -> Floats:
        """The value of each problem with k samples, right answers less the price of wrong ones."""
        won = wins(self._d_prime, k)
        right = np.empty(len(self._pairs))
        for i, (n, c) in enumerate(self._pairs):
            low, chance = hypergeometric(n, c, k)
            right[i] = chance @ won[low : low + len(chance)]
        return right - self._cost * (1.0 - right)


@lru_cache(maxsize=512)
def wins(d_prime: float, k: int) -> Floats:
    """The chance that the best of k samples is right if 0, 1, ..., k of them are."""
    x = np.arange(-_END, _END + d_prime + _STEP, _STEP)
    right, wrong = _ln_below(x - d_prime), _ln_below(x)
    density = np.exp(-0.5 * (x - d_prime) ** 2) * (_STEP / math.sqrt(2 * math.pi))
    # Powers of many j at once: those of a block differ by a factor that all blocks share.
    first = np.arange(0, k, _BLOCK)[:, None]
    start = density * np.exp(first * right + (k - 1 - first) * wrong)
    factor = np.exp(np.arange(min(_BLOCK, k))[:, None] * (right - wrong))
    others = (start @ factor.T).ravel()[:k]
    return np.asarray(np.minimum(np.append(0.0, np.arange(1, k + 1) * others), 1.0))


def _ln_below(x: Floats) -> Floats:
    """Ln Phi(x)."""
    # The smaller of Phi and 1 - Phi, which is the exact one.
    tail = np.array([0.5 * math.erfc(abs(value) / math.sqrt(2)) for value in x])
    return np.asarray(np.where(x > 0, np.log1p(-tail), np.log(np.maximum(tail, 1e-300))))
