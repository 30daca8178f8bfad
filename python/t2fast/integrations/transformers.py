"""Shared-prefix decoding in transformers' continuous batching: ``attn_implementation="paged|t2fast"``.

Importing this module registers the attention. Requests that decode one token and share pages, as those forked from one
prompt do, read them together, once per step. Prompts, and layers with sliding windows, are computed by PyTorch's own
attention, request by request.

Written against transformers 5.17 and 5.24. The newer takes only implementations that it knows by name, both give block
tables to flash attention alone, and the newer copies all keys that a step reads before attention is called. So three
functions of continuous batching, and the one that measures memory, are wrapped; for other implementations the wrappers
change nothing.
"""

from __future__ import annotations

import functools
import inspect
import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface
from transformers.generation.continuous_batching import cache as cache_module
from transformers.generation.continuous_batching import continuous_api, initialization

from t2fast.errors import T2Error
from t2fast.sampling.engine import attention, native
from t2fast_kernels import DecodeBuffers, plan_shared, prefix_decode

__all__ = ["NAMES", "attend"]

#: What a configuration may call this attention; newer versions of transformers take the prefix away.
NAMES = ("paged|t2fast", attention.NAME)
#: What neighbours must share to read it together, in tokens; on the CPU a page will do.
LEAST = 256


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it in continuous batching: all tokens of all requests in one row.

    Parameters
    ----------
    module
        The attention layer.
    query, key, value
        ``[1, heads, tokens, head_dim]``; newer versions of transformers put keys and values of earlier tokens in front.
    attention_mask
        Not used: what a token sees follows from where it stands.
    scaling, sliding_window, softcap, s_aux
        Scale of the scores, number of tokens seen, soft cap of the scores, sinks ``[heads]``; None: without.
    **more
        What continuous batching adds: lengths, cache, block tables.

    Returns
    -------
    tuple
        ``[1, tokens, heads, head_dim]``, and None for the weights.

    Raises
    ------
    T2Error
        Outside of continuous batching, or when the layer gives a bias of positions.
    """
    if more.get("t2fast") is not None:  # a step of the sampler, which shares the name
        return attention.attend(
            module, query, key, value, attention_mask, scaling, sliding_window, softcap, s_aux, **more
        )
    if more.get("cu_seq_lens_k") is None:
        raise T2Error(
            f"attn_implementation = {NAMES[0]!r}: serves generate_batch (continuous batching) only; "
            'choose "sdpa" or "eager" for generate and training'
        )
    if more.get("position_bias") is not None:
        raise T2Error(f"attn_implementation = {NAMES[0]!r}: knows no bias of positions; choose another for this model")
    rules = _Rules(
        query.shape[-1] ** -0.5 if scaling is None else scaling,
        sliding_window,
        softcap,
        None if s_aux is None else s_aux.detach().float(),
    )
    ends_k, ends_q = _of_kind(more["cu_seq_lens_k"], sliding_window), more["cu_seq_lens_q"]
    pages = more.get("t2fast_pages") or _pages(module.layer_idx, more)
    if pages is None:
        cache = more.get("cache")
        if cache is not None:  # in 5.17 the attention itself stores keys and values, and fetches the earlier ones
            stored = cache.update(
                key_states=key,
                value_states=value,
                layer_idx=module.layer_idx,
                read_index=more["read_index"],
                write_index=more["write_index"],
            )
            key, value = (one.transpose(0, 1)[None] for one in stored)
        return _prompts(query, key, value, ends_q.tolist(), ends_k.tolist(), rules)[None], None
    q, k, v = (one[0].transpose(0, 1) for one in (query, key, value))
    step = _step(ends_q, ends_k, pages, q)
    for stored, new in ((pages.k, k), (pages.v, v)):
        stored.flatten(0, 1).index_copy_(0, step.slots, new)
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    if len(step.rows):
        read = prefix_decode(
            q[step.rows],
            pages.k,
            pages.v,
            step.tables,
            step.lens,
            step.buffers,
            scale=rules.scale,
            window=rules.window,
            logits_soft_cap=rules.soft_cap,
            sinks=rules.sinks,
        )
        assert isinstance(read, Tensor)
        out.index_copy_(0, step.rows, read)
    if step.prompts is not None:
        tokens, slots, ends = step.prompts
        k, v = (one.flatten(0, 1)[slots].transpose(0, 1)[None] for one in (pages.k, pages.v))
        out.index_copy_(0, tokens, _prompts(query[:, :, tokens], k, v, *ends, rules))
    return out[None], None


@dataclass(frozen=True)
class _Rules:
    """How a layer weighs what it sees."""

    scale: float
    window: int | None
    soft_cap: float | None
    sinks: Tensor | None


def _of_kind(ends: Any, window: int | None) -> Tensor:
    """Where requests end among the keys, which models with layers of several kinds have for each kind."""
    kind = "full_attention" if window is None else "sliding_attention"
    found: Tensor = ends[kind if kind in ends else next(iter(ends))] if isinstance(ends, dict) else ends
    return found


@dataclass(frozen=True)
class _Pages:
    """A layer's keys and values, ``[pages, page size, heads, head_dim]``, and where requests have theirs."""

    k: Tensor
    v: Tensor
    #: Pages of each request; or None, and then:
    table: Tensor | None
    #: the slots of all keys of all requests, and those of the new ones.
    read: Tensor | None = None
    write: Tensor | None = None


