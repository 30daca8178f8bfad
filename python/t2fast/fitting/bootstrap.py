"""Refits of resampled tables: standard errors, intervals, and laws that carry their draws."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from t2fast import arguments
from t2fast.errors import T2Error
from t2fast.fitting.rows import FloatArray
from t2fast.laws import Law
from t2fast.results import Result

__all__ = ["Bootstrap"]

#: Replicates that a law carries with it.
_DRAWS = 1000


@dataclass(frozen=True, repr=False, eq=False)
class Bootstrap(Result):
    """Refits of resampled tables; :meth:`t2fast.fitting.FitResult.bootstrap` makes one.

    Attributes
    ----------
    point
        The law fitted to the whole table.
    names, estimates
        The coefficients that were fitted, and their values there.
    samples
        Coefficients by replicate, of shape (replicates, coefficients); NaN where a draw left nothing to fit.
    converged
        Whether each replicate converged.
    by, seed
        What was drawn, and the key of the random numbers.
    interrupted
        True when Ctrl-C ended it early.
    scatter
        How the checkpoints scatter about the law, in log-odds or logarithms.

    Examples
    --------
    >>> from t2fast import fitting
    >>> n, d = [1e7, 1e7, 1e8, 1e8, 1e9, 1e9, 1e10, 1e10], [1e9, 1e10, 1e9, 1e11, 1e10, 1e11, 1e10, 1e12]
    >>> loss = [4.49, 3.92, 3.54, 2.74, 2.56, 2.32, 2.37, 2.03]
    >>> boot = fitting.fit_chinchilla(n, d, loss).bootstrap(100)
    >>> low, high = boot.intervals(0.9)["alpha"]
    >>> low <= boot.point.alpha <= high
    True
    """

    point: Law
    names: tuple[str, ...]
    estimates: tuple[float, ...]
    samples: FloatArray = field(repr=False)
    converged: NDArray[np.bool_] = field(repr=False)
    by: tuple[str, ...]
    seed: int
    interrupted: bool = False
    scatter: tuple[float, ...] = field(default=(), repr=False)

    figure: ClassVar[str] = "fitting:plot_bootstrap"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bootstrap):
            return NotImplemented
        mine, theirs = (
            (one.point, one.names, one.estimates, one.by, one.seed, one.interrupted, one.scatter)
            for one in (self, other)
        )
        return (
            mine == theirs
            and np.array_equal(self.samples, other.samples, equal_nan=True)
            and np.array_equal(self.converged, other.converged)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def usable(self) -> FloatArray:
        """The replicates whose draws could be fitted, of shape (usable replicates, coefficients).

        Those that did not converge are among them: they drift along a valley of the objective, mostly towards extreme
        coefficients, and leaving them out would make intervals too short.
        """
        return np.asarray(self.samples[np.isfinite(self.samples).all(axis=1)])

    def standard_errors(self) -> dict[str, float]:
        """Standard deviation over replicates, by coefficient."""
        return dict(zip(self.names, np.std(self.usable, axis=0, ddof=1).tolist(), strict=True))

    def intervals(self, confidence_level: float = 0.9) -> dict[str, tuple[float, float]]:
        """Percentile intervals by coefficient.

        Raises
        ------
        T2Error
            For a level outside (0, 1).
        """
        tail = 0.5 * (1 - arguments.confidence_level(confidence_level))
        low, high = np.quantile(self.usable, [tail, 1 - tail], axis=0)
        return {name: (float(a), float(b)) for name, a, b in zip(self.names, low, high, strict=True)}

    def laws(self) -> Iterator[Law]:
        """The law of every usable replicate that its kind allows (a scale may have vanished in some)."""
        for row in self.usable:
            with contextlib.suppress(T2Error):
                yield self.point.with_coefficients(dict(zip(self.names, row.tolist(), strict=True)))

    def law(self, confidence_level: float = 0.9) -> Law:
        """The fitted law with this bootstrap's standard errors, intervals and draws as its ``uncertainty``.

        Draws are the coefficients of the first 1,000 replicates: ``t2fast.plan`` plans with each of them.

        Raises
        ------
        T2Error
            For a level outside (0, 1).
        """
        known = set(self.point.coefficient_names)
        intervals = {name: list(ends) for name, ends in self.intervals(confidence_level).items() if name in known}
        names = (*self.point.coefficient_names, "r_star_tokens", "r_star_params")
        draws = {
            name: [float(f"{value:.9g}") for value in values[:_DRAWS].tolist()]
            for name, values in zip(self.names, self.usable.T, strict=True)
            if name in names
        }
        uncertainty = {
            "method": f"bootstrap over {self._drawn}, {len(self.usable)} replicates, seed {self.seed}",
            "standard_errors": {n: e for n, e in self.standard_errors().items() if n in known},
            "level": confidence_level,
            "intervals": intervals,
            "draws": draws,
            "scatter": self.scatter,
        }
        return replace(self.point, uncertainty=uncertainty)

    def law_with_draws(self) -> Law:
        """As :meth:`law`: what ``t2fast.plan(bootstrap, budget)`` plans with."""
        return self.law()

    @property
    def _drawn(self) -> str:
        return "s and ".join(self.by) + "s"

    def headline(self) -> str:
        """What was drawn, and how often."""
        return f"over {self._drawn}: {len(self.samples)} replicates, seed {self.seed}"

    def summary(self, confidence_level: float = 0.9) -> str:
        """Standard errors and intervals as a table of at most 80 columns."""
        lines = [f"bootstrap {self.headline()}"]
        lost = len(self.samples) - len(self.usable)
        if lost:
            lines.append(f"  {lost} of them left out: the rows drawn cannot be fitted")
        drifting = int(np.count_nonzero(~self.converged)) - lost
        if drifting:
            lines.append(f"  {drifting} of them did not converge: some coefficient is barely determined")
        if self.interrupted:
            lines.append("  interrupted before all were done")
        interval = f"{100 * confidence_level:g}% interval"
        lines.append(f"  {'coefficient':<14}{'value':>14}{'std. error':>14}{interval:>28}")
        for row in self.rows(confidence_level):
            lines.append(
                f"  {row['coefficient']:<14}{row['value']:>14.6g}{row['standard_error']:>14.3g}"
                f"{row['low']:>14.5g}{row['high']:>14.5g}"
            )
        return "\n".join(lines)

    def rows(self, confidence_level: float = 0.9) -> list[dict[str, Any]]:
        """A row per coefficient: its value, standard error and interval."""
        intervals, errors = self.intervals(confidence_level), self.standard_errors()
        return [
            {
                "coefficient": name,
                "value": value,
                "standard_error": errors[name],
                "low": intervals[name][0],
                "high": intervals[name][1],
            }
            for name, value in zip(self.names, self.estimates, strict=True)
        ]

    def to_dict(self, confidence_level: float = 0.9) -> dict[str, Any]:
        """Standard errors and intervals as JSON data."""
        return {
            "by": list(self.by),
            "seed": self.seed,
            "n_resamples": len(self.samples),
            "usable": len(self.usable),
            "converged": int(np.count_nonzero(self.converged)),
            "interrupted": self.interrupted,
            "confidence_level": confidence_level,
            "standard_errors": self.standard_errors(),
            "intervals": {name: list(ends) for name, ends in self.intervals(confidence_level).items()},
        }
