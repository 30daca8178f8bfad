"""The two launches of shared-prefix decoding.

Each keeps an online softmax per row and head (Milakov and Gimelshein 2018; Dao et al. 2022) in base 2: the largest
score m, the sum l of 2^(score - m), and that sum weighted by the values. Having seen nothing is m = LOWEST, l = 0.
"""

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

#: Smaller than any score, and finite, so that no difference of two infinities turns into NaN.
LOWEST = tl.constexpr(-3.0e38)
#: What changes from step to step, or from batch to batch: neither its value nor its alignment compiles anything anew.
_PLANNED = ("block_tables", "seq_lens", "rows", "tables_stride", "page_size", "window")


@triton.jit
def _soft_capped(x, cap):
    """``cap * tanh(x)``: a series near zero, where the quotient of exponentials would cancel."""
    square = x * x
    series = x * (1 + square * (-1 / 3 + square * (2 / 15 + square * (-17 / 315 + square * (62 / 2835)))))
    decay = tl.exp2(-2.8853900817779268 * tl.abs(x))
    quotient = (1 - decay) / (1 + decay)
    return cap * tl.where(tl.abs(x) < 0.2, series, tl.where(x < 0, -quotient, quotient))


@triton.jit
def _block(
    m, l, acc, x,
    k_cache, v_cache, k_stride_page, k_stride_slot, v_stride_page, v_stride_slot,
    pages, page_size, first, end,
    at, shift, window, scale, cap,
    HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr, PAGE: tl.constexpr,
    WINDOW: tl.constexpr, SOFT_CAP: tl.constexpr, UPCAST: tl.constexpr, LONG: tl.constexpr, SAME: tl.constexpr,
    POSITIVE: tl.constexpr, FAST: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """The state after reading the next BLOCK_N tokens; all of them are there if WHOLE, else those before ``end``."""
    dims = tl.arange(0, BLOCK_D)
    n = first + tl.arange(0, BLOCK_N)
    inside = n < end
    step = PAGE if PAGE > 0 else page_size  # a constant power of two divides by shifting
    page = tl.load(pages + n // step) if WHOLE else tl.load(pages + n // step, mask=inside, other=0)
    page = page.to(tl.int64) if LONG else page
    slot = (n % step).to(tl.int64) if LONG else n % step
    k_token = page * k_stride_page + slot * k_stride_slot
    v_token = k_token if SAME else page * v_stride_page + slot * v_stride_slot
    # Masks are computed for every element: a whole block of a head that fills its tile has none.
    if WHOLE and HEAD_DIM == BLOCK_D:
        k = tl.load(k_cache + k_token[:, None] + dims[None, :])
        v = tl.load(v_cache + v_token[:, None] + dims[None, :])
    else:
        there = (dims < HEAD_DIM)[None, :] if WHOLE else inside[:, None] & (dims < HEAD_DIM)[None, :]
        v = tl.load(v_cache + v_token[:, None] + dims[None, :], mask=there, other=0.0)
        if FAST:
            k = tl.load(k_cache + k_token[:, None] + dims[None, :], mask=there, other=0.0)
        else:
            there = inside[None, :] & (dims < HEAD_DIM)[:, None]
            k = tl.load(k_cache + k_token[None, :] + dims[:, None], mask=there, other=0.0)
    if FAST:  # keys lie like values, so that both share their tokens' addresses
        k = tl.trans(k)
    k = k.to(tl.float32) if UPCAST else k.to(x.dtype)
    if v.dtype.is_fp8() and (UPCAST or x.dtype != tl.float32):
        # float16 holds every float8, and weights eight times as precisely as bfloat16, whose rounding would show nearly
        # as much as that of the output. A weight below 2^-25 of the largest is lost.
        v = v.to(tl.float16)
    else:
        v = v.to(tl.float32) if UPCAST else v.to(x.dtype)
    scores = tl.dot(x, k, input_precision="ieee")
    if SOFT_CAP:
        scores = _soft_capped(scores * scale, cap)
    elif not POSITIVE:
        scores *= scale
    if WINDOW:
        visible = at[:, None] - (n + shift)[None, :] < window
        scores = tl.where(visible if WHOLE else visible & inside[None, :], scores, -float("inf"))
    elif not WHOLE:
        scores = tl.where(inside[None, :], scores, -float("inf"))
    if POSITIVE and not SOFT_CAP:  # the scale is applied in the same operation as the difference
        m_new = tl.maximum(m, tl.max(scores, 1) * scale)
        weights = tl.exp2(scores * scale - m_new[:, None])
    else:
        m_new = tl.maximum(m, tl.max(scores, 1))
        weights = tl.exp2(scores - m_new[:, None])
    decay = tl.exp2(m - m_new)
    l = l * decay + tl.sum(weights, 1)
    acc = tl.dot(weights.to(v.dtype), v, acc * decay[:, None], input_precision="ieee")
    return m_new, l, acc


@triton.jit
def _read(
    m, l, acc, x,
    k_cache, v_cache, k_stride_page, k_stride_slot, v_stride_page, v_stride_slot,
    pages, page_size, start, end,
    at, shift, window, scale, cap,
    HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr, PAGE: tl.constexpr,
    WINDOW: tl.constexpr, SOFT_CAP: tl.constexpr, UPCAST: tl.constexpr, LONG: tl.constexpr,
    SAME: tl.constexpr, POSITIVE: tl.constexpr, FAST: tl.constexpr,
):  # fmt: skip
    """The state after reading tokens start to end - 1; token n stands at position n + shift, the query at ``at``."""
    # What follows whole blocks is read with masks; where registers are short, everything is.
    if FAST:
        whole = start + tl.maximum(end - start, 0) // BLOCK_N * BLOCK_N
        for first in range(start, whole, BLOCK_N):
            m, l, acc = _block(
                m, l, acc, x, k_cache, v_cache, k_stride_page, k_stride_slot, v_stride_page, v_stride_slot,
                pages, page_size, first, end, at, shift, window, scale, cap,
                HEAD_DIM, BLOCK_D, BLOCK_N, PAGE, WINDOW, SOFT_CAP, UPCAST, LONG, SAME, POSITIVE, FAST, True,
            )  # fmt: skip
        if whole < end:
            m, l, acc = _block(
                m, l, acc, x, k_cache, v_cache, k_stride_page, k_stride_slot, v_stride_page, v_stride_slot,
                pages, page_size, whole, end, at, shift, window, scale, cap,
                HEAD_DIM, BLOCK_D, BLOCK_N, PAGE, WINDOW, SOFT_CAP, UPCAST, LONG, SAME, POSITIVE, FAST, False,
            )  # fmt: skip
    else:
        for first in range(start, end, BLOCK_N):
            m, l, acc = _block(
                m, l, acc, x, k_cache, v_cache, k_stride_page, k_stride_slot, v_stride_page, v_stride_slot,
                pages, page_size, first, end, at, shift, window, scale, cap,
                HEAD_DIM, BLOCK_D, BLOCK_N, PAGE, WINDOW, SOFT_CAP, UPCAST, LONG, SAME, POSITIVE, FAST, False,
            )  # fmt: skip
    return m, l, acc


@triton.jit
def _entry(items, item, n_items):
    """A work item: first entry in row_map, rows, table, begin, end, position of begin, first partial."""
    at, there = items + item * 8, item < n_items
    return (
        tl.load(at, mask=there, other=0),
        tl.load(at + 1, mask=there, other=0),
        tl.load(at + 2, mask=there, other=0),
        tl.load(at + 3, mask=there, other=0),
        tl.load(at + 4, mask=there, other=0),
        tl.load(at + 5, mask=there, other=0),
        tl.load(at + 6, mask=there, other=0),
    )


@triton.jit(do_not_specialize=[*_PLANNED, "counts", "items", "row_map", "n_rows"])
def prefix_kernel(
    q, k_cache, v_cache, block_tables, seq_lens, counts, items, row_map, rows, k_scale, partial_o, partial_lse,
    n_rows, q_stride_row, q_stride_head, tables_stride, page_size,
    k_stride_page, k_stride_slot, k_stride_head, v_stride_page, v_stride_slot, v_stride_head, k_scale_stride,
    window, scale, cap,
    N_Q_HEADS: tl.constexpr, GROUP: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, PAGE: tl.constexpr,
    WINDOW: tl.constexpr, SOFT_CAP: tl.constexpr, K_SCALE: tl.constexpr, UPCAST: tl.constexpr, LONG: tl.constexpr,
    SAME: tl.constexpr, POSITIVE: tl.constexpr, FAST: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Launch A, grid (KV heads, programs): pieces of prefixes for tiles of rows x query heads of a KV head."""
    if OVERLAP:
        gdc_launch_dependents()
    head = tl.program_id(0)
    member = tl.arange(0, BLOCK_M) // GROUP
    q_head = head * GROUP + tl.arange(0, BLOCK_M) % GROUP
    dims = tl.arange(0, BLOCK_D)
    if K_SCALE:
        scale *= tl.load(k_scale + head * k_scale_stride)
    if POSITIVE:
        scale = tl.maximum(scale, 1e-30)  # a scale of 0 must not meet what is masked with -inf
    # The first entry is read beside the number of entries, each other one while the one before is worked on.
    step = tl.num_programs(1)
    n_items = tl.load(counts)
    first_row, n_members, table, begin, end, position, partial_0 = _entry(items, tl.program_id(1), 2147483647)
    for item in range(tl.program_id(1), n_items, step):
        next_entry = _entry(items, item + step, n_items)
        shift = position - begin
        valid = member < n_members
        row = tl.load(row_map + first_row + member, mask=valid, other=0)
        valid &= row < n_rows
        mask = valid[:, None] & (dims < HEAD_DIM)[None, :]
        x = tl.load(
            q + row[:, None].to(tl.int64) * q_stride_row + q_head[:, None] * q_stride_head + dims[None, :],
            mask=mask,
            other=0.0,
        )
        x = x.to(tl.float32) if UPCAST else x
        at = row
        start = begin
        if WINDOW:
            row_begin = tl.load(rows + row * 4 + 1, mask=valid, other=0)
            row_position = tl.load(rows + row * 4 + 2, mask=valid, other=0)
            at = row_position + tl.load(seq_lens + row, mask=valid, other=0) - row_begin - 1
            # Whole blocks are left out, so that a row meets the same blocks whatever rows it shares a tile with.
            hidden = tl.min(tl.where(valid, at, 2147483647), 0) - window + 1 - (begin + shift)
            start = begin + tl.maximum(hidden, 0) // BLOCK_N * BLOCK_N
        m = tl.full([BLOCK_M], LOWEST, tl.float32)
        l = tl.zeros([BLOCK_M], tl.float32)
        acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
        m, l, acc = _read(
            m, l, acc, x,
            k_cache + head.to(tl.int64) * k_stride_head, v_cache + head.to(tl.int64) * v_stride_head,
            k_stride_page, k_stride_slot, v_stride_page, v_stride_slot,
            block_tables + table.to(tl.int64) * tables_stride, page_size, start, end,
            at, shift, window, scale, cap,
            HEAD_DIM, BLOCK_D, BLOCK_N, PAGE, WINDOW, SOFT_CAP, UPCAST, LONG, SAME, POSITIVE, FAST,
        )  # fmt: skip
        seen = l > 0
        partial = (partial_0 + member).to(tl.int64) * N_Q_HEADS + q_head
        tl.store(partial_lse + partial, tl.where(seen, m + tl.log2(tl.where(seen, l, 1.0)), -float("inf")), mask=valid)
        tl.store(
            partial_o + partial[:, None] * HEAD_DIM + dims[None, :], acc / tl.where(seen, l, 1.0)[:, None], mask=mask
        )
        first_row, n_members, table, begin, end, position, partial_0 = next_entry


@triton.jit(do_not_specialize=[*_PLANNED, "segments", "row_levels"])
def suffix_kernel(
    q, k_cache, v_cache, block_tables, seq_lens, segments, row_levels, rows,
    k_scale, v_scale, sinks, partial_o, partial_lse, out, lse,
    q_stride_row, q_stride_head, out_stride_row, out_stride_head, tables_stride, page_size,
    k_stride_page, k_stride_slot, k_stride_head, v_stride_page, v_stride_slot, v_stride_head,
    k_scale_stride, v_scale_stride, window, scale, cap, out_scale,
    N_Q_HEADS: tl.constexpr, GROUP: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, PAGE: tl.constexpr, LEVELS: tl.constexpr,
    FEW: tl.constexpr, PIECES: tl.constexpr,
    WINDOW: tl.constexpr, SOFT_CAP: tl.constexpr, K_SCALE: tl.constexpr, V_SCALE: tl.constexpr,
    SINKS: tl.constexpr, LSE: tl.constexpr, UPCAST: tl.constexpr, LONG: tl.constexpr,
    SAME: tl.constexpr, POSITIVE: tl.constexpr, FAST: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Launch B, grid (KV heads, rows): sinks, the row's own tokens, then prefixes: partial results or by itself."""
    head, row = tl.program_id(0), tl.program_id(1)
    lane = tl.arange(0, BLOCK_M)
    valid = lane < GROUP
    q_head = head * GROUP + lane
    dims = tl.arange(0, BLOCK_D)
    mask = valid[:, None] & (dims < HEAD_DIM)[None, :]
    if K_SCALE:
        scale *= tl.load(k_scale + head * k_scale_stride)
    if POSITIVE:
        scale = tl.maximum(scale, 1e-30)  # a scale of 0 must not meet what is masked with -inf
    x = tl.load(
        q + row.to(tl.int64) * q_stride_row + q_head[:, None] * q_stride_head + dims[None, :], mask=mask, other=0.0
    )
    x = x.to(tl.float32) if UPCAST else x
    table, row_begin = tl.load(rows + row * 4), tl.load(rows + row * 4 + 1)
    row_position, n_read = tl.load(rows + row * 4 + 2), tl.load(rows + row * 4 + 3)
    # A program this short spends its time waiting for one load after the other: what can be looked up early is.
    levels = row_levels + row * LEVELS * 4
    slot, distance, n_pieces = tl.load(levels), tl.load(levels + 1), tl.load(levels + 2)
    row_end = tl.where(table < 0, row_begin, tl.load(seq_lens + row))
    at = row_position + row_end - row_begin - 1 + tl.zeros([BLOCK_M], tl.int32)
    m = tl.full([BLOCK_M], LOWEST, tl.float32)
    l = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    if SINKS:
        # A sink of -inf is none.
        sink = tl.load(sinks + q_head, mask=valid, other=0.0) * 1.4426950408889634
        m = tl.maximum(sink, LOWEST)
        l = tl.exp2(sink - m)
    # Its own tokens come first, then the prefixes that it reads by itself, then partial results: with OVERLAP launch A
    # may still be at work on those. The order is the same without, and so is every bit.
    of_table, begin, end, position = tl.maximum(table, 0), row_begin, row_end, row_position
    for turn in range(n_read + 1):
        if turn > 0:
            segment = tl.load(levels + turn * 4 - 1)
            run = segments + tl.maximum(segment, 0) * 4
            of_table, begin, position = tl.load(run), tl.load(run + 1), tl.load(run + 3)
            end = tl.where(segment >= 0, tl.load(run + 2), begin)
        start = begin
        if WINDOW:
            start += tl.maximum(row_position + row_end - row_begin - window - position, 0) // BLOCK_N * BLOCK_N
        m, l, acc = _read(
            m, l, acc, x,
            k_cache + head.to(tl.int64) * k_stride_head, v_cache + head.to(tl.int64) * v_stride_head,
            k_stride_page, k_stride_slot, v_stride_page, v_stride_slot,
            block_tables + of_table.to(tl.int64) * tables_stride, page_size, start, end,
            at, position - begin, window, scale, cap,
            HEAD_DIM, BLOCK_D, BLOCK_N, PAGE, WINDOW, SOFT_CAP, UPCAST, LONG, SAME, POSITIVE, FAST,
        )  # fmt: skip
    if OVERLAP:
        gdc_wait()
    few = tl.arange(0, FEW)
    for level in range(1, LEVELS + 1):
        for first in range(0, n_pieces, PIECES):  # several at once, so that their loads are on their way together
            piece = first + tl.arange(0, PIECES)
            partial = (slot + piece * distance).to(tl.int64)[:, None] * N_Q_HEADS + (head * GROUP + few)[None, :]
            there = (piece < n_pieces)[:, None] & (few < GROUP)[None, :]
            m_pieces = tl.load(partial_lse + partial, mask=there, other=-float("inf"))
            o_pieces = tl.load(
                partial_o + partial[:, :, None] * HEAD_DIM + dims[None, None, :],
                mask=there[:, :, None] & (dims < HEAD_DIM)[None, None, :],
                other=0.0,
            )
            m_few = tl.maximum(tl.max(m_pieces, 0), LOWEST)
            weights = tl.exp2(m_pieces - m_few[None, :])
            # The tile's lanes beyond the group hold its rows once more, and are never stored.
            m_piece = tl.reshape(tl.broadcast_to(m_few[None, :], [BLOCK_M // FEW, FEW]), [BLOCK_M])
            l_piece = tl.reshape(tl.broadcast_to(tl.sum(weights, 0)[None, :], [BLOCK_M // FEW, FEW]), [BLOCK_M])
            o_few = tl.sum(o_pieces * weights[:, :, None], 0)
            o_piece = tl.reshape(tl.broadcast_to(o_few[None, :, :], [BLOCK_M // FEW, FEW, BLOCK_D]), [BLOCK_M, BLOCK_D])
            m_new = tl.maximum(m, m_piece)
            weight, decay = tl.exp2(m_piece - m_new), tl.exp2(m - m_new)
            l = l * decay + l_piece * weight
            acc = acc * decay[:, None] + o_piece * weight[:, None]
            m = m_new
        if level < LEVELS:
            levels += 4
            slot, distance, n_pieces = tl.load(levels), tl.load(levels + 1), tl.load(levels + 2)
    seen = l > 0
    if V_SCALE:
        out_scale *= tl.load(v_scale + head * v_scale_stride)
    l = tl.where(seen, l, 1.0)
    result = acc / l[:, None] * out_scale
    tl.store(
        out + row.to(tl.int64) * out_stride_row + q_head[:, None] * out_stride_head + dims[None, :],
        result.to(out.dtype.element_ty),
        mask=mask,
    )
    if LSE:
        total = tl.where(seen & (table >= 0), (m + tl.log2(l)) * 0.6931471805599453, -float("inf"))
        tl.store(lse + row.to(tl.int64) * N_Q_HEADS + q_head, total, mask=valid)
