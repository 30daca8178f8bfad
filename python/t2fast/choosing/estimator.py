"""What a rule makes of counts: of those of a problem, of a fitted distribution of success rates, and of a rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from t2fast import _core
from t2fast.choosing.accepted import Accepted
from t2fast.choosing.expected import Expected
from t2fast.choosing.subsets import Subsets
from t2fast.errors import T2Error
from t2fast.laws.ruled import core_rule
from t2fast.rules import AnyCorrect, BestOf, Majority, Rule, Verifier

__all__ = ["Judged", "OfCounts", "Prior", "by_draw"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Prior = tuple[float, float, float]

#: Votes among more samples take long to average over all ways to draw them.
_MOST_VOTES = 200
#: Draws of a rule's parameters that serve.
_MOST_DRAWS = 12


class OfCounts(Protocol):
    """The value of each of some problems with k samples."""

    def values(self, k: int) -> Floats:
        """With k samples, k being at most those drawn."""


class _Passed:
    """pass@k, of which sampling may stop at the first right sample."""

    def __init__(self, n_samples: Integers, n_correct: Integers) -> None:
        self._n, self._c = n_samples, n_correct

    def values(self, k: int) -> Floats:
        return np.asarray(_core.estimate("pass_at_k", self._n, self._c, np.array([k]))[:, 0])

    def drawn(self, k: int) -> Floats:
        chance = _core.estimate("pass_at_k", self._n + 1, self._c + 1, np.array([k]))[:, 0]
        return np.asarray((self._n + 1) / (self._c + 1) * chance)


@dataclass(frozen=True)
class Judged:
    """A rule with a price of wrong answers.

    Parameters
    ----------
    rule
        How one answer is chosen from k samples.
    wrong_cost
        What a wrong answer costs, in right ones.
    stops
        Whether sampling stops at the first accepted answer.
    """

    rule: Rule = field(default_factory=AnyCorrect)
    wrong_cost: float = 0.0
    stops: bool = False

    def __post_init__(self) -> None:
        if self.stops and not isinstance(self.rule, AnyCorrect | Verifier):
            raise T2Error(
                f"stop_on_success: sampling stops at the first accepted answer, and a {self.rule.kind} accepts none: "
                "leave it out, or choose answers by a verifier"
            )

    @property
    def perfect(self) -> bool:
        """Whether this is pass@k."""
        return isinstance(self.rule, AnyCorrect)

    @property
    def measured(self) -> bool:
        """Whether it is a vote among the answers at hand, of which nothing else is known."""
        return isinstance(self.rule, Majority) and self.rule.tail is None

    @cached_property
    def core(self) -> _core.Rule:
        """The core's rule."""
        return core_rule(self.rule, self.wrong_cost)

    @cached_property
    def _right(self) -> _core.Rule:
        """The same without a price."""
        return core_rule(self.rule, 0.0) if self.wrong_cost else self.core

    @property
    def rises(self) -> bool:
        """Whether more samples never hurt, whatever the success rates."""
        return not self.measured and self.core.rises

    @property
    def follows_pass(self) -> bool:
        """Whether what a power law says of pass@k says something of this rule."""
        return not isinstance(self.rule, Majority)

    @cached_property
    def judges(self) -> list[Judged]:
        """Itself, and the rule at each of the first draws of its parameters where it has any."""
        if not self.rule.has_draws:
            return [self]
        return [self, *(replace(self, rule=rule) for rule in self.rule.with_fewer_draws(_MOST_DRAWS).resampled())]

    def of_counts(
        self, n_samples: Integers, n_correct: Integers, prior: Prior, often: Integers | None = None
    ) -> OfCounts:
        """Its value of problems with these counts, which so many have; ``prior`` serves where counts do not say it."""
        if self.perfect:
            return _Passed(n_samples, n_correct)
        if isinstance(self.rule, Verifier) and (self.rule.slope == 0 or self.rule.false_positive in (0.0, 1.0)):
            return Accepted(self.rule, self.wrong_cost, n_samples, n_correct)
        tail = self.rule.tail if isinstance(self.rule, Majority) else None
        few = tail is not None and not tail.rates and int(n_samples.max()) <= _MOST_VOTES
        if isinstance(self.rule, BestOf) or few:
            return Subsets(self.core, n_samples, n_correct)
        return Expected(self.core, self._right, self.wrong_cost, prior, n_samples, n_correct, often)

    def of_prior(self, prior: Prior, ks: Floats, passed: Floats | None = None) -> Floats:
        """Its value over a fitted distribution of success rates.

        ``passed`` is pass@k as another method predicts it: what samples after the first add to right answers is then
        more in proportion.
        """
        value = self._mean(self.core, prior, ks)
        if passed is None:
            return value
        right = value if not self.wrong_cost else self._mean(self._right, prior, ks)
        first = float(self._mean(self._right, prior, np.ones(1))[0])
        p = (1.0 - prior[2]) * prior[0] / (prior[0] + prior[1])
        added = np.asarray(_core.beta_pass_at_k(*prior, ks)) - p
        ratio = np.divide(np.maximum(passed - p, 0.0), added, out=np.ones_like(added), where=added > 1e-12)
        return np.asarray(value + (1.0 + self.wrong_cost) * (right - first) * (ratio - 1.0))

    def drawn_of_prior(self, prior: Prior, k: float) -> float:
        """Samples drawn on average over such a distribution."""
        a, b, zero = (np.array([x]) for x in prior)
        at = np.array([float(k)])
        never = self.core.of_rates(np.zeros(1), at, True)
        return float((zero * never + (1.0 - zero) * self.core.of_beta(a, b, at, True))[0])

    def of_rates(self, p: Floats, k: float) -> Floats:
        """Its value of problems with these success rates."""
        return np.asarray(self.core.of_rates(p, np.full(len(p), float(k))))

    @staticmethod
    def _mean(rule: _core.Rule, prior: Prior, ks: Floats) -> Floats:
        a, b, zero = prior
        value = rule.of_beta(np.full(len(ks), a), np.full(len(ks), b), ks)
        if zero > 0:
            value = zero * rule.of_rates(np.zeros(len(ks)), ks) + (1.0 - zero) * value
        return np.asarray(value)


def by_draw(each: Sequence[object]) -> list[tuple[slice, int]]:
    """Which replicates take which of a rule and its draws, by place: of several all but the rule itself, in turn."""
    if len(each) == 1:
        return [(slice(None), 0)]
    return [(slice(i, None, len(each) - 1), i + 1) for i in range(len(each) - 1)]
