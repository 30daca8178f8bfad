"""Several linear layers of the same few rows in one launch."""

from __future__ import annotations

import triton
import triton.language as tl

from t2fast_kernels.triton.rms_norm import enter


@triton.jit
def _rows_of(x, stride, row, at, rows, WIDTH: tl.constexpr, EVEN: tl.constexpr, UPCAST: tl.constexpr):
    """A tile ``[rows, part of the width]``."""
    mask = (row < rows)[:, None]
    if not EVEN:
        mask = mask & (at < WIDTH)[None, :]
    tile = tl.load(x + row[:, None] * stride + at[None, :], mask=mask, other=0.0)
    return tile.to(tl.float32) if UPCAST else tile


@triton.jit
def _fetch(weight, block, columns, WIDTH: tl.constexpr, BLOCK_N: tl.constexpr, OVERLAP: tl.constexpr):
    """Bring a tile's weights, which no launch writes, to the second-level cache while the launch before is at work."""
    if OVERLAP:  # noqa: SIM102 - a constant, which no value is joined with
        if tl.program_id(0) == 0:
            LINE: tl.constexpr = 64  # elements of 2 bytes
            column = tl.minimum(block * BLOCK_N + tl.arange(0, BLOCK_N), columns - 1)
            for begin in range(0, WIDTH, 8 * LINE):
                at = tl.minimum(begin + tl.arange(0, 8) * LINE, WIDTH - 1)
                lines = (weight + column[:, None] * WIDTH + at[None, :]).to(tl.int64)
                tl.inline_asm_elementwise(
                    "prefetch.global.L2 [$1]; // dummy $0", "=r,l", [lines], dtype=tl.int32, is_pure=False, pack=1
                )


@triton.jit(do_not_specialize=["rows"])
def products_kernel(
    x,
    x_stride,
    weight_0,
    weight_1,
    weight_2,
    bias_0,  # None: no layer has one
    bias_1,
    bias_2,
    out,
    rows,
    COLUMNS_0: tl.constexpr,  # 0: there is no such layer
    COLUMNS_1: tl.constexpr,
    COLUMNS_2: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    UPCAST: tl.constexpr,  # the interpreter cannot multiply bfloat16
    OVERLAP: tl.constexpr,
):
    """A tile of one layer's output; programs of the same columns are neighbours, so that they share what they read."""
    TILES_0: tl.constexpr = (COLUMNS_0 + BLOCK_N - 1) // BLOCK_N
    TILES_1: tl.constexpr = (COLUMNS_1 + BLOCK_N - 1) // BLOCK_N
    EVEN: tl.constexpr = WIDTH % BLOCK_K == 0
    TOTAL: tl.constexpr = COLUMNS_0 + COLUMNS_1 + COLUMNS_2
    block = tl.program_id(1)
    weight, bias, columns, first = weight_0, bias_0, COLUMNS_0, 0
    if COLUMNS_1 > 0:
        if block >= TILES_0 + TILES_1:
            weight, bias, columns, first = weight_2, bias_2, COLUMNS_2, COLUMNS_0 + COLUMNS_1
            block -= TILES_0 + TILES_1
        elif block >= TILES_0:
            weight, bias, columns, first = weight_1, bias_1, COLUMNS_1, COLUMNS_0
            block -= TILES_0
    _fetch(weight, block, columns, WIDTH, BLOCK_N, OVERLAP)
    enter(OVERLAP)
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = block * BLOCK_N + tl.arange(0, BLOCK_N)
    total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for begin in range(0, WIDTH, BLOCK_K):
        at = begin + tl.arange(0, BLOCK_K)
        part = _rows_of(x, x_stride, row, at, rows, WIDTH, EVEN, UPCAST)
        other = _rows_of(weight, WIDTH, column, at, columns, WIDTH, EVEN, UPCAST)
        total = tl.dot(part, other.T, total)
    if bias_0 is not None:
        total += tl.load(bias + column, mask=column < columns, other=0.0).to(tl.float32)[None, :]
    at = row.to(tl.int64)[:, None] * TOTAL + (first + column)[None, :]
    tl.store(out + at, total.to(out.dtype.element_ty), mask=(row < rows)[:, None] & (column < columns)[None, :])


@triton.jit(do_not_specialize=["rows"])
def gated_kernel(
    x,
    x_stride,
    gate,
    up,
    out,
    rows,
    COLUMNS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    UPCAST: tl.constexpr,  # the interpreter cannot multiply bfloat16
    OVERLAP: tl.constexpr,
):
    """A tile of the gated product, from the same tile of both layers."""
    EVEN: tl.constexpr = WIDTH % BLOCK_K == 0
    dtype = out.dtype.element_ty
    _fetch(gate, tl.program_id(1), COLUMNS, WIDTH, BLOCK_N, OVERLAP)
    _fetch(up, tl.program_id(1), COLUMNS, WIDTH, BLOCK_N, OVERLAP)
    enter(OVERLAP)
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    opened = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for begin in range(0, WIDTH, BLOCK_K):
        at = begin + tl.arange(0, BLOCK_K)
        part = _rows_of(x, x_stride, row, at, rows, WIDTH, EVEN, UPCAST)
        opened = tl.dot(part, _rows_of(gate, WIDTH, column, at, COLUMNS, WIDTH, EVEN, UPCAST).T, opened)
        total = tl.dot(part, _rows_of(up, WIDTH, column, at, COLUMNS, WIDTH, EVEN, UPCAST).T, total)
    opened = opened.to(dtype).to(tl.float32)
    opened = (opened / (1.0 + tl.exp(-opened))).to(dtype).to(tl.float32)
    out_at = row.to(tl.int64)[:, None] * COLUMNS + column[None, :]
    value = opened * total.to(dtype).to(tl.float32)
    tl.store(out + out_at, value.to(dtype), mask=(row < rows)[:, None] & (column < COLUMNS)[None, :])
