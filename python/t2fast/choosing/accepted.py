"""What an erring verifier makes of counts: the first accepted of k samples, averaged over all ways to draw them.

Each right sample of a problem is accepted with the recall r, each wrong one with the share f of false positives. Say A
of the c right samples and B of the others are, M = A + B in all. A k-subset then holds an accepted one with the
probability of pass@k for M of n, and the first accepted is right with probability A / M; where there is none, a
rejected one is right with probability (c - A) / (n - M). Only pass@k depends on k: the rule is a weight for every M.

    g(M) = E[A / M; M] = c r q(M - 1) / M,    e(M) = E[(c - A) / (n - M); M] = c (1 - r) q(M) / (n - M)

with q the distribution of Bin(c - 1, r) + Bin(n - c, f). The average over all subsets is unbiased for every success
rate, as the estimate of pass@k is, which it becomes for f = 0 and r = 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from t2fast import _core
from t2fast.choosing.weights import binomial
from t2fast.rules import Verifier

__all__ = ["Accepted"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Accepted:
    """A verifier with a constant share of false positives, over problems with given counts.

    Parameters
    ----------
    rule
        The verifier; its slope must be 0.
    wrong_cost
        What a wrong answer costs, in right ones.
    n_samples, n_correct
        Counts of distinct problems.
    """

    def __init__(self, rule: Verifier, wrong_cost: float, n_samples: Integers, n_correct: Integers) -> None:
        rejected = rule.fallback == "rejected"
        rows = [_of_pair(rule, int(n), int(c)) for n, c in zip(n_samples, n_correct, strict=True)]
        width = max(len(row[1]) for row in rows)
        value, accepted = np.zeros((len(rows), width)), np.zeros((len(rows), width))
        constant = np.zeros(len(rows))
        m = np.zeros((len(rows), width), np.int64)
        for i, (start, some, right, none) in enumerate(rows):
            size = len(some)
            m[i] = start + np.minimum(np.arange(width), size - 1)
            accepted[i, :size] = some
            value[i, :size] = (1.0 + wrong_cost) * (right - none if rejected else right)
            if rejected:
                constant[i] = (1.0 + wrong_cost) * none.sum() - wrong_cost
            else:
                value[i, :size] -= wrong_cost * some
        self._value, self._accepted, self._constant = value, accepted, constant
        # Distinct (n, M): the same for all problems with as many samples.
        most = int(n_samples.max()) + 1
        pairs, place = np.unique(n_samples[:, None] * most + m, return_inverse=True)
        self._n, self._m = pairs // most, pairs % most
        self._place = place.reshape(m.shape)

    def values(self, k: int) -> Floats:
        """The value of each problem with k samples, right answers less the price of wrong ones."""
        chance = _core.estimate("pass_at_k", self._n, self._m, np.array([k]))[:, 0]
        return np.asarray(self._constant + np.einsum("ij,ij->i", self._value, chance[self._place]))

    def drawn(self, k: int) -> Floats:
        """Samples drawn of each problem on average when drawing stops at the first accepted; k at most."""
        chance = _core.estimate("pass_at_k", self._n + 1, self._m + 1, np.array([k]))[:, 0]
        mean = (self._n + 1) / (self._m + 1) * chance
        return np.asarray(np.einsum("ij,ij->i", self._accepted, mean[self._place]))

    def curve(self, often: Integers, most: int) -> Floats:
        """The mean value with 1, 2, ..., ``most`` samples, the problems counted so often."""
        share = often / often.sum()
        weight = np.bincount(self._place.ravel(), (share[:, None] * self._value).ravel(), len(self._n))
        # Lanes in the order in which they die out: the more are accepted, the sooner one is among the drawn.
        order = np.argsort(self._m / self._n)
        n, m, weight = self._n[order].astype(float), self._m[order], weight[order]
        missed, rest = np.ones(len(n)), n - m
        total = float(share @ self._constant) + float(weight.sum())
        out = np.empty(most)
        for k in range(most):
            missed *= np.maximum(rest - k, 0.0) / (n - k)
            out[k] = total - float(weight[: len(missed)] @ missed)
            if k % 64 == 63:
                alive = int(np.searchsorted(-missed, -1e-30))
                if alive < len(missed):
                    missed, rest, n = missed[:alive].copy(), rest[:alive], n[:alive]
        return out


def _of_pair(rule: Verifier, n: int, c: int) -> tuple[int, Floats, Floats, Floats]:
    """The first M, and from there the distribution of M, g(M) and e(M)."""
    f, r = rule.false_positive, rule.recall
    start, wrong = binomial(n - c, f)
    if c == 0:
        return start, wrong, np.zeros_like(wrong), np.zeros_like(wrong)
    low, right = binomial(c - 1, r)
    q = np.convolve(right, wrong)
    start += low
    # M runs from the first of q to one past its last.
    m = start + np.arange(len(q) + 1)
    before, here = np.append(0.0, q), np.append(q, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        g = np.where(before > 0, c * r * before / m, 0.0)
        e = np.where(here > 0, c * (1.0 - r) * here / (n - m), 0.0)
    return start, r * before + (1.0 - r) * here, g, e
