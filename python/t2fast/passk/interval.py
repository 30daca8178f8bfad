"""Intervals for means of rates, and how numbers are shown beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from t2fast.passk.estimate import Array
from t2fast.text import columns

__all__ = ["binomial_upper", "json_list", "logit_intervals", "quantile", "shown", "table", "tails"]


def quantile(confidence_level: float, freedom: npt.ArrayLike) -> Array:
    """Two-sided quantiles of Student's t by Fisher's expansion; within 1% from 4 degrees of freedom on."""
    z = NormalDist().inv_cdf(0.5 + 0.5 * confidence_level)
    inverse = 1.0 / np.asarray(freedom, np.float64)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return np.asarray(z + sum(term * inverse ** (i + 1) for i, term in enumerate(terms)))


def tails(confidence_level: float) -> list[float]:
    """The quantiles of a bootstrap between which its interval lies."""
    return [0.5 - 0.5 * confidence_level, 0.5 + 0.5 * confidence_level]


def binomial_upper(hits: int, trials: int, confidence_level: float) -> float:
    """The exact upper end (Clopper and Pearson 1934) of a two-sided interval for a share, few of the trials hitting."""
    low, high, tail = hits / trials, 1.0, 0.5 - 0.5 * confidence_level
    if hits == trials:
        return 1.0
    for _ in range(60):
        rate = 0.5 * (low + high)
        at_most = sum(math.comb(trials, i) * rate**i * (1 - rate) ** (trials - i) for i in range(hits + 1))
        low, high = (rate, high) if at_most > tail else (low, rate)
    return high


def logit_intervals(mean: Array, error: Array, quantiles: Array) -> tuple[Array, Array]:
    """Ends of intervals for means in [0, 1] that stay there: symmetric in the logit, by the delta method."""
    with np.errstate(all="ignore"):
        odds = mean / (1 - mean)
        factor = np.exp(np.minimum(quantiles * error / (mean * (1 - mean)), 700.0))
        lower, upper = odds / (odds + factor), odds * factor / (1 + odds * factor)
    # Without spread, and at the ends, where the logit is infinite.
    flat = (error == 0) | (mean <= 0) | (mean >= 1)
    unknown = ~(np.isfinite(mean) & np.isfinite(error))
    known = np.where(flat, mean, lower), np.where(flat, mean, upper)
    return np.where(unknown, np.nan, known[0]), np.where(unknown, np.nan, known[1])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table of numbers."""
    return columns([head, *rows], left=())


def shown(value: float) -> str:
    """A number as tables show it; a dash where there is none."""
    return "-" if math.isnan(value) else f"{value:.4f}" if 1e-3 <= abs(value) < 10 or value == 0 else f"{value:.3g}"


def json_list(array: npt.NDArray[Any]) -> list[Any]:
    """An array as JSON holds it: NaN becomes None."""
    return [None if isinstance(x, float) and math.isnan(x) else x for x in array.tolist()]
