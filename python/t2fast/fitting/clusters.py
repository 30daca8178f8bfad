"""Draws for what is measured on problems: resampled whole, with all that one problem contributed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from t2fast import arguments
from t2fast.data import Counts
from t2fast.errors import DataError

__all__ = ["cluster_weights", "ends", "problems_of"]


def problems_of(counts: Counts) -> NDArray[np.int64]:
    """A number for the problem of each row: a problem that several models tried is one."""
    places: dict[tuple[str, str], int] = {}
    pairs = zip(counts.benchmark, counts.problem_id, strict=True)
    return np.asarray([places.setdefault(pair, len(places)) for pair in pairs], np.int64)


def cluster_weights(problems: NDArray[np.int64], n_resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each row counts in each resample of the problems, shape (n_resamples, rows).

    Raises
    ------
    DataError
        For fewer than two problems, which say nothing of others.
    """
    n_resamples = arguments.whole("n_resamples", n_resamples, least=2)
    number = int(problems.max()) + 1 if problems.size else 0
    if number < 2:
        raise DataError(f"{number} problem: an interval over problems needs at least 2")
    random = np.random.Generator(np.random.Philox(arguments.seed(seed)))
    drawn = random.multinomial(number, np.full(number, 1.0 / number), size=n_resamples)
    return np.asarray(drawn[:, problems], np.float64)


def ends(draws: NDArray[np.float64], confidence_level: float) -> tuple[float, float]:
    """The quantiles of draws between which an interval lies."""
    low, high = np.quantile(draws, [0.5 - 0.5 * confidence_level, 0.5 + 0.5 * confidence_level])
    return float(low), float(high)
