"""Which N, D and k? A design with support, what stands behind it, and the optimum that no data limit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import ArrayLike

from t2fast import _core
from t2fast.arguments import numbers
from t2fast.costs import PROMPTS, Budget, CostEstimate, as_budget
from t2fast.errors import InfeasibleError
from t2fast.laws import Fitted, Law, RuledLaw, as_law, under_rule
from t2fast.planning.bill import PromptMode, bill_lines, estimate
from t2fast.planning.design import Design, Extrapolation, Interval, cautions, from_core, value_of
from t2fast.planning.evidence import Neighbour, ceiling_warning, intervals, lower_end, nearest, repeats
from t2fast.planning.lattice import best, designs_at, least_training, region_of
from t2fast.planning.surroundings import Surroundings, best_at_sizes, surroundings
from t2fast.planning.uncertain import PlanUncertainty, resample
from t2fast.planning.words import beside, describe, neighbours, rule_data, rule_lines, table
from t2fast.quantity import format_quantity
from t2fast.results import Result
from t2fast.rules import Rule
from t2fast.text import warning_lines

__all__ = ["Plan", "plan", "planned"]

#: What tables call the designs of a plan.
_SHOWN = {
    "recommended": "recommended",
    "cheapest_within_1pct": "cheapest within 1%",
    "inside_data": "inside data",
    "chinchilla": "Chinchilla",
    "unlimited": "unlimited optimum",
}


@dataclass(frozen=True, repr=False)
class Plan(Result):
    """A design for a law and a budget, and what is needed to judge it.

    The fields of the recommended design (:attr:`design`) can be read off the plan itself: ``plan.n_params``.

    Attributes
    ----------
    law, budget
        What was asked.
    design
        The recommended design. For a law of success rates, of all designs within the range of its data the one whose
        predictive interval has the best lower end (without draws, the best prediction). For a law of losses, or where
        the law does not know its data or the budget affords nothing within them, the unlimited optimum.
    intervals
        The 90% predictive interval of each of :attr:`designs`, by name; ``None`` for each by a law without draws.
    nearest
        The measured checkpoints nearest to it, and what the law says of them.
    cheapest_within_1pct
        The design with the least training cost that keeps 99% of the recommended design's pass@k, within the data;
        ``None`` for a law of losses or without data.
    chinchilla
        The Chinchilla-style design at the same budgets: N and D for the least loss (of a law without one: 20 tokens per
        parameter), k chosen last from what remains; ``None`` when the budget admits none.
    unlimited
        The law's own optimum with a whole number of samples, wherever it lies.
    continuous
        The same with a real k, exact to 1e-9 in the objective.
    inside_data
        The best prediction within the range of the data behind the law; ``None`` when the budget admits none or the law
        does not know its data.
    flat_n_params
        The interval of N within 1% of the unlimited optimum, D and k chosen best for each N; ``None`` for laws that the
        core does not know.
    gain_train, gain_inference, gain_total
        How much the unlimited optimum improves with 1% more of each budget; ``None`` for budgets not given, and for
        laws that the core does not know.
    success, message
        Whether every search converged, and in words.
    n_evaluations
        Points at which the law was evaluated for the unlimited optimum.

    Examples
    --------
    >>> found = plan("besiroglu", Budget(train_flops=1e21))
    >>> 10 < found.tokens_per_param < 30
    True
    """

    law: Law
    budget: Budget
    design: Design
    intervals: Mapping[str, Interval | None]
    nearest: tuple[Neighbour, ...]
    cheapest_within_1pct: Design | None
    chinchilla: Design | None
    unlimited: Design
    continuous: Design
    inside_data: Design | None
    flat_n_params: Interval | None
    gain_train: float | None
    gain_inference: float | None
    gain_total: float | None
    success: bool
    n_evaluations: int = field(compare=False)

    figure: ClassVar[str | None] = "planning:plan"

    @property
    def interval(self) -> Interval | None:
        """The 90% predictive interval of the recommended design's result; ``None`` for a law without draws."""
        return self.intervals["recommended"]

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
        """Samples per problem of the recommended design."""
        return int(self.design.k)

    @property
    def pass_at_k(self) -> float | None:
        """Predicted pass@k of the recommended design; ``None`` for a law of losses."""
        return self.design.pass_at_k

    @property
    def rule(self) -> Rule | None:
        """How one answer is chosen from k samples; ``None`` where any right one counts."""
        return self.law.rule if isinstance(self.law, RuledLaw) else None

    @property
    def result(self) -> float:
        """What the rule makes of the recommended design; its pass@k, or its loss, without a rule."""
        return value_of(self.design)

    @property
    def loss(self) -> float | None:
        """Loss of the recommended design; ``None`` for a law without one."""
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
    def epochs(self) -> float | None:
        """How many times the recommended design trains on the unique tokens, where more than once."""
        return repeats(self.budget, self.design)

    @property
    def message(self) -> str:
        """Whether the searches converged, in words."""
        return "converged" if self.success else "a search did not converge: check the plan with grid_search"

    @cached_property
    def bill(self) -> CostEstimate | None:
        """What a question costs with the recommended design, in seconds, energy and latency; ``None`` in FLOP.

        Where sampling stops at an answer, of the samples drawn on average; ``None`` too where none is drawn.
        """
        return estimate(self.budget, self.design)

    @cached_property
    def modes(self) -> dict[str, PromptMode | None]:
        """What the same dollars buy in each way to treat a prompt; empty in FLOP, ``None`` for what is out of reach."""
        found: dict[str, PromptMode | None] = {}
        for mode in PROMPTS if self.budget.in_dollars else ():
            other = replace(self.budget, workload=replace(self.budget.workload, prompt=mode))
            try:
                one = self.design if mode == self.budget.workload.prompt else _again(self.law, other).design
                priced = estimate(other, one)
            except InfeasibleError:
                found[mode] = None
            else:
                found[mode] = PromptMode(one, 0.0 if priced is None else priced.dollars)
        return found

    @cached_property
    def uncertainty(self) -> PlanUncertainty | None:
        """What resampled laws say of the unlimited optimum; ``None`` for a law without draws. Found on first use."""
        if not (self.law.has_draws and self.law.in_core):
            return None
        return resample(self.law, self.budget, self.unlimited, self.chinchilla)

    @cached_property
    def designs(self) -> dict[str, Design]:
        """The designs of the plan by name, without those that do not exist or repeat the recommended one."""
        named = {
            "recommended": self.design,
            "cheapest_within_1pct": self.cheapest_within_1pct,
            "inside_data": None if self.law.predicts_pass else self.inside_data,
            "chinchilla": self.chinchilla,
            "unlimited": self.unlimited,
        }
        first = (self.design, "recommended")
        return {
            name: one for name, one in named.items() if one is not None and ((one, name) == first or one != self.design)
        }

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What to know before acting on the plan: what the law cannot say first, then how far it extrapolates."""
        low = ceiling_warning(self.law, self.design.k)
        lines = [low] if low else []
        lines += cautions(self.law, self.design)
        if self.law.data_range is not None:
            if self.chinchilla is not None:
                lines += cautions(self.law, self.chinchilla, "the Chinchilla-style design")
            if self.unlimited != self.design:
                lines += cautions(self.law, self.unlimited, "the unlimited optimum")
        for name, design in self.designs.items():
            times = repeats(self.budget, design)
            if times is not None:
                unique = format_quantity(self.budget.unique_tokens or 0)
                lines.append(f"{_SHOWN[name]} trains {times:.3g} epochs on {unique} unique tokens")
        if self.design.k == 0:
            lines.append("wrong answers cost more than right ones bring: silence, k = 0, is best")
        if not self.success:
            lines.append(self.message)
        return (*lines, *self.law.warnings)

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON data: the recommended design's fields on top, everything else by name."""
        return self.brief() | {"uncertainty": None if self.uncertainty is None else self.uncertainty.to_dict()}

    def brief(self) -> dict[str, Any]:
        """As :meth:`to_dict`, without planning with every resampled law."""

        def part(design: Design | None) -> dict[str, Any] | None:
            if design is None:
                return None
            beyond, times = design.extrapolation(self.law), repeats(self.budget, design)
            data = design.to_dict() | {"extrapolation": None if beyond is None else asdict(beyond)}
            return data if times is None else data | {"epochs": times}

        return {
            "law": self.law.name or self.law.pass_law.to_dict(),
            "budget": self.budget.to_dict(),
            **rule_data(self.law),
            **(part(self.design) or {}),
            **({} if self.bill is None else {"bill": self.bill.to_dict()}),
            **({} if not self.modes else {"modes": {name: one and one.to_dict() for name, one in self.modes.items()}}),
            "interval": None if self.interval is None else list(self.interval),
            "nearest": [one.to_dict() for one in self.nearest],
            "cheapest_within_1pct": part(self.cheapest_within_1pct),
            "chinchilla": part(self.chinchilla),
            "unlimited": part(self.unlimited),
            "continuous": part(self.continuous),
            "inside_data": part(self.inside_data),
            "flat_n_params": None if self.flat_n_params is None else list(self.flat_n_params),
            "gain_train": self.gain_train,
            "gain_inference": self.gain_inference,
            "gain_total": self.gain_total,
            "success": self.success,
            "message": self.message,
            "n_evaluations": self.n_evaluations,
            "warnings": list(self.warnings),
        }

    def summary(self) -> str:
        """The recommended design, what was measured near it, and its rivals, within 80 columns."""
        rows = {_SHOWN[name]: one for name, one in self.designs.items()}
        ends = {_SHOWN[name]: one for name, one in self.intervals.items()}
        first = ceiling_warning(self.law, self.design.k)
        lines = [
            describe(self.law, self.budget),
            *rule_lines(self.law),
            "",
            *([*warning_lines([first]), ""] if first else []),
        ]
        lines += [*table(rows, self.law, ends), ""]
        if self.nearest:
            lines += [
                "Measured nearby:" if self.rule is None else "Measured nearby, in pass@k:",
                *neighbours(self.nearest),
                "",
            ]
        if self.bill is not None:
            lines += [*bill_lines(self.bill, self.design, self.modes), ""]
        lines += beside(self.unlimited != self.design, self.flat_n_params, self.gains)
        return "\n".join([*lines, *warning_lines(self.warnings[1:] if first else self.warnings)]).rstrip()

    @property
    def gains(self) -> dict[str, float]:
        """How much the unlimited optimum improves with 1% more of each budget given."""
        named = {"training": self.gain_train, "inference": self.gain_inference, "total": self.gain_total}
        return {name: gain for name, gain in named.items() if gain is not None}

    def headline(self) -> str:
        """The recommended design."""
        return self.design.summary()

    def rows(self) -> list[dict[str, Any]]:
        """The recommended design and its rivals, a row each."""
        return [{"design": name} | one.to_dict() for name, one in self.designs.items()]

    def curve(self, n_params: ArrayLike) -> tuple[Design, ...]:
        """The best design at each of the given sizes, D and k chosen best; sizes without one are left out.

        k is real, or whole for laws that the core does not know.
        """
        sizes = numbers("n_params", n_params, ndim=1)
        if self.law.in_core:
            found = _core.curve(self.law._handle, self.budget._handle, sizes)
            return tuple(from_core(self.law, one) for one in found if one is not None)
        return tuple(best_at_sizes(self.law, self.budget, sizes.tolist()))


