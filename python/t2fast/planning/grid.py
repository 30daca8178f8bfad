"""Brute force over your own axes of N, D and k."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import _core
from t2fast.arguments import numbers, whole
from t2fast.arguments import threads as checked_threads
from t2fast.costs import Budget, as_budget
from t2fast.errors import T2Error
from t2fast.laws import Fitted, Law, as_law, under_rule
from t2fast.planning.design import Design, Interval, Point, cautions, from_core
from t2fast.planning.evidence import intervals
from t2fast.planning.lattice import designs_at, values
from t2fast.planning.surroundings import STAND_IN
from t2fast.planning.words import describe, interval_words, rule_data, rule_lines, table
from t2fast.results import Progress, Report, Result
from t2fast.rules import Rule
from t2fast.text import warning_lines

__all__ = ["Grid", "Plane", "grid_search", "reporter"]

#: Pairs of N and D that a search in memory takes at most.
_MOST_PAIRS = 4_000_000
#: Designs that a search takes at most.
_MOST_DESIGNS = 100_000_000_000


_Floats = NDArray[np.float64]


class Plane(NamedTuple):
    """Arrays of shape (N, D), NaN where no k is affordable: the law's values at the best k, and that k.

    Examples
    --------
    >>> budget = Budget(train_flops=1e20, inference_flops=1.4e11)
    >>> grid_search("pythia-gsm8k", budget, [70e6, 160e6], [100e9], [100, 400, 800]).plane.k.tolist()
    [[800.0], [400.0]]
    """

    values: NDArray[np.float64]
    k: NDArray[np.float64]


@dataclass(frozen=True, repr=False, eq=False)
class Grid(Result):
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

    Examples
    --------
    >>> budget = Budget(train_flops=1e20, inference_flops=1.4e11)
    >>> found = grid_search("pythia-gsm8k", budget, [70e6, 160e6], [100e9], [100, 400])
    >>> found.best.n_params, found.index.tolist()
    (160000000.0, [[1, 0, 1]])
    """

    law: Law
    budget: Budget
    n_params: NDArray[np.float64]
    n_tokens: NDArray[np.float64]
    k: NDArray[np.float64]
    top: tuple[Design, ...]
    index: NDArray[np.intp]
    surface: NDArray[np.float64] | None

    figure: ClassVar[str | None] = "planning:grid"

    @property
    def best(self) -> Design:
        """The best feasible design."""
        return self.top[0]

    @cached_property
    def interval(self) -> Interval | None:
        """The 90% predictive interval of the best design's result; ``None`` for a law without draws."""
        return intervals(self.law, self.budget, self.top[:1])[0]

    @property
    def warnings(self) -> tuple[str, ...]:
        """How far the best design extrapolates, whether it lies on the grid's edge, and the law's own warnings."""
        lines = cautions(self.law, self.best, "the best point")
        for place, (name, axis) in enumerate((("n_params", self.n_params), ("n_tokens", self.n_tokens), ("k", self.k))):
            if len(axis) > 1 and self.index[0, place] in (0, len(axis) - 1):
                end = "first" if self.index[0, place] == 0 else "last"
                lines.append(f"the best point lies at the {end} value of {name}: a wider axis may hold a better one")
        return (*lines, *self.law.warnings)

    def to_dict(self) -> dict[str, Any]:
        """The search as JSON data, without the surface."""
        return {
            "law": self.law.name or self.law.pass_law.to_dict(),
            "budget": self.budget.to_dict(),
            **rule_data(self.law),
            "points": len(self.n_params) * len(self.n_tokens) * len(self.k),
            "best": self.best.to_dict(),
            "interval": None if self.interval is None else list(self.interval),
            "top": [design.to_dict() for design in self.top],
            "index": self.index.tolist(),
            "warnings": list(self.warnings),
        }

    def summary(self) -> str:
        """The best designs as a table within 80 columns."""
        shape = " x ".join(str(len(axis)) for axis in (self.n_params, self.n_tokens, self.k))
        rows = {f"{place}.": design for place, design in enumerate(self.top, 1)}
        lines = [
            describe(self.law, self.budget),
            *rule_lines(self.law),
            f"Grid of {shape} points (N x D x k)",
            "",
            *table(rows, self.law),
        ]
        if self.interval is not None:
            lines += ["", f"90% predictive interval of the best: {interval_words(self.interval)}"]
        return "\n".join([*lines, "", *warning_lines(self.warnings)]).rstrip()

    def headline(self) -> str:
        """The best design."""
        return self.best.summary()

    def rows(self) -> list[dict[str, Any]]:
        """The best designs, a row each."""
        return [design.to_dict() for design in self.top]

    @cached_property
    def plane(self) -> Plane:
        """The law at the best affordable k of the grid for each N and D, and that k."""
        if not self.law.in_core:
            return _plane(self.law, self.budget, self.n_params, self.n_tokens, self.k)
        found = _core.plane(self.law._handle, self.budget._handle, self.n_params, self.n_tokens, self.k)
        shape = (len(self.n_params), len(self.n_tokens))
        return Plane(found.values.reshape(shape), found.k.reshape(shape))


