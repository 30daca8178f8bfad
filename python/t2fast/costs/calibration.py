"""Fitting the constants of the cost model to measured tokens per second.

The logarithm of measured over predicted follows Student's t with 4 degrees of freedom; constants have weak priors. The
posterior's mode is found by iteratively reweighted Gauss-Newton steps, its covariance is the inverse of the curvature
there. The scale of the scatter is estimated with it, from a prior that speaks of other programs of this kind:
15% with the weight of 40 rows, so that rows of one engine that fit well do not promise more than they can.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from t2fast.arguments import path as checked_path
from t2fast.costs.constants import Constants, default_constants
from t2fast.costs.hardware import Card, load_card
from t2fast.costs.kernel_times import KernelTime
from t2fast.costs.measurements import Measurement
from t2fast.errors import T2Error
from t2fast.results import Result
from t2fast.text import columns

__all__ = ["Calibration", "calibrate", "interval", "log_gradient"]

#: Weak priors: the centre, and the standard deviation of its logarithm (log odds for shares).
PRIORS = {
    "compute": (0.7, 0.7),
    "memory": (0.8, 0.5),
    "activations": (30.0, 0.7),
    "layer_seconds": (1.2e-5, 0.7),
    "expert_layer_seconds": (3e-5, 1.0),
    "step_seconds": (1e-3, 1.0),
    "link": (0.4, 0.4),
    "hop_seconds": (1e-5, 0.4),
    "request_seconds": (0.02, 1.0),
    "regroup": (0.7, 0.5),
}

#: Scale and weight, in rows, of what is known of such models' scatter beforehand.
SCATTER, SCATTER_ROWS = 0.15, 40
DEGREES = 4.0
#: The fewest rows that say anything of several constants.
LEAST_ROWS = 3


@dataclass(frozen=True, repr=False)
class Calibration(Result):
    """Constants fitted to measurements, and how well they say them again.

    Attributes
    ----------
    card
        The card with its constants, ready for :func:`t2fast.costs.cost`.
    measured, predicted, low, high
        Tokens per second of each row, and the ends of its 90% interval.
    labels
        What each row measured.

    Examples
    --------
    >>> from t2fast.costs import Measurement, load_architecture, load_card
    >>> model, card = load_architecture("llama-3.1-8b"), load_card("h100")
    >>> rows = [Measurement(model, card, 100, 200, s, batch=b) for b, s in ((1, 120.0), (16, 1700.0), (64, 5000.0))]
    >>> calibrate(rows).coverage
    1.0
    """

    card: Card
    measured: tuple[float, ...]
    predicted: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    labels: tuple[str, ...]
    figure: ClassVar[str | None] = "costs:measured"

    @property
    def errors(self) -> NDArray[np.float64]:
        """Logarithm of predicted over measured, for each row."""
        ratio = np.array(self.predicted) / np.array(self.measured)
        return np.asarray(np.log(ratio), dtype=np.float64)

    @property
    def coverage(self) -> float:
        """Share of the rows inside their intervals."""
        rows = zip(self.low, self.measured, self.high, strict=True)
        return float(np.mean([low <= measured <= high for low, measured, high in rows]))

    def summary(self) -> str:
        """The constants and the error of each row."""
        fitted = self.card.constants
        sizes = np.sqrt(np.diag(np.array(fitted.covariance))) if fitted.names else np.array([])
        table = [["constant", "value", "sd of its logarithm"]]
        table += [
            [name, f"{getattr(fitted, name):.3g}", f"{sd:.2g}"] for name, sd in zip(fitted.names, sizes, strict=True)
        ]
        errors = np.abs(self.errors)
        rows = [["row", "measured", "predicted", "error"]]
        for label, measured, predicted, error in zip(
            self.labels, self.measured, self.predicted, self.errors, strict=True
        ):
            rows.append([label[:44], f"{measured:,.0f}", f"{predicted:,.0f}", f"{math.expm1(error):+.0%}"])
        return "\n".join(
            [
                f"{self.card}: {len(self.measured)} rows of measurements",
                f"mean |log error| {errors.mean():.1%}, median {np.median(errors):.1%}, worst {errors.max():.0%}; "
                f"{self.coverage:.0%} inside their 90% intervals",
                "these rows were fitted: expect more on others",
                "",
                *columns(table),
                "",
                *columns(rows),
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """The calibration as JSON data."""
        errors = np.abs(self.errors)
        return {
            "card": self.card.to_dict(),
            "rows": self.rows(),
            "mean_absolute_log_error": float(errors.mean()),
            "median_absolute_log_error": float(np.median(errors)),
            "coverage": self.coverage,
        }

    def rows(self) -> list[dict[str, Any]]:
        """A row for each measurement."""
        names = ("row", "measured", "predicted", "low", "high")
        values = zip(self.labels, self.measured, self.predicted, self.low, self.high, strict=True)
        return [dict(zip(names, row, strict=True)) for row in values]

    def save(self, path: str | PathLike[str]) -> None:
        """Write the card to a JSON file that ``--gpu`` and :func:`t2fast.costs.load_card` read."""
        target = checked_path("out", path)
        try:
            beside = target.with_name(target.name + ".part")
            beside.write_text(json.dumps(self.card.to_dict(), indent=2) + "\n", encoding="utf-8")
            beside.replace(target)
        except OSError as error:
            raise T2Error(f"out = '{target}': cannot be written: {error.strerror}") from None


def _informed(all_rows: Sequence[Measurement | KernelTime]) -> tuple[str, ...]:
    """The constants that rows can say something of."""
    rows = [row for row in all_rows if isinstance(row, Measurement)]
    if not rows and all_rows:
        return ("compute", "memory")
    absent = set()
    if all(row.model.experts is None for row in rows):
        absent.add("expert_layer_seconds")
    if all(row.tensor_parallel == 1 for row in rows):
        absent |= {"link", "hop_seconds"}
    if all(row.grouped_reads for row in rows):
        absent.add("regroup")
    if all(row.first_token_seconds is None for row in rows):
        absent.add("request_seconds")
    return tuple(name for name in PRIORS if name not in absent)


def calibrate(
    rows: Sequence[Measurement | KernelTime], card: Card | str | None = None, *, source: str = ""
) -> Calibration:
    """Fit the constants of a card and its engine to measurements.

    Parameters
    ----------
    rows
        What was measured, on one card or several: data-sheet peaks are each row's own, the constants common to all.
        Times of kernels say what share of its peaks a card reaches; the other constants take tokens per second.
    card
        The card that gets the constants; that of the first row by default.
    source
        What to write into the card's file about where the constants come from.

    Returns
    -------
    Calibration
        The card with its constants and their posterior, and the error of every row. Constants that no row speaks of
        (all-reduces on a single card, for example) stay those that come with t2fast.

    Raises
    ------
    T2Error
        For fewer than three rows.

    Examples
    --------
    >>> from t2fast.costs import Measurement, load_architecture, load_card
    >>> model, card = load_architecture("llama-3.1-8b"), load_card("h100")
    >>> rows = [Measurement(model, card, 100, 200, s, batch=b) for b, s in ((1, 120.0), (16, 1700.0), (64, 5000.0))]
    >>> calibrate(rows).card.name
    'h100'
    """
    rows = list(rows)
    if len(rows) < LEAST_ROWS:
        one = "1 row is" if len(rows) == 1 else f"{len(rows)} rows are"
        raise T2Error(
            f"{one} too few to calibrate {len(_informed(rows)) if rows else len(PRIORS)} constants: measure at least "
            f"{LEAST_ROWS}, better a dozen with small and large batches, short and long answers"
        )
    names = _informed(rows)
    centres: dict[str, Any] = {name: PRIORS[name][0] for name in names}
    start = replace(default_constants(), **centres)
    start = replace(start, names=names, covariance=((0.0,) * len(names),) * len(names))
    first = [row for row in rows if isinstance(row, Measurement) and row.first_token_seconds is not None]
    targets = np.log([row.speed for row in rows] + [row.first_token_seconds or 1.0 for row in first])

    def predict(z: NDArray[np.float64]) -> NDArray[np.float64]:
        constants = start.moved(z)
        return np.log([row.predict(constants)[0] for row in rows] + [row.predict(constants)[1] for row in first])

    centre = start.coordinates()
    precision = np.diag([PRIORS[name][1] ** -2.0 for name in names])
    z, covariance, sigma = _fit(predict, targets, centre, precision, len(rows))
    constants = replace(
        start.moved(z),
        covariance=tuple(map(tuple, covariance.tolist())),
        sigma=sigma,
        regroup=0.0 if "regroup" not in names else start.moved(z).regroup,
        source=source or f"fitted to {len(rows)} measurements",
    )
    target = load_card(card) if card is not None else rows[0].card
    predicted, low, high = [], [], []
    for row in rows:
        value, spread = interval(row, constants)
        predicted.append(value)
        low.append(value * math.exp(-spread))
        high.append(value * math.exp(spread))
    return Calibration(
        replace(target, constants=constants),
        tuple(row.speed for row in rows),
        tuple(predicted),
        tuple(low),
        tuple(high),
        tuple(row.label for row in rows),
    )


def interval(row: Measurement | KernelTime, constants: Constants, confidence_level: float = 0.9) -> tuple[float, float]:
    """Predicted tokens per second of a row, and the half-width of the interval of their logarithm."""
    gradient = log_gradient(lambda c: row.predict(c)[0], constants)
    return row.predict(constants)[0], constants.spread(gradient, confidence_level)


def log_gradient(of: Callable[[Constants], float], constants: Constants) -> NDArray[np.float64]:
    """Derivative of the logarithm of a function of constants by the coordinates of those fitted.

    By the logarithm of a constant that is 0, and the log odds of a share that is 1, it is 0.
    """
    z = constants.coordinates()
    slopes = np.zeros(len(z))
    for place in np.flatnonzero(np.isfinite(z)):
        step = np.zeros(len(z))
        step[place] = 1e-4
        slopes[place] = (math.log(of(constants.moved(z + step))) - math.log(of(constants.moved(z - step)))) / 2e-4
    return slopes


def _fit(
    predict: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    targets: NDArray[np.float64],
    centre: NDArray[np.float64],
    precision: NDArray[np.float64],
    n_rows: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """The mode, its covariance and the scale of the scatter."""
    z, sigma, damping = centre.copy(), SCATTER, 1e-3

    def objective(z: NDArray[np.float64], error: NDArray[np.float64]) -> float:
        robust = (DEGREES + 1) * np.log1p((error / sigma) ** 2 / DEGREES).sum()
        return float(robust + (z - centre) @ precision @ (z - centre))

    def weigh(error: NDArray[np.float64]) -> NDArray[np.float64]:
        return (DEGREES + 1) / (DEGREES + (error / sigma) ** 2)

    error = predict(z) - targets
    curvature: NDArray[np.float64] = precision
    for _ in range(60):
        slopes = np.empty((len(targets), len(z)))
        for place in range(len(z)):
            step: NDArray[np.float64] = np.zeros(len(z))
            step[place] = 1e-4
            slopes[:, place] = (predict(z + step) - predict(z - step)) / 2e-4
        weight = weigh(error) / sigma**2
        curvature = np.asarray(slopes.T @ (slopes * weight[:, None]) + precision, dtype=np.float64)
        downhill = slopes.T @ (weight * error) + precision @ (z - centre)
        moved = 0.0
        for _ in range(12):
            damped = curvature + damping * np.diag(np.diag(curvature))
            step = np.asarray(np.linalg.solve(damped, -downhill), dtype=np.float64)
            trial = predict(z + step) - targets
            if objective(z + step, trial) <= objective(z, error):
                z, error, damping, moved = z + step, trial, damping * 0.3, float(np.abs(step).max())
                break
            damping *= 4.0
        of_rows = error[:n_rows]
        scale = math.sqrt(
            (SCATTER_ROWS * SCATTER**2 + float((weigh(error)[:n_rows] * of_rows**2).sum())) / (SCATTER_ROWS + n_rows)
        )
        if moved < 1e-6 and abs(scale / sigma - 1) < 1e-5:
            break
        sigma = scale
    return z, np.asarray(np.linalg.inv(curvature), dtype=np.float64), sigma
