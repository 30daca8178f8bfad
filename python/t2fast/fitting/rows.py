"""Columns of a table as the core wants them, and rows numbered by what they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import _core
from t2fast.arguments import numbers
from t2fast.errors import T2Error

__all__ = ["FloatArray", "IntArray", "Labels", "checkpoints", "column", "columns", "labels"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Labels = Sequence[object] | NDArray[Any]


def column(name: str, values: ArrayLike) -> FloatArray:
    """One column of numbers, without a copy where it is one already."""
    found = numbers(name, values)
    if found.ndim != 1:
        raise T2Error(f"{name} has shape {found.shape}: must be one-dimensional, one value per row")
    return found


def columns(**values: ArrayLike | None) -> tuple[FloatArray, ...]:
    """Columns of one length, which is not zero."""
    found = {name: column(name, [] if value is None else value) for name, value in values.items()}
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        raise T2Error(f"columns differ in length: {', '.join(f'{name} {n}' for name, n in lengths.items())}")
    if not all(lengths.values()):
        raise T2Error(f"{' and '.join(lengths)}: no rows")
    return tuple(found.values())


def labels(values: Labels, rows: int, name: str) -> IntArray:
    """Numbers labels of any kind; equal ones get equal numbers."""
    found = np.asarray([str(value) for value in values], dtype=np.str_)
    if len(found) != rows:
        raise T2Error(f"{name} has {len(found)} labels for {rows} rows: give one per row")
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def checkpoints(*columns: FloatArray) -> IntArray:
    """Numbers the distinct rows in the order in which they first appear."""
    return _core.number_rows(list(columns))
