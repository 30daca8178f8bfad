"""The two launches of shared-prefix decoding.

Each keeps an online softmax per row and head (Milakov and Gimelshein 2018; Dao et al. 2022) in base 2: the largest
score m, the sum l of 2^(score - m), and that sum weighted by the values. Having seen nothing is m = LOWEST, l = 0.
"""

import triton
import triton.language as tl

#: Smaller than any score, and finite, so that no difference of two infinities turns into NaN.
LOWEST = tl.constexpr(-3.0e38)


@triton.jit
def _soft_capped(x, cap):
    """``cap * tanh(x)``: a series near zero, where the quotient of exponentials would cancel."""
    square = x * x
    series = x * (1 + square * (-1 / 3 + square * (2 / 15 + square * (-17 / 315 + square * (62 / 2835)))))
    decay = tl.exp2(-2.8853900817779268 * tl.abs(x))
    quotient = (1 - decay) / (1 + decay)
    return cap * tl.where(tl.abs(x) < 0.2, series, tl.where(x < 0, -quotient, quotient))


@triton.jit
def _read(
    m, l, acc, x,
    k_cache, v_cache, k_stride_page, k_stride_slot, v_stride_page, v_stride_slot,
    pages, page_size, start, end,
    at, shift, window, scale, cap,
    HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr, PAGE: tl.constexpr,
    WINDOW: tl.constexpr, SOFT_CAP: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """The state after reading tokens start to end - 1; token n stands at position n + shift, the query at ``at``."""
    dims = tl.arange(0, BLOCK_D)
    for first in range(start, end, BLOCK_N):
        n = first + tl.arange(0, BLOCK_N)
        inside = n < end
        if PAGE > 0:  # a constant power of two divides by shifting
            page = tl.load(pages + n // PAGE, mask=inside, other=0).to(tl.int64)
            slot = n % PAGE
        else:
            page = tl.load(pages + n // page_size, mask=inside, other=0).to(tl.int64)
            slot = n % page_size
        k_token = page * k_stride_page + slot * k_stride_slot
        v_token = page * v_stride_page + slot * v_stride_slot
        if HEAD_DIM == BLOCK_D:
            k_mask = inside[None, :]
            v_mask = inside[:, None]
        else:
            k_mask = inside[None, :] & (dims < HEAD_DIM)[:, None]
            v_mask = inside[:, None] & (dims < HEAD_DIM)[None, :]
        k = tl.load(k_cache + k_token[None, :] + dims[:, None], mask=k_mask, other=0.0)
        v = tl.load(v_cache + v_token[:, None] + dims[None, :], mask=v_mask, other=0.0)
        k = k.to(tl.float32) if UPCAST else k.to(x.dtype)
        v = v.to(tl.float32) if UPCAST else v.to(x.dtype)
        scores = tl.dot(x, k, input_precision="ieee") * scale
        if SOFT_CAP:
            scores = _soft_capped(scores, cap)
        visible = inside[None, :]
        if WINDOW:
            visible = visible & (at[:, None] - (n + shift)[None, :] < window)
        scores = tl.where(visible, scores, -float("inf"))
        m_new = tl.maximum(m, tl.max(scores, 1))
        weights = tl.exp2(scores - m_new[:, None])
        decay = tl.exp2(m - m_new)
        l = l * decay + tl.sum(weights, 1)
        acc = tl.dot(weights.to(v.dtype), v, acc * decay[:, None], input_precision="ieee")
        m = m_new
    return m, l, acc


@triton.jit
def prefix_kernel(
    q, k_cache, v_cache, block_tables, seq_lens, counts, items, row_map, rows, k_scale, partial_o, partial_lse,
    n_rows, q_stride_row, q_stride_head, tables_stride, page_size,
    k_stride_page, k_stride_slot, k_stride_head, v_stride_page, v_stride_slot, v_stride_head, k_scale_stride,
    window, scale, cap,
    N_Q_HEADS: tl.constexpr, GROUP: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, PAGE: tl.constexpr,
    WINDOW: tl.constexpr, SOFT_CAP: tl.constexpr, K_SCALE: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Launch A, grid (KV heads, programs): pieces of prefixes for tiles of rows x query heads of a KV head."""
    head = tl.program_id(0)
    member = tl.arange(0, BLOCK_M) // GROUP
    q_head = head * GROUP + tl.arange(0, BLOCK_M) % GROUP
    dims = tl.arange(0, BLOCK_D)
    if K_SCALE:
        scale *= tl.load(k_scale + head * k_scale_stride)
    for item in range(tl.program_id(1), tl.load(counts), tl.num_programs(1)):
        entry = items + item * 8
        begin, end = tl.load(entry + 3), tl.load(entry + 4)
        shift = tl.load(entry + 5) - begin
        valid = member < tl.load(entry + 1)
        row = tl.load(row_map + tl.load(entry) + member, mask=valid, other=0)
        valid &= row < n_rows
        mask = valid[:, None] & (dims < HEAD_DIM)[None, :]
        x = tl.load(
            q + row[:, None] * q_stride_row + q_head[:, None] * q_stride_head + dims[None, :], mask=mask, other=0.0
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
            k_cache + head * k_stride_head, v_cache + head * v_stride_head,
            k_stride_page, k_stride_slot, v_stride_page, v_stride_slot,
            block_tables + tl.load(entry + 2).to(tl.int64) * tables_stride, page_size, start, end,
            at, shift, window, scale, cap,
            HEAD_DIM, BLOCK_D, BLOCK_N, PAGE, WINDOW, SOFT_CAP, UPCAST,
        )  # fmt: skip
        seen = l > 0
        partial = (tl.load(entry + 6) + member).to(tl.int64) * N_Q_HEADS + q_head
        tl.store(partial_lse + partial, tl.where(seen, m + tl.log2(tl.where(seen, l, 1.0)), -float("inf")), mask=valid)
        tl.store(
            partial_o + partial[:, None] * HEAD_DIM + dims[None, :], acc / tl.where(seen, l, 1.0)[:, None], mask=mask
        )


@triton.jit
def suffix_kernel(
    q, k_cache, v_cache, block_tables, seq_lens, segments, row_levels, rows,
    k_scale, v_scale, sinks, partial_o, partial_lse, out, lse,
    q_stride_row, q_stride_head, out_stride_row, out_stride_head, tables_stride, page_size,
    k_stride_page, k_stride_slot, k_stride_head, v_stride_page, v_stride_slot, v_stride_head,
    k_scale_stride, v_scale_stride, window, scale, cap, out_scale,
    N_Q_HEADS: tl.constexpr, GROUP: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, PAGE: tl.constexpr, LEVELS: tl.constexpr,
    WINDOW: tl.constexpr, SOFT_CAP: tl.constexpr, K_SCALE: tl.constexpr, V_SCALE: tl.constexpr,
    SINKS: tl.constexpr, LSE: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Launch B, grid (KV heads, rows): sinks, partial results in the order of the levels, what the row reads alone."""
    head, row = tl.program_id(0), tl.program_id(1)
    lane = tl.arange(0, BLOCK_M)
    valid = lane < GROUP
    q_head = head * GROUP + lane
    dims = tl.arange(0, BLOCK_D)
    mask = valid[:, None] & (dims < HEAD_DIM)[None, :]
    if K_SCALE:
        scale *= tl.load(k_scale + head * k_scale_stride)
    x = tl.load(q + row * q_stride_row + q_head[:, None] * q_stride_head + dims[None, :], mask=mask, other=0.0)
    x = x.to(tl.float32) if UPCAST else x
    table, row_begin = tl.load(rows + row * 4), tl.load(rows + row * 4 + 1)
    row_position = tl.load(rows + row * 4 + 2)
    row_end = tl.where(table < 0, row_begin, tl.load(seq_lens + row))
    at = row_position + row_end - row_begin - 1 + tl.zeros([BLOCK_M], tl.int32)
    m = tl.full([BLOCK_M], LOWEST, tl.float32)
    l = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    if SINKS:
        m = tl.load(sinks + q_head, mask=valid, other=0.0) * 1.4426950408889634
        l += 1.0
    for level in range(LEVELS + 1):
        of_table, begin, end, position = tl.maximum(table, 0), row_begin, row_end, row_position
        if level < LEVELS:
            entry = row_levels + (row * LEVELS + level) * 4
            slot, distance, n_pieces, segment = (
                tl.load(entry),
                tl.load(entry + 1),
                tl.load(entry + 2),
                tl.load(entry + 3),
            )
            for i in range(n_pieces):
                partial = (slot + i * distance).to(tl.int64) * N_Q_HEADS + q_head
                m_piece = tl.load(partial_lse + partial, mask=valid, other=-float("inf"))
                o_piece = tl.load(partial_o + partial[:, None] * HEAD_DIM + dims[None, :], mask=mask, other=0.0)
                m_new = tl.maximum(m, m_piece)
                weight = tl.exp2(m_piece - m_new)
                decay = tl.exp2(m - m_new)
                l = l * decay + weight
                acc = acc * decay[:, None] + o_piece * weight[:, None]
                m = m_new
            run = segments + tl.maximum(segment, 0) * 4
            of_table, begin, position = tl.load(run), tl.load(run + 1), tl.load(run + 3)
            end = tl.where((segment >= 0) & (n_pieces == 0), tl.load(run + 2), begin)
        start = begin
        if WINDOW:
            start += tl.maximum(row_position + row_end - row_begin - window - position, 0) // BLOCK_N * BLOCK_N
        m, l, acc = _read(
            m, l, acc, x,
            k_cache + head * k_stride_head, v_cache + head * v_stride_head,
            k_stride_page, k_stride_slot, v_stride_page, v_stride_slot,
            block_tables + of_table.to(tl.int64) * tables_stride, page_size, start, end,
            at, position - begin, window, scale, cap,
            HEAD_DIM, BLOCK_D, BLOCK_N, PAGE, WINDOW, SOFT_CAP, UPCAST,
        )  # fmt: skip
    seen = l > 0
    if V_SCALE:
        out_scale *= tl.load(v_scale + head * v_scale_stride)
    l = tl.where(seen, l, 1.0)
    result = acc / l[:, None] * out_scale
    tl.store(
        out + row * out_stride_row + q_head[:, None] * out_stride_head + dims[None, :],
        result.to(out.dtype.element_ty),
        mask=mask,
    )
    if LSE:
        total = tl.where(seen & (table >= 0), (m + tl.log2(l)) * 0.6931471805599453, -float("inf"))
        tl.store(lse + row * N_Q_HEADS + q_head, total, mask=valid)