def plan(
    law: Law | str | Path | Fitted,
    budget: Budget,
    *,
    rule: Rule | str | Path | None = None,
    wrong_cost: float = 0.0,
    stop_on_success: bool = False,
) -> Plan:
    """Find the best N, D and k for a law and a budget.

    For a law of success rates the recommended design has support: it lies within the range of the data behind the law,
    and of all such designs its predictive interval has the best lower end. Beside it stand the measured checkpoints
    nearest to it, the cheapest design that keeps 99% of its result, the Chinchilla-style design, and the law's
    unlimited optimum. That is exact to 1e-9 in the law's own objective, most pass@k or least loss (for loss laws the
    problem is convex in ln N, ln D and ln k; a pass law is searched over the whole range first); then the better whole
    k next to it is taken, N and D chosen anew.

    Parameters
    ----------
    law
        A law, a preset's name, the path of a law file, or a fit or its bootstrap (:mod:`t2fast.fitting`). A law that
        carries the draws of a bootstrap gives intervals.
    budget
        What may be spent. N, D and k must each be limited by something.
    rule
        How one answer will be chosen from the k samples: :class:`t2fast.Verifier`, :class:`t2fast.Majority`,
        :class:`t2fast.BestOf`, or the path of a rule's file. Results are then what the rule makes, with pass@k beside.
    wrong_cost
        What a wrong answer costs, in right answers; silence (k = 0) is allowed then, where it is best.
    stop_on_success
        Sampling stops at the first accepted answer: the samples drawn on average are paid for, k at most are drawn.

    Raises
    ------
    InfeasibleError
        When the budget admits no design; the message says which number is too small and what would be needed.
    T2Error
        When N, D or k is unbounded.

    Examples
    --------
    >>> found = plan("hoffmann", Budget(train_flops=1e21))
    >>> print(found.design)
    N 2.22B, D 75.2B, k 1: loss 2.295, 33.9 tokens/param
    """
    law, budget = under_rule(as_law(law), rule, wrong_cost, stop_on_success), as_budget(budget)
    return planned(law, budget, surroundings(law, budget))


