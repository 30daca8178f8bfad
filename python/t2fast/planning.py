"""Which N, D and k? The best design for a law and a budget, found three ways, with what is needed to judge it.

* :func:`plan`: the exact optimum, beside it the best design within the data behind the law, and the Chinchilla-style;
* :func:`cheapest`: the smallest budget that reaches a target;
* :func:`grid_search`: brute force over your own axes;
* :func:`frontier`, :func:`isoflop`: optima along sweeps of budgets, and curves of constant training cost;
* :func:`compare`: given designs side by side.

Predictions far from the data behind a law are extrapolations. Every design says how far it lies outside
(:class:`Extrapolation`), and every result carries warnings in words.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import _core
from t2fast.costs import Budget, Workload
from t2fast.errors import T2Error
from t2fast.laws import Law
from t2fast.quantity import format_flops, format_quantity, refuse_non_numbers
from t2fast.text import columns, warning_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BreakEven",
    "Comparison",
    "Design",
    "Extrapolation",
    "Frontier",
    "Grid",
    "IsoFlop",
    "Plan",
    "cheapest",
    "compare",
    "frontier",
    "grid_search",
    "isoflop",
    "plan",
]

#: Called now and then with (done, total) while long work runs.
Progress = Callable[[int, int], None]

T = TypeVar("T", covariant=True)


class Resampled(Protocol[T]):
    """Many laws instead of one: something that plans with all of them."""

    def plan(self, budget: Budget) -> T:
        """The outcome of planning with every law."""


_Flat = tuple[float, float, float, float, float, float, float]


@dataclass(frozen=True)
class Extrapolation:
    """How far a design lies outside the data behind its law, as a ratio to the nearest end of the data's range.

    1 means inside; 50 means fifty times the largest value in the data; 0.5 half the smallest.
    """

    n_params: float
    n_tokens: float
    k: float

    @property
    def inside(self) -> bool:
        """True when N, D and k are all within the data's range."""
        return self.n_params == self.n_tokens == self.k == 1.0


@dataclass(frozen=True, slots=True)
class Design:
    """A model to train and a number of samples to draw, with what the law predicts and what it costs.

    Attributes
    ----------
    n_params, n_tokens, k
        N, D (repeats included) and samples per question; k is whole except in continuous optima.
    pass_at_k
        Predicted pass@k in [0, 1]; ``None`` for a law of losses.
    loss
        For a law of losses its prediction; for a pass law the Chinchilla loss inside it (repeated tokens discounted).
    train_flops, inference_flops
        Cost of training, and of inference over the workload.
    """

    n_params: float
    n_tokens: float
    k: float
    pass_at_k: float | None
    loss: float
    train_flops: float
    inference_flops: float

    @property
    def tokens_per_param(self) -> float:
        """D / N; Chinchilla's rule of thumb is 20."""
        return self.n_tokens / self.n_params

    @property
    def total_flops(self) -> float:
        """Training and inference together."""
        return self.train_flops + self.inference_flops

    def extrapolation(self, law: Law) -> Extrapolation | None:
        """How far the design lies outside the data behind a law; ``None`` when the law does not know its data."""
        data = law.data_range
        if data is None:
            return None
        beyond = {name: _beyond(getattr(self, name), getattr(data, name)) for name in ("n_params", "n_tokens", "k")}
        if law.kind == "chinchilla":
            beyond["k"] = 1.0
        return Extrapolation(**beyond)

    def to_dict(self) -> dict[str, Any]:
        """The design as JSON data, D / N included and an absent pass@k left out."""
        data = asdict(self) | {"tokens_per_param": self.tokens_per_param}
        data["k"] = int(self.k) if float(self.k).is_integer() else self.k
        if self.pass_at_k is None:
            del data["pass_at_k"]
        return data

    def __str__(self) -> str:
        """N, D, k, prediction and D / N on one line."""
        result = f"loss {self.loss:.4g}" if self.pass_at_k is None else f"pass@k {self.pass_at_k:.3f}"
        return (
            f"N {format_quantity(self.n_params)}, D {format_quantity(self.n_tokens)}, "
            f"k {format_quantity(self.k, 4)}: {result}, {format_quantity(self.tokens_per_param)} tokens/param"
        )


