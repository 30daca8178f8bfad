"""Optima along sweeps of budgets, and curves of constant training cost."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import _core
from t2fast.arguments import items, numbers
from t2fast.arguments import threads as checked_threads
from t2fast.costs import Budget, as_budget
from t2fast.errors import InfeasibleError, T2Error
from t2fast.laws import Fitted, Law, as_law, under_rule
from t2fast.planning.design import Design, from_core, value_of
from t2fast.planning.grid import reporter
from t2fast.planning.optimum import Plan, planned
from t2fast.planning.surroundings import from_outcome, surroundings
from t2fast.planning.words import (
    beyond_words,
    cells,
    costs_of,
    describe,
    interval_words,
    law_name,
    result_names,
    rule_data,
    rule_lines,
)
from t2fast.results import Progress, Report, Result
from t2fast.rules import Rule
from t2fast.text import columns, warning_lines

__all__ = ["Failure", "Frontier", "IsoFlop", "frontier", "isoflop"]


class Failure(NamedTuple):
    """A budget that admits no design, and why.

    Examples
    --------
    >>> sweep = [Budget(train_flops=1e20, inference_flops=flops) for flops in (1.0, 1.4e11)]
    >>> [one.budget.inference_flops for one in frontier("besiroglu", sweep).failures]
    [1.0]
    """

    budget: Budget
    message: str


@dataclass(frozen=True, repr=False)
class Frontier(Result):
    """Optima along a sweep of budgets.

    Attributes
    ----------
    law
        The law.
    plans
        One for each budget that admits a design, in the order of the sweep.
    failures
        Budgets that admit none, and why.

    Examples
    --------
    >>> sweep = Budget(inference_flops=1.4e11).sweep(train_flops=[1e19, 1e20])
    >>> found = frontier("pythia-gsm8k", sweep)
    >>> len(found.plans), found.failures
    (2, ())
    """

    law: Law
    plans: tuple[Plan, ...]
    failures: tuple[Failure, ...] = ()

    figure: ClassVar[str | None] = "planning:frontier"

    def column(self, name: str) -> NDArray[np.float64]:
        """One field of the recommended designs as an array: ``n_params``, ``k``, ``tokens_per_param`` and so on."""
        values = (getattr(one.design, name) for one in self.plans)
        return np.array([math.nan if value is None else value for value in values], dtype=np.float64)

    @property
    def _costs(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        train, inference = zip(*(one.design.costs for one in self.plans), strict=True) if self.plans else ((), ())
        return np.array(train, dtype=np.float64), np.array(inference, dtype=np.float64)

    @cached_property
    def pareto(self) -> NDArray[np.bool_]:
        """For each plan, whether no other is as good in result, training and inference cost, and better in one."""
        values = np.array([value_of(one.design) for one in self.plans], dtype=np.float64)
        return _core.pareto(self.law.predicts_pass, values, *self._costs)

    @cached_property
    def chinchilla(self) -> tuple[Design, ...]:
        """The Chinchilla-style designs by training cost, one for each training or total budget.

        Where several inference budgets go with it, the design of the least loss.
        """
        best: dict[tuple[float | None, float | None], Design] = {}
        for one in self.plans:
            place, design = (one.budget.train_limit, one.budget.total_limit), one.chinchilla
            if design is None:
                continue
            if place not in best or (design.loss or 0.0) < (best[place].loss or 0.0):
                best[place] = design
        return tuple(sorted(best.values(), key=lambda design: design.train_flops))

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """How many of the optima extrapolate, and the law's own warnings."""
        outside = [one for one in self.plans if not (one.extrapolation and one.extrapolation.inside)]
        lines = []
        if outside and self.law.data_range is not None:
            lines.append(f"{len(outside)} of {len(self.plans)} optima lie outside the data behind the law")
        if self.failures:
            lines.append(f"{len(self.failures)} budgets admit no design; the first: {self.failures[0][1]}")
        return (*lines, *self.law.warnings)

    def to_dict(self) -> dict[str, Any]:
        """The sweep as JSON data."""
        return {
            "law": self.law.name or self.law.pass_law.to_dict(),
            **rule_data(self.law),
            "plans": [one.brief() | {"pareto": bool(kept)} for one, kept in zip(self.plans, self.pareto, strict=True)],
            "failures": [{"budget": budget.to_dict(), "message": message} for budget, message in self.failures],
            "warnings": list(self.warnings),
        }

    def summary(self) -> str:
        """The optima as a table within 80 columns, those on the Pareto front starred."""
        known = any(one.interval is not None for one in self.plans)
        head = ["train", "inference", "N", "D", "k", "D/N", *result_names(self.law)]
        rows = [[*head, *(["90% interval"] if known else []), "", *([] if known else ["beyond data"])]]
        for one, kept in zip(self.plans, self.pareto, strict=True):
            costs = costs_of(one.design)
            interval = [interval_words(one.interval)] if known else []
            # Designs with an interval lie within the data.
            beyond = [] if known else [beyond_words(one.extrapolation)]
            rows.append([*costs, *cells(one.design), *interval, "*" if kept else "", *beyond])
        unit = "dollars" if self.plans and self.plans[0].budget.in_dollars else "FLOP"
        lines = [f"Law {law_name(self.law)}; costs in {unit}; * on the Pareto front", *rule_lines(self.law), ""]
        lines += columns(rows, left=() if known else (len(rows[0]) - 1,))
        return "\n".join([*lines, "", *warning_lines(self.warnings)]).rstrip()

    def headline(self) -> str:
        """How many budgets were planned for."""
        return f"{len(self.plans)} plans, {len(self.failures)} budgets without one; law {law_name(self.law)}"

    def rows(self) -> list[dict[str, Any]]:
        """The recommended designs, a row each, and whether they are on the Pareto front."""
        return [
            one.design.to_dict()
            | ({} if one.interval is None else {"low": one.interval.low, "high": one.interval.high})
            | {"pareto": bool(kept)}
            for one, kept in zip(self.plans, self.pareto, strict=True)
        ]


