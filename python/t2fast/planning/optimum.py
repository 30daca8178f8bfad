"""The best design for a law and a budget, exactly, and the cheapest budget that reaches a target."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from t2fast import _core
from t2fast.costs import Budget
from t2fast.laws import Law
from t2fast.planning.design import Design, Extrapolation, cautions, data_ends, from_core
from t2fast.planning.words import describe, table
from t2fast.quantity import format_quantity, refuse_non_numbers
from t2fast.text import warning_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Plan", "cheapest", "from_outcome", "plan"]

T = TypeVar("T", covariant=True)


class Resampled(Protocol[T]):
    """Many laws instead of one: something that plans with all of them."""

    def plan(self, budget: Budget) -> T:
        """The outcome of planning with every law."""


@dataclass(frozen=True)
class Plan:
    """The best design for a law and a budget, and what is needed to judge it.

    The fields of the recommended design (:attr:`design`) can be read off the plan itself: ``plan.n_params``.

    Attributes
    ----------
    law, budget
        What was asked.
    design
        The best design with a whole number of samples.
    continuous
        The best design with a real k, exact to 1e-9 in the objective.
    inside_data
        The best design within the range of the data behind the law; ``None`` when the budget admits none or the law
        does not know its data.
    chinchilla
        The Chinchilla-style design at the same budgets: N and D for the least loss, k chosen last from what
        remains; ``None`` when the budget admits none.
    flat_n_params
        The interval of N within 1% of the best result, D and k chosen best for each N.
    gain_train, gain_inference, gain_total
        How much the result improves with 1% more of each budget; ``None`` for budgets not given.
    success, message
        Whether every search converged, and in words.
    n_evaluations
        Points at which the law was evaluated.
    """

    law: Law
    budget: Budget
    design: Design
    continuous: Design
    inside_data: Design | None
    chinchilla: Design | None
    flat_n_params: tuple[float, float]
    gain_train: float | None
    gain_inference: float | None
    gain_total: float | None
    success: bool
    n_evaluations: int

    @property
    def n_params(self) -> float:
        """N of the recommended design."""
        return self.design.n_params

    @property
    def n_tokens(self) -> float:
        """D of the recommended design."""
        return self.design.n_tokens

    @property
    def k(self) -> int:
        """Samples per question of the recommended design."""
        return int(self.design.k)

    @property
    def pass_at_k(self) -> float | None:
        """Predicted pass@k of the recommended design; ``None`` for a law of losses."""
        return self.design.pass_at_k

    @property
    def loss(self) -> float:
        """Loss of the recommended design."""
        return self.design.loss

    @property
    def tokens_per_param(self) -> float:
        """D / N of the recommended design."""
        return self.design.tokens_per_param

    @property
    def train_flops(self) -> float:
        """Cost of training the recommended design."""
        return self.design.train_flops

    @property
    def inference_flops(self) -> float:
        """Cost of inference with the recommended design over the workload."""
        return self.design.inference_flops

    @property
    def extrapolation(self) -> Extrapolation | None:
        """How far the recommended design lies outside the data behind the law."""
        return self.design.extrapolation(self.law)

    @property
    def message(self) -> str:
        """Whether the searches converged, in words."""
        if self.success:
            return "converged"
        return "a search stopped before its lattice shrank below tolerance: compare with grid_search"

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What to know before acting on the plan: extrapolation first, then what the law's source warns of."""
        lines = cautions(self.law, self.design)
        if self.chinchilla is not None and self.law.data_range is not None:
            lines += cautions(self.law, self.chinchilla, "the Chinchilla-style design")
        if not self.success:
            lines.append(self.message)
        return (*lines, *self.law.warnings)

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON data: the recommended design's fields on top, everything else by name."""

        def part(design: Design | None) -> dict[str, Any] | None:
            if design is None:
                return None
            beyond = design.extrapolation(self.law)
            return design.to_dict() | {"extrapolation": None if beyond is None else asdict(beyond)}

        return {
            "law": self.law.name or self.law.to_dict(),
            "budget": self.budget.to_dict(),
            **(part(self.design) or {}),
            "continuous": part(self.continuous),
            "inside_data": part(self.inside_data),
            "chinchilla": part(self.chinchilla),
            "flat_n_params": list(self.flat_n_params),
            "gain_train": self.gain_train,
            "gain_inference": self.gain_inference,
            "gain_total": self.gain_total,
            "success": self.success,
            "message": self.message,
            "n_evaluations": self.n_evaluations,
            "warnings": list(self.warnings),
        }

    def summary(self) -> str:
        """A table of the designs and what surrounds them, within 80 columns."""
        designs = {"recommended": self.design, "inside data": self.inside_data, "Chinchilla": self.chinchilla}
        lines = [
            describe(self.law, self.budget),
            "",
            *table({k: v for k, v in designs.items() if v}, self.law),
            "",
        ]
        low, high = (format_quantity(end) for end in self.flat_n_params)
        lines.append(f"Flat optimum: N from {low} to {high} stays within 1% of the best.")
        gains = {"training": self.gain_train, "inference": self.gain_inference, "total": self.gain_total}
        said = [f"{gain:.2g} ({name})" for name, gain in gains.items() if gain is not None]
        if said:
            lines.append(f"1% more budget improves the result by {', '.join(said)}.")
        return "\n".join([*lines, *warning_lines(self.warnings)])

    __str__ = summary

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw the result against N, designs marked, what lies beyond the data hatched; needs ``t2fast[plot]``."""
        from t2fast.plots import planning as plots

        return plots.plan(self, path)


@overload
def plan(law: Law, budget: Budget) -> Plan: ...
@overload
def plan(law: Resampled[T], budget: Budget) -> T: ...
def plan(law: Law | Resampled[T], budget: Budget) -> Plan | T:
    """Find the best N, D and k for a law and a budget.

    The objective is the law's own: most pass@k, or least loss. The continuous optimum is exact to 1e-9 in the
    objective (for loss laws the problem is convex in ln N, ln D and ln k; a pass law is searched over the whole range
    first); then the better whole k next to it is taken, N and D chosen anew.

    Parameters
    ----------
    law
        A law, for example from :func:`t2fast.load_law`; or a fit or its bootstrap (:mod:`t2fast.fitting`), which is
        planned with law by law, for intervals of everything.
    budget
        What may be spent. N, D and k must each be limited by something.

    Raises
    ------
    InfeasibleError
        When the budget admits no design; the message says which number is too small and what would be needed.
    T2Error
        When N, D or k is unbounded.
    """
    if not isinstance(law, Law):
        return law.plan(budget)
    return from_outcome(law, budget, _core.plan_budget(law._handle, budget._handle, data_ends(law)))


def from_outcome(law: Law, budget: Budget, outcome: _core._PlanTuple) -> Plan:
    """A plan from what the core returns."""
    best, continuous, chinchilla, inside, flat, (gain_train, gain_inference, gain_total), evaluations, success = outcome
    return Plan(
        law,
        budget,
        from_core(law, best),
        from_core(law, continuous),
        None if inside is None else from_core(law, inside),
        None if chinchilla is None else from_core(law, chinchilla),
        flat,
        gain_train,
        gain_inference,
        gain_total,
        success,
        evaluations,
    )


def cheapest(law: Law, budget: Budget, target: float) -> Plan:
    """Find the cheapest design that reaches a target.

    With ``inference_flops`` in the budget, the least training cost beside it; without, the least total cost over the
    workload.

    Parameters
    ----------
    law
        A law.
    budget
        Everything except ``train_flops`` and ``total_flops``, which are what is looked for.
    target
        The pass@k to reach, between 0 and 1, or the loss to fall to.

    Returns
    -------
    Plan
        The plan at the cheapest budget; its ``budget`` holds the FLOP found.

    Raises
    ------
    InfeasibleError
        When no budget reaches the target; the message states the law's ceiling.
    """
    refuse_non_numbers(target=target)
    train, total = _core.cheapest(law._handle, budget._handle, target)
    return plan(law, replace(budget, train_flops=train, total_flops=total))