def _again(law: Law, budget: Budget) -> Plan:
    """A plan with a law that may stand under a rule already."""
    return planned(law, budget, surroundings(law, budget))


def planned(law: Law, budget: Budget, around: Surroundings, design: Design | None = None) -> Plan:
    """A plan from a law's optima; the recommended design is chosen here unless given."""
    if design is None:
        design = _supported(law, budget, around)
    frugal = None
    if law.predicts_pass and law.data_range is not None and around.inside_data is not None:
        point = least_training(law, budget, region_of(law.data_range), 0.99 * value_of(design))
        frugal = None if point is None else designs_at(law, budget, [point])[0]
    found = Plan(
        law,
        budget,
        design=design,
        intervals={},
        nearest=nearest(law, design),
        cheapest_within_1pct=frugal,
        chinchilla=around.chinchilla,
        unlimited=around.unlimited,
        continuous=around.continuous,
        inside_data=around.inside_data,
        flat_n_params=around.flat_n_params,
        gain_train=around.gain_train,
        gain_inference=around.gain_inference,
        gain_total=around.gain_total,
        success=around.success,
        n_evaluations=around.n_evaluations,
    )
    ends = intervals(law, budget, list(found.designs.values()))
    return replace(found, intervals=dict(zip(found.designs, ends, strict=True)))


def _supported(law: Law, budget: Budget, around: Surroundings) -> Design:
    """The design within the data whose predictive interval has the best lower end."""
    # Losses extrapolate along compute-optimal lines over orders of magnitude; success rates do not.
    if not law.predicts_pass or law.data_range is None or around.inside_data is None:
        return around.unlimited
    if not law.has_draws:
        return around.inside_data
    score = lower_end(law, budget)
    point = best(law, budget, region_of(law.data_range), score)
    # It ranks by some of the draws, and a lattice can miss a narrow best: by all of them its find is held to what is
    # known within the data anyway.
    known = [] if point is None else designs_at(law, budget, [point])
    for one in (around.inside_data, around.chinchilla):
        beyond = None if one is None else one.extrapolation(law)
        if one is not None and beyond is not None and beyond.inside:
            known.append(one)
    lows = [-math.inf if end is None else end.low for end in intervals(law, budget, known)]
    return known[lows.index(max(lows))] if known else around.inside_data