def frontier(
    law: Law | str | Path | Fitted,
    budgets: Iterable[Budget],
    *,
    rule: Rule | str | Path | None = None,
    wrong_cost: float = 0.0,
    stop_on_success: bool = False,
    threads: int | None = None,
    progress: Report | None = None,
) -> Frontier:
    """Plan for each of many budgets, for example ``Budget(inference_flops=1.4e11).sweep(train_flops=[1e20, 1e21])``.

    Parameters
    ----------
    law
        As for :func:`plan`.
    budgets
        The budgets, in the order in which they are to appear.
    rule, wrong_cost, stop_on_success
        How one answer will be chosen from the k samples, as for :func:`plan`.
    threads
        How many threads to use; all by default. Results do not depend on it.
    progress
        Called with a :class:`t2fast.results.Progress` now and then; it counts budgets.

    Raises
    ------
    T2Error
        When there are no budgets, or one leaves N, D or k unbounded. Budgets that admit no design are not errors: they
        are listed in ``failures``.

    Examples
    --------
    >>> found = frontier("hoffmann", Budget().sweep(train_flops=[1e20, 1e22]))
    >>> bool((found.column("tokens_per_param") > 20).all())
    True
    """
    budgets = [as_budget(one) for one in items("budgets", budgets, "t2fast.Budget")]
    if not budgets:
        raise T2Error("budgets is empty: give at least one")
    law, threads = under_rule(as_law(law), rule, wrong_cost, stop_on_success), checked_threads(threads)
    report = reporter(progress, len(budgets), "budgets")
    plans: list[Plan] = []
    failures: list[Failure] = []
    if law.in_core:
        outcomes = _core.sweep(law._handle, [budget._handle for budget in budgets], law.data_range, threads, report)
        for budget, outcome in zip(budgets, outcomes, strict=True):
            if isinstance(outcome, str):
                failures.append(Failure(budget, outcome))
            else:
                plans.append(planned(law, budget, from_outcome(law, outcome)))
    else:
        for done, budget in enumerate(budgets):
            try:
                plans.append(planned(law, budget, surroundings(law, budget)))
            except InfeasibleError as error:
                failures.append(Failure(budget, str(error)))
            if report is not None:
                report(done)
    if progress is not None:
        progress(Progress(len(budgets), len(budgets), "budgets"))
    return Frontier(law, tuple(plans), tuple(failures))


