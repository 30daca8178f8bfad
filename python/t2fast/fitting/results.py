"""What a fit found: the law, how the optimum was found, how far to trust it, and its bootstrap."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from t2fast import _core
from t2fast.errors import T2Error
from t2fast.fitting.rows import FloatArray, IntArray
from t2fast.laws import DataRange, Law
from t2fast.quantity import format_quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Bootstrap", "FitResult", "Observed", "Problem", "Questions", "wrapped"]

#: Replicates between two looks at Ctrl-C and the progress bar.
_CHUNK = 128
#: Replicates that a law carries with it.
_DRAWS = 1000


@dataclass(frozen=True)
class Observed:
    """What a law was fitted to, row by row: N, D, k and the quantity that the law predicts."""

    n_params: FloatArray
    n_tokens: FloatArray
    k: FloatArray
    value: FloatArray
    quantity: str


@dataclass(frozen=True)
class Questions:
    """Values per question whose means over questions are what a law is fitted to.

    A question drawn twice counts twice in every mean; ``rebuild`` makes the core's problem of other means.
    """

    cell: IntArray
    question: IntArray
    value: FloatArray
    rebuild: Callable[[FloatArray], _core.FitProblem]

    def resampled(self, seed: int, index: int) -> _core.FitProblem:
        """The problem of replicate ``index``: as many questions as there are, drawn with replacement."""
        # A key beside those of the core's streams, so that drawing several kinds of units draws them independently.
        rng = np.random.Generator(np.random.Philox(key=[seed, 1], counter=[0, 0, 0, index]))
        count = int(self.question.max()) + 1
        drawn = np.bincount(rng.integers(0, count, count), minlength=count)[self.question]
        total = np.bincount(self.cell, weights=drawn)
        mean = np.bincount(self.cell, weights=self.value) / np.bincount(self.cell)
        with np.errstate(invalid="ignore"):
            means = np.bincount(self.cell, weights=drawn * self.value) / total
        # A mean of which no question was drawn stays as it is.
        return self.rebuild(np.where(total > 0, means, mean))


@dataclass(frozen=True)
class Problem:
    """The core's problem and what resampling needs to know of its rows."""

    core: _core.FitProblem
    outcome: _core.FitOutcome
    checkpoint: IntArray
    group: IntArray | None
    question: IntArray | None
    questions: Questions | None = None

    def units(self, by: str) -> IntArray:
        """Each row's unit of what is resampled."""
        if by == "checkpoint":
            return self.checkpoint
        if by == "group":
            if self.group is None:
                raise T2Error("by = 'group': the fit had no group column; give group= (one label per row) when fitting")
            return self.group
        if by == "question":
            if self.question is None:
                raise T2Error(
                    "by = 'question': the fit had no labels of questions; give question= (one per row) when fitting"
                )
            return self.question
        raise T2Error(f"by = {by!r}: must be 'checkpoint', 'group' or 'question', or several of them")

    def replicates(
        self, by: tuple[str, ...], seed: int, first: int, count: int, threads: int | None
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Coefficients of replicates ``first .. first + count``, and whether each converged."""
        if self.questions is None or "question" not in by:
            units = [self.units(name) for name in by]
            return self.core.bootstrap(self.outcome, units, seed, first, count, threads, None)
        units = [self.units(name) for name in by if name != "question"]
        samples = np.full((count, len(self.outcome.coefficients)), np.nan)
        converged = np.zeros(count, dtype=np.bool_)
        for i in range(count):
            # Questions drawn may leave a mean of zero, which no law fits: then there is no replicate.
            with contextlib.suppress(T2Error):
                problem = self.questions.resampled(seed, first + i)
                samples[i : i + 1], converged[i : i + 1] = problem.bootstrap(
                    self.outcome, units, seed, first + i, 1, threads, None
                )
        return samples, converged

    @property
    def cluster(self) -> IntArray:
        """What standard errors treat as independent: training runs where they are known, checkpoints otherwise."""
        return self.checkpoint if self.group is None else self.group


@dataclass(frozen=True)
class FitResult:
    """A fitted law and how it was obtained.

    Parameters
    ----------
    law
        The law, with its data's range and the warnings below.
    method
        What was fitted, in words.
    objective_name, objective
        What was minimised, and its least value.
    success, message
        Whether the best start converged, and one line on how.
    gradient_norm
        The largest derivative of the objective by a free internal parameter (logarithms of scales, exponents, thetas).
    n_iterations, n_starts, n_agreeing
        Newton steps over all starts, starts polished, and how many of them ended at the same objective.
    interior, at_bound
        Whether the optimum lies inside the allowed ranges, and the coefficients that don't.
    n_rows, n_checkpoints
        Rows fitted, and distinct (N, D) among them.
    standard_errors
        Robust standard errors by coefficient, clustered by training run where groups are given and by checkpoint
        otherwise; empty for fits in stages, whose uncertainty takes a bootstrap.
    correlation
        Correlations of the coefficients, by pairs whose size exceeds 0.9.
    condition
        Condition number of the curvature scaled to a unit diagonal; NaN for fits in stages.
    warnings
        What a user must know before relying on the law.
    """

    law: Law
    method: str
    objective_name: str
    objective: float
    success: bool
    message: str
    gradient_norm: float
    n_iterations: int
    n_starts: int
    n_agreeing: int
    interior: bool
    at_bound: tuple[str, ...]
    n_rows: int
    n_checkpoints: int
    standard_errors: Mapping[str, float]
    correlation: Mapping[str, float]
    condition: float
    warnings: tuple[str, ...]
    observed: Observed = field(repr=False, compare=False)
    _problem: Problem = field(repr=False, compare=False)

    def bootstrap(
        self,
        n: int = 1000,
        by: str | Sequence[str] | None = None,
        *,
        seed: int = 0,
        threads: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Bootstrap:
        """Refit resampled tables.

        Replicate i draws from stream i of the seed, so that the result depends neither on threads nor on order, and
        the first replicates of a longer run are those of a shorter one. Ctrl-C keeps what is done.

        Parameters
        ----------
        n
            Number of replicates.
        by
            What is drawn with replacement: ``"checkpoint"``, ``"group"`` (training runs) or ``"question"``, or several,
            drawn independently. By default groups where given, checkpoints otherwise.
        seed, threads
            Key of the random numbers; number of threads, all of the machine's by default.
        progress
            Called now and then with the number of replicates done.

        Raises
        ------
        T2Error
            When what should be drawn is not known, or is a single one.
        """
        if n < 2:
            raise T2Error(f"n = {n}: a bootstrap needs at least 2 replicates")
        default = "checkpoint" if self._problem.group is None else "group"
        names = (by or default,) if by is None or isinstance(by, str) else tuple(by)
        for name in names:
            if name != "question" or self._problem.questions is None:
                self._problem.units(name)
        parts: list[FloatArray] = []
        converged: list[NDArray[np.bool_]] = []
        interrupted = False
        try:
            for first in range(0, n, _CHUNK):
                count = min(_CHUNK, n - first)
                found, good = self._problem.replicates(names, seed, first, count, threads)
                parts.append(found)
                converged.append(good)
                if progress is not None:
                    progress(first + count)
        except KeyboardInterrupt:
            if not parts:
                raise
            interrupted = True
        samples = np.concatenate(parts)
        return Bootstrap(
            self, tuple(self._problem.core.names()), samples, np.concatenate(converged), names, seed, interrupted
        )

    def law_with_draws(self) -> Law:
        """The law with the draws of a bootstrap of 1,000 replicates: what ``t2.plan(fit, budget)`` plans with."""
        return self.bootstrap().law()

    def profile(self, name: str, level: float = 0.9) -> tuple[float, float]:
        """The interval of one coefficient within which refitting all others keeps the objective low enough.

        The rise allowed is that of a chi-squared with one degree of freedom, scaled so that near the optimum it agrees
        with the robust standard error. Unlike that it follows the objective's asymmetry. An end at which the
        coefficient reaches its allowed range is that bound, and an end that does not exist is infinite.

        Raises
        ------
        T2Error
            For a coefficient that is not fitted, and for fits in stages.
        """
        names = self._problem.core.names()
        if name not in names:
            raise T2Error(f"name = {name!r}: not among the fitted {', '.join(names)}")
        limit = NormalDist().inv_cdf(0.5 + 0.5 * checked_level(level)) ** 2
        found = self._problem.core.profile(self._problem.outcome, self._problem.cluster, names.index(name), limit)
        if found is None:
            raise T2Error(f"no profile for {name}: it is fixed, at a bound, or fitted in stages; use bootstrap()")
        return found

    def summary(self) -> str:
        """The fit as a table of at most 80 columns."""
        agree = f"{self.n_agreeing} of {self.n_starts} starts agree"
        lines = [
            f"{self.law.title or self.law.kind}",
            f"  {self.method}",
            f"  {self.n_rows} rows, {self.n_checkpoints} checkpoints; {ranges(self.law.data_range)}",
            f"  {self.objective_name} = {self.objective:.10g}; {agree}; gradient {self.gradient_norm:.1e}",
            f"  {self.message}",
            "",
            f"  {'coefficient':<14}{'value':>14}{'std. error':>14}",
        ]
        for name, value in self.law.coefficients.items():
            error = self.standard_errors.get(name)
            shown = "" if error is None else f"{error:>14.3g}"
            lines.append(f"  {name:<14}{value:>14.6g}{shown}{'  at bound' if name in self.at_bound else ''}")
        lines += wrapped(self.warnings)
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def to_dict(self) -> dict[str, Any]:
        """The fit as JSON data, without the rows that were fitted."""
        return {
            "schema": "t2fast.fit/1",
            "law": self.law.to_dict(),
            "method": self.method,
            "objective_name": self.objective_name,
            "objective": self.objective,
            "success": self.success,
            "message": self.message,
            "gradient_norm": self.gradient_norm,
            "n_iterations": self.n_iterations,
            "n_starts": self.n_starts,
            "n_agreeing": self.n_agreeing,
            "interior": self.interior,
            "at_bound": list(self.at_bound),
            "n_rows": self.n_rows,
            "n_checkpoints": self.n_checkpoints,
            "standard_errors": dict(self.standard_errors),
            "correlation": dict(self.correlation),
            "condition": None if np.isnan(self.condition) else self.condition,
            "warnings": list(self.warnings),
        }

    def plot(self, path: str | Path | None = None) -> Figure:
        """Data, fitted law and residuals; needs matplotlib."""
        from t2fast.plots.fitting import plot_fit

        return plot_fit(self, path)


@dataclass(frozen=True)
class Bootstrap:
    """Refits of resampled tables.

    Parameters
    ----------
    fit
        The fit to the whole table.
    names, samples
        Coefficients, and an array of shape (replicates, coefficients); NaN where a draw left nothing to fit.
    converged
        Whether each replicate converged.
    by, seed
        What was drawn, and the key of the random numbers.
    interrupted
        True when Ctrl-C ended it early.
    """

    fit: FitResult
    names: tuple[str, ...]
    samples: FloatArray
    converged: NDArray[np.bool_]
    by: tuple[str, ...]
    seed: int
    interrupted: bool = False

    @property
    def usable(self) -> FloatArray:
        """The replicates whose draws could be fitted.

        Those that did not converge are among them: they drift along a valley of the objective, mostly towards extreme
        coefficients, and leaving them out would make intervals too short.
        """
        return np.asarray(self.samples[np.isfinite(self.samples).all(axis=1)])

    def standard_errors(self) -> dict[str, float]:
        """Standard deviation over replicates, by coefficient."""
        return dict(zip(self.names, np.std(self.usable, axis=0, ddof=1).tolist(), strict=True))

    def intervals(self, level: float = 0.9) -> dict[str, tuple[float, float]]:
        """Percentile intervals by coefficient."""
        tail = 0.5 * (1 - checked_level(level))
        low, high = np.quantile(self.usable, [tail, 1 - tail], axis=0)
        return {name: (float(a), float(b)) for name, a, b in zip(self.names, low, high, strict=True)}

    def law_with_draws(self) -> Law:
        """As :meth:`law`: what ``t2.plan(bootstrap, budget)`` plans with."""
        return self.law()

    def laws(self) -> Iterator[Law]:
        """The law of every usable replicate that its kind allows (a scale may have vanished in some)."""
        for row in self.usable:
            with contextlib.suppress(T2Error):
                yield self.fit.law.with_coefficients(dict(zip(self.names, row.tolist(), strict=True)))

    def law(self, level: float = 0.9) -> Law:
        """The fitted law with this bootstrap's standard errors, intervals and draws as its ``uncertainty``.

        Draws are the coefficients of the first 1,000 replicates: :func:`t2fast.plan` plans with each of
        them.
        """
        known = set(self.fit.law.coefficient_names)
        intervals = {name: list(ends) for name, ends in self.intervals(level).items() if name in known}
        names = (*self.fit.law.coefficient_names, "r_star_tokens", "r_star_params")
        draws = {
            name: [float(f"{value:.9g}") for value in values[:_DRAWS].tolist()]
            for name, values in zip(self.names, self.usable.T, strict=True)
            if name in names
        }
        uncertainty = {
            "method": f"bootstrap over {'s and '.join(self.by)}s, {len(self.usable)} replicates, seed {self.seed}",
            "standard_errors": {n: e for n, e in self.standard_errors().items() if n in known},
            "level": level,
            "intervals": intervals,
            "draws": draws,
        }
        return replace(self.fit.law, uncertainty=uncertainty)

    def summary(self, level: float = 0.9) -> str:
        """Standard errors and intervals as a table of at most 80 columns."""
        lines = [f"bootstrap over {'s and '.join(self.by)}s: {len(self.samples)} replicates, seed {self.seed}"]
        lost = len(self.samples) - len(self.usable)
        if lost:
            lines.append(f"  {lost} of them left out: what was drawn cannot be fitted")
        drifting = int(np.count_nonzero(~self.converged)) - lost
        if drifting:
            lines.append(f"  {drifting} of them did not converge: some coefficient is barely determined")
        if self.interrupted:
            lines.append("  interrupted before all were done")
        lines.append(f"  {'coefficient':<14}{'value':>14}{'std. error':>14}{f'{100 * level:g}% interval':>28}")
        intervals, errors = self.intervals(level), self.standard_errors()
        values = dict(zip(self.names, self.fit._problem.outcome.coefficients, strict=True))
        for name in self.names:
            low, high = intervals[name]
            lines.append(f"  {name:<14}{values[name]:>14.6g}{errors[name]:>14.3g}{low:>14.5g}{high:>14.5g}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def to_dict(self, level: float = 0.9) -> dict[str, Any]:
        """Standard errors and intervals as JSON data."""
        return {
            "by": list(self.by),
            "seed": self.seed,
            "replicates": len(self.samples),
            "usable": len(self.usable),
            "converged": int(np.count_nonzero(self.converged)),
            "interrupted": self.interrupted,
            "level": level,
            "standard_errors": self.standard_errors(),
            "intervals": {name: list(ends) for name, ends in self.intervals(level).items()},
        }

    def plot(self, path: str | Path | None = None) -> Figure:
        """Clouds of coefficients over the replicates; needs matplotlib."""
        from t2fast.plots.fitting import plot_bootstrap

        return plot_bootstrap(self, path)


def checked_level(level: float) -> float:
    if not 0 < level < 1:
        raise T2Error(f"level = {level}: must lie between 0 and 1; write 0.9 for 90%")
    return level


def ranges(data: DataRange | None) -> str:
    if data is None:
        return "no data range"
    parts = [
        f"{label} {format_quantity(low)} to {format_quantity(high)}"
        for label, (low, high) in (("N", data.n_params), ("D", data.n_tokens), ("k", data.k))
        if low < high or label != "k"
    ]
    return ", ".join(parts)


def wrapped(lines: Sequence[str], indent: str = "  ! ") -> list[str]:
    """Texts as lines of at most 80 columns."""
    return [row for line in lines for row in textwrap.wrap(line, 80, initial_indent=indent, subsequent_indent="    ")]