def _pages(layer: int, more: dict[str, Any]) -> _Pages | None:
    """Where a layer's keys and values lie; None where they are not pages in order, or no earlier ones are read."""
    table, cache = more.get("block_table"), more.get("cache")
    if cache is None:
        return None if table is None else _Pages(more["k_cache"], more["v_cache"], table)
    # Version 5.17; a window of 1 is its word for none.
    group, inner = cache.layer_index_to_group_indices[layer]
    read = more["read_index"][group]
    if table is None and (cache.sliding_windows[layer] != 1 or not len(read)):
        return None
    shape = (-1, cache.block_size, cache.num_key_value_heads, cache.head_dim)
    k, v = cache.key_cache[inner].view(shape), cache.value_cache[inner].view(shape)
    return _Pages(k, v, None if table is None else table[group], read, more["write_index"][group])


# -------------------------------------------------------------------------------------------------- tokens that decode


@dataclass(frozen=True)
class _Step:
    """What all layers of a step read: requests side by side that share their first pages."""

    #: The tensor that the step's layers have in common: who meets another plans anew.
    known_by: weakref.ref[Tensor]
    #: The tokens that decode, in the order of the tables.
    rows: Tensor
    tables: Tensor
    lens: Tensor
    buffers: DecodeBuffers
    #: Where the new keys and values of all tokens go.
    slots: Tensor
    #: The tokens of requests with several, the slots of their keys, and where each request ends among both.
    prompts: tuple[Tensor, Tensor, tuple[list[int], list[int]]] | None


#: Of each thread, the latest step by the shape of attention: managers have threads of their own.
_latest = threading.local()