@dataclass(frozen=True, repr=False)
class IsoFlop(Result):
    """The designs that spend one training budget at each of many sizes, with the samples it pays for (k real).

    Examples
    --------
    >>> curve = isoflop("besiroglu", Budget(train_flops=1e21), [1e9, 3e9, 1e10])
    >>> curve.best.n_params
    3000000000.0
    """

    law: Law
    budget: Budget
    designs: tuple[Design, ...]

    figure: ClassVar[str | None] = "planning:isoflop"

    @property
    def best(self) -> Design:
        """The best of the designs."""
        return (max if self.law.predicts_pass else min)(self.designs, key=value_of)

    def column(self, name: str) -> NDArray[np.float64]:
        """One field of the designs as an array."""
        return np.array([getattr(design, name) for design in self.designs], dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """The curve as JSON data."""
        return {
            "law": self.law.name or self.law.pass_law.to_dict(),
            "budget": self.budget.to_dict(),
            **rule_data(self.law),
            "best": self.best.to_dict(),
            "designs": self.rows(),
        }

    def rows(self) -> list[dict[str, Any]]:
        """The designs, a row each."""
        return [design.to_dict() for design in self.designs]

    def summary(self) -> str:
        """The designs as a table within 80 columns."""
        rows = [["", "N", "D", "k", "D/N", *result_names(self.law), "beyond data"]]
        for design in self.designs:
            mark = "best" if design is self.best else ""
            rows.append([mark, *cells(design), beyond_words(design.extrapolation(self.law))])
        return "\n".join(
            [describe(self.law, self.budget), *rule_lines(self.law), "", *columns(rows, left=(0, len(rows[0]) - 1))]
        )

    def headline(self) -> str:
        """The best of the designs."""
        return self.best.summary()


def isoflop(
    law: Law | str | Path | Fitted,
    budget: Budget,
    n_params: ArrayLike,
    *,
    rule: Rule | str | Path | None = None,
    wrong_cost: float = 0.0,
    stop_on_success: bool = False,
) -> IsoFlop:
    """Follow an isoFLOP curve: the whole training budget spent at each N, and k as large as the budget pays for.

    Sizes at which nothing is affordable are left out.

    Parameters
    ----------
    law, budget
        As for :func:`plan`; the budget names ``train_flops``, no ``total_flops``, and bounds k.
    n_params
        Sizes, one-dimensional.
    rule, wrong_cost, stop_on_success
        How one answer will be chosen from the k samples, as for :func:`plan`.

    Raises
    ------
    InfeasibleError
        When no size is affordable.
    T2Error
        Unless the budget names ``train_flops`` and no ``total_flops``, and bounds k.

    Examples
    --------
    >>> curve = isoflop("hoffmann", Budget(train_flops=1e21), [1e8, 1e9, 1e10])
    >>> curve.best.n_params
    1000000000.0
    """
    law, budget = under_rule(as_law(law), rule, wrong_cost, stop_on_success), as_budget(budget)
    found = _core.isoflop(law._handle, budget._handle, numbers("n_params", n_params, ndim=1))
    designs = tuple(from_core(law, one) for one in found if one is not None)
    if not designs:
        raise InfeasibleError("no size in n_params is affordable: raise the budget or add smaller sizes")
    return IsoFlop(law, budget, designs)
