"""Writing new keys and values into a paged cache, the heads' norms and rotary embedding included."""

from __future__ import annotations

import triton
import triton.language as tl

from t2fast_kernels.triton.rms_norm import enter, scaled


@triton.jit
def _store(x, scale, head, cache, at, mask, LARGEST: tl.constexpr):
    """Divide by the scale (of the head, or of all) and round to the cache's type, saturating if it is a float8."""
    if scale is not None:
        x = tl.div_rn(x, tl.load(scale + head, mask=mask, other=1.0))
    if LARGEST > 0:
        x = tl.minimum(tl.maximum(x, -LARGEST), LARGEST)
    tl.store(cache + at, x.to(cache.dtype.element_ty), mask=mask)


@triton.jit
def _inverse(source, norm, head, dim, eps, HEADS: tl.constexpr, DIM: tl.constexpr):
    """The inverse of each head's root mean square; 1 without a norm."""
    inverse = tl.full([1, 1], 1.0, tl.float32)
    if norm is not None:
        x = tl.load(source + dim, mask=(head < HEADS) & (dim < DIM), other=0.0).to(tl.float32)
        inverse = tl.rsqrt(tl.sum(x * x, 1) * (1 / DIM) + eps)[:, None]
    return inverse


@triton.jit
def _load(source, at, mask, norm, inverse):
    """Some dimensions of heads in fp32, normalised."""
    x = tl.load(source + at, mask=mask, other=0.0)
    if norm is not None:
        x = scaled(x.to(tl.float32), inverse, tl.load(norm + at, mask=mask, other=0.0), x.dtype)
    return x.to(tl.float32)


@triton.jit(do_not_specialize=["page_size", "block_tables", "table_stride", "row_table", "index", "positions"])
def append_kernel(
    k,
    k_token_stride,
    k_head_stride,
    v,
    v_token_stride,
    v_head_stride,
    k_cache,
    k_page_stride,
    k_slot_stride,
    k_cache_head_stride,
    v_cache,
    v_page_stride,
    v_slot_stride,
    v_cache_head_stride,
    page_size,
    block_tables,
    table_stride,
    row_table,
    index,
    positions,  # None: each token has its own row of cos and sin
    cos,  # None: no rotary embedding
    sin,
    turn_stride,
    k_scale,
    v_scale,
    q,  # None: nothing but keys and values
    q_token_stride,
    q_head_stride,
    q_out,
    q_norm,  # None: heads are not normalised
    k_norm,
    eps,
    KV_HEADS: tl.constexpr,
    Q_HEADS: tl.constexpr,
    PER_HEAD_K: tl.constexpr,  # whether scales are per head
    PER_HEAD_V: tl.constexpr,
    LARGEST: tl.constexpr,
    DIM: tl.constexpr,
    HALF: tl.constexpr,  # half the rotary dimension
    BLOCK_HEADS: tl.constexpr,
    BLOCK_HALF: tl.constexpr,
    BLOCK_DIM: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """A few heads of one token: first come the KV heads' programs, then those of the query heads."""
    enter(OVERLAP)
    token = tl.program_id(0).to(tl.int64)
    KV_BLOCKS: tl.constexpr = (KV_HEADS + BLOCK_HEADS - 1) // BLOCK_HEADS
    block = tl.program_id(1)
    slot = tl.load(index + token)
    dim = tl.arange(0, BLOCK_DIM)[None, :]
    half = tl.arange(0, BLOCK_HALF)[None, :]
    if cos is not None:
        position = token
        if positions is not None:
            # Tokens that are skipped may carry any position.
            position = tl.where(slot >= 0, tl.load(positions + token), 0).to(tl.int64)
        turn_cos = tl.load(cos + position * turn_stride + half, mask=half < HALF, other=1.0).to(tl.float32)
        turn_sin = tl.load(sin + position * turn_stride + half, mask=half < HALF, other=0.0).to(tl.float32)
    if block < KV_BLOCKS:
        if slot >= 0:
            head = (block * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)[:, None]).to(tl.int64)
            table = tl.load(row_table + token).to(tl.int64)
            page = tl.load(block_tables + table * table_stride + slot // page_size).to(tl.int64)
            k_at = page * k_page_stride + (slot % page_size).to(tl.int64) * k_slot_stride + head * k_cache_head_stride
            v_at = page * v_page_stride + (slot % page_size).to(tl.int64) * v_slot_stride + head * v_cache_head_stride
            k_head, v_head = head if PER_HEAD_K else head * 0, head if PER_HEAD_V else head * 0
            source = k + token * k_token_stride + head * k_head_stride
            inverse = _inverse(source, k_norm, head, dim, eps, KV_HEADS, DIM)
            if cos is not None:
                mask = (head < KV_HEADS) & (half < HALF)
                first = _load(source, half, mask, k_norm, inverse)
                second = _load(source, HALF + half, mask, k_norm, inverse)
                turned = first * turn_cos - second * turn_sin
                _store(turned, k_scale, k_head, k_cache, k_at + half, mask, LARGEST)
                turned = second * turn_cos + first * turn_sin
                _store(turned, k_scale, k_head, k_cache, k_at + HALF + half, mask, LARGEST)
            if 2 * HALF < DIM:
                mask = (head < KV_HEADS) & (dim >= 2 * HALF) & (dim < DIM)
                kept = _load(source, dim, mask, k_norm, inverse)
                _store(kept, k_scale, k_head, k_cache, k_at + dim, mask, LARGEST)
            mask = (head < KV_HEADS) & (dim < DIM)
            value = tl.load(v + token * v_token_stride + head * v_head_stride + dim, mask=mask, other=0.0).to(
                tl.float32
            )
            _store(value, v_scale, v_head, v_cache, v_at + dim, mask, LARGEST)
    elif q is not None:
        head = ((block - KV_BLOCKS) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)[:, None]).to(tl.int64)
        source = q + token * q_token_stride + head * q_head_stride
        at = (token * Q_HEADS + head) * DIM
        dtype = q_out.dtype.element_ty
        inverse = _inverse(source, q_norm, head, dim, eps, Q_HEADS, DIM)
        if cos is not None:
            mask = (head < Q_HEADS) & (half < HALF)
            first = _load(source, half, mask, q_norm, inverse)
            second = _load(source, HALF + half, mask, q_norm, inverse)
            tl.store(q_out + at + half, (first * turn_cos - second * turn_sin).to(dtype), mask=mask)
            tl.store(q_out + at + HALF + half, (second * turn_cos + first * turn_sin).to(dtype), mask=mask)
        if 2 * HALF < DIM:
            mask = (head < Q_HEADS) & (dim >= 2 * HALF) & (dim < DIM)
            tl.store(q_out + at + dim, _load(source, dim, mask, q_norm, inverse).to(dtype), mask=mask)
