"""Brute force over your own axes of N, D and k."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import _core
from t2fast.costs import Budget
from t2fast.errors import T2Error
from t2fast.laws import Law
from t2fast.planning.design import Design, cautions, from_core
from t2fast.planning.words import describe, table
from t2fast.text import warning_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Grid", "Progress", "axis", "grid_search", "reporter", "thread_count"]

#: Called now and then with (done, total) while long work runs.
Progress = Callable[[int, int], None]


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
        lines = cautions(self.law, self.best, "the best point")
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
            describe(self.law, self.budget),
            f"Grid of {shape} points (N x D x k)",
            "",
            *table(rows, self.law),
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
    ns, ds, ks = axis("n_params", n_params), axis("n_tokens", n_tokens), axis("k", k)
    sizes = len(ns)
    stages = 2 if surface else 1
    found = _core.grid_search(
        law._handle, budget._handle, ns, ds, ks, top, thread_count(threads), reporter(progress, 0, stages * sizes)
    )
    values = None
    if surface:
        values = np.empty((len(ns), len(ds), len(ks)))
        report = reporter(progress, sizes, stages * sizes)
        _core.surface(law._handle, ns, ds, ks, values, budget.unique_tokens, thread_count(threads), report)
    if progress is not None:
        progress(stages * sizes, stages * sizes)
    places = np.array([place for place, _ in found], dtype=np.intp)
    return Grid(law, budget, ns, ds, ks, tuple(from_core(law, flat) for _, flat in found), places, values)


def axis(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """An axis as the core takes it; what it holds, the core checks."""
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


def thread_count(threads: int | None) -> int | None:
    """A checked number of threads."""
    if threads is None:
        return None
    if isinstance(threads, bool) or not isinstance(threads, int | np.integer) or threads < 1:
        raise T2Error(f"threads = {threads!r}: must be a whole number, at least 1, or None for all")
    return int(threads)


def reporter(progress: Progress | None, before: int, total: int) -> Callable[[int], None] | None:
    """What the core calls with the work done, as part of a longer work."""
    if progress is None:
        return None
    return lambda done: progress(before + done, total)
