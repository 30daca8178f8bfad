"""The best design for a law and a budget, exactly, and the cheapest budget that reaches a target."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import ArrayLike

from t2fast import _core
from t2fast.arguments import number, numbers
from t2fast.costs import Budget
from t2fast.laws import Fitted, Law, as_law
from t2fast.planning.design import Design, Extrapolation, Interval, cautions, from_core
from t2fast.planning.uncertain import PlanUncertainty, resample
from t2fast.planning.words import describe, table
from t2fast.quantity import format_quantity
from t2fast.results import Result
from t2fast.text import warning_lines

__all__ = ["Plan", "cheapest", "from_outcome", "plan"]


@dataclass(frozen=True, repr=False)
class Plan(Result):
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
    flat_n_params: Interval
    gain_train: float | None
    gain_inference: float | None
    gain_total: float | None
    success: bool
    n_evaluations: int

    figure: ClassVar[str | None] = "planning:plan"

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

    @cached_property
    def uncertainty(self) -> PlanUncertainty | None:
        """What the resampled laws say; ``None`` when the law carries no draws. Found on first use."""
        if "draws" not in self.law.uncertainty:
            return None
        return resample(self.law, self.budget, self.design, self.chinchilla)

    @property
    def message(self) -> str:
        """Whether the searches converged, in words."""
        if self.success:
            return "converged"
        return "a search did not converge: check the plan with grid_search"

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
            "uncertainty": None if self.uncertainty is None else self.uncertainty.to_dict(),
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
        if self.uncertainty is not None:
            lines += ["", *self.uncertainty.lines()]
        return "\n".join([*lines, *warning_lines(self.warnings)])

    def headline(self) -> str:
        """The recommended design."""
        return self.design.summary()

    def rows(self) -> list[dict[str, Any]]:
        """The recommended design, the best inside the data and the Chinchilla-style one, a row each."""
        designs = {"recommended": self.design, "inside_data": self.inside_data, "chinchilla": self.chinchilla}
        return [{"design": name} | one.to_dict() for name, one in designs.items() if one is not None]

    def curve(self, n_params: ArrayLike) -> tuple[Design, ...]:
        """The best design at each of the given sizes, D and k (real) chosen best; sizes without one are left out."""
        found = _core.curve(self.law._handle, self.budget._handle, numbers("n_params", n_params, ndim=1))
        return tuple(from_core(self.law, one) for one in found if one is not None)


def plan(law: Law | str | Path | Fitted, budget: Budget) -> Plan:
    """Find the best N, D and k for a law and a budget.

    The objective is the law's own: most pass@k, or least loss. The continuous optimum is exact to 1e-9 in the
    objective (for loss laws the problem is convex in ln N, ln D and ln k; a pass law is searched over the whole range
    first); then the better whole k next to it is taken, N and D chosen anew.

    Parameters
    ----------
    law
        A law, a preset's name, the path of a law file, or a fit or its bootstrap (:mod:`t2fast.fitting`). A law that
        carries the draws of a bootstrap gives its plan an ``uncertainty``.
    budget
        What may be spent. N, D and k must each be limited by something.

    Raises
    ------
    InfeasibleError
        When the budget admits no design; the message says which number is too small and what would be needed.
    T2Error
        When N, D or k is unbounded.

    Examples
    --------
    >>> found = plan("pythia-gsm8k", Budget(train_flops=1e20, inference_flops=1.4e11))
    >>> print(found.design)
    N 80.3M, D 208B, k 872: pass@k 0.479, 2.59k tokens/param
    """
    law = as_law(law)
    return from_outcome(law, budget, _core.plan_budget(law._handle, budget._handle, law.data_range))


def from_outcome(law: Law, budget: Budget, outcome: _core.Plan) -> Plan:
    """A plan from what the core returns."""
    inside, chinchilla = outcome.inside_data, outcome.chinchilla
    return Plan(
        law,
        budget,
        design=from_core(law, outcome.best),
        continuous=from_core(law, outcome.continuous),
        inside_data=None if inside is None else from_core(law, inside),
        chinchilla=None if chinchilla is None else from_core(law, chinchilla),
        flat_n_params=Interval(*outcome.flat_n_params),
        gain_train=outcome.gain_train,
        gain_inference=outcome.gain_inference,
        gain_total=outcome.gain_total,
        success=outcome.converged,
        n_evaluations=outcome.evaluations,
    )


def cheapest(law: Law | str | Path | Fitted, budget: Budget, target: float) -> Plan:
    """Find the cheapest design that reaches a target.

    With ``inference_flops`` in the budget, the least training cost beside it; without, the least total cost over the
    workload.

    Parameters
    ----------
    law
        As for :func:`plan`.
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

    Examples
    --------
    >>> found = cheapest("pythia-gsm8k", Budget(inference_flops=1.4e11), target=0.4)
    >>> f"{found.budget.train_flops:.3g}"
    '1.26e+19'
    """
    law = as_law(law)
    flops = _core.cheapest(law._handle, budget._handle, number("target", target))
    wanted = "total_flops" if budget.inference_flops is None else "train_flops"
    within = {wanted: flops}
    return plan(law, replace(budget, **within))  # type: ignore[arg-type]
