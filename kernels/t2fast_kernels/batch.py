"""What is to be decoded, as callers give it: checked, and in the form the planner works on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t2fast_kernels.buffers import DecodeBuffers, Ints
from t2fast_kernels.errors import KernelError

__all__ = ["Batch", "checked"]


@dataclass(frozen=True)
class Batch:
    """Rows and the prefixes they read."""

    runs: Ints  #: ``[n_segments, 4]``: table, begin, end and position of begin
    length: npt.NDArray[np.int64]  #: ``[n_segments]``: tokens
    row_segments: Ints  #: ``[n_rows, max_levels]``: -1 where none, and for idle rows
    rows: tuple[Ints, Ints, Ints]  #: table, begin and position, each ``[n_rows]``
    n_active: int  #: rows that are not idle


def checked(
    buffers: DecodeBuffers,
    segments: npt.ArrayLike,
    row_segments: npt.ArrayLike,
    row_table: npt.ArrayLike,
    row_begin: npt.ArrayLike | int,
    row_position: npt.ArrayLike | int,
) -> Batch:
    """The arguments of ``plan``, or a KernelError that says what is wrong with them."""
    runs = _ints("segments", segments, 2) if np.size(segments) else np.zeros((0, 4), np.int32)
    table = _ints("row_table", row_table, 1)
    n_rows = len(table)
    of_rows = _ints("row_segments", row_segments, 2) if np.size(row_segments) else np.full((n_rows, 1), -1, np.int32)
    begin, position = _per_row("row_begin", row_begin, n_rows), _per_row("row_position", row_position, n_rows)
    for name, value, most, remedy in (
        ("row_table", n_rows, buffers.max_rows, "max_rows"),
        ("segments", len(runs), buffers.max_segments, "max_segments"),
        ("row_segments", of_rows.shape[1], buffers.max_levels, "max_levels"),
    ):
        if value > most:
            raise KernelError(
                f"{name}: {value} exceed the capacity of {most}; make DecodeBuffers with {remedy}={value}"
            )
    for name, array in (("row_segments", of_rows), ("row_begin", begin), ("row_position", position)):
        if len(array) != n_rows:
            raise KernelError(f"{name} has {len(array)} rows, row_table {n_rows}: give one entry per row")
    if runs.shape[1] != 4:
        raise KernelError(f"segments: shape {runs.shape}; give table, begin, end, position for each")
    length = (runs[:, 2] - runs[:, 1]).astype(np.int64)
    if len(runs) and (runs.min() < 0 or length.min() < 0):
        raise KernelError("segments: table, begin, end and position must not be negative, and begin <= end")
    if n_rows == 0:
        return Batch(runs, length, np.full((0, buffers.max_levels), -1, np.int32), (table, begin, position), 0)
    if of_rows.max() >= len(runs) or of_rows.min() < -1:
        raise KernelError(
            f"row_segments: values from {of_rows.min()} to {of_rows.max()}; allowed are -1 and 0 to {len(runs) - 1}"
        )
    if begin.min() < 0 or position.min() < 0:
        raise KernelError("row_begin and row_position must not be negative; idle rows have row_table = -1")
    if of_rows.shape[1] < buffers.max_levels:
        of_rows = np.pad(of_rows, ((0, 0), (0, buffers.max_levels - of_rows.shape[1])), constant_values=-1)
    n_active = n_rows
    if table.min() < 0:
        of_rows = np.where(table[:, None] < 0, np.int32(-1), of_rows)
        n_active -= int((table < 0).sum())
    return Batch(runs, length, of_rows, (table, begin, position), n_active)


def _per_row(name: str, value: npt.ArrayLike | int, n_rows: int) -> Ints:
    """An array as it is; a number once for each row."""
    if isinstance(value, int) and 0 <= value < 1 << 31:
        return np.full(n_rows, value, np.int32)
    return np.full(n_rows, _ints(name, value, 0)) if np.ndim(value) == 0 else _ints(name, value, 1)


def _ints(name: str, value: npt.ArrayLike, ndim: int) -> Ints:
    """An int32 array, without a copy where it is one already."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise KernelError(f"{name}: dtype {array.dtype}; give integers")
    if array.ndim != ndim:
        raise KernelError(f"{name}: shape {array.shape}; give {ndim} dimension{'s' * (ndim > 1)}")
    if array.dtype != np.int32:
        if array.size and (array.max() >= 1 << 31 or array.min() < -(1 << 31)):
            raise KernelError(f"{name}: values beyond 32 bits")
        array = array.astype(np.int32)
    return array
