"""The sample with the best score, by a score that is noisy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from t2fast.arguments import number
from t2fast.rules.rule import Rule

__all__ = ["BestOf"]


@dataclass(frozen=True, repr=False)
class BestOf(Rule):
    """The sample with the highest score is the answer: right answers score N(d', 1), wrong ones N(0, 1).

    Parameters
    ----------
    d_prime
        How far apart right and wrong answers score, in standard deviations within each; at least 0, where the score is
        noise and k samples are worth one. The area under the score's ROC curve is Phi(d' / sqrt(2)).

    Raises
    ------
    T2Error
        For a negative d'.

    Examples
    --------
    >>> print(BestOf(d_prime=1.2).headline())
    best of k by a score with d' = 1.2
    """

    d_prime: float

    kind: ClassVar[str] = "best-of"

    def __post_init__(self) -> None:
        object.__setattr__(self, "d_prime", number("d_prime", self.d_prime, low=0, high=30))
        super().__post_init__()

    def _checked_draws(self, draws: object) -> dict[str, tuple[Any, ...]]:
        found = super()._checked_draws(draws)
        for value in found.get("d_prime", ()):
            number("draws: d_prime", value, low=0, high=30)
        return found

    def headline(self) -> str:
        """The rule in words."""
        return f"best of k by a score with d' = {self.d_prime:.4g}"
