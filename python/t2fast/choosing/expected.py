"""What a rule makes of counts that alone do not say it: its mean over the success rates that they leave possible.

A share of false positives that rises with the success rate, or a tail of wrong answers that changes with it, is no
property of the samples at hand; and votes among very many take long to count. Success rates are Beta distributed over
problems, as fitted to the counts, and of a problem with c of n right Beta(a + c, b + n - c): over that the rule's value
is averaged. Right answers are then scaled by how far pass@k, so averaged over all problems, lies from its unbiased
estimate: a rule makes no more than pass@k.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from t2fast import _core
from t2fast.choosing.subsets import ladder

__all__ = ["Expected"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Expected:
    """A rule of the core, over problems with given counts.

    Parameters
    ----------
    rule, right
        The core's rule with its price, and without.
    wrong_cost
        The price.
    prior
        a, b and the share of problems that never succeed, as fitted.
    n_samples, n_correct
        Counts of distinct problems.
    often
        How many problems have them; ``None`` where that is not known, and nothing is scaled.
    """

    def __init__(
        self,
        rule: _core.Rule,
        right: _core.Rule,
        wrong_cost: float,
        prior: tuple[float, float, float],
        n_samples: Integers,
        n_correct: Integers,
        often: Integers | None,
    ) -> None:
        a, b, zero = prior
        self._rule, self._right, self._cost = rule, right, wrong_cost
        self._n, self._c, self._often = n_samples, n_correct, often
        self._a = np.asarray(a + n_correct, np.float64)
        self._b = np.asarray(b + (n_samples - n_correct), np.float64)
        # A problem without a right sample may be one that never has any.
        found = np.array([_core.beta_pass_at_k(a, b, 0.0, np.array([float(n)]))[0] for n in n_samples])
        with np.errstate(invalid="ignore"):
            never = zero / (zero + (1.0 - zero) * (1.0 - found))
        self._never = np.where((n_correct == 0) & (zero > 0), never, 0.0)

    def values(self, k: int) -> Floats:
        """The value of each problem with k samples."""
        value = self._mean(self._rule, k)
        if self._often is None:
            return value
        right = self._mean(self._right, k) if self._cost else value
        return np.asarray(value + (1.0 + self._cost) * right * (self._scale(k) - 1.0))

    def drawn(self, k: int) -> Floats:
        """Samples drawn of each problem on average when drawing stops at the first accepted; k at most."""
        return self._mean(self._rule, k, drawn=True)

    def curve(self, often: Integers, most: int) -> Floats:
        """The mean value with 1, 2, ..., ``most`` samples, as :func:`ladder` finds it."""
        return ladder(self, often, most)

    def _mean(self, rule: _core.Rule, k: int, drawn: bool = False) -> Floats:
        at = np.full(len(self._a), float(k))
        never = rule.of_rates(np.zeros(1), at[:1], drawn)[0]
        return np.asarray(self._never * never + (1.0 - self._never) * rule.of_beta(self._a, self._b, at, drawn))

    def _scale(self, k: int) -> float:
        """pass@k as estimated without bias over pass@k as averaged."""
        mean = np.array(
            [_core.beta_pass_at_k(a, b, 0.0, np.array([float(k)]))[0] for a, b in zip(self._a, self._b, strict=True)]
        )
        assert self._often is not None
        averaged = float(self._often @ ((1.0 - self._never) * mean))
        estimated = float(self._often @ _core.estimate("pass_at_k", self._n, self._c, np.array([k]))[:, 0])
        return estimated / averaged if averaged > 0 else 1.0
