"""Root-mean-square normalisation, with the residual addition before it."""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def scaled(x, inverse, weight, dtype: tl.constexpr):
    """Values in fp32 times the inverse of their root mean square and a weight, rounded after each product."""
    return ((x * inverse).to(dtype).to(tl.float32) * weight.to(tl.float32)).to(dtype)


@triton.jit
def enter(OVERLAP: tl.constexpr):
    """Begin in a launch that overlaps the one before: let the next one come, and wait for what this one reads.

    Whatever such a launch reads or writes may be in use by those before it, which have all ended after the wait: it
    comes first, so that this holds from launch to launch.
    """
    if OVERLAP:
        gdc_launch_dependents()
        gdc_wait()


@triton.jit
def rms_norm_kernel(
    x,
    x_stride,
    residual,  # None: nothing is added
    residual_stride,
    weight,
    y,
    total,
    eps,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """One row."""
    enter(OVERLAP)
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    mask = at < WIDTH
    factor = tl.load(weight + at, mask=mask, other=0.0)
    value = tl.load(x + row * x_stride + at, mask=mask, other=0.0).to(tl.float32)
    if residual is not None:
        value += tl.load(residual + row * residual_stride + at, mask=mask, other=0.0).to(tl.float32)
        rounded = value.to(total.dtype.element_ty)
        tl.store(total + row * WIDTH + at, rounded, mask=mask)
        value = rounded.to(tl.float32)
    inverse = tl.rsqrt(tl.sum(value * value, 0) * (1 / WIDTH) + eps)
    tl.store(y + row * WIDTH + at, scaled(value, inverse, factor, y.dtype.element_ty), mask=mask)
