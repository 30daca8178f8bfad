"""Fitting: from checkpoints and their results to a law, with its uncertainty.

Every fit returns a :class:`FitResult`: the law, how the optimum was found and how far to trust it. Uncertainty comes as
robust standard errors (from the curvature), as profile intervals, and as a bootstrap over checkpoints, training runs or
questions. :func:`backtest` fits on part of a table and reports the error on the rest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import _core
from t2fast.costs import Budget
from t2fast.data import Table, evaluate, read_table
from t2fast.errors import DataError, T2Error
from t2fast.laws import ChinchillaLaw, DataRange, Law, T2LossLaw, T2PassLaw
from t2fast.planning import Design, Plan, plan
from t2fast.quantity import format_quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Backtest",
    "Bootstrap",
    "FitResult",
    "UncertainPlan",
    "backtest",
    "fit_chinchilla",
    "fit_t2_loss",
    "fit_t2_pass",
    "fit_table",
    "isoflop_weights",
    "neg_log_pass_at_k",
    "plan_uncertain",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Objectives by name: whether residuals are logarithmic, and what they cost.
OBJECTIVES: Mapping[str, tuple[bool, str]] = {
    "huber_log": (True, "huber"),
    "huber": (False, "huber"),
    "squared_log": (True, "squared"),
    "squared": (False, "squared"),
    "absolute_log": (True, "absolute"),
    "absolute": (False, "absolute"),
}
_LAWS: Mapping[str, type[Law]] = {law.kind: law for law in (ChinchillaLaw, T2LossLaw, T2PassLaw)}
#: Replicates between two looks at Ctrl-C and the progress bar.
_CHUNK = 128


@dataclass(frozen=True)
class Observed:
    """What a law was fitted to, row by row: N, D, k and the quantity that the law predicts."""

    n_params: FloatArray
    n_tokens: FloatArray
    k: FloatArray
    value: FloatArray
    quantity: str


@dataclass(frozen=True)
class _Problem:
    """The core's problem and what resampling needs to know of its rows."""

    core: _core.FitProblem
    outcome: _core.FitOutcome
    checkpoint: IntArray
    group: IntArray | None
    question: IntArray | None

    def units(self, by: str) -> IntArray:
        if by == "checkpoint":
            return self.checkpoint
        if by == "group":
            if self.group is None:
                raise T2Error("by = 'group': the fit had no group column; give group= (one label per row) when fitting")
            return self.group
        if by == "question":
            if self.question is None:
                raise T2Error(
                    "by = 'question': only a fit to counts with question= (one label per row) can resample questions"
                )
            return self.question
        raise T2Error(f"by = {by!r}: must be 'checkpoint', 'group' or 'question', or several of them")

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
    _problem: _Problem = field(repr=False, compare=False)

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
        units = [self._problem.units(name) for name in names]
        parts: list[FloatArray] = []
        converged: list[NDArray[np.bool_]] = []
        interrupted = False
        try:
            for first in range(0, n, _CHUNK):
                count = min(_CHUNK, n - first)
                found, good = self._problem.core.bootstrap(
                    self._problem.outcome, units, seed, first, count, threads, None
                )
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

    def plan(self, budget: Budget) -> UncertainPlan:
        """Plan with the laws of a bootstrap of 1,000 replicates; ``t2.plan(fit, budget)`` does the same."""
        return self.bootstrap().plan(budget)

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
        limit = NormalDist().inv_cdf(0.5 + 0.5 * _level(level)) ** 2
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
            f"  {self.n_rows} rows, {self.n_checkpoints} checkpoints; {_ranges(self.law.data_range)}",
            f"  {self.objective_name} = {self.objective:.10g}; {agree}; gradient {self.gradient_norm:.1e}",
            f"  {self.message}",
            "",
            f"  {'coefficient':<14}{'value':>14}{'std. error':>14}",
        ]
        for name, value in self.law.coefficients.items():
            error = self.standard_errors.get(name)
            shown = "" if error is None else f"{error:>14.3g}"
            lines.append(f"  {name:<14}{value:>14.6g}{shown}{'  at bound' if name in self.at_bound else ''}")
        lines += _wrapped(self.warnings)
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
        Coefficients, and an array of shape (replicates, coefficients); NaN where a draw left too few distinct points.
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
        """The replicates that had enough distinct points.

        Those that did not converge are among them: they drift along a valley of the objective, mostly towards extreme
        coefficients, and leaving them out would make intervals too short.
        """
        return np.asarray(self.samples[np.isfinite(self.samples).all(axis=1)])

    def standard_errors(self) -> dict[str, float]:
        """Standard deviation over replicates, by coefficient."""
        return dict(zip(self.names, np.std(self.usable, axis=0, ddof=1).tolist(), strict=True))

    def intervals(self, level: float = 0.9) -> dict[str, tuple[float, float]]:
        """Percentile intervals by coefficient."""
        tail = 0.5 * (1 - _level(level))
        low, high = np.quantile(self.usable, [tail, 1 - tail], axis=0)
        return {name: (float(a), float(b)) for name, a, b in zip(self.names, low, high, strict=True)}

    def plan(self, budget: Budget) -> UncertainPlan:
        """Plan with every law of the bootstrap; ``t2.plan(bootstrap, budget)`` does the same."""
        return plan_uncertain(self, budget)

    def laws(self) -> Iterator[Law]:
        """The law of every usable replicate that its kind allows (a scale may have vanished in some)."""
        known = self.fit.law.coefficients
        for row in self.usable:
            with contextlib.suppress(T2Error):
                yield _law(self.fit.law, {**known, **dict(zip(self.names, row.tolist(), strict=True))})

    def law(self, level: float = 0.9) -> Law:
        """The fitted law with this bootstrap's standard errors and intervals as its ``uncertainty``."""
        known = set(self.fit.law.coefficient_names)
        intervals = {name: list(ends) for name, ends in self.intervals(level).items() if name in known}
        uncertainty = {
            "method": f"bootstrap over {'s and '.join(self.by)}s, {len(self.usable)} replicates, seed {self.seed}",
            "standard_errors": {n: e for n, e in self.standard_errors().items() if n in known},
            "level": level,
            "intervals": intervals,
        }
        return replace(self.fit.law, uncertainty=uncertainty)

    def summary(self, level: float = 0.9) -> str:
        """Standard errors and intervals as a table of at most 80 columns."""
        lines = [f"bootstrap over {'s and '.join(self.by)}s: {len(self.samples)} replicates, seed {self.seed}"]
        lost = len(self.samples) - len(self.usable)
        if lost:
            lines.append(f"  {lost} of them left out: too few distinct points")
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


