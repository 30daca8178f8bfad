"""The most likely tokens of each row."""

from __future__ import annotations

import triton
import triton.language as tl

from t2fast_kernels.triton.sample.row import begin, factor, log, setting

_NO_TOKEN = tl.constexpr(2147483647)


@triton.jit(do_not_specialize=["temperature", "n_top", "rows"])
def top_kernel(
    logits,
    logits_stride,
    vocab,
    n_chunks,
    temperature,
    groups,
    stats,
    rows,
    n_top,
    top_tokens,
    top_logprobs,
    QUADS: tl.constexpr,
    GROUPS: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """One row: its most likely tokens one after the other, equal ones by index."""
    if OVERLAP:
        begin()
    row = tl.program_id(0).to(tl.int64)
    scale = factor(setting(temperature, row))
    top, total = tl.load(stats + row), tl.load(stats + rows + row)
    n_groups = n_chunks * (QUADS // 8)
    group = tl.arange(0, GROUPS)
    maxima = tl.load(groups + row * n_groups + group, mask=group < n_groups, other=float("-inf"))
    last, last_token = float("inf"), -1
    for rank in range(n_top):
        level = tl.max(maxima, 0)
        first = tl.min(tl.where(maxima == level, group, GROUPS - 1), 0)
        token = first * 32 + tl.arange(0, 32)
        x = tl.load(logits + row * logits_stride + token, mask=token < vocab, other=float("-inf")).to(tl.float32)
        beyond = tl.where(level < last, -1, last_token)
        found_token = tl.min(tl.where((x == level) & (token > beyond), token, _NO_TOKEN), 0)
        after = (x < level) | ((x == level) & (token > found_token))
        maxima = tl.where(group == first, tl.max(tl.where(after, x, float("-inf")), 0), maxima)
        last, last_token = level, found_token
        possible = (total > 0) & (level > float("-inf"))
        tl.store(top_tokens + row * n_top + rank, tl.where(possible, found_token, -1).to(tl.int64))
        worth = tl.where(possible, (level - top) * scale - log(total), float("-inf"))
        tl.store(top_logprobs + row * n_top + rank, tl.where(total != total, total, worth))
