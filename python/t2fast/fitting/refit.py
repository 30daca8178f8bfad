"""A fit that can be repeated: on the whole table, and on tables whose checkpoints, runs or problems are resampled."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2fast import _core
from t2fast.errors import T2Error
from t2fast.fitting.recipes import Counts, Curves, PowerSum, Recipe
from t2fast.fitting.rows import FloatArray, IntArray

__all__ = ["Observed", "ProblemMeans", "Refit"]


@dataclass(frozen=True, eq=False)
class Observed:
    """What a law was fitted to, row by row: N, D, k and the quantity that the law predicts.

    Examples
    --------
    >>> import numpy as np
    >>> from t2fast import ChinchillaLaw
    >>> from t2fast.fitting import fit_chinchilla
    >>> n, d = (one.ravel() for one in np.meshgrid(np.geomspace(1e7, 1e9, 4), np.geomspace(1e9, 1e11, 4)))
    >>> fit = fit_chinchilla(n, d, ChinchillaLaw(1.7, 400.0, 400.0, 0.34, 0.28).value(n, d))
    >>> fit.observed.quantity, len(fit.observed.value)
    ('loss', 16)
    """

    n_params: FloatArray
    n_tokens: FloatArray
    k: FloatArray
    value: FloatArray
    quantity: str


@dataclass(frozen=True, eq=False)
class ProblemMeans:
    """Values per problem whose means over problems are what a law is fitted to.

    A problem drawn twice counts twice in every mean.
    """

    cell: IntArray
    problem: IntArray
    value: FloatArray

    def resampled(self, recipe: PowerSum | Curves, seed: int, index: int) -> _core.FitProblem:
        """What replicate ``index`` fits: as many problems as there are, drawn with replacement."""
        # A key beside those of the core's streams, so that drawing several kinds of units draws them independently.
        rng = np.random.Generator(np.random.Philox(key=[seed, 1], counter=[0, 0, 0, index]))
        count = int(self.problem.max()) + 1
        drawn = np.bincount(rng.integers(0, count, count), minlength=count)[self.problem]
        total = np.bincount(self.cell, weights=drawn)
        mean = np.bincount(self.cell, weights=self.value) / np.bincount(self.cell)
        with np.errstate(invalid="ignore"):
            means = np.bincount(self.cell, weights=drawn * self.value) / total
        # A mean of which no problem was drawn stays as it is.
        return recipe.with_values(np.where(total > 0, means, mean)).build()


@dataclass(frozen=True, eq=False)
class Refit:
    """A recipe, how its rows hang together, and the core's answer to it, made when first asked for."""

    recipe: Recipe
    checkpoint: IntArray
    group: IntArray | None = None
    problem: IntArray | None = None
    means: ProblemMeans | None = None
    threads: int | None = None

    @cached_property
    def core(self) -> _core.FitProblem:
        """The core's problem."""
        return self.recipe.build()

    @cached_property
    def outcome(self) -> _core.FitOutcome:
        """The core's answer, the same on any number of threads."""
        return self.core.fit(self.threads)

    def __getstate__(self) -> dict[str, Any]:
        # The core's objects are made again from the recipe.
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @property
    def cluster(self) -> IntArray:
        """What standard errors treat as independent: training runs where they are known, checkpoints otherwise."""
        return self.checkpoint if self.group is None else self.group

    def units(self, by: str) -> IntArray:
        """Each row's unit of what is resampled."""
        found = {"checkpoint": self.checkpoint, "group": self.group, "problem": self.problem}
        if by not in found:
            raise T2Error(f"by = {by!r}: must be 'checkpoint', 'group' or 'problem', or several of them")
        units = found[by]
        if units is None:
            raise T2Error(f"by = {by!r}: the fit has no labels for it; pass {by}=, one label per row, when fitting")
        return units

    def can_draw(self, by: str) -> None:
        """Make sure that units of this kind are known.

        Raises
        ------
        T2Error
            When they are not.
        """
        if by != "problem" or self.means is None:
            self.units(by)

    def replicates(
        self, by: tuple[str, ...], seed: int, first: int, count: int, threads: int | None
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Coefficients of replicates ``first .. first + count``, and whether each converged."""
        if self.means is None or "problem" not in by:
            units = [self.units(name) for name in by]
            return self.core.bootstrap(self.outcome, units, seed, first, count, threads, None)
        assert not isinstance(self.recipe, Counts)
        units = [self.units(name) for name in by if name != "problem"]
        samples = np.full((count, len(self.outcome.coefficients)), np.nan)
        converged = np.zeros(count, dtype=np.bool_)
        for i in range(count):
            # Problems drawn may leave a mean of zero, which no law fits: then there is no replicate.
            with contextlib.suppress(T2Error):
                drawn = self.means.resampled(self.recipe, seed, first + i)
                samples[i : i + 1], converged[i : i + 1] = drawn.bootstrap(
                    self.outcome, units, seed, first + i, 1, threads, None
                )
        return samples, converged
