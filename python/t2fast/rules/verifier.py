"""A test that errs: it accepts some wrong answers and rejects some right ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast.arguments import choice, number, numbers
from t2fast.errors import T2Error
from t2fast.rules.rule import Rule

__all__ = ["Fallback", "Verifier"]

Fallback = Literal["rejected", "abstain"]


@dataclass(frozen=True, repr=False)
class Verifier(Rule):
    """The first sample that a test accepts is the answer; the test errs.

    Parameters
    ----------
    false_positive
        Share of wrong answers that the test accepts: of all questions, or, with a ``slope``, of questions that the
        model answers right half of the time.
    recall
        Share of right answers that it accepts; above 0.
    fallback
        What becomes of a question none of whose samples is accepted: one of them is answered all the same
        (``"rejected"``), or there is no answer (``"abstain"``).
    slope
        How the odds of a false positive rise with the odds of a right answer:
        ``f / (1 - f) = false_positive / (1 - false_positive) (p / (1 - p))^slope``. Wrong answers of better models pass
        more tests: HumanEval's own tests against HumanEval+ give a slope near 0.8. Zero is a constant rate.

    Raises
    ------
    T2Error
        For rates outside [0, 1], a recall of zero, or an unknown fallback.

    Notes
    -----
    With ``a = p r + (1 - p) f`` the answer is right with probability ``(p r / a)(1 - (1 - a)^k)``, and by a fallback to
    rejected samples ``p (1 - r) (1 - a)^(k - 1)`` more (Stroebl et al. 2024, arXiv 2411.17501).

    Examples
    --------
    >>> rule = Verifier(false_positive=0.01, recall=0.9)
    >>> print(rule.headline())
    verifier: false positives 1%, recall 90%; else a rejected sample
    >>> Verifier(0.2, slope=0.8).false_positives([0.1, 0.5, 0.9]).round(3).tolist()
    [0.041, 0.2, 0.592]
    """

    false_positive: float
    recall: float = 1.0
    fallback: Fallback = "rejected"
    slope: float = 0.0

    kind: ClassVar[str] = "verifier"

    def __post_init__(self) -> None:
        for name, answers in (("false_positive", "wrong"), ("recall", "right")):
            rate = number(name, getattr(self, name))
            if not 0 <= rate <= 1:
                raise T2Error(
                    f"{name} = {rate:g}: must be between 0 and 1: the share of {answers} answers accepted (5% is 0.05)"
                )
            object.__setattr__(self, name, rate)
        if self.recall == 0:
            raise T2Error("recall = 0: a verifier that accepts no right answer is of no use; it must be above 0")
        object.__setattr__(self, "slope", number("slope", self.slope, low=0))
        choice("fallback", self.fallback, ("rejected", "abstain"))
        super().__post_init__()

    @property
    def drawable(self) -> tuple[str, ...]:
        """Names of the parameters that draws may hold."""
        return ("false_positive", "recall", "slope")

    def _checked_draws(self, draws: object) -> dict[str, tuple[Any, ...]]:
        found = super()._checked_draws(draws)
        for name, column in found.items():
            high = np.inf if name == "slope" else 1.0
            for value in column:
                number(f"draws: {name}", value, low=0, high=high)
        return found

    def false_positives(self, p: ArrayLike) -> NDArray[np.float64]:
        """The share of wrong answers accepted, of questions that the model answers right with probability p."""
        rates = numbers("p", p)
        if not ((rates >= 0) & (rates <= 1)).all():
            raise T2Error("p: must be probabilities, between 0 and 1")
        if self.slope == 0 or self.false_positive in (0.0, 1.0):
            return np.full_like(rates, self.false_positive)
        with np.errstate(divide="ignore"):
            logit = np.log(rates) - np.log1p(-rates)
        shift = np.log(self.false_positive) - np.log1p(-self.false_positive)
        return np.asarray(np.exp(-np.logaddexp(0.0, -(shift + self.slope * logit))))

    def headline(self) -> str:
        """The rule in words."""
        rising = f", rising with the odds of a right answer to the power {self.slope:.3g}" if self.slope else ""
        else_ = "else a rejected sample" if self.fallback == "rejected" else "else silence"
        rates = f"false positives {_percent(self.false_positive)}{rising}, recall {_percent(self.recall)}"
        return f"verifier: {rates}; {else_}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
