"""What a fit found: the law, how the optimum was found and how far to trust it."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from t2fast import arguments
from t2fast.cluster import Cluster
from t2fast.errors import T2Error
from t2fast.fitting.bootstrap import Bootstrap
from t2fast.fitting.refit import Observed, Refit
from t2fast.fitting.rows import FloatArray
from t2fast.fitting.scatter import scatter
from t2fast.laws import DataRange, Law
from t2fast.quantity import format_quantity
from t2fast.results import Progress, Report, Result
from t2fast.text import warning_lines

__all__ = ["FitResult"]

#: Replicates between two looks at Ctrl-C and the progress bar.
_CHUNK = 128


@dataclass(frozen=True, repr=False)
class FitResult(Result):
    """A fitted law and how it was obtained.

    Attributes
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
    residual
        Mean size of what the law leaves unexplained: of ``predicted / observed - 1`` for losses, of ``predicted -
        observed`` for pass@k.
    standard_errors
        Robust standard errors by coefficient, clustered by training run where groups are given and by checkpoint
        otherwise; empty for fits in stages, whose uncertainty takes a bootstrap.
    correlation
        Correlations of the coefficients, by pairs whose size exceeds 0.9.
    condition
        Condition number of the curvature scaled to a unit diagonal; ``None`` for fits in stages.
    warnings
        What a user must know before relying on the law.
    observed
        The rows that the law was fitted to.

    Examples
    --------
    >>> from t2fast import fitting
    >>> n, d = [1e7, 1e7, 1e8, 1e8, 1e9, 1e9, 1e10, 1e10], [1e9, 1e10, 1e9, 1e11, 1e10, 1e11, 1e10, 1e12]
    >>> loss = [4.49, 3.92, 3.54, 2.74, 2.56, 2.32, 2.37, 2.03]
    >>> fit = fitting.fit_chinchilla(n, d, loss)
    >>> fit.success, fit.n_checkpoints
    (True, 8)
    >>> 0.2 < fit.law.alpha < 0.5
    True
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
    residual: float
    standard_errors: Mapping[str, float]
    correlation: Mapping[str, float]
    condition: float | None
    warnings: tuple[str, ...]
    observed: Observed = field(repr=False, compare=False)
    refit: Refit = field(repr=False, compare=False)

    figure: ClassVar[str] = "fitting:plot_fit"
    __hash__ = None  # type: ignore[assignment]

    def bootstrap(
        self,
        n_resamples: int = 1000,
        by: str | Sequence[str] | None = None,
        *,
        seed: int = 0,
        threads: int | None = None,
        cluster: Cluster | None = None,
        progress: Report | None = None,
    ) -> Bootstrap:
        """Refit resampled tables.

        Replicate i draws from stream i of the seed, so that the result depends neither on threads nor on machines nor
        on order, and the first replicates of a longer run are those of a shorter one. Ctrl-C keeps what is done.

        Parameters
        ----------
        n_resamples
            Number of replicates, at least 2.
        by
            What is drawn with replacement: ``"checkpoint"``, ``"group"`` (training runs) or ``"problem"``, or several,
            drawn independently. By default groups where given, checkpoints otherwise.
        seed, threads
            Key of the random numbers; number of threads, all of the machine's by default.
        cluster
            The machines that refit, instead of this process; one thread per task then.
        progress
            Called with a :class:`~t2fast.results.Progress` now and then.

        Raises
        ------
        T2Error
            When what should be drawn is not known, or is a single one; when the cluster is lost.
        """
        total = arguments.whole("n_resamples", n_resamples, least=2)
        key = arguments.seed(seed)
        default = "checkpoint" if self.refit.group is None else "group"
        names = (by or default,) if by is None or isinstance(by, str) else tuple(by)
        for name in names:
            self.refit.can_draw(name)
        many = arguments.threads(threads)
        spans = [(first, min(_CHUNK, total - first)) for first in range(0, total, _CHUNK)]
        parts: dict[int, tuple[FloatArray, NDArray[np.bool_]]] = {}
        interrupted, done = False, 0
        try:
            with closing(self._parts([(names, key, *span) for span in spans], many, cluster)) as finished:
                for number, part in finished:
                    parts[number] = part
                    done += spans[number][1]
                    if progress is not None:
                        progress(Progress(done, total, "replicates"))
        except KeyboardInterrupt:
            if 0 not in parts:
                raise
            interrupted = True
        # The first replicates without a gap, should Ctrl-C have come in between.
        found = [parts[number] for number in itertools.takewhile(parts.__contains__, itertools.count())]
        return Bootstrap(
            point=self.law,
            names=tuple(self.refit.core.names()),
            estimates=tuple(self.refit.outcome.coefficients),
            samples=np.concatenate([samples for samples, _ in found]),
            converged=np.concatenate([converged for _, converged in found]),
            by=names,
            seed=key,
            interrupted=interrupted,
            scatter=scatter(self.law, self.observed, len(self.refit.core.names())),
        )

    def _parts(
        self, calls: Sequence[tuple[tuple[str, ...], int, int, int]], threads: int | None, cluster: Cluster | None
    ) -> Generator[tuple[int, tuple[FloatArray, NDArray[np.bool_]]]]:
        """Number and replicates of each of these calls, as they are done."""
        if cluster is None:
            for number, call in enumerate(calls):
                yield number, self.refit.replicates(*call, threads)
        else:
            yield from cluster.run(self.refit.replicates, [(*call, 1) for call in calls])

    def law_with_draws(self) -> Law:
        """The law with the draws of a bootstrap of 1,000 replicates: what ``t2fast.plan(fit, budget)`` plans with."""
        return self.bootstrap().law()

    def profile(self, name: str, confidence_level: float = 0.9) -> tuple[float, float]:
        """The interval of one coefficient within which refitting all others keeps the objective low enough.

        The rise allowed is that of a chi-squared with one degree of freedom, scaled so that near the optimum it agrees
        with the robust standard error. Unlike that it follows the objective's asymmetry. An end at which the
        coefficient reaches its allowed range is that bound, and an end that does not exist is infinite.

        Raises
        ------
        T2Error
            For a coefficient that is not fitted, and for fits in stages.
        """
        names = self.refit.core.names()
        if name not in names:
            raise T2Error(f"name = {name!r}: not among the fitted {', '.join(names)}")
        limit = NormalDist().inv_cdf(0.5 + 0.5 * arguments.confidence_level(confidence_level)) ** 2
        found = self.refit.core.profile(self.refit.outcome, self.refit.cluster, names.index(name), limit)
        if found is None:
            raise T2Error(f"no profile for {name}: it is fixed, at a bound, or fitted in stages; use bootstrap()")
        return found

    def headline(self) -> str:
        """The law's kind, its data and whether it converged."""
        state = "converged" if self.success else "not converged"
        return f"{self.law.kind}, {self.n_checkpoints} checkpoints, residual {self._residual}, {state}"

    @property
    def _residual(self) -> str:
        return f"{self.residual:.2g} in pass@k" if self.law.predicts_pass else f"{self.residual:.2%}"

    def summary(self) -> str:
        """The fit as a table of at most 80 columns."""
        agree = f"{self.n_agreeing} of {self.n_starts} starts agree"
        lines = [
            f"{self.law.title or self.law.kind}",
            f"  {self.method}",
            f"  {self.n_rows} rows, {self.n_checkpoints} checkpoints; {_ranges(self.law.data_range)}",
            f"  mean residual {self._residual}; {self.objective_name} = {self.objective:.10g}",
            f"  {agree}; gradient {self.gradient_norm:.1e}",
            f"  {self.message}",
            "",
            f"  {'coefficient':<14}{'value':>14}{'std. error':>14}",
        ]
        for row in self.rows():
            error = row["standard_error"]
            shown = "" if error is None else f"{error:>14.3g}"
            bound = "  at bound" if row["at_bound"] else ""
            lines.append(f"  {row['coefficient']:<14}{row['value']:>14.6g}{shown}{bound}")
        return "\n".join([*lines, *warning_lines(self.warnings, "  ")])

    def rows(self) -> list[dict[str, Any]]:
        """A row per coefficient: its value, standard error (``None`` if unknown) and whether it is at a bound."""
        return [
            {
                "coefficient": name,
                "value": value,
                "standard_error": self.standard_errors.get(name),
                "at_bound": name in self.at_bound,
            }
            for name, value in self.law.coefficients.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """The fit as JSON data, without the rows that were fitted."""
        names = (
            "method", "objective_name", "objective", "success", "message", "gradient_norm", "n_iterations", "n_starts",
            "n_agreeing", "interior", "n_rows", "n_checkpoints", "residual", "condition",
        )  # fmt: skip
        return {
            "schema": "t2fast.fit/1",
            "law": self.law.to_dict(),
            **{name: getattr(self, name) for name in names},
            "at_bound": list(self.at_bound),
            "standard_errors": dict(self.standard_errors),
            "correlation": dict(self.correlation),
            "warnings": list(self.warnings),
        }


def _ranges(data: DataRange | None) -> str:
    if data is None:
        return "no data range"
    parts = [
        f"{label} {format_quantity(low)} to {format_quantity(high)}"
        for label, (low, high) in (("N", data.n_params), ("D", data.n_tokens), ("k", data.k))
        if low < high or label != "k"
    ]
    return ", ".join(parts)
