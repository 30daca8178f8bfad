"""What the filters keep."""

from __future__ import annotations

import triton
import triton.language as tl

from t2fast_kernels.triton.sample.row import setting


@triton.jit
def limits(total, row, heat, top_k, top_p, min_p, shares):
    """What a kept token's superiors may number and weigh, its least distance from the top, and whether to check."""
    k, p, least = setting(top_k, row), setting(top_p, row), setting(min_p, row)
    whole = total
    if shares is not None:
        share = tl.load(shares + row)
        whole = tl.where(share < 0, total, share)
    k = tl.where(k >= 1, k, float("inf"))
    mass = tl.where(p < 1, p * whole, float("inf"))
    lowest = tl.where(least > 0, tl.log(tl.where(least > 0, least, 1.0)), float("-inf"))
    filtered = (k < float("inf")) | (p < 1) | (least > 0)
    # total > 0 is false for NaN too: such rows are told apart at the end.
    return k, mass, lowest, filtered & (heat > 0) & (total > 0)


@triton.jit
def accepted(mass, number, level, top, scale, k, limit, lowest):
    """Whether the filters keep a candidate, given what lies above it; they always keep the most likely token."""
    return ((mass < limit) & (number < k) & ((level - top) * scale >= lowest)) | (number == 0)
