"""How the answers of checkpoints are chosen when decisions are back-tested, and what that makes of their counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from t2fast import _core
from t2fast.arguments import number
from t2fast.errors import T2Error
from t2fast.fitting.rows import FloatArray, IntArray
from t2fast.laws import Law, under_rule
from t2fast.laws.ruled import core_rule
from t2fast.rules import AnyCorrect, Rule, Verifier, as_rule

__all__ = ["PASS_AT_K", "Selection"]

#: Ratio of the numbers of samples that are tried where more may hurt.
_RUNG = 2.0**0.5


@dataclass(frozen=True)
class Selection:
    """A rule, what a wrong answer costs, and whether sampling stops at an accepted answer."""

    rule: Rule = AnyCorrect()  # noqa: RUF009
    wrong_cost: float = 0.0
    stop_on_success: bool = False

    @classmethod
    def of(cls, rule: Rule | str | Path | None, wrong_cost: float, stop_on_success: bool) -> Selection:
        """What ``plan`` and its relatives take, checked.

        Raises
        ------
        T2Error
            For a price below 0, and a rule under which sampling cannot stop.
        """
        found = as_rule(rule)
        if stop_on_success and not isinstance(found, AnyCorrect | Verifier):
            raise T2Error(
                f"stop_on_success: sampling stops at the first accepted answer, and a {found.kind} accepts none: "
                "leave it out, or choose answers by a verifier"
            )
        return cls(found, number("wrong_cost", wrong_cost, low=0), stop_on_success)

    @property
    def any_correct(self) -> bool:
        """Whether this is pass@k with all samples paid for."""
        return isinstance(self.rule, AnyCorrect) and not self.stop_on_success

    @property
    def quantity(self) -> str:
        """What results are counted in."""
        if isinstance(self.rule, AnyCorrect):
            return "pass@k"
        return "right answers" if self.wrong_cost == 0 else "right answers less the price of wrong ones"

    @property
    def silence(self) -> tuple[float, ...]:
        """What no answer at all brings, where that is allowed."""
        return (0.0,) if self.wrong_cost > 0 else ()

    @property
    def _core_rule(self) -> _core.Rule:
        return _prepared(self.rule, self.wrong_cost)

    def under(self, law: Law) -> Law:
        """A law under the rule."""
        return under_rule(law, self.rule, self.wrong_cost, self.stop_on_success)

    def of_counts(self, n: IntArray, c: IntArray, k: IntArray) -> FloatArray:
        """The mean result of k of n samples, c of them right, over all choices of k."""
        return self._core_rule.of_counts(n, c, np.asarray(k, dtype=np.int64))

    def drawn_of_counts(self, n: IntArray, c: IntArray, k: IntArray) -> FloatArray:
        """The mean number of samples drawn, k at most."""
        return self._core_rule.of_counts(n, c, np.asarray(k, dtype=np.int64), True)

    def fewer(self, k: int) -> IntArray:
        """Numbers of samples up to k among which the best is sought: k alone where more never hurt."""
        rungs = [k]
        while not self._core_rule.rises and rungs[-1] > 1:
            rungs.append(int(rungs[-1] / _RUNG))
        return np.array(rungs, dtype=np.int64)

    def data(self) -> dict[str, Any]:
        """As JSON data; nothing for pass@k."""
        if self.any_correct:
            return {}
        found: dict[str, Any] = {"rule": self.rule.brief(), "wrong_cost": self.wrong_cost}
        return found | ({"stop_on_success": True} if self.stop_on_success else {})

    def words(self) -> Sequence[str]:
        """The rule in a line or none."""
        if self.any_correct:
            return ()
        price = f"; a wrong answer costs {self.wrong_cost:g} right ones" if self.wrong_cost else ""
        stops = "; sampling stops at an accepted answer" if self.stop_on_success else ""
        return (f"Rule: {self.rule.headline()}{price}{stops}",)


@lru_cache(maxsize=8)
def _prepared(rule: Rule, wrong_cost: float) -> _core.Rule:
    """The core's form of a rule, which may take a second to make; not kept in what is pickled."""
    return core_rule(rule, wrong_cost)


#: No rule: whoever asks recognises the right answer.
PASS_AT_K = Selection()
