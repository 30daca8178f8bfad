"""Plans with the uncertainty of the law behind them: every resampled law is planned with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from t2fast import _core
from t2fast.costs import Budget
from t2fast.errors import T2Error
from t2fast.laws import ChinchillaLaw, Law
from t2fast.planning.design import Design
from t2fast.planning.optimum import Plan, plan
from t2fast.quantity import format_quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Bootstrapped", "UncertainPlan", "plan_uncertain"]


@dataclass(frozen=True)
class UncertainPlan:
    """A plan with the uncertainty of the law behind it.

    Parameters
    ----------
    plan
        The plan for the point estimate.
    best_on_average
        Of all the replicates' optima and the point estimate's, the design with the best mean prediction over
        the laws.
    intervals
        Of each replicate's optimum: N, D, k and its prediction (``"pass_at_k"`` or ``"loss"``); ``"at_recommended"`` is
        the replicates' prediction for the point estimate's design.
    level
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
    """

    plan: Plan
    best_on_average: Design
    intervals: Mapping[str, tuple[float, float]]
    level: float
    beats_chinchilla: float | None
    mean_recommended: float
    mean_best: float
    n_laws: int
    n_infeasible: int
    optima: tuple[Design, ...] = field(repr=False)

    def summary(self) -> str:
        """The plan with its intervals in at most 80 columns."""
        result = "pass_at_k" if self.plan.law.predicts_pass else "loss"
        shown = {name: (format_quantity(a, 4), format_quantity(b, 4)) for name, (a, b) in self.intervals.items()}
        lines = [
            f"recommended      {self.plan.design}",
            f"best on average  {self.best_on_average}",
            f"{100 * self.level:g}% intervals over {self.n_laws} resampled laws",
            *(f"  optimal {label:<10}{' to '.join(shown[name])}" for name, label in _PLANNED.items()),
            f"  its {result:<14}{' to '.join(shown[result])}",
            f"  at recommended    {' to '.join(shown['at_recommended'])}",
            f"mean {result}: {self.mean_recommended:.4g} recommended, {self.mean_best:.4g} best on average",
        ]
        if self.beats_chinchilla is not None:
            lines.append(f"beats the Chinchilla-style design under {self.beats_chinchilla:.1%} of the laws")
        if self.n_infeasible:
            lines.append(f"{self.n_infeasible} laws had no plan")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def to_dict(self) -> dict[str, Any]:
        """The plan and its intervals as JSON data."""
        return {
            "recommended": self.plan.design.to_dict(),
            "best_on_average": self.best_on_average.to_dict(),
            "level": self.level,
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "beats_chinchilla": self.beats_chinchilla,
            "mean_recommended": self.mean_recommended,
            "mean_best": self.mean_best,
            "n_laws": self.n_laws,
            "n_infeasible": self.n_infeasible,
        }

    def plot(self, path: str | Path | None = None) -> Figure:
        """The cloud of optima over the resampled laws; needs ``t2fast[plot]``."""
        from t2fast.plots.fitting import plot_optima

        return plot_optima(self, path)


_PLANNED = {"n_params": "N", "n_tokens": "D", "k": "k"}
#: Designs compared on average; every replicate's optimum would make their number squared predictions.
_CANDIDATES = 200


class Bootstrapped(Protocol):
    """What has a fitted law and resampled ones: :class:`t2fast.fitting.Bootstrap`."""

    def law(self) -> Law:
        """The law fitted to the whole table."""

    def laws(self) -> Iterable[Law]:
        """The laws of the resampled tables."""


def plan_uncertain(source: Bootstrapped | Law, budget: Budget, level: float = 0.9) -> UncertainPlan:
    """Plan with every law of a bootstrap.

    Parameters
    ----------
    source
        From :meth:`t2fast.fitting.FitResult.bootstrap`; or a law that carries the draws of one, as
        ``t2fast fit --bootstrap --out`` writes it.
    budget
        What may be spent, as for :func:`t2fast.plan`.
    level
        Level of the intervals.

    Raises
    ------
    InfeasibleError
        When the budget admits no design.
    T2Error
        When the law carries no draws, or no replicate's law can be planned with.
    """
    if not 0 < level < 1:
        raise T2Error(f"level = {level}: must lie between 0 and 1; write 0.9 for 90%")
    law, laws = (source, source.resampled()) if isinstance(source, Law) else (source.law(), source.laws())
    point = plan(law, budget)
    plans: list[Plan] = []
    failed = 0
    for other in laws:
        try:
            plans.append(plan(other, budget))
        except T2Error:
            failed += 1
    if not plans:
        raise T2Error(f"none of {failed} resampled laws has a plan within this budget")
    sign = 1.0 if point.law.predicts_pass else -1.0

    def predict(design: Design) -> NDArray[np.float64]:
        """What every law says of one design."""
        at = (design.n_params, design.n_tokens, design.k)
        return np.array([_core.evaluate(one.law._handle, budget._handle, *at)[3] for one in plans])

    designs = list(dict.fromkeys([point.design, *(one.design for one in plans[:_CANDIDATES])]))
    predictions = [predict(design) for design in designs]
    best = int(np.argmax([sign * values.mean() for values in predictions]))
    tail = 0.5 * (1 - level)

    def interval(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
        low, high = np.quantile(values, [tail, 1 - tail])
        return float(low), float(high)

    result = "pass_at_k" if point.law.predicts_pass else "loss"
    intervals = {name: interval([getattr(one.design, name) for one in plans]) for name in (*_PLANNED, result)}
    intervals["at_recommended"] = interval(predictions[0])
    beats = None
    if point.chinchilla is not None and point.law.kind != ChinchillaLaw.kind:
        beats = float(np.mean(sign * (predictions[0] - predict(point.chinchilla)) > 0))
    chosen = designs[best]
    at = (chosen.n_params, chosen.n_tokens, chosen.k)
    # What a replicate's own law said of its optimum would not compare with the recommendation.
    *_, value, loss, train, inference = _core.evaluate(point.law._handle, budget._handle, *at)
    rate = value if point.law.predicts_pass else None
    return UncertainPlan(
        plan=point,
        best_on_average=Design(*at, rate, loss if point.law.predicts_pass else value, train, inference),
        intervals=intervals,
        level=level,
        beats_chinchilla=beats,
        mean_recommended=float(predictions[0].mean()),
        mean_best=float(predictions[best].mean()),
        n_laws=len(plans),
        n_infeasible=failed,
        optima=tuple(one.design for one in plans),
    )