def grid_search(
    law: Law | str | Path | Fitted,
    budget: Budget,
    n_params: ArrayLike,
    n_tokens: ArrayLike,
    k: ArrayLike,
    *,
    rule: Rule | str | Path | None = None,
    wrong_cost: float = 0.0,
    stop_on_success: bool = False,
    top: int = 1,
    surface: bool = False,
    threads: int | None = None,
    progress: Report | None = None,
) -> Grid:
    """Search every combination of your own N, D and k for the best that a budget admits.

    Parameters
    ----------
    law, budget
        As for :func:`plan`; here nothing need be bounded, the axes are.
    n_params, n_tokens, k
        Axes: one-dimensional, rising, of any spacing; lists of real model sizes for instance. k is at least 1.
    rule, wrong_cost, stop_on_success
        How one answer will be chosen from the k samples, as for :func:`plan`.
    top
        How many of the best designs to return.
    surface
        Also return the law at every point, an array of shape (N, D, k). Without it, memory does not grow with the grid.
    threads
        How many threads to use; all by default. Results do not depend on it.
    progress
        Called with a :class:`t2fast.results.Progress` now and then; it counts sizes.

    Raises
    ------
    InfeasibleError
        When no point is affordable; the message says by how much.
    T2Error
        For an axis that is empty, unsorted, or holds something not positive and finite; and for more than 1e11 designs.

    Examples
    --------
    >>> budget = Budget(train_flops=1e20, inference_flops=1.4e11)
    >>> found = grid_search("pythia-gsm8k", budget, [70e6, 160e6], [100e9, 200e9], [100, 400, 800])
    >>> print(found.best)
    N 70M, D 200B, k 800: pass@k 0.442, 2.86k tokens/param
    """
    law, budget = under_rule(as_law(law), rule, wrong_cost, stop_on_success), as_budget(budget)
    if law.stops:
        raise T2Error("stop_on_success: a grid counts all k samples of a point; use plan, frontier or isoflop")
    top, threads = whole("top", top, least=1, most=sys.maxsize), checked_threads(threads)
    ns, ds = numbers("n_params", n_params, ndim=1), numbers("n_tokens", n_tokens, ndim=1)
    ks = numbers("k", k, ndim=1)
    sizes = len(ns)
    if sizes * len(ds) * len(ks) > _MOST_DESIGNS:
        raise T2Error(
            f"{sizes} x {len(ds)} x {len(ks)} values of n_params, n_tokens and k are {sizes * len(ds) * len(ks):.3g} "
            f"designs: at most {_MOST_DESIGNS:.0e} are searched; take shorter axes, or plan, which needs none"
        )
    total = 2 * sizes if surface else sizes
    report = reporter(progress, total, "sizes")
    if not law.in_core:
        looked = _look_at_all(law, budget, ns, ds, ks, top, surface)
        if progress is not None:
            progress(Progress(total, total, "sizes"))
        return looked
    found = _core.grid_search(law._handle, budget._handle, ns, ds, ks, top, threads, report)
    cube = None
    if surface:
        cube = np.empty((len(ns), len(ds), len(ks)))
        report = reporter(progress, total, "sizes", before=sizes)
        _core.surface(law._handle, ns, ds, ks, cube, budget.unique_tokens, threads, report)
    if progress is not None:
        progress(Progress(total, total, "sizes"))
    places = np.array([place.index for place in found], dtype=np.intp)
    return Grid(law, budget, ns, ds, ks, tuple(from_core(law, place.design) for place in found), places, cube)