def _beyond(value: float, ends: tuple[float, float]) -> float:
    low, high = ends
    # Bounds of the data are met to rounding only.
    if value > high * (1 + 1e-9):
        return value / high
    if value < low * (1 - 1e-9):
        return value / low
    return 1.0


def _design(law: Law, flat: _Flat) -> Design:
    n, d, k, value, loss, train, inference = flat
    if law.predicts_pass:
        return Design(n, d, k, value, loss, train, inference)
    return Design(n, d, k, None, value, train, inference)


def _value(design: Design) -> float:
    return design.loss if design.pass_at_k is None else design.pass_at_k


_LABELS = {"n_params": "parameters", "n_tokens": "tokens", "k": "samples per question"}


def _cautions(law: Law, design: Design, what: str = "the recommendation") -> list[str]:
    """What to say about a design outside the data, a line for each of N, D and k."""
    beyond = design.extrapolation(law)
    data = law.data_range
    if beyond is None or data is None:
        return ["the range of the data behind this law is unknown: how far this extrapolates cannot be said"]
    lines = []
    for name, label in _LABELS.items():
        ratio = getattr(beyond, name)
        if ratio == 1.0:
            continue
        low, high = getattr(data, name)
        value = format_quantity(getattr(design, name))
        if ratio > 1:
            lines.append(
                f"{what} asks for {value} {label}, {format_quantity(ratio, 2)} times the {format_quantity(high)} "
                "at which the data end"
            )
        else:
            lines.append(
                f"{what} asks for {value} {label}, {format_quantity(1 / ratio, 2)} times below the "
                f"{format_quantity(low)} at which the data begin"
            )
    return lines


def _ends(law: Law) -> list[tuple[float, float]] | None:
    data = law.data_range
    return None if data is None else [data.n_params, data.n_tokens, data.k]


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
        lines = _cautions(self.law, self.design)
        if self.chinchilla is not None and self.law.data_range is not None:
            lines += _cautions(self.law, self.chinchilla, "the Chinchilla-style design")
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
            _describe(self.law, self.budget),
            "",
            *_table({k: v for k, v in designs.items() if v}, self.law),
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


def _describe(law: Law, budget: Budget) -> str:
    costs = {
        "training": budget.train_flops,
        "inference": budget.inference_flops,
        "in total": budget.total_flops,
    }
    said = [f"{format_flops(flops)} FLOP {name}" for name, flops in costs.items() if flops is not None]
    return f"Law {law.name or law.kind}; {', '.join(said) or 'no budget'}"


def _result(law: Law) -> str:
    return "pass@k" if law.predicts_pass else "loss"


def _table(designs: dict[str, Design], law: Law) -> list[str]:
    """Designs as aligned rows of text."""
    rows = [["", "N", "D", "k", "D/N", _result(law), "beyond data"]]
    rows += [[label, *_cells(design), _beyond_words(design.extrapolation(law))] for label, design in designs.items()]
    return columns(rows, left=(0, 6))


def _cells(design: Design) -> list[str]:
    """N, D, k, D / N and the prediction, as people write them."""
    sizes = (design.n_params, design.n_tokens)
    return [
        *(format_quantity(size) for size in sizes),
        f"{design.k:.0f}" if design.k < 1e6 else format_quantity(design.k),
        format_quantity(design.tokens_per_param),
        f"{_value(design):.4f}",
    ]


