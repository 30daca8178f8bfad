"""The mass of the tokens that top-k keeps."""

from __future__ import annotations

import triton
import triton.language as tl

from t2fast_kernels.triton.sample.row import begin, factor, setting, weigh


@triton.jit
def _ordered(x):
    """Integers in the order of the floats."""
    bits = x.to(tl.int32, bitcast=True)
    return tl.where(bits < 0, bits ^ 2147483647, bits)


@triton.jit
def _at_least(logits, logits_stride, vocab, n_chunks, groups, row, scale, top, key, QUADS: tl.constexpr):
    """Number and mass of a row's tokens from a level on, the level as an ordered integer."""
    level = tl.where(key < 0, key ^ 2147483647, key).to(tl.float32, bitcast=True)
    number, mass = 0.0, 0.0
    for chunk in range(n_chunks):
        quad = chunk * QUADS + tl.arange(0, QUADS)
        live = tl.load(groups + row * (n_chunks * (QUADS // 8)) + quad // 8) >= level
        if tl.max(live.to(tl.int32), 0) > 0:
            token = quad[:, None] * 4 + tl.arange(0, 4)[None, :]
            inside = live[:, None] & (token < vocab)
            x = tl.load(logits + row * logits_stride + token, mask=inside, other=float("-inf")).to(tl.float32)
            kept = inside & (x >= level)
            number += tl.sum(tl.sum(kept.to(tl.float32), 1), 0)
            mass += tl.sum(tl.sum(tl.where(kept, weigh(x - top, scale), 0.0), 1), 0)
    return number, mass


@triton.jit(do_not_specialize=["temperature", "top_k"])
def share_kernel(
    logits,
    logits_stride,
    vocab,
    n_chunks,
    temperature,
    top_k,
    groups,
    live,  # [rows, HELD]: scratch
    shares,  # -1 where top-k keeps all
    QUADS: tl.constexpr,
    GROUPS: tl.constexpr,
    HELD: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """One row: the mass of the tokens that top-k keeps, by bisection over the floats.

    The k-th largest of the maxima of 32 tokens is a lower bound of the k-th largest logit, mostly the logit itself. The
    groups that reach it, about k, are gathered and searched in registers; more than HELD are read once a step.
    """
    if OVERLAP:
        begin()
    row = tl.program_id(0).to(tl.int64)
    scale = factor(setting(temperature, row))
    k = setting(top_k, row)
    n_groups = n_chunks * (QUADS // 8)
    group = tl.arange(0, GROUPS)
    maxima = tl.load(groups + row * n_groups + group, mask=group < n_groups, other=float("-inf"))
    top = tl.max(maxima, 0)
    mass = -1.0
    if (k >= 1) & (k < vocab):
        keys = _ordered(maxima)
        # At least k are >= low, fewer than k are >= high; once exactly k are, that level will do.
        low, high = _ordered(tl.full([], float("-inf"), tl.float32)).to(tl.int64), _ordered(top).to(tl.int64) + 1
        highest = high
        while high - low > 1:
            middle = low + (high - low) // 2
            number = tl.sum((keys >= middle.to(tl.int32)).to(tl.float32), 0)
            low = tl.where(number >= k, middle, low)
            high = tl.where(number >= k, tl.where(number == k, low + 1, high), middle)
        reached = (keys >= low.to(tl.int32)) & (group < n_groups)
        n_live = tl.sum(reached.to(tl.int32), 0)
        high = highest
        if n_live <= HELD:
            tl.store(live + row * HELD + tl.cumsum(reached.to(tl.int32), 0) - 1, group, mask=reached)
            tl.debug_barrier()
            rank = tl.arange(0, HELD)
            member = tl.load(live + row * HELD + rank, mask=rank < n_live, other=0)
            token = member[:, None] * 32 + tl.arange(0, 32)[None, :]
            inside = (rank < n_live)[:, None] & (token < vocab)
            x = tl.load(logits + row * logits_stride + token, mask=inside, other=float("-inf")).to(tl.float32)
            token_keys = _ordered(x)
            while high - low > 1:
                middle = low + (high - low) // 2
                number = tl.sum(tl.sum((inside & (token_keys >= middle.to(tl.int32))).to(tl.float32), 1), 0)
                low = tl.where(number >= k, middle, low)
                high = tl.where(number >= k, tl.where(number == k, low + 1, high), middle)
            kept = inside & (token_keys >= low.to(tl.int32))
            mass = tl.sum(tl.sum(tl.where(kept, weigh(x - top, scale), 0.0), 1), 0)
        else:
            number, mass = _at_least(
                logits, logits_stride, vocab, n_chunks, groups, row, scale, top, low.to(tl.int32), QUADS
            )
            high = tl.where(number == k, low + 1, highest)
            while high - low > 1:
                middle = low + (high - low) // 2
                number, part = _at_least(
                    logits, logits_stride, vocab, n_chunks, groups, row, scale, top, middle.to(tl.int32), QUADS
                )
                mass = tl.where(number >= k, part, mass)
                low = tl.where(number >= k, middle, low)
                high = tl.where(number >= k, tl.where(number == k, low + 1, high), middle)
    tl.store(shares + row, mass)
