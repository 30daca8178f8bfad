"""What the laws of a bootstrap say of a plan: each is planned with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from t2fast import _core
from t2fast.arguments import confidence_level as checked_level
from t2fast.costs import Budget
from t2fast.errors import T2Error
from t2fast.laws import ChinchillaLaw, Law
from t2fast.planning.design import Design, Interval, Point, from_core, value_of
from t2fast.planning.lattice import designs_at
from t2fast.quantity import format_quantity
from t2fast.results import Result

__all__ = ["PlanUncertainty", "resample"]


@dataclass(frozen=True, repr=False)
class PlanUncertainty(Result):
    """A plan under every law of a bootstrap.

    Attributes
    ----------
    recommended
        The plan's unlimited optimum, by the point estimate.
    best_on_average
        Of all the replicates' optima and the recommended design, the one with the best mean prediction over the laws.
    intervals
        Of each replicate's optimum: N, D, k and its prediction (``"result"`` of a rule, ``"pass_at_k"`` or ``"loss"``);
        ``"at_recommended"`` is the replicates' prediction for the recommended design.
    confidence_level
        The intervals' level.
    beats_chinchilla
        Share of the replicates by whose law the recommended design is better than the Chinchilla-style one at the same
        budgets; ``None`` for a law of the loss alone, whose recommendation that is.
    mean_recommended, mean_best
        Mean predictions, over the laws, for the recommended design and for the best on average.
    n_laws, n_infeasible
        Replicates planned with, and those that had no plan.
    optima
        Each replicate's optimum.

    Examples
    --------
    >>> from t2fast import Budget, plan
    >>> found = plan("pythia-gsm8k", Budget(train_flops=1e20, inference_flops=1.4e11)).uncertainty
    >>> found.n_laws > 100
    True
    """

    recommended: Design
    best_on_average: Design
    intervals: Mapping[str, Interval]
    confidence_level: float
    beats_chinchilla: float | None
    mean_recommended: float
    mean_best: float
    n_laws: int
    n_infeasible: int
    optima: tuple[Design, ...] = field(repr=False)

    figure: ClassVar[str | None] = "planning:optima"

    @property
    def result(self) -> str:
        """What the law predicts: ``"pass_at_k"`` or ``"loss"``."""
        if self.recommended.result is not None:
            return "result"
        return "loss" if self.recommended.pass_at_k is None else "pass_at_k"

    def lines(self) -> list[str]:
        """The intervals as lines of at most 80 columns."""
        shown = {name: (format_quantity(a, 4), format_quantity(b, 4)) for name, (a, b) in self.intervals.items()}
        lines = [
            f"{100 * self.confidence_level:g}% intervals over {self.n_laws} resampled laws",
            *(f"  optimal {label:<10}{' to '.join(shown[name])}" for name, label in _PLANNED.items()),
            f"  its {self.result:<14}{' to '.join(shown[self.result])}",
            f"  at recommended    {' to '.join(shown['at_recommended'])}",
            f"best on average   {self.best_on_average}",
            f"mean {self.result}: {self.mean_recommended:.4g} recommended, {self.mean_best:.4g} best on average",
        ]
        if self.beats_chinchilla is not None:
            lines.append(f"beats the Chinchilla-style design under {self.beats_chinchilla:.1%} of the laws")
        if self.n_infeasible:
            lines.append(f"{self.n_infeasible} laws had no plan")
        return lines

    def summary(self) -> str:
        """The recommended design and the intervals in at most 80 columns."""
        return "\n".join([f"recommended       {self.recommended}", *self.lines()])

    def rows(self) -> list[dict[str, Any]]:
        """The replicates' optima, a row each."""
        return [design.to_dict() for design in self.optima]

    def to_dict(self) -> dict[str, Any]:
        """The intervals as JSON data."""
        return {
            "recommended": self.recommended.to_dict(),
            "best_on_average": self.best_on_average.to_dict(),
            "confidence_level": self.confidence_level,
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "beats_chinchilla": self.beats_chinchilla,
            "mean_recommended": self.mean_recommended,
            "mean_best": self.mean_best,
            "n_laws": self.n_laws,
            "n_infeasible": self.n_infeasible,
        }


_PLANNED = {"n_params": "N", "n_tokens": "D", "k": "k"}
#: Designs compared on average; every replicate's optimum would make their number squared predictions.
_CANDIDATES = 200


def resample(
    law: Law, budget: Budget, recommended: Design, chinchilla: Design | None, confidence_level: float = 0.9
) -> PlanUncertainty:
    """Plan with every law whose draws a law carries.

    Raises
    ------
    T2Error
        When the law carries no draws, or none of their laws can be planned with.
    """
    level = checked_level(confidence_level)
    laws, optima, failed = [], [], 0
    for other in law.resampled():
        try:
            optima.append(from_core(other, _core.plan_budget(other._handle, budget._handle).best))
            laws.append(other)
        except T2Error:
            failed += 1
    if not laws:
        raise T2Error(f"none of {failed} resampled laws has a plan within this budget")
    sign = 1.0 if law.predicts_pass else -1.0

    def predict(design: Design) -> NDArray[np.float64]:
        """What every law says of one design."""
        if design.k == 0:
            return np.zeros(len(laws))  # silence
        at = (design.n_params, design.n_tokens, design.k)
        return np.array([_core.evaluate(one._handle, budget._handle, *at).value for one in laws])

    designs = list(dict.fromkeys([recommended, *optima[:_CANDIDATES]]))
    predictions = [predict(design) for design in designs]
    best = int(np.argmax([sign * values.mean() for values in predictions]))
    tail = 0.5 * (1 - level)

    def interval(values: Sequence[float] | NDArray[np.float64]) -> Interval:
        low, high = np.quantile(values, [tail, 1 - tail])
        return Interval(float(low), float(high))

    intervals = {name: interval([getattr(one, name) for one in optima]) for name in _PLANNED}
    name = "result" if law.pass_law is not law else "pass_at_k" if law.predicts_pass else "loss"
    intervals[name] = interval([value_of(one) for one in optima])
    intervals["at_recommended"] = interval(predictions[0])
    beats = None
    if chinchilla is not None and law.kind != ChinchillaLaw.kind:
        beats = float(np.mean(sign * (predictions[0] - predict(chinchilla)) > 0))
    chosen = designs[best]
    # What a replicate's own law said of its optimum would not compare with the recommendation.
    (at,) = designs_at(law, budget, [Point(chosen.n_params, chosen.n_tokens, chosen.k)])
    return PlanUncertainty(
        recommended=recommended,
        best_on_average=at,
        intervals=intervals,
        confidence_level=level,
        beats_chinchilla=beats,
        mean_recommended=float(predictions[0].mean()),
        mean_best=float(predictions[best].mean()),
        n_laws=len(laws),
        n_infeasible=failed,
        optima=tuple(optima),
    )
