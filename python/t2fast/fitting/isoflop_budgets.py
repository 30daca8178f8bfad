"""Which training budget each checkpoint belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from t2fast import arguments
from t2fast.errors import T2Error
from t2fast.fitting.rows import FloatArray, IntArray
from t2fast.quantity import format_flops

__all__ = ["enough_sizes", "grouped", "named"]

#: Sizes that a parabola takes.
_SIZES = 3


def grouped(c: FloatArray, tolerance: float) -> tuple[IntArray, FloatArray]:
    """The budget of each checkpoint and the budgets: neighbours closer than the tolerance are one."""
    order = np.argsort(c)
    apart = np.diff(np.log(c[order])) > np.log1p(tolerance)
    of = np.empty(len(c), dtype=np.int64)
    of[order] = np.concatenate([[0], np.cumsum(apart)])
    centres = np.exp(np.bincount(of, np.log(c)) / np.bincount(of))
    for one, centre in enumerate(centres):
        low, high = c[of == one].min(), c[of == one].max()
        if high > low * (1 + 2 * tolerance):
            raise T2Error(
                f"no budgets can be told apart between {format_flops(low)} and {format_flops(high)} FLOP, where "
                f"neighbours are closer than tolerance = {tolerance:g}: name them with budgets=[...], for example "
                f"{format_flops(centre)}, or narrow the tolerance"
            )
    return of, centres


def named(
    c: FloatArray, budgets: Sequence[float], tolerance: float, warnings: list[str]
) -> tuple[IntArray, FloatArray]:
    """The same for budgets that the caller named; -1 for checkpoints that belong to none."""
    centres = np.unique(arguments.numbers("budgets", budgets, ndim=1))
    if not (len(centres) and np.all((centres > 0) & np.isfinite(centres))):
        raise T2Error(f"budgets = {arguments.shown(budgets)}: must be positive numbers of FLOP")
    apart = np.abs(np.log(c[:, None] / centres))
    of = apart.argmin(axis=1).astype(np.int64)
    of[apart.min(axis=1) > np.log1p(tolerance) * (1 + 1e-12)] = -1
    left_out = int(np.count_nonzero(of < 0))
    if left_out:
        warnings.append(f"{left_out} of {len(c)} checkpoints are at none of the budgets named and were left out")
    return of, centres


def enough_sizes(sizes: list[int], centres: FloatArray, tolerance: float) -> None:
    """Refuse budgets with fewer sizes than a parabola takes."""
    few = [one for one, count in enumerate(sizes) if count < _SIZES]
    if len(few) > len(sizes) / 2:
        raise T2Error(
            f"checkpoints fall into {len(sizes)} budgets, {len(few)} of them with fewer than {_SIZES} model sizes: "
            f"isoFLOP minima need {_SIZES} at each; choose budgets with budgets=[...], or widen tolerance = "
            f"{tolerance:g} where checkpoints of one budget differ by more"
        )
    if few:
        one = few[0]
        raise T2Error(
            f"{format_flops(centres[one])} FLOP has {sizes[one]} model size{'' if sizes[one] == 1 else 's'}: isoFLOP "
            f"minima need {_SIZES} at each budget; choose others with budgets=[...], or widen tolerance = "
            f"{tolerance:g} where checkpoints of one budget differ by more"
        )
    if len(sizes) == 1:
        raise T2Error(f"all checkpoints are at one budget, {format_flops(centres[0])} FLOP: power laws need two")