def _beyond_words(beyond: Extrapolation | None) -> str:
    if beyond is None:
        return "unknown"
    symbols = {"N": beyond.n_params, "D": beyond.n_tokens, "k": beyond.k}
    said = [f"{name} x{format_quantity(ratio, 2)}" for name, ratio in symbols.items() if ratio != 1.0]
    return ", ".join(said) or "-"


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
    return _plan(law, budget, _core.plan_budget(law._handle, budget._handle, _ends(law)))


def _plan(law: Law, budget: Budget, outcome: _core._PlanTuple) -> Plan:
    best, continuous, chinchilla, inside, flat, (gain_train, gain_inference, gain_total), evaluations, success = outcome
    return Plan(
        law,
        budget,
        _design(law, best),
        _design(law, continuous),
        None if inside is None else _design(law, inside),
        None if chinchilla is None else _design(law, chinchilla),
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


@dataclass(frozen=True)
class Grid:
    """The outcome of a brute-force search.

    Attributes
    ----------
    law, budget
        What was asked.
    n_params, n_tokens, k
        The axes.
    top
        The best feasible designs, best first; equal results are ordered by cost.
    index
        Their places on the axes: rows (i, j, l) into N, D and k.
    surface
        The law at every point, shape (N, D, k), feasible or not; ``None`` unless asked for.
    """

    law: Law
    budget: Budget
    n_params: NDArray[np.float64]
    n_tokens: NDArray[np.float64]
    k: NDArray[np.float64]
    top: tuple[Design, ...]
    index: NDArray[np.intp]
    surface: NDArray[np.float64] | None

    @property
    def best(self) -> Design:
        """The best feasible design."""
        return self.top[0]

    @property
    def warnings(self) -> tuple[str, ...]:
        """How far the best design extrapolates, whether it lies on the grid's edge, and the law's own warnings."""
        lines = _cautions(self.law, self.best, "the best point")
        for place, (name, axis) in enumerate((("n_params", self.n_params), ("n_tokens", self.n_tokens), ("k", self.k))):
            if len(axis) > 1 and self.index[0, place] in (0, len(axis) - 1):
                end = "first" if self.index[0, place] == 0 else "last"
                lines.append(f"the best point lies at the {end} value of {name}: a wider axis may hold a better one")
        return (*lines, *self.law.warnings)

    def to_dict(self) -> dict[str, Any]:
        """The search as JSON data, without the surface."""
        return {
            "law": self.law.name or self.law.to_dict(),
            "budget": self.budget.to_dict(),
            "points": len(self.n_params) * len(self.n_tokens) * len(self.k),
            "best": self.best.to_dict(),
            "top": [design.to_dict() for design in self.top],
            "index": self.index.tolist(),
            "warnings": list(self.warnings),
        }

    def summary(self) -> str:
        """The best designs as a table within 80 columns."""
        shape = " x ".join(str(len(axis)) for axis in (self.n_params, self.n_tokens, self.k))
        rows = {f"{place}.": design for place, design in enumerate(self.top, 1)}
        lines = [
            _describe(self.law, self.budget),
            f"Grid of {shape} points (N x D x k)",
            "",
            *_table(rows, self.law),
        ]
        return "\n".join([*lines, "", *warning_lines(self.warnings)]).rstrip()

    __str__ = summary

    def plot(self, path: str | Path | None = None) -> Figure:
        """A heat map over N and D, k chosen best at each; needs ``t2fast[plot]``."""
        from t2fast.plots import planning as plots

        return plots.grid(self, path)


def grid_search(
    law: Law,
    n_params: ArrayLike,
    n_tokens: ArrayLike,
    k: ArrayLike,
    budget: Budget,
    *,
    top: int = 1,
    surface: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Grid:
    """Search every combination of your own N, D and k for the best that a budget admits.

    Parameters
    ----------
    law, budget
        As for :func:`plan`; here nothing need be bounded, the axes are.
    n_params, n_tokens, k
        Axes: one-dimensional, rising, of any spacing; lists of real model sizes for instance. k is at least 1.
    top
        How many of the best designs to return.
    surface
        Also return the law at every point. Without it, memory does not grow with the grid.
    threads
        How many threads to use; all by default. Results do not depend on it.
    progress
        Called with (sizes done, sizes) now and then.

    Raises
    ------
    InfeasibleError
        When no point is affordable; the message says by how much.
    T2Error
        For an axis that is empty, unsorted, or holds something not positive and finite.
    """
    if isinstance(top, bool) or not isinstance(top, int | np.integer) or not 1 <= top <= sys.maxsize:
        raise T2Error(f"top = {top!r}: must be a whole number, at least 1")
    ns, ds, ks = _axis("n_params", n_params), _axis("n_tokens", n_tokens), _axis("k", k)
    sizes = len(ns)
    stages = 2 if surface else 1
    found = _core.grid_search(
        law._handle, budget._handle, ns, ds, ks, top, _threads(threads), _report(progress, 0, stages * sizes)
    )
    values = None
    if surface:
        values = np.empty((len(ns), len(ds), len(ks)))
        report = _report(progress, sizes, stages * sizes)
        _core.surface(law._handle, ns, ds, ks, values, budget.unique_tokens, _threads(threads), report)
    if progress is not None:
        progress(stages * sizes, stages * sizes)
    places = np.array([place for place, _ in found], dtype=np.intp)
    return Grid(law, budget, ns, ds, ks, tuple(_design(law, flat) for _, flat in found), places, values)


def _axis(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        given = np.asarray(values)
        # NumPy would read texts as numbers and drop imaginary parts.
        if given.dtype.kind not in "biuf" and given.size:
            raise TypeError
        axis = np.ascontiguousarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise T2Error(f"{name}: must be a list or array of numbers") from None
    if axis.ndim != 1:
        raise T2Error(f"{name} has {axis.ndim} dimensions: an axis has one")
    return axis


def _threads(threads: int | None) -> int | None:
    if threads is None:
        return None
    if isinstance(threads, bool) or not isinstance(threads, int | np.integer) or threads < 1:
        raise T2Error(f"threads = {threads!r}: must be a whole number, at least 1, or None for all")
    return int(threads)


def _report(progress: Progress | None, before: int, total: int) -> Callable[[int], None] | None:
    if progress is None:
        return None
    return lambda done: progress(before + done, total)


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
        rows = [(_value(one.design), one.design.train_flops, one.design.inference_flops) for one in self.plans]
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
        rows = [["train", "inference", "N", "D", "k", "D/N", _result(self.law), "", "beyond data"]]
        for one, kept in zip(self.plans, self.pareto, strict=True):
            costs = (format_flops(one.train_flops), format_flops(one.inference_flops))
            rows.append([*costs, *_cells(one.design), "*" if kept else "", _beyond_words(one.extrapolation)])
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
    report = _report(progress, 0, len(budgets))
    outcomes = _core.sweep(law._handle, [budget._handle for budget in budgets], _ends(law), _threads(threads), report)
    if progress is not None:
        progress(len(budgets), len(budgets))
    plans, failures = [], []
    for budget, (outcome, message) in zip(budgets, outcomes, strict=True):
        if outcome is None:
            failures.append((budget, message or ""))
        else:
            plans.append(_plan(law, budget, outcome))
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
        return (max if self.law.predicts_pass else min)(self.designs, key=_value)

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
    found = _core.isoflop(law._handle, budget._handle, _axis("n_params", n_params))
    designs = tuple(_design(law, flat) for flat in found if flat is not None)
    if not designs:
        raise _core.InfeasibleError("no size in n_params is affordable: raise the budget or add smaller sizes")
    return IsoFlop(law, budget, designs)


@dataclass(frozen=True)
class BreakEven:
    """When a design costs less in total than another, training included.

    Attributes
    ----------
    cheaper
        ``"from"`` or ``"below"`` the number of queries, ``"always"``, ``"never"``, or ``"equal"``.
    queries
        The number at which both cost the same; ``None`` where there is none.
    """

    cheaper: str
    queries: float | None = None

    def __str__(self) -> str:
        """The two in words."""
        return self.cheaper if self.queries is None else f"{self.cheaper} {format_quantity(self.queries)}"


@dataclass(frozen=True)
class Comparison:
    """Given designs side by side.

    Attributes
    ----------
    law, workload
        What they were evaluated with.
    designs
        In the order given.
    break_even
        For each design, against the first: from or below how many queries it costs less in total, training included.
    """

    law: Law
    workload: Workload
    designs: tuple[Design, ...]
    break_even: tuple[BreakEven, ...]

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """How far each design extrapolates, and the law's own warnings."""
        lines = []
        if self.law.data_range is None:
            lines = _cautions(self.law, self.designs[0])
        else:
            for place, design in enumerate(self.designs, 1):
                lines += _cautions(self.law, design, f"design {place}")
        return (*lines, *self.law.warnings)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON data."""
        rows = []
        for design, even in zip(self.designs, self.break_even, strict=True):
            beyond = design.extrapolation(self.law)
            rows.append(
                design.to_dict()
                | {
                    "break_even": asdict(even),
                    "extrapolation": None if beyond is None else asdict(beyond),
                }
            )
        return {
            "law": self.law.name or self.law.to_dict(),
            "workload": asdict(self.workload),
            "designs": rows,
            "warnings": list(self.warnings),
        }

    def summary(self) -> str:
        """The designs as a table within 80 columns."""
        rows = [["", "N", "D", "k", "D/N", _result(self.law), "train", "inference", "break-even"]]
        for place, (design, even) in enumerate(zip(self.designs, self.break_even, strict=True), 1):
            costs = (format_flops(design.train_flops), format_flops(design.inference_flops))
            rows.append([str(place), *_cells(design), *costs, "-" if place == 1 else str(even)])
        lines = [f"Law {self.law.name or self.law.kind}; costs in FLOP", "", *columns(rows, left=(8,)), ""]
        lines += ["break-even: queries from (or below) which a design costs less in total than 1", ""]
        return "\n".join([*lines, *warning_lines(self.warnings)]).rstrip()

    __str__ = summary


def compare(law: Law, designs: Sequence[tuple[float, float, float]], workload: Workload | None = None) -> Comparison:
    """Evaluate given designs (N, D, k) side by side: prediction, costs, and when each costs less than the first.

    Parameters
    ----------
    law
        A law.
    designs
        (n_params, n_tokens, k) for each.
    workload
        What inference costs are counted over; the T2 paper's unit by default.

    Raises
    ------
    T2Error
        Without designs, or for one with a number out of range.
    """
    if not designs:
        raise T2Error("designs is empty: give at least one (n_params, n_tokens, k)")
    workload = workload or Workload()
    handle = Budget(workload=workload)._handle
    for place, design in enumerate(designs, 1):
        if not isinstance(design, Sequence) or len(design) != 3:
            raise T2Error(f"design {place} = {design!r}: must be (n_params, n_tokens, k)")
        names = ("n_params", "n_tokens", "k")
        refuse_non_numbers(**{f"design {place}, {name}": x for name, x in zip(names, design, strict=True)})
    found = tuple(_design(law, _core.evaluate(law._handle, handle, *map(float, design))) for design in designs)
    even = tuple(_break_even(design, found[0], workload.queries) for design in found)
    return Comparison(law, workload, found, even)


def _break_even(design: Design, other: Design, queries: float) -> BreakEven:
    dearer = design.train_flops - other.train_flops
    saved = (other.inference_flops - design.inference_flops) / queries
    if dearer == saved == 0:
        return BreakEven("equal")
    if dearer <= 0 <= saved:
        return BreakEven("always")
    if saved <= 0 <= dearer:
        return BreakEven("never")
    return BreakEven("from" if saved > 0 else "below", dearer / saved)
