"""The same problems with samples drawn again: success rates that counts leave possible, and counts from those."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from t2fast import _core, passk
from t2fast.choosing.estimator import Judged, OfCounts, Prior, by_draw

__all__ = ["Again"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Counts, and logits of success rates, at which a rule is evaluated; between them it is interpolated.
_COUNTS, _LOGITS = 512, np.linspace(-18.0, 18.0, 1441)


class Again:
    """Replicates of some problems' samples.

    Parameters
    ----------
    n_samples, n_correct
        Counts of the problems.
    judges
        The rule, and the rule at each draw of its parameters where it has any.
    prior
        The fitted law of success rates.
    n_replicates, seed
        How many, and the key of their random numbers.
    """

    def __init__(
        self,
        n_samples: Integers,
        n_correct: Integers,
        judges: Sequence[Judged],
        prior: Prior,
        n_replicates: int,
        seed: int,
    ) -> None:
        self._n, self._c, self._judges, self._prior = n_samples, n_correct, judges, prior
        self._shape, self._seed = (n_replicates, len(n_samples)), seed

    def error(self, k: int) -> Floats:
        """What the estimate says of samples drawn again, less what is true of them: how far it may be off."""
        return self.estimates(k) - self._truths(float(k))

    def estimates(self, k: int) -> Floats:
        """The result with k samples as estimated from samples drawn again, a number per replicate."""
        if self._judges[0].perfect:
            n = np.broadcast_to(self._n, self._shape)
            values = np.asarray(passk.pass_at_k(n.reshape(-1), self.correct.reshape(-1), k))
            return np.asarray(values.reshape(self._shape).mean(axis=1))
        weights = self._counts[2]
        out = np.empty(self._shape[0])
        for rows, place in by_draw(self._judges):
            out[rows] = weights[rows] @ self._estimates[place].values(k)
        return out

    def _truths(self, k: float) -> Floats:
        """The mean result under the rates, a number per replicate."""
        if self._judges[0].perfect:
            with np.errstate(divide="ignore"):
                return np.asarray(-np.expm1(k * np.log1p(-self._rates)).mean(axis=1))
        out = np.empty(self._shape[0])
        rates = np.concatenate([[0.0], 1 / (1 + np.exp(-_LOGITS)), [1.0]])
        for rows, place in by_draw(self._judges):
            out[rows] = self._weights[rows] @ self._judges[place].of_rates(rates, k)
        return out

    @cached_property
    def correct(self) -> Integers:
        """Correct samples, had they been drawn again, shape (replicates, problems)."""
        random = np.random.Generator(np.random.Philox(key=[self._seed, 4]))
        return random.binomial(self._n, self._rates)

    @cached_property
    def _rates(self) -> Floats:
        """Success rates that the counts leave possible, shape (replicates, problems)."""
        a, b, zero = self._prior
        random = np.random.Generator(np.random.Philox(key=[self._seed, 3]))
        rates = random.beta(a + self._c, b + self._n - self._c, size=self._shape)
        if zero > 0:
            # A problem without a right sample may be one that never has any.
            from_beta = np.array([_core.beta_pass_at_k(a, b, 0.0, np.array([float(n)]))[0] for n in self._n])
            never = zero / (zero + (1 - zero) * (1 - from_beta))
            rates[(self._c == 0) & (random.random(self._shape) < never)] = 0.0
        return rates

    @cached_property
    def _weights(self) -> Floats:
        """The rates as weights of a few, in each replicate."""
        with np.errstate(divide="ignore"):
            logits = np.log(self._rates) - np.log1p(-self._rates)
        step = _LOGITS[1] - _LOGITS[0]
        ends = np.concatenate([[_LOGITS[0] - step], _LOGITS, [_LOGITS[-1] + step]])
        return _weighed(np.clip(logits, ends[0], ends[-1]), ends)

    @cached_property
    def _counts(self) -> tuple[Integers, Integers, Floats]:
        """A few counts n and c, and their weights in each replicate."""
        ns, cs, weights = [], [], []
        for n in np.unique(self._n):
            some = self.correct[:, self._n == n]
            turn = np.sin(np.linspace(0.0, np.pi / 2, _COUNTS)) ** 2
            nodes = np.arange(n + 1) if n < _COUNTS else np.unique(np.round(n * turn)).astype(np.int64)
            ns.append(np.full(len(nodes), n))
            cs.append(nodes)
            weights.append(_weighed(some.astype(float), nodes.astype(float)) * some.shape[1])
        return np.concatenate(ns), np.concatenate(cs), np.concatenate(weights, axis=1) / self._shape[1]

    @cached_property
    def _estimates(self) -> list[OfCounts]:
        n, c, _ = self._counts
        return [one.of_counts(n, c, self._prior) for one in self._judges]


def _weighed(values: Floats, nodes: Floats) -> Floats:
    """Weights of nodes that interpolate linearly between them and average over each row of values."""
    rows = np.arange(len(values))[:, None]
    low = np.clip(np.searchsorted(nodes, values, side="right") - 1, 0, len(nodes) - 2)
    share = (values - nodes[low]) / (nodes[low + 1] - nodes[low])
    flat = rows * len(nodes) + low
    size = len(values) * len(nodes)
    found = np.bincount(flat.ravel(), (1 - share).ravel(), size) + np.bincount(flat.ravel() + 1, share.ravel(), size)
    return np.asarray(found.reshape(len(values), len(nodes)) / values.shape[1])
