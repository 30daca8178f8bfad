"""Shared-prefix decoding in transformers' continuous batching: ``attn_implementation="paged|t2fast"``.

Importing this module registers the attention. In steps in which every request decodes one token, requests that share
pages, as those forked from one prompt do, read them together, once. Steps with prompts in them, and layers with sliding
windows, are computed by PyTorch's own attention, request by request.

Written against transformers 5.17 and 5.24. The newer takes only implementations that it knows by name, and both give
block tables to flash attention alone, so two functions of continuous batching, and the one that measures memory, are
wrapped; the wrappers change nothing for other implementations.
"""

from __future__ import annotations

import functools
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
    kind = "full_attention" if sliding_window is None else "sliding_attention"
    lens_k, lens_q = _of_kind(more["cu_seq_lens_k"], kind), more["cu_seq_lens_q"]
    cache, table = more.get("cache"), more.get("block_table")
    if table is None:
        if cache is not None:  # in 5.17 the attention itself stores keys and values, and fetches the earlier ones
            stored = cache.update(
                key_states=key,
                value_states=value,
                layer_idx=module.layer_idx,
                read_index=more["read_index"],
                write_index=more["write_index"],
            )
            key, value = (one.transpose(0, 1)[None] for one in stored)
        return _prefill(query, key, value, lens_q.tolist(), lens_k.tolist(), rules)[None], None
    if cache is not None:
        group, layer = cache.layer_index_to_group_indices[module.layer_idx]
        shape = (-1, cache.block_size, cache.num_key_value_heads, cache.head_dim)
        k_cache, v_cache, table = cache.key_cache[layer].view(shape), cache.value_cache[layer].view(shape), table[group]
    else:
        k_cache, v_cache = more["k_cache"], more["v_cache"]
    q, k, v = (one[0].transpose(0, 1) for one in (query, key, value))
    step = _step(lens_q, lens_k, table, q, k_cache)
    k_cache.flatten(0, 1).index_copy_(0, step.slots, k)
    v_cache.flatten(0, 1).index_copy_(0, step.slots, v)
    out = prefix_decode(
        q if step.order is None else q[step.order],
        k_cache,
        v_cache,
        step.tables,
        step.lens,
        step.buffers,
        scale=rules.scale,
        window=rules.window,
        logits_soft_cap=rules.soft_cap,
        sinks=rules.sinks,
    )
    assert isinstance(out, Tensor)
    if step.order is not None:
        out = torch.empty_like(out).index_copy_(0, step.order, out)
    return out[None], None


@dataclass(frozen=True)
class _Rules:
    """How a layer weighs what it sees."""

    scale: float
    window: int | None
    soft_cap: float | None
    sinks: Tensor | None


def _of_kind(lens: Any, kind: str) -> Tensor:
    """The ends of the requests, which models with layers of several kinds have for each kind."""
    found: Tensor = lens[kind if kind in lens else next(iter(lens))] if isinstance(lens, dict) else lens
    return found


# ---------------------------------------------------------------------------------------------------- steps that decode


@dataclass(frozen=True)
class _Step:
    """What all layers of a step read: requests side by side that share their first pages."""

    #: The tensor that the step's layers have in common: who meets another plans anew.
    known_by: weakref.ref[Tensor]
    #: Requests in the order of the tables; None where they come in it.
    order: Tensor | None
    tables: Tensor
    lens: Tensor
    #: Where each request's new token goes, in the order of the requests.
    slots: Tensor
    buffers: DecodeBuffers


#: Of each thread, the latest step by the shape of attention: managers have threads of their own.
_latest = threading.local()


def _step(lens_q: Tensor, lens_k: Tensor, table: Tensor, q: Tensor, k_cache: Tensor) -> _Step:
    """Plan a step when its first layer comes by; the others find it here."""
    steps: dict[Any, _Step] = _latest.__dict__.setdefault("steps", {})
    shape = (q.device, *q.shape[1:], k_cache.shape[1:], k_cache.dtype)
    last = steps.get(shape)
    if last is not None and last.known_by() is lens_q:
        return last
    rows, page = len(q), k_cache.shape[1]
    lens = (lens_k[1 : rows + 1] - lens_k[:rows]).int()
    newest = (lens - 1).long()
    slots = table[:rows].gather(1, (newest // page)[:, None])[:, 0].long() * page + newest % page
    order = _order(table[:rows])
    buffers = None if last is None else last.buffers
    if buffers is None or buffers.max_rows < rows:
        room = max(rows, 16)
        buffers = DecodeBuffers(
            room, q.shape[1], k_cache.shape[2], q.shape[2],
            max_segments=room, max_levels=2, device=q.device, itemsize=k_cache.element_size(),
        )  # fmt: skip
    tables = table[:rows].int() if order is None else table[order].int()
    lens = lens if order is None else lens[order]
    step = _Step(weakref.ref(lens_q), order, tables.contiguous(), lens.contiguous(), slots, buffers)
    plan_shared(buffers, step.tables, step.lens, page, min_tokens=page if q.device.type == "cpu" else LEAST)
    steps[shape] = step
    return step


def _order(tables: Tensor) -> Tensor | None:
    """Rows sorted by their pages; None where they are already. On a GPU by the first page, without waiting for it."""
    if tables.device.type != "cpu":
        return tables[:, 0].argsort(stable=True)
    order = np.lexsort(tables.numpy().T[::-1])
    return None if (order[1:] > order[:-1]).all() else torch.from_numpy(order)


# ------------------------------------------------------------------------------------------------- steps with prompts


def _prefill(query: Tensor, key: Tensor, value: Tensor, ends_q: list[int], ends_k: list[int], rules: _Rules) -> Tensor:
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
    native.install()


_register()
