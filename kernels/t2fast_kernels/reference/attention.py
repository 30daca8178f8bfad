"""Shared-prefix decode attention in plain PyTorch: what the kernels compute, in the order in which they do it.

Like the kernels it first decodes each prefix once for all rows that share it, leaving one partial result per row and
piece of a prefix, and then reads each row's own tokens and merges its partials. It is the operator on
CPU tensors, so it makes few calls, never loops over rows, and copies a prefix only where its pages are scattered.

A partial result, or state, is ``(m, l, o)``, each fp32 ``[n_kv_heads, n, group, 1 or head_dim]``: the largest score,
the sum of ``exp(score - m)`` and the sum of ``exp(score - m) value``. A state that has seen nothing has ``m = LOWEST,
l = 0, o = 0``: finite, so that no difference of two infinities turns into NaN.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from t2fast_kernels.calls import DecodeCall
from t2fast_kernels.errors import KernelError

Ints = npt.NDArray[np.int32]
State = tuple[Tensor, Tensor, Tensor]

LOWEST = torch.finfo(torch.float32).min
#: Elements of K gathered at a time for rows that read alone: small enough to stay in the cache until it is used.
GATHERED = 1 << 19


def prefix_decode(call: DecodeCall) -> tuple[Tensor, Tensor]:
    """Output like ``q`` and log-sum-exp ``[n_rows, n_q_heads]``, fp32."""
    q, k_cache, v_cache, block_tables, seq_lens = call[:5]
    counts, items, row_map, segments, row_levels, rows = call.planned
    k_scale, v_scale, sinks, window, cap = call.k_scale, call.v_scale, call.sinks, call.window, call.logits_soft_cap
    n_rows, n_q_heads, head_dim = q.shape
    n_kv_heads = k_cache.shape[2]
    group = n_q_heads // n_kv_heads
    n_items, n_planned, n_partials, n_splits = counts.tolist()
    if n_planned > n_rows:
        raise KernelError(f"q: {n_rows} rows, but {n_planned} are planned; give a query for each, or plan again")
    # Heads first: a product per head then reads K and V where they lie, and writes contiguous scores.
    queries = (q.float() * call.scale).view(n_rows, n_kv_heads, group, head_dim).transpose(0, 1).contiguous()
    if k_scale is not None:
        queries *= k_scale.view(-1, 1, 1, 1)
    # Bookkeeping in NumPy: on arrays this small its calls cost a fraction of PyTorch's.
    table, begin, position, _ = rows[:n_rows].numpy().T
    end = np.where(table < 0, begin, seq_lens[:n_rows].numpy())
    at = position + end - begin - 1  # where each row's query stands

    def weigh(scores: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """``m``, ``l`` and the weights ``exp(score - m)``, which replace the scores."""
        if cap > 0:
            scores.div_(cap).tanh_().mul_(cap)
        if hidden is not None:
            scores.masked_fill_(hidden, -torch.inf)
        m = scores.amax(-1, keepdim=True).clamp_(min=LOWEST)
        weights = scores.sub_(m).exp_()
        return m, weights.sum(-1, keepdim=True), weights

    # Launch A: pieces of prefixes, each for all its rows at once. One slot more stands for "no partial".
    partials = _nothing(queries, n_partials + 1)
    for first, n, of_table, run_begin, run_end, run_position, slot, _ in items[:n_items].tolist():
        members = row_map[first : first + n]
        x = queries.index_select(1, members).view(n_kv_heads, n * group, head_dim)
        k, v = (_run(cache, block_tables[of_table], run_begin, run_end) for cache in (k_cache, v_cache))
        scores = torch.bmm(x, k.permute(1, 2, 0)).view(n_kv_heads, n, group, -1)
        hidden = None
        if window:
            seen_at = np.arange(run_position, run_position + run_end - run_begin)
            hidden = torch.from_numpy(at[members.numpy(), None] - seen_at >= window)[:, None]
        m, l, weights = weigh(scores, hidden)
        o = torch.bmm(weights.view(n_kv_heads, n * group, -1), v.transpose(0, 1)).view(n_kv_heads, n, group, head_dim)
        for partial, value in zip(partials, (m, l, o), strict=True):
            partial[:, slot : slot + n] = value

    # Launch B: each row starts from the sinks, reads its own tokens, then takes its partials level by level.
    state = _nothing(queries, n_rows)
    if sinks is not None:
        state[0].copy_(sinks.view(n_kv_heads, 1, group, 1))
        state[1].fill_(1)

    def alone(state: State, table: Ints, begin: Ints, end: Ints, position: Ints) -> State:
        """The state after each row has read a run of its own."""
        used = end > begin
        if not used.any():
            return state
        page = k_cache.shape[1]
        offset = begin % page
        stop = offset + end - begin
        n_pages = -(-int(stop[used].max()) // page)
        # Within one page only the slots in use are read: contiguous caches are one long page per row.
        low, high = (int(offset[used].min()), int(stop[used].max())) if n_pages == 1 else (0, page)
        column = (begin // page)[:, None] + np.arange(n_pages)
        pages = block_tables.numpy()[np.maximum(table, 0)[:, None], np.minimum(column, block_tables.shape[1] - 1)]
        pages = np.where((column * page < end[:, None]) & used[:, None], pages, 0)
        token = np.arange(n_pages * (high - low)) + low - offset[:, None]
        hidden = (token < 0) | (token >= (end - begin)[:, None])
        foreign = hidden
        if window:
            hidden = hidden | ((at - position)[:, None] - token >= window)
        ks, vs = k_cache[:, low:high], v_cache[:, low:high]
        step = max(1, GATHERED // (token.shape[1] * n_kv_heads * head_dim))
        room = torch.empty(min(step, n_rows) * n_pages, high - low, *ks.shape[2:], dtype=ks.dtype)
        pieces = []
        for r in range(0, n_rows, step):
            x, ids, mask = queries[:, r : r + step], pages[r : r + step], torch.from_numpy(hidden[r : r + step])
            scores = x.new_empty(*x.shape[:3], mask.shape[1])
            k = _gather(ks, ids, room)
            for head in range(n_kv_heads):
                torch.bmm(x[head], k[:, :, head].transpose(1, 2), out=scores[head])
            m, l, weights = weigh(scores, mask[:, None])
            v = _gather(vs, ids, room)
            # What lies beyond a row's end is not its own and may be anything, NaN included.
            v.flatten(0, 1).index_fill_(0, torch.from_numpy(np.flatnonzero(foreign[r : r + step])), 0)
            o = torch.empty_like(x, memory_format=torch.contiguous_format)
            for head in range(n_kv_heads):
                torch.bmm(weights[head], v[:, :, head], out=o[head])
            pieces.append((m, l, o))
        read = pieces[0] if len(pieces) == 1 else tuple(torch.cat(parts, 1) for parts in zip(*pieces, strict=True))
        return _merge(state, (read[0], read[1], read[2]))

    state = alone(state, table, begin, end, position)
    levels = row_levels[:n_rows].numpy()
    for level in range(levels.shape[1]):
        slot, distance, n_pieces, segment = levels[:, level].T
        for i in range(n_splits):
            of_row = torch.from_numpy(np.where(i < n_pieces, slot + i * distance, n_partials))
            m, l, o = (partial.index_select(1, of_row) for partial in partials)
            state = _merge(state, (m, l, o))
        if not n_items and len(segments):  # rows read their prefixes themselves
            runs = segments.numpy()[np.maximum(segment, 0)]
            stop = np.where((segment >= 0) & (table >= 0), runs[:, 2], runs[:, 1])
            state = alone(state, runs[:, 0], runs[:, 1], stop, runs[:, 3])
    m, l, o = state

    out = o / l.masked_fill(l == 0, 1) * call.out_scale
    if v_scale is not None:
        out *= v_scale.view(-1, 1, 1, 1)
    lse = m + l.log()
    if (table < 0).any():
        lse[:, torch.from_numpy(table < 0)] = -torch.inf
        out[:, torch.from_numpy(table < 0)] = 0
    return out.transpose(0, 1).reshape(q.shape).to(q.dtype), lse.transpose(0, 1).reshape(n_rows, n_q_heads)


def _nothing(like: Tensor, n: int) -> State:
    """``n`` states that have seen nothing."""
    n_kv_heads, _, group, head_dim = like.shape
    m = like.new_full((n_kv_heads, n, group, 1), LOWEST)
    return m, torch.zeros_like(m), like.new_zeros(n_kv_heads, n, group, head_dim)


def _merge(a: State, b: State) -> State:
    """The state of the union of two disjoint sets of tokens."""
    m = torch.maximum(a[0], b[0])
    wa, wb = (a[0] - m).exp_(), (b[0] - m).exp_()
    return m, a[1] * wa + b[1] * wb, a[2] * wa + b[2] * wb


def _gather(cache: Tensor, pages: Ints, room: Tensor) -> Tensor:
    """fp32 ``[n, tokens, n_kv_heads, head_dim]`` from page ids ``[n, pages]``, by way of or in ``room``."""
    raw, taken = cache, room[: pages.size]
    if cache.element_size() == 1:  # fp8 cannot be indexed
        raw, taken = cache.view(torch.uint8), taken.view(torch.uint8)
    torch.index_select(raw, 0, torch.from_numpy(pages.reshape(-1)), out=taken)
    return taken.view(cache.dtype).view(pages.shape[0], -1, *cache.shape[2:]).float()


def _run(cache: Tensor, pages: Tensor, begin: int, end: int) -> Tensor:
    """fp32 ``[end - begin, n_kv_heads, head_dim]``: tokens of a table; a view if its pages are adjacent."""
    page = cache.shape[1]
    ids = pages[begin // page : -(-end // page)].numpy()
    low = begin % page
    if len(ids) == 1 or (ids[1:] - ids[:-1] == 1).all():
        taken = cache[int(ids[0]) : int(ids[0]) + len(ids)].flatten(0, 1).float()
    else:
        taken = _gather(cache, ids[None], torch.empty(len(ids), *cache.shape[1:], dtype=cache.dtype))[0]
    return taken[low : low + end - begin]