def fit_chinchilla(
    n_params: ArrayLike,
    n_tokens: ArrayLike,
    loss: ArrayLike,
    *,
    objective: str = "huber_log",
    delta: float = 1e-3,
    asymmetry: tuple[float, float] = (1.0, 1.0),
    weights: ArrayLike | None = None,
    tie_exponents: bool = False,
    E: float | None = None,
    unique_tokens: ArrayLike | None = None,
    discount_params: bool = False,
    group: Sequence[object] | NDArray[Any] | None = None,
    starts: int = 4,
    threads: int | None = None,
    name: str = "",
    params_counted: str = "",
) -> FitResult:
    """Fit ``E + A N^-alpha + B D^-beta`` to losses (Hoffmann et al. 2022, approach 3).

    Parameters
    ----------
    n_params, n_tokens, loss
        One value per checkpoint: parameters, training tokens, loss in nats per token.
    objective
        ``"huber_log"`` (sum of Huber losses of log residuals, the field's usual choice), ``"huber"``,
        ``"squared_log"``, ``"squared"``, ``"absolute_log"`` or ``"absolute"``. They give different laws.
    delta
        Where Huber's parabola turns into a line.
    asymmetry
        For absolute errors: cost of predicting too little and of predicting too much.
    weights
        Weight of each row's penalty.
    tie_exponents, E
        Fit one exponent for both terms; fix E instead of fitting it.
    unique_tokens
        How many of the tokens were distinct, per row: fits ``R*`` of Muennighoff et al. 2023 along with the rest.
    discount_params
        With unique tokens: also discount parameters beyond those that the unique tokens warrant.
    group
        Labels of training runs, for standard errors and bootstraps that respect them.
    starts
        How many of the exponent grid's candidates to polish.
    threads
        Number of threads, all of the machine's by default; the result doesn't depend on it.
    name, params_counted
        Written into the law.

    Raises
    ------
    T2Error
        For values out of range, columns of different lengths, or fewer distinct points than parameters.
    """
    n, d, y = _columns(n_params=n_params, n_tokens=n_tokens, loss=loss)
    unique = None if unique_tokens is None else _column("unique_tokens", unique_tokens)
    core = _power(
        n,
        d,
        y,
        None,
        unique,
        weights,
        objective,
        delta,
        asymmetry,
        tie_exponents,
        E,
        (1e-6, 2.0),
        starts,
        discount_params,
    )
    checkpoint = _checkpoints(n, d, y)
    method = f"Chinchilla law, {objective}{f' (delta {delta:g})' if 'huber' in objective else ''}"
    method += ", exponents tied" if tie_exponents else ""
    method += f", E fixed at {E:g}" if E is not None else ""
    method += ", repeated tokens discounted" if unique is not None else ""
    observed = Observed(n, d, np.ones_like(n), y, "loss")
    title = "Chinchilla law"
    return _solve(
        core, "chinchilla", method, objective, observed, checkpoint, group, None, threads, name, title, params_counted
    )