def _step(ends_q: Tensor, ends_k: Tensor, pages: _Pages, q: Tensor) -> _Step:
    """Plan a step when its first layer comes by; the others find it here."""
    steps: dict[Any, _Step] = _latest.__dict__.setdefault("steps", {})
    shape = (q.device, *q.shape[1:], pages.k.shape[1:], pages.k.dtype)
    last = steps.get(shape)
    if last is not None and last.known_by() is ends_q:
        return last
    page = pages.k.shape[1]
    prompts = None
    if pages.table is not None:
        rows = torch.arange(len(q), device=q.device)
        tables = pages.table[: len(q)]
        lens = (ends_k[1 : len(q) + 1] - ends_k[: len(q)]).int()
        newest = (lens - 1).long()
        slots = tables.gather(1, (newest // page)[:, None])[:, 0].long() * page + newest % page
    else:
        assert pages.read is not None
        assert pages.write is not None
        slots = pages.write
        begin_q, begin_k = ends_q[:-1].long(), ends_k[:-1].long()
        n_q, n_k = ends_q[1:] - begin_q, ends_k[1:] - begin_k
        single = n_q == 1
        rows, lens = begin_q[single], n_k[single].int()
        # The first slot of each page tells which it is; past a request's end any will do.
        longest = int(lens.max()) if len(lens) else 0
        firsts = begin_k[single][:, None] + torch.arange(0, longest, page, device=q.device)
        tables = pages.read[firsts.clamp(max=len(pages.read) - 1)] // page
        if len(rows) < len(n_q):
            several = ~single
            tokens, keys = (torch.repeat_interleave(several, one.long()).nonzero()[:, 0] for one in (n_q, n_k))
            ends = tuple([0, *one[several].cumsum(0).tolist()] for one in (n_q, n_k))
            prompts = tokens, pages.read[keys], (ends[0], ends[1])
    order = _order(tables)
    rows, tables, lens = rows[order], tables[order].int().contiguous(), lens[order].contiguous()
    buffers = None if last is None else last.buffers
    if buffers is None or buffers.max_rows < len(rows):
        room = max(len(rows), 16)
        buffers = DecodeBuffers(
            room, q.shape[1], pages.k.shape[2], q.shape[2],
            max_segments=room, max_levels=2, device=q.device, itemsize=pages.k.element_size(),
        )  # fmt: skip
    if len(rows):
        least = page if q.device.type == "cpu" else LEAST
        plan_shared(buffers, tables, lens, page, min_tokens=least)
    step = _Step(weakref.ref(ends_q), rows, tables, lens, buffers, slots, prompts)
    steps[shape] = step
    return step


def _order(tables: Tensor) -> Tensor:
    """Rows sorted by their pages; on a GPU by the first page, without waiting for it."""
    if tables.device.type != "cpu":
        return tables[:, 0].argsort(stable=True)
    columns = tables.numpy().T[::-1]
    return torch.from_numpy(np.lexsort(columns)) if len(columns) else torch.arange(len(tables))


# ------------------------------------------------------------------------------------------------- steps with prompts


def _prompts(query: Tensor, key: Tensor, value: Tensor, ends_q: list[int], ends_k: list[int], rules: _Rules) -> Tensor:
    """Causal attention of each request's new tokens over its own, ``[tokens, heads, head_dim]``.

    Neighbours of one shape are computed together.
    """
    out = query.new_empty(query.shape[2], query.shape[1], value.shape[-1])
    sizes = [
        (q_end - q, k_end - k)
        for q, q_end, k, k_end in zip(ends_q[:-1], ends_q[1:], ends_k[:-1], ends_k[1:], strict=True)
    ]
    first = 0
    while first < len(sizes):
        n_q, n_k = sizes[first]
        last = first
        while last < len(sizes) and sizes[last] == (n_q, n_k):
            last += 1
        if n_q:
            q = query[0, :, ends_q[first] : ends_q[last]].unflatten(1, (-1, n_q)).transpose(0, 1)
            k, v = (
                one[0, :, ends_k[first] : ends_k[last]].unflatten(1, (-1, n_k)).transpose(0, 1) for one in (key, value)
            )
            out[ends_q[first] : ends_q[last]] = _attention(q, k, v, rules).transpose(1, 2).flatten(0, 1)
        first = last
    return out


def _attention(q: Tensor, k: Tensor, v: Tensor, rules: _Rules) -> Tensor:
    """Attention of the last tokens of texts, ``[texts, heads, tokens, head_dim]``."""
    n_q, n_k, group = q.shape[2], k.shape[2], q.shape[1] // k.shape[1]
    mask = None
    if n_q > 1 or (rules.window is not None and n_k > rules.window):
        at, seen = torch.arange(n_k - n_q, n_k, device=q.device)[:, None], torch.arange(n_k, device=q.device)
        mask = seen <= at
        if rules.window is not None:
            mask &= seen > at - rules.window
    if rules.soft_cap is None and rules.sinks is None:
        return functional.scaled_dot_product_attention(q, k, v, mask, scale=rules.scale, enable_gqa=group > 1)
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = (q @ k.transpose(2, 3)).float() * rules.scale
    if rules.soft_cap is not None:
        scores = (scores / rules.soft_cap).tanh() * rules.soft_cap
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    if rules.sinks is not None:
        sinks = rules.sinks.view(1, -1, 1, 1).expand(len(q), -1, n_q, 1)
        scores = torch.cat([scores, sinks], -1)
    weights = scores.softmax(-1)[..., :n_k]
    return weights.to(v.dtype) @ v


# ------------------------------------------------------------------------------------- what transformers is told of it


def _ours(config: Any) -> bool:
    return getattr(config, "_attn_implementation", None) in NAMES


def _switch(original: Callable[..., Any], manager: Any, model: Any, *more: Any, **named: Any) -> Any:
    """Leave our attention where it is: newer versions take only the names they know."""
    return None if _ours(model.config) else original(manager, model, *more, **named)


def _decode_tables(original: Callable[..., Any], config: Any, settings: Any, *more: Any, **named: Any) -> Any:
    """Let requests come with block tables, which are otherwise for flash attention."""
    if not _ours(config):
        return original(config, settings, *more, **named)
    asked = settings.use_cuda_graph
    if any(asked) if isinstance(asked, tuple) else asked:
        raise T2Error(f"use_cuda_graph = {asked}: {NAMES[0]} plans each step anew; leave graphs off")
    for name in ("varlen_compile_config", "decode_compile_config", "default_compile_level"):
        if getattr(settings, name, None):
            raise T2Error(f"{name} = {getattr(settings, name)}: {NAMES[0]} is not compiled; leave it out")
    kinds = getattr(config, "layer_types", None) or ["sliding" if getattr(config, "sliding_window", None) else "full"]
    if any(kind.startswith("sliding") for kind in kinds):
        settings.max_blocks_per_request = 0  # pages of sliding layers are rings, which tables don't describe
    return None


def _update(original: Callable[..., Any], cache: Any, key: Tensor, value: Tensor, layer: int, kwargs: Any) -> Any:
    """Hand on where keys and values lie, instead of copies of all that the requests read."""
    if not _ours(cache.config) or kwargs.get("block_table") is not None:
        return original(cache, key, value, layer, kwargs)
    allocator = cache.layer_to_allocator[layer]
    read, write = (kwargs[name][allocator.index] for name in ("read_index", "write_index"))
    if not allocator.supports_block_table or not len(read):
        return original(cache, key, value, layer, kwargs)
    k_cache, v_cache = allocator.get_cache_for_block_table(layer)
    kwargs["t2fast_pages"] = _Pages(k_cache, v_cache, None, read, write)
    return key, value


def _memory(original: Callable[..., int], handler: Any) -> int:
    """What is free on the CPU where transformers cannot tell: 5.17 never, later versions without psutil."""
    found = original(handler)
    if found > 0 or torch.cuda.is_available() or not _ours(handler.config) or "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return found
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(free * (handler.cb_config.max_memory_percent or 0.5))


def _wrap(owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Put a wrapper in the place of a function of transformers, once."""
    original = getattr(owner, name, None)
    if original is None:
        raise T2Error(
            f"transformers {transformers.__version__}: its continuous batching has no {name}; "
            "this module knows versions 5.17 to 5.24"
        )
    if getattr(original, "wrapped_by", None) != __name__:

        @functools.wraps(original)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            return wrapper(original, *arguments, **named)

        wrapped.wrapped_by = __name__  # type: ignore[attr-defined]
        setattr(owner, name, wrapped)


def _register() -> None:
    for name in NAMES:
        AttentionInterface.register(name, attend)
    _wrap(continuous_api.ContinuousBatchingManager, "switch_to_cb_friendly_attn", _switch)
    _wrap(initialization, "ensure_decode_fast_path_is_available", _decode_tables)
    _wrap(cache_module.PagedAttentionMemoryHandler, "get_available_memory", _memory)
    if "kwargs" in inspect.signature(cache_module.PagedAttentionCache.update).parameters:  # not in 5.17
        _wrap(cache_module.PagedAttentionCache, "update", _update)
    native.install()


_register()
