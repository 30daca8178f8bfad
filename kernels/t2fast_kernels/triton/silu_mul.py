"""The gate of a feed-forward block."""

from __future__ import annotations

import triton
import triton.language as tl

from t2fast_kernels.triton.rms_norm import enter


@triton.jit
def silu(x):
    """``x / (1 + exp(-x))`` in fp32, to a few units in the last place.

    The chip knows powers of two. With one product rounded before them, as ``tl.exp`` has it, the result would be off by
    as many units as x is large: CUDA's manual gives 2 + 1.17 |x|. So whole powers are split off first (Cody and Waite
    1980): their number times the first part of log 2, of few bits, is exact, and the rest is small.
    """
    y = tl.minimum(tl.maximum(-x, -104.0), 104.0)  # beyond, exp(y) is 0 or infinite
    whole = tl.floor(y * 1.4426950408889634 + 0.5)
    rest = y - whole * 0.693145751953125 - whole * 1.428606765330187e-06
    return tl.div_rn(x, 1.0 + tl.exp2(whole) * tl.exp2(rest * 1.4426950408889634))


@triton.jit
def silu_mul_kernel(
    gate,
    gate_stride,
    up,
    up_stride,
    out,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """A part of one row."""
    enter(OVERLAP)
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = at < WIDTH
    dtype = out.dtype.element_ty
    x = tl.load(gate + row * gate_stride + at, mask=mask, other=0.0).to(tl.float32)
    factor = tl.load(up + row * up_stride + at, mask=mask, other=0.0).to(tl.float32)
    opened = silu(x).to(dtype).to(tl.float32)
    tl.store(out + row * WIDTH + at, (opened * factor).to(dtype), mask=mask)