def neg_log_pass_at_k(
    n_params: ArrayLike, n_tokens: ArrayLike, probability: ArrayLike, k: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Mean over questions of -log pass@k, from each question's probability of success: Approach 1's target.

    Parameters
    ----------
    n_params, n_tokens, probability
        A row per checkpoint and question; ``probability = exp(-NLL)`` of the right answer, say.
    k
        The numbers of samples to tabulate.

    Returns
    -------
    n_params, n_tokens, k, value
        A row per checkpoint and k: ``mean_i -log(1 - (1 - p_i)^k)``, nats.

    Raises
    ------
    T2Error
        When a probability is zero: the mean would be infinite.
    """
    n, d, p = _columns(n_params=n_params, n_tokens=n_tokens, probability=probability)
    samples = _column("k", k)
    wrong = np.flatnonzero(~((p > 0) & (p <= 1)))
    if wrong.size:
        raise T2Error(
            f"probability[{wrong[0]}] = {p[wrong[0]]:g} ({wrong.size} such rows): must lie in (0, 1], since -log "
            "pass@k is infinite for a question that is never solved; with counts use fit_t2_pass(num_samples=..., "
            "num_correct=...), "
            "or fit -log of the mean pass@k and say so"
        )
    checkpoint = _checkpoints(n, d)
    count = np.bincount(checkpoint)
    _, first = np.unique(checkpoint, return_index=True)
    failure = np.where(p < 1, np.log1p(-np.minimum(p, 1 - 1e-16)), -np.inf)
    values = [np.bincount(checkpoint, weights=-np.log(-np.expm1(one * failure))) / count for one in samples.tolist()]
    repeat = len(samples)
    return (
        np.repeat(n[first], repeat),
        np.repeat(d[first], repeat),
        np.tile(samples, len(first)),
        np.stack(values, 1).reshape(-1),
    )


def fit_t2_loss(
    n_params: ArrayLike,
    n_tokens: ArrayLike,
    k: ArrayLike,
    loss: ArrayLike,
    *,
    objective: str = "squared",
    delta: float = 1e-3,
    asymmetry: tuple[float, float] = (1.0, 1.0),
    weights: ArrayLike | None = None,
    E: float | None = None,
    group: Sequence[object] | NDArray[Any] | None = None,
    starts: int = 4,
    threads: int | None = None,
    name: str = "",
    params_counted: str = "",
) -> FitResult:
    """Fit Approach 1 of the T2 laws, ``E + A N^-alpha + B D^-beta + G k^-gamma`` (Roberts et al. 2026).

    Parameters
    ----------
    n_params, n_tokens, k, loss
        A row per checkpoint and k; ``loss`` is the mean over questions of -log pass@k, nats.
        :func:`neg_log_pass_at_k` makes these rows from per-question probabilities.
    objective, delta, asymmetry, weights, E, group, starts, threads, name, params_counted
        As in :func:`fit_chinchilla`; the paper minimises squares of raw residuals.

    Raises
    ------
    T2Error
        For values out of range, fewer than three distinct k (E and G k^-gamma can't be told apart), or fewer distinct
        points than parameters.
    """
    n, d, samples, y = _columns(n_params=n_params, n_tokens=n_tokens, k=k, loss=loss)
    infinite = int(np.count_nonzero(np.isposinf(y)))
    if infinite:
        raise T2Error(
            f"loss is infinite in {infinite} rows: a question without success makes the mean of -log pass@k infinite; "
            "fit counts with fit_t2_pass(num_samples=..., num_correct=...), or -log of the mean pass@k"
        )
    distinct = np.unique(samples)
    if len(distinct) < 3:
        raise T2Error(
            f"k has {len(distinct)} distinct values: with fewer than 3, E and G k^-gamma cannot be told apart; "
            "add values of k, or use fit_chinchilla at one k"
        )
    core = _power(n, d, y, samples, None, weights, objective, delta, asymmetry, False, E, (1e-6, 2.0), starts, False)
    method = f"Approach 1 (mean negative log pass@k), {objective}"
    observed = Observed(n, d, samples, y, "negative log pass@k")
    title = "T2 law of the negative log pass@k (Approach 1)"
    return _solve(
        core,
        "t2-loss",
        method,
        objective,
        observed,
        _checkpoints(n, d),
        group,
        None,
        threads,
        name,
        title,
        params_counted,
    )


def isoflop_weights(n_params: ArrayLike, n_tokens: ArrayLike, loss: ArrayLike, per_decade: int = 10) -> FloatArray:
    """Inverse variances of the loss within groups of equal training compute, as Approach 2's first stage weights them.

    Groups are checkpoints whose ``log10(6 N D)`` agrees to 1 / ``per_decade``; one without variance gets the median
    weight. Weights have mean one.
    """
    n, d, y = _columns(n_params=n_params, n_tokens=n_tokens, loss=loss)
    budget = np.unique(np.round(np.log10(6 * n * d) * per_decade), return_inverse=True)[1]
    count = np.bincount(budget)
    mean = np.bincount(budget, weights=y) / count
    variance = np.bincount(budget, weights=(y - mean[budget]) ** 2) / count
    usable = (count > 1) & (variance > 0)
    if not usable.any():
        return np.ones_like(y)
    inverse = np.where(usable, 1 / np.where(usable, variance, 1), np.median(1 / variance[usable]))
    weights = inverse[budget]
    return np.asarray(weights / weights.mean(), dtype=np.float64)


def fit_t2_pass(
    n_params: ArrayLike,
    n_tokens: ArrayLike,
    *,
    k: ArrayLike | None = None,
    pass_at_k: ArrayLike | None = None,
    num_samples: ArrayLike | None = None,
    num_correct: ArrayLike | None = None,
    loss: ArrayLike | None = None,
    loss_law: ChinchillaLaw | None = None,
    objective: str = "squared",
    delta: float = 1e-3,
    loss_weights: ArrayLike | None = None,
    question: Sequence[object] | NDArray[Any] | None = None,
    group: Sequence[object] | NDArray[Any] | None = None,
    starts: int = 4,
    threads: int | None = None,
    name: str = "",
    params_counted: str = "",
) -> FitResult:
    """Fit Approach 2 of the T2 laws: pass@k through Beta-distributed success rates (Roberts et al. 2026).

    Which fit depends on what the table has:

    * ``k``, ``pass_at_k`` and ``loss``: the paper's two stages, a Chinchilla law of the loss (least squares, E between
      0.01 and 0.95 of the smallest loss), then the five thetas by least squares on pass@k;
    * ``num_samples``, ``num_correct`` and ``loss``: the same first stage, then the likelihood of the counts
      (beta-binomial); with ``loss_law`` instead of ``loss`` the first stage is given;
    * ``num_samples`` and ``num_correct`` alone: the likelihood with a latent loss, A, B, alpha and beta along with the
      thetas. Its scale and origin are free, so theta1 = 1 and E = 0: the loss inside that law is no cross-entropy.

    Parameters
    ----------
    n_params, n_tokens
        One value per row: a row per checkpoint and k, or per checkpoint and question.
    k, pass_at_k
        Samples per question and the share of questions solved, in [0, 1].
    num_samples, num_correct
        Samples drawn for the row's question, and the correct ones.
    loss, loss_law
        The checkpoint's task loss, repeated on all of its rows; or a law that predicts it.
    objective, delta, loss_weights
        First stage: as in :func:`fit_chinchilla`; ``loss_weights`` are per row (see :func:`isoflop_weights`).
    question, group
        Labels of questions and of training runs, for the bootstrap.
    starts, threads, name, params_counted
        As in :func:`fit_chinchilla`.

    Raises
    ------
    T2Error
        For values out of range, or columns that make none of these tables.
    """
    n, d = _columns(n_params=n_params, n_tokens=n_tokens)
    counts = num_samples is not None and num_correct is not None
    if (num_samples is None) != (num_correct is None):
        raise T2Error("num_samples and num_correct belong together: give both")
    if counts == (pass_at_k is not None):
        raise T2Error("give either num_samples and num_correct (a row per question), or k and pass_at_k")
    y = None if loss is None else _columns(n_params=n_params, loss=loss)[1]
    if y is not None and loss_law is not None:
        raise T2Error("loss and loss_law: give one of them")
    checkpoint = _checkpoints(n, d) if y is None else _checkpoints(n, d, y)
    first: _core.FitProblem | None = None
    if y is not None:
        _, rows = np.unique(checkpoint, return_index=True)
        weights = None if loss_weights is None else _columns(n_params=n_params, loss_weights=loss_weights)[1][rows]
        first = _power(
            n[rows], d[rows], y[rows], None, None, weights, objective, delta, (1.0, 1.0), False, None, (0.01, 0.95),
            starts, False,
        )  # fmt: skip
    title = "T2 law of pass@k (Approach 2)"
    if not counts:
        if k is None:
            raise T2Error("k is missing: give the number of samples of every row of pass_at_k")
        if first is None:
            raise T2Error("pass_at_k needs loss (one value per checkpoint); without a loss fit counts, which need none")
        samples, rate = _columns(k=k, pass_at_k=pass_at_k)
        core = _core.FitProblem.staged_curves(first, checkpoint, n, d, samples, rate, None)
        method = f"Approach 2 in two stages: loss by {objective}, then pass@k by least squares"
        observed = Observed(n, d, samples, rate, "pass@k")
        name_of = "squared"
        latent = False
        most_k = float(np.max(samples))
    else:
        drawn, correct = _columns(num_samples=num_samples, num_correct=num_correct)
        core = _core.FitProblem.latent(n, d, drawn, correct, None)
        latent = first is None and loss_law is None
        if first is not None:
            core = _core.FitProblem.staged_counts(first, checkpoint, core)
            method = f"Approach 2: loss by {objective}, then beta-binomial likelihood of counts"
        elif loss_law is not None:
            core = core.with_losses([loss_law.E, loss_law.A, loss_law.B, loss_law.alpha, loss_law.beta])
            method = "Approach 2: beta-binomial likelihood of counts at a known law of the loss"
        else:
            method = "beta-binomial likelihood of counts with a latent loss (theta1 = 1, E = 0)"
        observed = _mean_pass(n, d, checkpoint, drawn, correct)
        # Beyond that, fewer than half of the questions have as many samples.
        most_k = float(np.median(drawn))
        name_of = "negative log likelihood"
    return _solve(
        core, "t2-pass", method, name_of, observed, checkpoint, group, question, threads, name, title, params_counted,
        base=loss_law, latent=latent, most_k=most_k,
    )  # fmt: skip


def fit_table(
    source: Any,
    law: str,
    *,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, float] | None = None,
    **options: Any,
) -> FitResult:
    """Fit a law to a table, taking whatever the table has for it.

    Parameters
    ----------
    source, columns, units
        As in :func:`t2fast.data.read_table`.
    law
        ``"chinchilla"``, ``"t2-loss"`` or ``"t2-pass"``.
    options
        Passed on to :func:`fit_chinchilla`, :func:`fit_t2_loss` or :func:`fit_t2_pass`.

    Raises
    ------
    DataError
        When the table lacks what the law needs.
    T2Error
        As the function for the law.
    """
    table = read_table(source, columns, units)
    if "benchmark" in table:
        benchmarks = sorted({str(name) for name in table["benchmark"]})
        if len(benchmarks) > 1:
            raise DataError(
                f"{table.origin}: column benchmark holds {len(benchmarks)} values, {', '.join(benchmarks[:4])}: a law "
                f"describes one; choose with --where \"benchmark == '{benchmarks[0]}'\", or select the rows beforehand"
            )
    n, d = table.number("n_params"), table.number("n_tokens")
    if "group" in table:
        options.setdefault("group", table["group"])
    if law == "chinchilla":
        if "unique_tokens" in table:
            options.setdefault("unique_tokens", table.number("unique_tokens"))
        if "weight" in table:
            options.setdefault("weights", table.number("weight"))
        if "group" in options:
            options["group"] = np.asarray(options["group"])
        fit = fit_chinchilla(n, d, table.number("loss"), **options)
    elif law == "t2-loss":
        if "k" in table and "loss" in table:
            fit = fit_t2_loss(n, d, table.number("k"), table.number("loss"), **options)
        elif "probability" in table:
            options.pop("group", None)
            k = options.pop("k", 2.0 ** np.arange(0, 14))
            rows = neg_log_pass_at_k(n, d, table.number("probability"), k)
            fit = fit_t2_loss(*rows, **options)
        elif "num_correct" in table:
            none = np.count_nonzero(table.number("num_correct") == 0)
            raise DataError(
                f"{table.origin}: {none} of {len(table)} questions have no success, where -log pass@k is infinite: "
                "Approach 1 needs probabilities of right answers (column probability) or values per k (columns k and "
                "loss); fit counts with law 't2-pass'"
            )
        else:
            raise DataError(
                f"{table.origin}: law 't2-loss' needs columns k and loss, or probability; it has "
                f"{', '.join(table.columns)}"
            )
    elif law == "t2-pass":
        given: dict[str, Any] = {
            role: table.number(role)
            for role in ("k", "pass_at_k", "num_samples", "num_correct", "loss")
            if role in table
        }
        if "num_correct" in given:
            given = {role: given[role] for role in ("num_samples", "num_correct", "loss") if role in given}
            if "question" in table:
                options.setdefault("question", table["question"])
        if "loss_law" in options:
            given.pop("loss", None)
        fit = fit_t2_pass(n, d, **given, **options)
    else:
        raise T2Error(f"law = {law!r}: must be one of {', '.join(_LAWS)}")
    if not table.warnings:
        return fit
    warnings = (*table.warnings, *fit.warnings)
    return replace(fit, warnings=warnings, law=replace(fit.law, warnings=warnings))


@dataclass(frozen=True)
class Backtest:
    """Errors on rows held out.

    Parameters
    ----------
    holdout
        The expression that chose them.
    n_fitted, n_held_out
        Rows on either side.
    errors
        By law: mean absolute relative error on the rows held out, and within the rows fitted; ``None`` for a law that
        could not be fitted. Rows where nothing was solved have no relative error and don't count.
    absolute
        By law: mean absolute error on the rows held out, which small success rates don't dominate.
    failures
        By law: why it could not be fitted.
    bias
        By law: mean relative error with its sign, positive where the law predicts too much.
    fits
        The fits to the rest, by law.
    observed, predicted
        By law: what was held out, and the prediction of it.
    """

    holdout: str
    n_fitted: int
    n_held_out: int
    errors: Mapping[str, tuple[float, float] | None]
    failures: Mapping[str, str]
    absolute: Mapping[str, float]
    bias: Mapping[str, float]
    fits: Mapping[str, FitResult] = field(repr=False)
    observed: Mapping[str, Observed] = field(repr=False)
    predicted: Mapping[str, FloatArray] = field(repr=False)

    def summary(self) -> str:
        """The errors as a table of at most 80 columns."""
        lines = [
            f"held out: {self.holdout} ({self.n_held_out} rows; fitted on the other {self.n_fitted})",
            f"  {'law':<12}{'predicts':<21}{'error':>9}{'bias':>9}{'abs. error':>12}{'error fitted':>14}",
        ]
        for name, pair in self.errors.items():
            if pair is None:
                lines += _wrapped((f"{name}: {self.failures[name]}",), "  ")
                continue
            quantity = self.observed[name].quantity
            there = f"{pair[0]:>9.1%}{self.bias[name]:>+9.1%}{self.absolute[name]:>12.3g}"
            lines.append(f"  {name:<12}{quantity:<21}{there}{pair[1]:>14.1%}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def to_dict(self) -> dict[str, Any]:
        """The errors as JSON data."""
        return {
            "holdout": self.holdout,
            "n_fitted": self.n_fitted,
            "n_held_out": self.n_held_out,
            "laws": {
                name: {"failure": self.failures[name]}
                if pair is None
                else {
                    "quantity": self.observed[name].quantity,
                    "relative_error": pair[0],
                    "absolute_error": self.absolute[name],
                    "bias": self.bias[name],
                    "relative_error_fitted": pair[1],
                    "coefficients": self.fits[name].law.coefficients,
                }
                for name, pair in self.errors.items()
            },
        }

    def plot(self, path: str | Path | None = None) -> Figure:
        """Prediction against observation, fitted and held out; needs matplotlib."""
        from t2fast.plots.fitting import plot_backtest

        return plot_backtest(self, path)


def backtest(
    source: Any,
    holdout: str,
    laws: Sequence[str] | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, float] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Backtest:
    """Fit on part of a table and report the relative error on the rest, for several laws side by side.

    Parameters
    ----------
    source, columns, units
        As in :func:`t2fast.data.read_table`.
    holdout
        Which rows to hold out, as a plain comparison of columns: ``"tokens_per_param > 100"``,
        ``"n_params >= 2.8e9 and benchmark == 'gsm8k'"``. Besides the table's columns there are ``N``, ``D``,
        ``tokens_per_param`` and ``flops`` (6 N D). Nothing in it is executed.
    laws
        Which laws; by default all that the table has columns for.
    options
        By law: options of its fit.

    Raises
    ------
    T2Error
        For an expression that is not of this form, names an unknown column, or holds out no row or all of them; and
        when no law can be fitted.
    """
    table = read_table(source, columns, units)
    held = evaluate(holdout, table)
    if held.all() or not held.any():
        which = "every row" if held.all() else "no row"
        raise T2Error(f"holdout = {holdout!r}: holds out {which} of {len(table)}")
    rest, kept = table.select(~held), table.select(held)
    if laws is None:
        laws = [law for law, possible in _possible(table).items() if possible]
        if not laws:
            raise DataError(f"{table.origin}: needs a column loss, k with pass_at_k, or num_samples with num_correct")
    errors: dict[str, tuple[float, float] | None] = {}
    failures: dict[str, str] = {}
    absolute: dict[str, float] = {}
    bias: dict[str, float] = {}
    fits: dict[str, FitResult] = {}
    observed: dict[str, Observed] = {}
    predicted: dict[str, FloatArray] = {}
    for law in laws:
        try:
            fit = fit_table(rest, law, **dict((options or {}).get(law, {})))
            seen = _observe(kept, law)
        except T2Error as error:
            errors[law], failures[law] = None, str(error)
            continue
        prediction = np.asarray(fit.law.value(seen.n_params, seen.n_tokens, seen.k))
        inside = np.asarray(fit.law.value(fit.observed.n_params, fit.observed.n_tokens, fit.observed.k))
        relative = _relative(prediction, seen)
        fitted = _relative(inside, fit.observed)
        errors[law] = (float(np.mean(np.abs(relative))), float(np.mean(np.abs(fitted))))
        absolute[law] = float(np.mean(np.abs(prediction - seen.value)))
        bias[law] = float(np.mean(relative))
        fits[law], observed[law], predicted[law] = fit, seen, prediction
    if not fits:
        raise T2Error("; ".join(f"{law}: {why}" for law, why in failures.items()))
    counts = int(np.count_nonzero(~held)), int(np.count_nonzero(held))
    return Backtest(holdout, *counts, errors, failures, absolute, bias, fits, observed, predicted)


def _relative(predicted: FloatArray, observed: Observed) -> FloatArray:
    """Relative errors; where nothing was solved there is none."""
    solved = observed.value > 0
    return predicted[solved] / observed.value[solved] - 1


@dataclass(frozen=True)
class UncertainPlan:
    """A plan with the uncertainty of the law behind it.

    Parameters
    ----------
    plan
        The plan for the point estimate.
    best_on_average
        Of all the replicates' optima and the point estimate's, the design with the best mean prediction over
        the laws.
    intervals
        Of each replicate's optimum: N, D, k and its prediction (``"pass_at_k"`` or ``"loss"``); ``"at_recommended"`` is
        the replicates' prediction for the point estimate's design.
    level
        The intervals' level.
    beats_chinchilla
        Share of the replicates by whose law the recommended design is better than the Chinchilla-style one at the same
        budgets; ``None`` for a law of the loss alone, whose recommendation that is.
    mean_recommended, mean_best
        Mean predictions, over the laws, for the recommended design and for the best on average.
    n_laws, n_infeasible
        Replicates planned with, and those that had no plan.
    optima
        Each replicate's optimum.
    """

    plan: Plan
    best_on_average: Design
    intervals: Mapping[str, tuple[float, float]]
    level: float
    beats_chinchilla: float | None
    mean_recommended: float
    mean_best: float
    n_laws: int
    n_infeasible: int
    optima: tuple[Design, ...] = field(repr=False)

    def summary(self) -> str:
        """The plan with its intervals in at most 80 columns."""
        result = "pass_at_k" if self.plan.law.predicts_pass else "loss"
        shown = {name: (format_quantity(a, 4), format_quantity(b, 4)) for name, (a, b) in self.intervals.items()}
        lines = [
            f"recommended      {self.plan.design}",
            f"best on average  {self.best_on_average}",
            f"{100 * self.level:g}% intervals over {self.n_laws} resampled laws",
            *(f"  optimal {label:<10}{' to '.join(shown[name])}" for name, label in _PLANNED.items()),
            f"  its {result:<14}{' to '.join(shown[result])}",
            f"  at recommended    {' to '.join(shown['at_recommended'])}",
            f"mean {result}: {self.mean_recommended:.4g} recommended, {self.mean_best:.4g} best on average",
        ]
        if self.beats_chinchilla is not None:
            lines.append(f"beats the Chinchilla-style design under {self.beats_chinchilla:.1%} of the laws")
        if self.n_infeasible:
            lines.append(f"{self.n_infeasible} laws had no plan")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def to_dict(self) -> dict[str, Any]:
        """The plan and its intervals as JSON data."""
        return {
            "recommended": self.plan.design.to_dict(),
            "best_on_average": self.best_on_average.to_dict(),
            "level": self.level,
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "beats_chinchilla": self.beats_chinchilla,
            "mean_recommended": self.mean_recommended,
            "mean_best": self.mean_best,
            "n_laws": self.n_laws,
            "n_infeasible": self.n_infeasible,
        }

    def plot(self, path: str | Path | None = None) -> Figure:
        """The cloud of optima over the resampled laws; needs ``t2fast[plot]``."""
        from t2fast.plots.fitting import plot_optima

        return plot_optima(self, path)


_PLANNED = {"n_params": "N", "n_tokens": "D", "k": "k"}
#: Designs compared on average; every replicate's optimum would make their number squared predictions.
_CANDIDATES = 200


def plan_uncertain(bootstrap: Bootstrap, budget: Budget, level: float = 0.9) -> UncertainPlan:
    """Plan with every law of a bootstrap.

    Parameters
    ----------
    bootstrap
        From :meth:`FitResult.bootstrap`.
    budget
        What may be spent, as for :func:`t2fast.plan`.
    level
        Level of the intervals.

    Raises
    ------
    InfeasibleError
        When the budget admits no design.
    T2Error
        When no replicate's law can be planned with.
    """
    point = plan(bootstrap.fit.law, budget)
    plans: list[Plan] = []
    failed = 0
    for law in bootstrap.laws():
        try:
            plans.append(plan(law, budget))
        except T2Error:
            failed += 1
    if not plans:
        raise T2Error(f"none of {failed} resampled laws has a plan within this budget")
    sign = 1.0 if point.law.predicts_pass else -1.0

    def predict(design: Design) -> FloatArray:
        """What every law says of one design."""
        at = (design.n_params, design.n_tokens, design.k)
        return np.array([_core.evaluate(one.law._handle, budget._handle, *at)[3] for one in plans])

    designs = list(dict.fromkeys([point.design, *(one.design for one in plans[:_CANDIDATES])]))
    predictions = [predict(design) for design in designs]
    best = int(np.argmax([sign * values.mean() for values in predictions]))
    tail = 0.5 * (1 - _level(level))

    def interval(values: Sequence[float] | FloatArray) -> tuple[float, float]:
        low, high = np.quantile(values, [tail, 1 - tail])
        return float(low), float(high)

    result = "pass_at_k" if point.law.predicts_pass else "loss"
    intervals = {name: interval([getattr(one.design, name) for one in plans]) for name in (*_PLANNED, result)}
    intervals["at_recommended"] = interval(predictions[0])
    beats = None
    if point.chinchilla is not None and point.law.kind != ChinchillaLaw.kind:
        beats = float(np.mean(sign * (predictions[0] - predict(point.chinchilla)) > 0))
    chosen = designs[best]
    at = (chosen.n_params, chosen.n_tokens, chosen.k)
    # What a replicate's own law said of its optimum would not compare with the recommendation.
    *_, value, loss, train, inference = _core.evaluate(point.law._handle, budget._handle, *at)
    rate = value if point.law.predicts_pass else None
    return UncertainPlan(
        plan=point,
        best_on_average=Design(*at, rate, loss if point.law.predicts_pass else value, train, inference),
        intervals=intervals,
        level=level,
        beats_chinchilla=beats,
        mean_recommended=float(predictions[0].mean()),
        mean_best=float(predictions[best].mean()),
        n_laws=len(plans),
        n_infeasible=failed,
        optima=tuple(one.design for one in plans),
    )


def _possible(table: Table) -> dict[str, bool]:
    counts = "num_samples" in table and "num_correct" in table
    return {
        "chinchilla": "loss" in table and "k" not in table,
        "t2-loss": ("loss" in table and "k" in table and "pass_at_k" not in table) or "probability" in table,
        "t2-pass": counts or ("k" in table and "pass_at_k" in table and "loss" in table),
    }


def _observe(table: Table, law: str) -> Observed:
    """What the law would have to predict for a table's rows."""
    n, d = table.number("n_params"), table.number("n_tokens")
    if law == "chinchilla":
        return Observed(n, d, np.ones_like(n), table.number("loss"), "loss")
    if law == "t2-loss":
        if "probability" in table:
            rows = neg_log_pass_at_k(n, d, table.number("probability"), 2.0 ** np.arange(0, 14))
            return Observed(*rows, "negative log pass@k")
        return Observed(n, d, table.number("k"), table.number("loss"), "negative log pass@k")
    if "num_correct" in table:
        return _mean_pass(n, d, _checkpoints(n, d), table.number("num_samples"), table.number("num_correct"))
    return Observed(n, d, table.number("k"), table.number("pass_at_k"), "pass@k")


def _mean_pass(n: FloatArray, d: FloatArray, checkpoint: IntArray, drawn: FloatArray, correct: FloatArray) -> Observed:
    """Unbiased pass@k by checkpoint at powers of four, as far as every question's samples reach."""
    most = float(np.min(drawn))
    ks = 4.0 ** np.arange(0, int(np.floor(np.log(min(most, 1024.0)) / np.log(4))) + 1)
    _, first = np.unique(checkpoint, return_index=True)
    count = np.bincount(checkpoint)
    failure = np.ones_like(drawn)
    values = []
    done = 0
    for k in ks.astype(int).tolist():
        for j in range(done, k):
            # 1 - C(n - c, k) / C(n, k): each further sample misses with chance (n - c - j) / (n - j).
            failure = failure * np.maximum(drawn - correct - j, 0) / (drawn - j)
        done = k
        values.append(np.bincount(checkpoint, weights=1 - failure) / count)
    value = np.stack(values, axis=1).reshape(-1)
    return Observed(
        np.repeat(n[first], len(ks)), np.repeat(d[first], len(ks)), np.tile(ks, len(first)), value, "pass@k"
    )


def _level(level: float) -> float:
    if not 0 < level < 1:
        raise T2Error(f"level = {level}: must lie between 0 and 1; write 0.9 for 90%")
    return level


def _column(name: str, values: ArrayLike) -> FloatArray:
    column = np.ascontiguousarray(values, dtype=np.float64)
    if column.ndim != 1:
        raise T2Error(f"{name} has shape {column.shape}: must be one-dimensional, one value per row")
    return column


def _columns(**values: ArrayLike | None) -> tuple[FloatArray, ...]:
    columns = {name: _column(name, [] if value is None else value) for name, value in values.items()}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise T2Error(f"columns differ in length: {', '.join(f'{name} {n}' for name, n in lengths.items())}")
    if not all(lengths.values()):
        raise T2Error(f"{' and '.join(lengths)}: no rows")
    return tuple(columns.values())


def _labels(values: Sequence[object] | NDArray[Any], rows: int, name: str) -> IntArray:
    labels = np.asarray([str(value) for value in values], dtype=np.str_)
    if len(labels) != rows:
        raise T2Error(f"{name} has {len(labels)} labels for {rows} rows: give one per row")
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _checkpoints(*columns: FloatArray) -> IntArray:
    """Numbers the distinct rows in the order in which they first appear."""
    _, first, inverse = np.unique(np.stack(columns, axis=1), axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse.reshape(-1)]


def _power(
    n: FloatArray,
    d: FloatArray,
    y: FloatArray,
    k: FloatArray | None,
    unique: FloatArray | None,
    weights: ArrayLike | None,
    objective: str,
    delta: float,
    asymmetry: tuple[float, float],
    tied: bool,
    e: float | None,
    e_share: tuple[float, float],
    starts: int,
    discount_params: bool,
) -> _core.FitProblem:
    if objective not in OBJECTIVES:
        raise T2Error(f"objective = {objective!r}: must be one of {', '.join(OBJECTIVES)}")
    if starts < 1:
        raise T2Error(f"starts = {starts}: must be at least 1")
    log, penalty = OBJECTIVES[objective]
    constants = (delta, delta) if penalty == "huber" else asymmetry
    return _core.FitProblem.power_sum(
        n, d, y, k, unique, None if weights is None else _column("weights", weights),
        log=log, penalty=penalty, constants=constants, tied=tied, e=e, e_share=e_share, starts=starts,
        discount_params=discount_params,
    )  # fmt: skip


def _law(like: Law, values: Mapping[str, float]) -> Law:
    """A law of the same kind with other coefficients."""
    names = (*like.coefficient_names, "r_star_tokens", "r_star_params")
    changed: dict[str, Any] = {name: values[name] for name in names if name in values}
    return replace(like, **changed)


def _solve(
    core: _core.FitProblem,
    kind: str,
    method: str,
    objective_name: str,
    observed: Observed,
    checkpoint: IntArray,
    group: Sequence[object] | NDArray[Any] | None,
    question: Sequence[object] | NDArray[Any] | None,
    threads: int | None,
    name: str,
    title: str,
    params_counted: str,
    base: ChinchillaLaw | None = None,
    latent: bool = False,
    most_k: float | None = None,
) -> FitResult:
    rows = len(checkpoint)
    groups = None if group is None else _labels(group, rows, "group")
    questions = None if question is None else _labels(question, rows, "question")
    outcome = core.fit(threads)
    names = core.names()
    values = dict(zip(names, outcome.coefficients, strict=True))
    if base is not None:
        values = {**base.coefficients, **values}
    problem = _Problem(core, outcome, checkpoint, groups, questions)
    at_bound = tuple(outcome.at_bound(core))
    agreeing = outcome.starts
    errors: dict[str, float] = {}
    correlation: dict[str, float] = {}
    condition = float("nan")
    curved = core.curvature(outcome, problem.cluster) if len(np.unique(problem.cluster)) > 1 else None
    if curved is not None:
        flat, _, condition = curved
        covariance = np.asarray(flat).reshape(len(names), len(names))
        deviation = np.sqrt(np.diag(covariance))
        fixed = [i for i, e in enumerate(deviation) if not e > 0]
        errors = {names[i]: float(e) for i, e in enumerate(deviation) if i not in fixed}
        for i in range(len(names)):
            for j in range(i):
                if i not in fixed and j not in fixed:
                    r = float(covariance[i, j] / (deviation[i] * deviation[j]))
                    if abs(r) > 0.9:
                        correlation[f"{names[j]}~{names[i]}"] = r
    warnings = _identifiability(kind, observed, at_bound, agreeing, condition, values, latent, correlation, errors)
    success = outcome.converged
    message = "converged" if success else "not converged: the last step still lowered the objective"
    message += f" after {outcome.iterations} Newton steps"
    message += "; optimum inside the allowed ranges" if not at_bound else f"; at a bound: {', '.join(at_bound)}"
    ends = [(float(np.min(x)), float(np.max(x))) for x in (observed.n_params, observed.n_tokens, observed.k)]
    if most_k is not None:
        ends[2] = (ends[2][0], most_k)
    data_range = DataRange(*ends)
    uncertainty: dict[str, Any] = {}
    if errors:
        uncertainty = {"method": "robust sandwich, clustered", "standard_errors": errors}
    law_type = _LAWS[kind]
    extra: dict[str, Any] = {name: values[name] for name in ("r_star_tokens", "r_star_params") if name in values}
    law = law_type(
        **{coefficient: values[coefficient] for coefficient in law_type.coefficient_names},
        name=name,
        title=title,
        source=f"fitted by t2fast: {method}",
        params_counted=params_counted,
        data_range=data_range,
        uncertainty=uncertainty,
        warnings=warnings,
        **extra,
    )
    return FitResult(
        law=law,
        method=method,
        objective_name=objective_name,
        objective=outcome.objective,
        success=success,
        message=message,
        gradient_norm=outcome.gradient,
        n_iterations=outcome.iterations,
        n_starts=agreeing[0],
        n_agreeing=agreeing[1],
        interior=not at_bound,
        at_bound=at_bound,
        n_rows=rows,
        n_checkpoints=int(checkpoint.max()) + 1,
        standard_errors=errors,
        correlation=correlation,
        condition=condition,
        warnings=warnings,
        observed=observed,
        _problem=problem,
    )


def _identifiability(
    kind: str,
    observed: Observed,
    at_bound: tuple[str, ...],
    starts: tuple[int, int],
    condition: float,
    values: Mapping[str, float],
    latent: bool,
    correlation: Mapping[str, float],
    errors: Mapping[str, float],
) -> tuple[str, ...]:
    """What the data can't tell, in words."""
    out: list[str] = []
    meaning = {
        "E": "the data show no irreducible loss, or nothing but it",
        "theta2": "the success rate at zero loss is not determined",
    }
    for name in at_bound:
        why = meaning.get(name, "the data don't determine it")
        out.append(f"{name} = {values[name]:.4g} ended at the bound of its allowed range: {why}")
    if starts[1] < starts[0] and starts[1] == 1 and starts[0] > 1:
        out.append(f"only 1 of {starts[0]} starts reached this optimum: a lower one may exist; raise starts")
    for name in ("alpha", "beta", "gamma"):
        if name not in at_bound and errors.get(name, 0.0) > 0.5 * values.get(name, np.inf):
            what = {"alpha": "N", "beta": "D", "gamma": "k"}[name]
            out.append(
                f"{name} = {values[name]:.3g} has a standard error of {errors[name]:.2g}: how the result depends on "
                f"{what} is not determined by these data"
            )
    if kind == "t2-loss" and "E~G" in correlation:
        largest = float(np.max(observed.k))
        out.append(
            f"E and G have correlation {correlation['E~G']:.3f}: with k only up to {largest:g} they can't be told "
            "apart well; trust their sum, or add larger k"
        )
    ratio = np.log(observed.n_tokens / observed.n_params)
    size = np.log(observed.n_params)
    spread = float(np.std(ratio))
    # Along a line D = c N^s the two terms are one function of one variable.
    if np.std(size) > 0 and spread > 0:
        slope = np.polyfit(size, ratio, 1)
        spread = float(np.std(ratio - np.polyval(slope, size)))
    if spread < 0.25:
        out.append(
            f"D is nearly a function of N in these data (its spread at given N is a factor of {np.exp(spread):.2f}): "
            "A, B, alpha and beta can't be told apart well; add checkpoints with other tokens per parameter"
        )
    if condition > 1e7:
        out.append(
            f"the curvature's condition number is {condition:.1e}: some combination of coefficients is undetermined"
        )
    if latent:
        out.append("the loss inside this law is latent (theta1 = 1, E = 0): it is no cross-entropy")
    return tuple(out)


def _ranges(data: DataRange | None) -> str:
    if data is None:
        return "no data range"
    parts = [
        f"{label} {format_quantity(low)} to {format_quantity(high)}"
        for label, (low, high) in (("N", data.n_params), ("D", data.n_tokens), ("k", data.k))
        if low < high or label != "k"
    ]
    return ", ".join(parts)


def _wrapped(lines: Sequence[str], indent: str = "  ! ") -> list[str]:
    import textwrap

    return [row for line in lines for row in textwrap.wrap(line, 80, initial_indent=indent, subsequent_indent="    ")]
