"""Shared-prefix decode attention in plain PyTorch: what the kernels compute, in the order in which they do it.

Like the kernels it first decodes each prefix once for all rows that share it, leaving one partial result per row and piece
of a prefix, and then starts each row from its partials and adds what the row reads alone. It is the operator on CPU tensors,
so it makes few calls, never loops over rows, and copies a shared prefix only where its pages are scattered.

A partial result, or state, is ``(m, l, o)``: the largest score, the sum of ``exp(score - m)`` and the sum of
``exp(score - m) value``, all fp32. A state that has seen nothing has ``m = LOWEST, l = 0, o = 0``: finite, so that no
difference of two infinities turns into NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor

State = tuple[Tensor, Tensor, Tensor]

LOWEST = torch.finfo(torch.float32).min
#: Elements of K gathered at a time for rows that read alone: small enough to stay in the cache until it is used.
GATHERED = 1 << 20


def prefix_decode(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    tables: Tensor,
    lens: Tensor,
    counts: Tensor,
    items: Tensor,
    row_map: Tensor,
    segments: Tensor,
    row_levels: Tensor,
    rows: Tensor,
    k_scale: Tensor | None,
    v_scale: Tensor | None,
    sinks: Tensor | None,
    scale: float,
    out_scale: float,
    window: int,
    soft_cap: float,
) -> tuple[Tensor, Tensor]:
    """Output like ``q`` and log-sum-exp ``[n_rows, n_q_heads]`` (fp32); arguments as in the operator ``t2fast::prefix_decode``."""
    n_rows, n_q_heads, head_dim = q.shape
    n_kv_heads = k_cache.shape[2]
    n_items, _, n_partials, _ = counts.tolist()
    queries = (q.float() * scale).view(n_rows, n_kv_heads, n_q_heads // n_kv_heads, head_dim)
    if k_scale is not None:
        queries = queries * k_scale[:, None, None]
    table, begin, position, _ = rows[:n_rows].unbind(1)
    end = torch.where(table < 0, begin, lens[:n_rows])
    at = position + end - begin - 1  # where each row's query stands

    def weigh(scores: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
        """The largest score, kept as a last dimension; ``scores`` become ``exp(score - m)`` in place."""
        if soft_cap > 0:
            scores.div_(soft_cap).tanh_().mul_(soft_cap)
        if hidden is not None:
            scores.masked_fill_(hidden, -torch.inf)
        m = scores.amax(-1, keepdim=True).clamp_(min=LOWEST)
        return m, scores.sub_(m).exp_()

    # Launch A: pieces of prefixes, each for all its rows at once. One slot more stands for "no partial".
    partials = _nothing(queries, n_partials + 1)
    for first, n, of_table, run_begin, run_end, run_position, slot, _ in items[:n_items].tolist():
        members = row_map[first : first + n]
        x = queries.index_select(0, members).transpose(0, 1).reshape(n_kv_heads, -1, head_dim)
        k, v = (_run(cache, tables[of_table], run_begin, run_end) for cache in (k_cache, v_cache))
        scores = torch.bmm(x, k.permute(1, 2, 0))
        hidden = None
        if window:
            seen_at = torch.arange(run_position, run_position + run_end - run_begin)
            hidden = (at[members, None] - seen_at >= window).repeat_interleave(n_q_heads // n_kv_heads, 0)
        m, weights = weigh(scores, hidden)
        state = (m, weights.sum(-1, keepdim=True), torch.bmm(weights, v.transpose(0, 1)))
        for partial, value in zip(partials, state, strict=True):
            partial[slot : slot + n] = value.view(n_kv_heads, n, -1, value.shape[-1]).transpose(0, 1)

    # Launch B: each row starts from the sinks and its partials, in the order of the levels, then reads the rest itself.
    state = _nothing(queries, n_rows)
    if sinks is not None:
        state[0].copy_(sinks.view(n_kv_heads, -1, 1))
        state[1].fill_(1)

    def alone(state: State, table: Tensor, begin: Tensor, end: Tensor, position: Tensor) -> State:
        """The state after each row has read a run of its own."""
        longest = int((end - begin).max()) if n_rows else 0
        if longest <= 0:
            return state
        page = k_cache.shape[1]
        offset = begin % page
        n_pages = (int((offset + end - begin).max()) + page - 1) // page
        # Within one page only the slots in use are read: contiguous caches are one long page per row.
        used = end > begin
        low, high = (int(offset[used].min()), int((offset + end - begin)[used].max())) if n_pages == 1 else (0, page)
        column = (begin // page)[:, None] + torch.arange(n_pages)
        pages = tables[table.clamp(min=0)[:, None], column.clamp(max=tables.shape[1] - 1)]
        pages = torch.where(column * page < end[:, None], pages, 0)
        token = torch.arange(n_pages * (high - low)) + low - offset[:, None]
        hidden = (token < 0) | (token >= (end - begin)[:, None])
        if window:
            hidden |= (at - position)[:, None] - token >= window
        step = max(1, GATHERED // (token.shape[1] * n_kv_heads * head_dim))
        pieces = []
        for r in range(0, n_rows, step):
            x, ids, unseen = queries[r : r + step], pages[r : r + step], hidden[r : r + step]
            scores = x.new_empty(*x.shape[:-1], unseen.shape[1])
            k = _gather(k_cache[:, low:high], ids)
            for head in range(n_kv_heads):  # a product per head reads K in place; one over all heads would copy it
                torch.bmm(x[:, head], k[:, :, head].transpose(1, 2), out=scores[:, head])
            m, weights = weigh(scores, unseen[:, None, None])
            # What lies beyond a row's end is not its own and may be anything, NaN included.
            v = _gather(v_cache[:, low:high], ids).masked_fill_(unseen[:, :, None, None], 0)
            o = torch.empty_like(x)
            for head in range(n_kv_heads):
                torch.bmm(weights[:, head], v[:, :, head], out=o[:, head])
            pieces.append((m, weights.sum(-1, keepdim=True), o))
        read = pieces[0] if len(pieces) == 1 else tuple(torch.cat(parts) for parts in zip(*pieces, strict=True))
        return _merge(state, (read[0], read[1], read[2]))

    for slot, step, n_splits, segment in row_levels[:n_rows].permute(1, 2, 0):
        for i in range(int(n_splits.max()) if n_rows else 0):
            of_row = torch.where(i < n_splits, slot + i * step, n_partials)
            state = _merge(state, (partials[0][of_row], partials[1][of_row], partials[2][of_row]))
        runs = segments[segment.clamp(min=0)]
        itself = (segment >= 0) & (n_splits == 0) & (table >= 0)
        state = alone(state, runs[:, 0], runs[:, 1], torch.where(itself, runs[:, 2], runs[:, 1]), runs[:, 3])
    m, l, o = alone(state, table, begin, end, position)

    out = o / torch.where(l == 0, 1, l) * out_scale
    if v_scale is not None:
        out = out * v_scale[:, None, None]
    lse = torch.where((l == 0) | (table < 0)[:, None, None, None], -torch.inf, m + l.log())
    return out.view_as(q).to(q.dtype), lse.view(n_rows, n_q_heads)


def _nothing(like: Tensor, n: int) -> State:
    """``n`` states that have seen nothing."""
    shape = (n, *like.shape[1:3], 1)
    return like.new_full(shape, LOWEST), like.new_zeros(shape), like.new_zeros(n, *like.shape[1:])


def _merge(a: State, b: State) -> State:
    """The state of the union of two disjoint sets of tokens."""
    m = torch.maximum(a[0], b[0])
    wa, wb = (a[0] - m).exp_(), (b[0] - m).exp_()
    return m, a[1] * wa + b[1] * wb, a[2] * wa + b[2] * wb


def _gather(cache: Tensor, pages: Tensor) -> Tensor:
    """fp32 ``[n, tokens, n_kv_heads, head_dim]`` from page ids ``[n, pages]``."""
    raw = cache.view(torch.uint8) if cache.element_size() == 1 else cache  # fp8 cannot be indexed
    taken = raw.index_select(0, pages.reshape(-1)).view(cache.dtype)
    return taken.view(pages.shape[0], -1, *cache.shape[2:]).float()


def _run(cache: Tensor, pages: Tensor, begin: int, end: int) -> Tensor:
    """fp32 ``[end - begin, n_kv_heads, head_dim]``: tokens of one row of the tables; a view where its pages lie in a row."""
    page = cache.shape[1]
    ids = pages[begin // page : (end + page - 1) // page]
    low = begin % page
    first = int(ids[0])
    if len(ids) == 1 or bool((ids[1:] - ids[:-1] == 1).all()):
        taken = cache[first : first + len(ids)].flatten(0, 1)[low : low + end - begin].float()
        return taken
    return _gather(cache, ids[None])[0, low : low + end - begin]
