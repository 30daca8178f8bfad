"""The ladder's two steps: a law of the loss by N and D, and a sigmoid from the loss to accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from t2fast import arguments
from t2fast.data import read_table
from t2fast.errors import T2Error
from t2fast.fitting.draws import drawn
from t2fast.fitting.fits import fit_chinchilla
from t2fast.fitting.refit import Observed
from t2fast.fitting.result import FitResult
from t2fast.fitting.rows import FloatArray, Labels, columns
from t2fast.fitting.scatter import scatter
from t2fast.laws import AccuracyLaw, ChinchillaLaw, Law
from t2fast.laws.accuracy import step
from t2fast.results import Progress, Report, Result
from t2fast.text import columns as aligned
from t2fast.text import warning_lines

__all__ = ["AccuracyFit", "accuracy_table", "fit_accuracy", "fit_step"]

#: Both steps together have so many coefficients.
_COEFFICIENTS = 8
#: The steepest and the flattest step, per unit of the loss.
_SLOPES = (0.05, 200.0)
_GRID = 40
_STEPS = 100

_Step = tuple[float, float, float]


@dataclass(frozen=True, repr=False)
class AccuracyFit(Result):
    """A law of accuracy fitted in two steps; :func:`fit_accuracy` makes one.

    Attributes
    ----------
    law
        The law, with draws and scatter where a bootstrap was asked for.
    first
        The fit of the loss.
    step_residual, residual
        Mean absolute residual of accuracy: of the sigmoid given the measured loss, and of both steps.
    n_resamples, seed
        Replicates behind the draws, and the key of the random numbers.
    warnings
        What a user must know before relying on the law.

    Examples
    --------
    >>> import numpy as np
    >>> n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e8, 3e9, 5), np.geomspace(2e9, 3e11, 5)))
    >>> bits = 0.4 + 800 * n**-0.41 + 800 * d**-0.34
    >>> fit = fit_accuracy(n, d, bits, 0.25 + 0.75 / (1 + np.exp(4 * (bits - 0.9))), n_resamples=0)
    >>> round(fit.law.middle, 2), fit.residual < 1e-3
    (0.9, True)
    """

    law: AccuracyLaw
    first: FitResult = field(repr=False)
    step_residual: float
    residual: float
    n_resamples: int
    seed: int
    warnings: tuple[str, ...]

    def law_with_draws(self) -> Law:
        """The law: what ``t2fast.plan(fit, budget)`` plans with."""
        return self.law

    def headline(self) -> str:
        """How many checkpoints, and the residual."""
        return f"accuracy in two steps, {self.first.n_checkpoints} checkpoints, residual {self.residual:.4f}"

    def rows(self) -> list[dict[str, Any]]:
        """A row per coefficient: its name and value."""
        return [{"coefficient": name, "value": value} for name, value in self.law.coefficients.items()]

    def summary(self) -> str:
        """The coefficients and what each step leaves, within 80 columns."""
        table = [["  coefficient", "value"]]
        table += [[f"  {row['coefficient']}", f"{row['value']:.6g}"] for row in self.rows()]
        lines = [
            self.headline(),
            *aligned(table),
            f"  loss, from N and D: off by {self.first.residual:.2%}; accuracy, from the loss: by "
            f"{self.step_residual:.4f}",
        ]
        if self.n_resamples:
            lines.append(f"  draws: {self.n_resamples}, seed {self.seed}")
        return "\n".join([*lines, *warning_lines(self.warnings, "  ")])

    def to_dict(self) -> dict[str, Any]:
        """The fit as JSON data."""
        return {
            "law": self.law.to_dict(),
            "loss": self.first.to_dict(),
            "step_residual": self.step_residual,
            "residual": self.residual,
            "n_checkpoints": self.first.n_checkpoints,
            "n_resamples": self.n_resamples,
            "seed": self.seed,
            "warnings": list(self.warnings),
        }


def fit_accuracy(
    n_params: ArrayLike,
    n_tokens: ArrayLike,
    loss: ArrayLike,
    accuracy: ArrayLike,
    *,
    group: Labels | None = None,
    n_resamples: int = 200,
    seed: int = 0,
    threads: int | None = None,
    name: str = "",
    params_counted: str = "",
    progress: Report | None = None,
) -> AccuracyFit:
    """Fit a law of the loss, and accuracy as a sigmoid of the loss (Bhagia et al. 2024, arXiv 2412.04403).

    The first step is :func:`fit_chinchilla` with its usual objective. The second is least squares of
    ``floor + (1 - floor) / (1 + exp(slope (loss - middle)))`` on the measured losses; floor lies in [0, 1).

    Parameters
    ----------
    n_params, n_tokens, loss, accuracy
        One value per checkpoint: parameters, training tokens, the loss of the task (nats per token, or bits per byte of
        the right answer) and the share of problems answered right, in [0, 1].
    group
        Labels of training runs, which the bootstrap draws; checkpoints by default.
    n_resamples, seed
        Replicates of the bootstrap of both steps together, 0 for none, and the key of the random numbers.
    threads
        Number of threads, all of the machine's by default.
    name, params_counted
        Written into the law.
    progress
        Called with a :class:`~t2fast.results.Progress` now and then.

    Raises
    ------
    T2Error
        As :func:`fit_chinchilla`; for an accuracy outside [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e8, 3e9, 5), np.geomspace(2e9, 3e11, 5)))
    >>> bits = 0.4 + 800 * n**-0.41 + 800 * d**-0.34
    >>> fit = fit_accuracy(n, d, bits, 0.25 + 0.75 / (1 + np.exp(4 * (bits - 0.9))), n_resamples=20)
    >>> round(fit.law.value(7e9, 4e12), 2), len(list(fit.law.resampled()))
    (0.87, 20)
    """
    total, key = arguments.whole("n_resamples", n_resamples), arguments.seed(seed)
    n, d, x, y = columns(n_params=n_params, n_tokens=n_tokens, loss=loss, accuracy=accuracy)
    if not ((y >= 0) & (y <= 1)).all():
        raise T2Error(f"accuracy = {y[~((y >= 0) & (y <= 1))][0]:g}: must lie in [0, 1]; divide percents by 100")
    first = fit_chinchilla(n, d, x, group=group, threads=threads)
    base = first.law
    assert isinstance(base, ChinchillaLaw)
    found = fit_step(x, y)
    warnings = list(first.warnings)
    if np.corrcoef(x, y)[0, 1] >= 0 or found[2] <= 1.01 * _SLOPES[0]:
        warnings.append("accuracy does not fall as the loss rises: the second step says nothing")
    bare = AccuracyLaw(
        ChinchillaLaw(base.E, base.A, base.B, base.alpha, base.beta),
        *found,
        name=name,
        title="accuracy in two steps",
        source="fitted by t2fast: Huber losses (delta 1e-3) of log residuals, then least squares of a sigmoid",
        params_counted=params_counted,
        data_range=base.data_range,
        warnings=tuple(warnings),
    )
    uncertainty: dict[str, Any] = {}
    if total:
        draws = _draws(first, bare, x, y, total, key, threads, progress)
        observed = Observed(n, d, np.ones_like(n), y, "accuracy")
        unit = "checkpoints" if group is None else "training runs"
        uncertainty = {
            "method": f"bootstrap over {unit}, {total} replicates, seed {key}; scatter of the checkpoints",
            "draws": draws,
            "scatter": scatter(bare, observed, _COEFFICIENTS),
        }
    return AccuracyFit(
        replace(bare, uncertainty=uncertainty),
        first,
        float(np.abs(step(x, *found) - y).mean()),
        float(np.abs(np.asarray(bare.value(n, d)) - y).mean()),
        total,
        key,
        tuple(warnings),
    )


def accuracy_table(
    source: Any, *, columns: Mapping[str, str] | None = None, units: Mapping[str, float] | None = None, **options: Any
) -> AccuracyFit:
    """Fit accuracy in two steps to a table with columns of N, D, loss and accuracy.

    Parameters
    ----------
    source, columns, units
        As in :func:`t2fast.data.read_table`: a row per checkpoint.
    options
        Passed on to :func:`fit_accuracy`.

    Raises
    ------
    DataError
        When the table lacks a column.
    T2Error
        As :func:`fit_accuracy`.

    Examples
    --------
    >>> import numpy as np
    >>> n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e8, 3e9, 5), np.geomspace(2e9, 3e11, 5)))
    >>> bits = 0.4 + 800 * n**-0.41 + 800 * d**-0.34
    >>> table = {"N": n, "D": d, "loss": bits, "accuracy": 1 / (1 + np.exp(4 * (bits - 0.9)))}
    >>> accuracy_table(table, n_resamples=0).law.floor < 0.01
    True
    """
    table = read_table(source, columns, units)
    if "group" in table:
        options.setdefault("group", table["group"])
    return fit_accuracy(*(table.number(role) for role in ("n_params", "n_tokens", "loss", "accuracy")), **options)


def fit_step(
    loss: FloatArray, accuracy: FloatArray, weights: FloatArray | None = None, start: _Step | None = None
) -> _Step:
    """Least squares of the sigmoid: its floor, middle and slope.

    For a middle and a slope the floor is linear: the best points of a grid are polished by Levenberg and Marquardt's
    method, steps held to the bounds.
    """
    weight = np.ones_like(loss) if weights is None else weights
    span = max(float(np.ptp(loss)), 1e-9)
    middles = np.linspace(loss.min() - 3 * span, loss.max() + span, _GRID)
    slopes = np.geomspace(*_SLOPES, _GRID)
    m, s = (axis.ravel()[:, None] for axis in np.meshgrid(middles, slopes))
    share = step(loss, 0.0, m, s)  # type: ignore[arg-type]
    rest = 1 - share
    floor = (weight * rest * (accuracy - share)).sum(1) / np.maximum((weight * rest * rest).sum(1), 1e-300)
    floor = np.clip(floor, 0, 1 - 1e-9)
    cost = (weight * (floor[:, None] * rest + share - accuracy) ** 2).sum(1)
    best = np.argsort(cost)[:3]
    starts = [np.array([floor[i], m[i, 0], np.log(s[i, 0])]) for i in best]
    if start is not None:
        starts.append(np.array([start[0], start[1], np.log(start[2])]))
    found = min((_polished(loss, accuracy, weight, one) for one in starts), key=lambda one: one[0])[1]
    return float(found[0]), float(found[1]), float(np.exp(found[2]))


def _polished(x: FloatArray, y: FloatArray, weight: FloatArray, at: FloatArray) -> tuple[float, FloatArray]:
    """The nearest minimum over (floor, middle, ln slope), and its sum of squares."""
    low = np.array([0.0, -np.inf, np.log(_SLOPES[0])])
    high = np.array([1 - 1e-9, np.inf, np.log(_SLOPES[1])])

    def left(at: FloatArray) -> FloatArray:
        return np.asarray(step(x, at[0], at[1], float(np.exp(at[2]))) - y)

    residual, damping = left(at), 1e-3
    cost = float(weight @ residual**2)
    for _ in range(_STEPS):
        slope = np.exp(at[2])
        share = step(x, 0.0, at[1], float(slope))
        turn = (1 - at[0]) * share * (1 - share)
        jacobian = np.stack([1 - share, slope * turn, slope * (at[1] - x) * turn], axis=1)
        normal, gradient = jacobian.T @ (weight[:, None] * jacobian), jacobian.T @ (weight * residual)
        # A coefficient held by its bound takes no part.
        free = ~((at <= low) & (gradient > 0) | (at >= high) & (gradient < 0))
        moved = False
        while damping < 1e12:
            part = normal[np.ix_(free, free)]
            change = np.zeros(3)
            change[free] = np.linalg.solve(part + damping * np.diag(np.diag(part) + 1e-12), gradient[free])
            after = np.clip(at - change, low, high)
            there = left(after)
            now = float(weight @ there**2)
            if now < cost:
                moved, damping = True, damping / 5
                break
            damping *= 5
        if not moved:
            break
        at, residual, gain, cost = after, there, cost - now, now
        if gain <= 1e-15 * cost:
            break
    return cost, at


def _draws(
    first: FitResult,
    law: AccuracyLaw,
    loss: FloatArray,
    accuracy: FloatArray,
    total: int,
    seed: int,
    threads: int | None,
    progress: Report | None,
) -> dict[str, list[float]]:
    """Coefficients of both steps, replicate by replicate of one bootstrap."""
    refit = first.refit
    by, unit = ("checkpoint" if refit.group is None else "group"), refit.cluster
    power, _ = refit.replicates((by,), seed, 0, total, threads)
    units = int(unit.max()) + 1
    rows = []
    for i in range(total):
        weights = drawn(units, seed, i)[unit].astype(np.float64)
        # Losses that differ are what a sigmoid needs.
        if np.isfinite(power[i]).all() and len(np.unique(loss[weights > 0])) > 3:
            found = fit_step(loss, accuracy, weights, (law.floor, law.middle, law.slope))
            last = dict(zip(("floor", "middle", "slope"), found, strict=True))
            rows.append(dict(zip(refit.core.names(), power[i].tolist(), strict=True)) | last)
        if progress is not None:
            progress(Progress(i + 1, total, "replicates"))
    if len(rows) < 2:
        raise T2Error("too few of the resampled tables determine both steps: add checkpoints, or set n_resamples=0")
    return {name: [float(f"{row[name]:.7g}") for row in rows] for name in rows[0]}
