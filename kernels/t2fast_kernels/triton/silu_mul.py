"""The gate of a feed-forward block."""

from __future__ import annotations

import triton
import triton.language as tl

from t2fast_kernels.triton.rms_norm import enter


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
    opened = (x / (1.0 + tl.exp(-x))).to(dtype).to(tl.float32)
    tl.store(out + row * WIDTH + at, (opened * factor).to(dtype), mask=mask)
