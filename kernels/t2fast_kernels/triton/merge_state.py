"""Merging two partial attention results."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def merge_kernel(
    v_a,
    a_row_stride,
    a_head_stride,
    s_a,
    v_b,
    b_row_stride,
    b_head_stride,
    s_b,
    v,
    s,
    HEADS: tl.constexpr,
    DIM: tl.constexpr,
    BLOCK_HEADS: tl.constexpr,
    BLOCK_DIM: tl.constexpr,
):
    """A few heads of one row; the logarithms are contiguous."""
    row = tl.program_id(0).to(tl.int64)
    head = (tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)).to(tl.int64)
    at = row * HEADS + head
    log_a = tl.load(s_a + at, mask=head < HEADS, other=float("-inf"))
    log_b = tl.load(s_b + at, mask=head < HEADS, other=float("-inf"))
    top = tl.maximum(log_a, log_b)
    base = tl.where(top == float("-inf"), 0.0, top)
    a, b = tl.exp(log_a - base), tl.exp(log_b - base)
    total = a + b
    share = tl.where(total > 0, total, 1.0)
    # A part without weight may hold anything, NaN included: it is not even read.
    dim = tl.arange(0, BLOCK_DIM)[None, :]
    mask = (head < HEADS)[:, None] & (dim < DIM)
    part_a = tl.load(
        v_a + row * a_row_stride + head[:, None] * a_head_stride + dim, mask=mask & (a > 0)[:, None], other=0.0
    )
    part_b = tl.load(
        v_b + row * b_row_stride + head[:, None] * b_head_stride + dim, mask=mask & (b > 0)[:, None], other=0.0
    )
    merged = part_a.to(tl.float32) * (a / share)[:, None] + part_b.to(tl.float32) * (b / share)[:, None]
    tl.store(v + at[:, None] * DIM + dim, merged.to(v.dtype.element_ty), mask=mask)
    tl.store(s + at, tl.where(total > 0, base + tl.log(share), total - float("inf")), mask=head < HEADS)
