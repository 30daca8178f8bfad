"""The peer that matters most: a strong split-KV paged decode kernel that knows nothing of sharing, in Triton.

Each program decodes one row's query heads of one KV head over one piece of the row's sequence; a second launch merges the
pieces. Rows are the fastest dimension of the grid, so that rows of one prompt pass over the same pages at the same time and
all but the first find them in L2. Tiles, warps, stages and the number of pieces are tuned for every shape by timing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import triton
import triton.language as tl

from bench.kernels.inputs import Inputs
from t2fast_kernels.timing import Call, measure

#: BLOCK_N, warps, stages. Half of the stages go to the page numbers that the loads of keys and values wait for: 3 keep one
#: block on its way while another is worked on, 5 two, 7 three.
TILES = [(32, 4, 5), (32, 4, 7), (64, 4, 3), (64, 4, 5), (64, 8, 5), (128, 8, 3), (128, 8, 5)]


@triton.jit
def decode_piece(
    q, k_cache, v_cache, tables, lens, out, partial, lse,
    chunk, scale_log2, table_stride, page_stride, slot_stride, head_stride,
    HEADS: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr, DIM_PADDED: tl.constexpr, PAGE: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, SINGLE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    kv_head = tl.program_id(1)
    piece = tl.program_id(2)
    member = tl.arange(0, BLOCK_M)
    d = tl.arange(0, DIM_PADDED)
    in_group = member < GROUP
    in_dim = d < DIM
    head = kv_head * GROUP + member
    at = (row * HEADS + head[:, None]) * DIM + d[None, :]
    queries = tl.load(q + at, mask=in_group[:, None] & in_dim[None, :], other=0.0)
    highest = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, DIM_PADDED], tl.float32)
    begin = piece * chunk
    end = tl.minimum(begin + chunk, tl.load(lens + row))
    for start in range(begin, end, BLOCK_N):
        token = start + tl.arange(0, BLOCK_N)
        there = token < end
        page = tl.load(tables + row * table_stride + token // PAGE, mask=there, other=0).to(tl.int64)
        place = page * page_stride + (token % PAGE) * slot_stride + kv_head * head_stride
        k = tl.load(k_cache + place[None, :] + d[:, None], mask=there[None, :] & in_dim[:, None], other=0.0)
        scores = tl.dot(queries, k, input_precision="ieee") * scale_log2
        scores = tl.where(there[None, :], scores, float("-inf"))
        risen = tl.maximum(highest, tl.max(scores, 1))
        weights = tl.exp2(scores - risen[:, None])
        fade = tl.exp2(highest - risen)
        total = total * fade + tl.sum(weights, 1)
        v = tl.load(v_cache + place[:, None] + d[None, :], mask=there[:, None] & in_dim[None, :], other=0.0)
        acc = tl.dot(weights.to(v.dtype), v, acc * fade[:, None], input_precision="ieee")
        highest = risen
    # A piece beyond the row's end has seen nothing and weighs nothing.
    acc = acc / tl.where(total > 0, total, 1.0)[:, None]
    if SINGLE:
        tl.store(out + at, acc.to(out.dtype.element_ty), mask=in_group[:, None] & in_dim[None, :])
    else:
        slot = (piece * tl.num_programs(0) + row) * HEADS + head
        tl.store(partial + slot[:, None].to(tl.int64) * DIM + d[None, :], acc, mask=in_group[:, None] & in_dim[None, :])
        tl.store(lse + slot, highest + tl.log2(total), mask=in_group)


@triton.jit
def merge_pieces(
    partial, lse, out, pieces, row_heads, DIM: tl.constexpr, DIM_PADDED: tl.constexpr
):  # fmt: skip
    row_head = tl.program_id(0)
    d = tl.arange(0, DIM_PADDED)
    highest = float("-inf")
    total = 0.0
    acc = tl.zeros([DIM_PADDED], tl.float32)
    for piece in range(pieces):
        slot = (piece * row_heads + row_head).to(tl.int64)
        level = tl.load(lse + slot)
        value = tl.load(partial + slot * DIM + d, mask=d < DIM, other=0.0)
        risen = tl.maximum(highest, level)
        fade = tl.exp2(highest - risen)
        weight = tl.exp2(level - risen)
        acc = acc * fade + value * weight
        total = total * fade + weight
        highest = risen
    tl.store(out + row_head * DIM + d, (acc / total).to(out.dtype.element_ty), mask=d < DIM)


def decoder(inputs: Inputs, tile: tuple[int, int, int], pieces: int) -> list[Call]:
    """One call per pair of caches, with a choice of tile and number of pieces."""
    shape, heads, q = inputs.shape, inputs.shape.heads, inputs.q
    block_n, warps, stages = tile
    length = shape.prefix + shape.suffix
    chunk = -(-length // (pieces * block_n)) * block_n
    pieces = -(-length // chunk)
    lens = torch.full((shape.rows,), length, dtype=torch.int32, device=inputs.device)
    padded = triton.next_power_of_2(heads.dim)
    form = (pieces, shape.rows, heads.query) if pieces > 1 else (0,)
    partial = torch.empty(*form, heads.dim, dtype=torch.float32, device=inputs.device)
    lse = torch.empty(form, dtype=torch.float32, device=inputs.device)
    scale_log2 = heads.dim**-0.5 * 1.4426950408889634

    def on(k: torch.Tensor, v: torch.Tensor) -> Callable[[], torch.Tensor]:
        def call() -> torch.Tensor:
            out = torch.empty_like(q)
            decode_piece[(shape.rows, heads.kv, pieces)](
                q, k, v, inputs.sequences, lens, out, partial, lse,
                chunk, scale_log2, inputs.sequences.stride(0), *k.stride()[:3],
                HEADS=heads.query, GROUP=heads.group, DIM=heads.dim, DIM_PADDED=padded, PAGE=inputs.page_size,
                BLOCK_M=max(16, triton.next_power_of_2(heads.group)), BLOCK_N=block_n, SINGLE=pieces == 1,
                num_warps=warps, num_stages=stages,
            )  # fmt: skip
            if pieces > 1:
                row_heads = shape.rows * heads.query
                merge_pieces[(row_heads,)](
                    partial, lse, out, pieces, row_heads, DIM=heads.dim, DIM_PADDED=padded, num_warps=2
                )
            return out

        return call

    return [on(k, v) for k, v in inputs.caches]


def tuned(inputs: Inputs) -> tuple[list[Call], str]:
    """The fastest of all tiles, and of one piece up to enough to fill the chip four times over, with cold caches."""
    if inputs.device.type != "cuda":
        return decoder(inputs, (32, 4, 2), 3), "untuned"
    processors = torch.cuda.get_device_properties(inputs.device).multi_processor_count
    programs = inputs.shape.rows * inputs.shape.heads.kv
    counts = [2**i for i in range(8) if i == 0 or programs * 2 ** (i - 1) < 4 * processors]
    best = None
    for tile in TILES:
        for pieces in counts:
            calls = decoder(inputs, tile, pieces)
            median = measure(calls, inputs.device, seconds=0.01, least=3).median
            if best is None or median < best[0]:
                best = median, calls, f"tile {tile[0]}, {tile[1]} warps, {tile[2]} stages, {pieces} pieces"
    assert best is not None
    return best[1], best[2]
