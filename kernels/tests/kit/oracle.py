"""Attention as one writes it on a blackboard: fp64, one row at a time, every token gathered by its block table."""

from __future__ import annotations

import torch
from torch import Tensor


def tokens(cache: Tensor, tables: Tensor, table: int, begin: int, end: int) -> Tensor:
    page = cache.shape[1]
    found = [cache[int(tables[table, t // page]), t % page].double() for t in range(begin, end)]
    return torch.stack(found) if found else cache.new_zeros((0, *cache.shape[2:]), dtype=torch.float64)


def decode(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    tables: Tensor,
    lens: Tensor,
    segments: list[list[int]],
    row_segments: list[list[int]],
    row_table: list[int],
    row_begin: list[int],
    row_position: list[int],
    *,
    scale: float | None = None,
    window: int | None = None,
    logits_soft_cap: float | None = None,
    sinks: Tensor | None = None,
    k_scale: Tensor | float | None = None,
    v_scale: Tensor | float | None = None,
) -> tuple[Tensor, Tensor]:
    n_rows, n_heads, dim = q.shape
    group = n_heads // k_cache.shape[2]
    out = torch.zeros(n_rows, n_heads, dim, dtype=torch.float64)
    lse = torch.full((n_rows, n_heads), -torch.inf, dtype=torch.float64)
    for r, table in enumerate(row_table):
        if table < 0:
            continue
        end = int(lens[r])
        runs = [segments[s] for s in row_segments[r] if s >= 0] + [[table, row_begin[r], end, row_position[r]]]
        at = row_position[r] + end - row_begin[r] - 1
        k = torch.cat([tokens(k_cache, tables, t, a, b) for t, a, b, _ in runs])
        v = torch.cat([tokens(v_cache, tables, t, a, b) for t, a, b, _ in runs])
        where = torch.tensor([p + i for _, a, b, p in runs for i in range(b - a)], dtype=torch.int64)
        if k_scale is not None:
            k = k * torch.as_tensor(k_scale).double().reshape(-1, 1)
        if v_scale is not None:
            v = v * torch.as_tensor(v_scale).double().reshape(-1, 1)
        for h in range(n_heads):
            scores = k[:, h // group] @ q[r, h].double() * (dim**-0.5 if scale is None else scale)
            if logits_soft_cap:
                scores = logits_soft_cap * torch.tanh(scores / logits_soft_cap)
            if window:
                scores = scores.masked_fill(where <= at - window, -torch.inf)
            if sinks is not None:
                scores = torch.cat([scores, sinks[h : h + 1].double()])
            values = torch.cat([v[:, h // group], v.new_zeros(1, dim)])[: len(scores)]
            if len(scores) and scores.max() > -torch.inf:
                out[r, h] = scores.softmax(0) @ values
                lse[r, h] = scores.logsumexp(0)
    return out, lse
