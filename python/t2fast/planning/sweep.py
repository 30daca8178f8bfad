"""Optima along sweeps of budgets, and curves of constant training cost."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import _core
from t2fast.costs import Budget
from t2fast.errors import T2Error
from t2fast.laws import Law
from t2fast.planning.design import Design, data_ends, from_core, value_of
from t2fast.planning.grid import Progress, axis, reporter, thread_count
from t2fast.planning.optimum import Plan, from_outcome
from t2fast.planning.words import beyond_words, cells, result_name
from t2fast.quantity import format_flops
from t2fast.text import columns, warning_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Frontier", "IsoFlop", "frontier", "isoflop"]


@dataclass(frozen=True)
class Frontier:
    """Optima along a sweep of budgets.

    Attributes
    ----------
    law
        The law.
    plans
        One for each budget that admits a design, in the order of the sweep.
    failures
        (budget, message) for those that admit none.
    """

    law: Law
    plans: tuple[Plan, ...]
    failures: tuple[tuple[Budget, str], ...] = ()

    def column(self, name: str) -> NDArray[np.float64]:
        """One field of the recommended designs as an array: ``n_params``, ``k``, ``tokens_per_param`` and so on."""
        values = (getattr(one.design, name) for one in self.plans)
        return np.array([math.nan if value is None else value for value in values])

    @cached_property
    def pareto(self) -> NDArray[np.bool_]:
        """For each plan, whether no other is as good in result, training and inference cost, and better in one."""
        rows = [(value_of(one.design), one.design.train_flops, one.design.inference_flops) for one in self.plans]
        return _core.pareto(self.law._handle, rows)

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
            "law": self.law.name or self.law.to_dict(),
            "plans": [
                one.to_dict() | {"pareto": bool(kept)} for one, kept in zip(self.plans, self.pareto, strict=True)
            ],
            "failures": [{"budget": budget.to_dict(), "message": message} for budget, message in self.failures],
            "warnings": list(self.warnings),
        }

    def summary(self) -> str:
        """The optima as a table within 80 columns, those on the Pareto front starred."""
        rows = [["train", "inference", "N", "D", "k", "D/N", result_name(self.law), "", "beyond data"]]
        for one, kept in zip(self.plans, self.pareto, strict=True):
            costs = (format_flops(one.train_flops), format_flops(one.inference_flops))
            rows.append([*costs, *cells(one.design), "*" if kept else "", beyond_words(one.extrapolation)])
        lines = [f"Law {self.law.name or self.law.kind}; costs in FLOP; * on the Pareto front", ""]
        lines += columns(rows, left=(8,))
        return "\n".join([*lines, "", *warning_lines(self.warnings)]).rstrip()

    __str__ = summary

    def plot(self, path: str | Path | None = None) -> Figure:
        """Tokens per parameter, N and D against training cost, beside Chinchilla; needs ``t2fast[plot]``."""
        from t2fast.plots import planning as plots

        return plots.frontier(self, path)


def frontier(
    law: Law, budgets: Iterable[Budget], *, threads: int | None = None, progress: Progress | None = None
) -> Frontier:
    """Plan for each of many budgets, for example ``Budget(inference_flops=1.4e11).sweep(train_flops=[1e20, 1e21])``.

    Parameters
    ----------
    law
        A law.
    budgets
        The budgets, in the order in which they are to appear.
    threads
        How many threads to use; all by default. Results do not depend on it.
    progress
        Called with (budgets done, budgets) now and then.

    Raises
    ------
    T2Error
        When there are no budgets, or one leaves N, D or k unbounded. Budgets that admit no design are not errors: they
        are listed in ``failures``.
    """
    budgets = list(budgets)
    if not budgets:
        raise T2Error("budgets is empty: give at least one")
    report = reporter(progress, 0, len(budgets))
    outcomes = _core.sweep(
        law._handle, [budget._handle for budget in budgets], data_ends(law), thread_count(threads), report
    )
    if progress is not None:
        progress(len(budgets), len(budgets))
    plans, failures = [], []
    for budget, (outcome, message) in zip(budgets, outcomes, strict=True):
        if outcome is None:
            failures.append((budget, message or ""))
        else:
            plans.append(from_outcome(law, budget, outcome))
    return Frontier(law, tuple(plans), tuple(failures))


@dataclass(frozen=True)
class IsoFlop:
    """The designs that spend one training budget at each of many sizes, with the samples it pays for (k real)."""

    law: Law
    budget: Budget
    designs: tuple[Design, ...]

    @property
    def best(self) -> Design:
        """The best of the designs."""
        return (max if self.law.predicts_pass else min)(self.designs, key=value_of)

    def column(self, name: str) -> NDArray[np.float64]:
        """One field of the designs as an array."""
        return np.array([getattr(design, name) for design in self.designs], dtype=np.float64)

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw the curve with its optimum; :func:`t2fast.plots.planning.isoflop` draws several; needs ``[plot]``."""
        from t2fast.plots import planning as plots

        return plots.isoflop(self, path)


def isoflop(law: Law, budget: Budget, n_params: ArrayLike) -> IsoFlop:
    """Follow an isoFLOP curve: the whole training budget spent at each N, and k as large as the budget pays for.

    Sizes at which nothing is affordable are left out.

    Raises
    ------
    InfeasibleError
        When no size is affordable.
    T2Error
        Unless the budget names ``train_flops`` and no ``total_flops``, and bounds k.
    """
    found = _core.isoflop(law._handle, budget._handle, axis("n_params", n_params))
    designs = tuple(from_core(law, flat) for flat in found if flat is not None)
    if not designs:
        raise _core.InfeasibleError("no size in n_params is affordable: raise the budget or add smaller sizes")
    return IsoFlop(law, budget, designs)