def reporter(progress: Report | None, total: int, unit: str, before: int = 0) -> Callable[[int], object] | None:
    """What the core calls with the work done, as part of a longer work."""
    if progress is None:
        return None
    return lambda done: progress(Progress(before + done, total, unit))


def _plane(law: Law, budget: Budget, ns: _Floats, ds: _Floats, ks: _Floats) -> Plane:
    """The plane of a law that the core does not know; which k is affordable depends on no law."""
    if len(ns) * len(ds) > _MOST_PAIRS:
        raise T2Error(
            f"{len(ns)} x {len(ds)} pairs of N and D: at most {_MOST_PAIRS} for a law of kind {law.kind!r}, which is "
            "searched in memory; take fewer, or a law of powers such as pythia-gsm8k"
        )
    chosen = _core.plane(STAND_IN._handle, budget._handle, ns, ds, ks).k
    n, d = (axis.ravel() for axis in np.meshgrid(ns, ds, indexing="ij"))
    kept, found, best = ~np.isnan(chosen), np.full(len(n), np.nan), chosen
    if kept.any():
        found[kept] = values(law, budget, n[kept], d[kept], chosen[kept])
    if not law.rises_with_k:
        for one in ks[:-1].tolist():
            fewer = kept & (one < chosen)
            if fewer.any():
                there = np.full(len(n), -np.inf)
                there[fewer] = values(law, budget, n[fewer], d[fewer], np.full(int(fewer.sum()), one))
                better = fewer & (there > found)
                found, best = np.where(better, there, found), np.where(better, one, best)
    chosen = best
    shape = (len(ns), len(ds))
    return Plane(found.reshape(shape), chosen.reshape(shape))


def _look_at_all(law: Law, budget: Budget, ns: _Floats, ds: _Floats, ks: _Floats, top: int, surface: bool) -> Grid:
    """The search for a law that the core does not know: the best affordable k at each N and D, one design for each."""
    plane = _plane(law, budget, ns, ds, ks)
    worth = np.where(np.isnan(plane.values), -np.inf, plane.values if law.predicts_pass else -plane.values).ravel()
    order = [place for place in np.argsort(-worth, kind="stable")[:top].tolist() if worth[place] > -np.inf]
    if not order:
        # Fails in the core's words.
        _core.grid_search(STAND_IN._handle, budget._handle, ns, ds, ks, 1)
    places = [(*divmod(place, len(ds)), int(np.searchsorted(ks, plane.k.flat[place]))) for place in order]
    points = [Point(float(ns[i]), float(ds[j]), float(ks[at])) for i, j, at in places]
    cube = None
    if surface:
        n, d, k = (axis.ravel() for axis in np.meshgrid(ns, ds, ks, indexing="ij"))
        cube = values(law, budget, n, d, k).reshape(len(ns), len(ds), len(ks))
    found = tuple(designs_at(law, budget, points))
    return Grid(law, budget, ns, ds, ks, found, np.array(places, dtype=np.intp), cube)
