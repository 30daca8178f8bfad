"""What a rule makes of counts, averaged by the core over all ways to draw the k samples: at one k, and at all k."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from t2fast import _core

__all__ = ["Subsets", "ladder"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: All k up to the first are looked at, and further ones by this ratio.
_ALL, _RATIO = 64, 1.03


class _Valued(Protocol):
    def values(self, k: int) -> Floats: ...


class Subsets:
    """A rule of the core that says what j right samples among k are worth, over problems with given counts.

    Parameters
    ----------
    rule
        The core's rule with its price.
    n_samples, n_correct
        Counts of distinct problems.
    """

    def __init__(self, rule: _core.Rule, n_samples: Integers, n_correct: Integers) -> None:
        self._rule, self._n, self._c = rule, n_samples, n_correct

    def values(self, k: int) -> Floats:
        """The value of each problem with k samples: unbiased, whatever the success rates."""
        return self._rule.of_counts(self._n, self._c, np.full(len(self._n), k))

    def curve(self, often: Integers, most: int) -> Floats:
        """The mean value with 1, 2, ..., ``most`` samples, as :func:`ladder` finds it."""
        return ladder(self, often, most)


def ladder(of: _Valued, often: Integers, most: int) -> Floats:
    """The mean value with 1, 2, ..., ``most`` samples: of all of the first 64, then of 3% more each time.

    Between those it is interpolated in log k, so that its extremes are among them.
    """
    share = often / often.sum()
    steps = np.arange(1, most + 1, dtype=float)
    if most > _ALL:
        rungs = int(np.log(most / _ALL) / np.log(_RATIO)) + 2
        steps = np.unique(np.round(np.append(steps[:_ALL], np.geomspace(_ALL, most, rungs))))
    means = np.array([share @ of.values(int(k)) for k in steps])
    return np.asarray(np.interp(np.log(np.arange(1, most + 1)), np.log(steps), means))
