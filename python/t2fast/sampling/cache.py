"""Keys and values in pages, and the attention function through which a Hugging Face model reads and writes them.

The model runs over packed tokens, ``input_ids [1, tokens]``, without a cache of its own. Its attention layers call
:func:`attend`, which hands queries, keys and values to the :class:`Reading` of the current forward pass: a prefill,
where tokens read what comes before them in the same text, or a decode step, where each token is a row of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from t2fast.errors import T2Error
from t2fast_kernels.append_kv import append_kv
from t2fast_kernels.attention import prefix_decode
from t2fast_kernels.buffers import DecodeBuffers

__all__ = ["Decode", "Pool", "Prefill", "Reading", "Shape", "Span", "on_device", "probe", "reading_pages"]

_NAME = "t2fast"


class Reading(Protocol):
    """What a forward pass does with the queries, keys and values of a layer, each ``[tokens, heads, head_dim]``."""

    def __call__(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        scale: float,
        window: int | None,
        soft_cap: float | None,
        sinks: Tensor | None,
    ) -> Tensor:
        """Store the keys and values and give the attention's output, like ``q``."""


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 -- by its place
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    t2fast: Reading | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: ``[1, heads, tokens, head_dim]`` in, ``[1, tokens, heads, head_dim]`` out."""
    if t2fast is None:
        raise T2Error("the model does not hand keyword arguments on to its attention: t2fast cannot run it")
    out = t2fast(
        module.layer_idx,
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
        window=sliding_window,
        soft_cap=softcap,
        sinks=s_aux,
    )
    return out[None], None


AttentionInterface.register(_NAME, attend)
# What a token may see follows from where it stands; the model need not build a mask.
AttentionMaskInterface.register(_NAME, lambda *_arguments, **_keywords: None)


@contextmanager
def reading_pages(model: Any) -> Iterator[None]:
    """Within, the model's attention is :func:`attend` and it is in evaluation mode; afterwards all is as before."""
    configs = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}
    before = {key: config._attn_implementation for key, config in configs.items()}
    training = [m for m in model.modules() if m.training]
    try:
        for config in configs.values():
            config._attn_implementation_internal = _NAME
        for module in training:
            module.training = False
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation_internal = before[key]
        for module in training:
            module.training = True


@dataclass
class Shape:
    """What a model's attention layers look like, seen by running one token through it."""

    layers: int = 0
    n_q_heads: int = 0
    n_kv_heads: int = 0
    head_dim: int = 0
    dtype: torch.dtype = torch.float32
    vocab: int = 0
    seen: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, **_: Any) -> Tensor:
        """Take note of a layer."""
        self.seen[layer] = (q.shape[1], k.shape[1], k.shape[2], v.shape[2])
        self.dtype = k.dtype
        return v.repeat_interleave(q.shape[1] // v.shape[1], 1)

    def page_bytes(self, page_size: int) -> int:
        """Bytes of a page with its keys and values in every layer."""
        return 2 * self.layers * page_size * self.n_kv_heads * self.head_dim * self.dtype.itemsize


@torch.no_grad()
def probe(model: Any, device: torch.device) -> Shape:
    """Find the shape of the model's attention.

    Raises
    ------
    T2Error
        When its attention cannot be replaced, or layers differ from each other.
    """
    name = type(model).__name__
    config = model.config.get_text_config()
    if not getattr(model, "_supports_attention_backend", False):
        raise T2Error(
            f"{name} takes no attention function of others: t2fast cannot run it; see transformers' AttentionInterface"
        )
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if kinds:
        raise T2Error(f"{name} has {', '.join(sorted(kinds))} layers: t2fast runs full and sliding-window attention")
    if getattr(config, "num_kv_shared_layers", 0):
        raise T2Error(f"{name} shares keys and values between layers: t2fast does not run that yet")
    shape = Shape()
    with reading_pages(model):
        ids = torch.zeros(1, 1, dtype=torch.int64, device=device)
        logits = model(input_ids=ids, position_ids=ids, use_cache=False, t2fast=shape).logits
    shape.vocab = logits.shape[-1]
    expected = config.num_hidden_layers
    if sorted(shape.seen) != list(range(expected)):
        raise T2Error(
            f"{name} has {expected} layers, of which {len(shape.seen)} use the attention function given: not supported"
        )
    if len(set(shape.seen.values())) > 1:
        raise T2Error(
            f"{name} has attention layers of different shapes, {sorted(set(shape.seen.values()))}: not supported"
        )
    shape.layers = expected
    shape.n_q_heads, shape.n_kv_heads, shape.head_dim, values = shape.seen[0]
    if values != shape.head_dim:
        raise T2Error(f"{name} has keys of {shape.head_dim} and values of {values} dimensions: not supported")
    return shape


def on_device(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Bring an array to the device without waiting for what is queued there."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class Pool:
    """The memory for keys and values: pages ``[page_size, n_kv_heads, head_dim]`` in every layer."""

    def __init__(self, shape: Shape, n_pages: int, page_size: int, device: torch.device) -> None:
        self.page_size = page_size
        size = (shape.layers, 2, n_pages, page_size, shape.n_kv_heads, shape.head_dim)
        self.data = torch.empty(size, dtype=shape.dtype, device=device)
        self.keys = [layer[0] for layer in self.data]
        self.values = [layer[1] for layer in self.data]


@dataclass
class Span:
    """Tokens ``begin`` to ``end - 1`` of a packed prefill: neighbours in one text, which read it from its start."""

    begin: int
    end: int
    #: Where in the pool the text lies, its start to its last token in this span: token numbers over all pages.
    places: Tensor
    masks: dict[int, Tensor | None] = field(default_factory=dict)

    def mask(self, window: int) -> tuple[int, Tensor | None]:
        """The first token that any of these reads, and who reads what from there; None: each all before it."""
        length, queries = len(self.places), self.end - self.begin
        first = max(0, length - queries + 1 - window) if window else 0
        if window not in self.masks:
            at = torch.arange(length - queries, length, device=self.places.device)[:, None]
            seen = torch.arange(first, length, device=self.places.device)
            visible = seen <= at
            if window:
                visible &= seen > at - window
            plain = queries == length and (not window or window >= length)
            self.masks[window] = None if plain else visible
        return first, self.masks[window]


class Prefill:
    """Computes the keys and values of texts, several at once; see :class:`Reading`.

    Parameters
    ----------
    pool
        Where they go.
    places
        int64 ``[tokens]``: where each of the packed tokens goes; token numbers over all pages.
    spans
        Which tokens belong together. What a span reads before its own tokens is in the pool, or packed before it.
    """

    def __init__(self, pool: Pool, places: Tensor, spans: Sequence[Span]) -> None:
        self.pool, self.places, self.spans = pool, places, spans

    def __call__(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        scale: float,
        window: int | None,
        soft_cap: float | None,
        sinks: Tensor | None,
    ) -> Tensor:
        """Store, then let each span read its text."""
        keys, values = self.pool.keys[layer].flatten(0, 1), self.pool.values[layer].flatten(0, 1)
        keys.index_copy_(0, self.places, k)
        values.index_copy_(0, self.places, v)
        out = torch.empty_like(q, memory_format=torch.contiguous_format)
        for span in self.spans:
            first, mask = span.mask(window or 0)
            part = slice(span.begin, span.end)
            if len(span.places) == span.end - span.begin and not first:
                x, y = k[part], v[part]
            else:
                x, y = keys.index_select(0, span.places[first:]), values.index_select(0, span.places[first:])
            queries, x, y = (t.transpose(0, 1)[None] for t in (q[part], x, y))
            if soft_cap is None and sinks is None:
                read = scaled_dot_product_attention(
                    queries, x, y, mask, is_causal=mask is None, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
                )
            else:
                read = _explicit(queries, x, y, mask, scale, soft_cap, sinks)
            out[part] = read[0].transpose(0, 1)
        return out


def _explicit(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, soft_cap: float | None, sinks: Tensor | None
) -> Tensor:
    """Attention with a soft cap or sinks, ``[1, heads, tokens, head_dim]``, in fp32."""
    group = q.shape[1] // k.shape[1]
    k, v = (t.float().repeat_interleave(group, 1) for t in (k, v))
    scores = q.float() @ k.transpose(2, 3) * scale
    if soft_cap is not None:
        scores = torch.tanh(scores / soft_cap) * soft_cap
    if mask is None:
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
    scores = scores.masked_fill(~mask, -torch.inf)
    if sinks is not None:
        scores = torch.cat([scores, sinks.float().view(1, -1, 1, 1).expand(*scores.shape[:3], 1)], -1)
    weights = scores.softmax(-1)[..., : k.shape[2]]
    return (weights @ v).to(q.dtype)


class Decode:
    """One token for each row of the batch; see :class:`Reading`.

    Parameters
    ----------
    pool, tables
        The pages, and int32 ``[tables, pages]``: which of them belong to a slot or node.
    table, index
        int32 ``[rows]``: each row's own table, and where in it the token goes; rows below 0 are idle.
    lens
        ``index + 1``.
    buffers
        The plan: which prefixes the rows read.
    """

    def __init__(
        self, pool: Pool, tables: Tensor, table: Tensor, index: Tensor, lens: Tensor, buffers: DecodeBuffers
    ) -> None:
        self.pool, self.tables, self.buffers = pool, tables, buffers
        self.table, self.index, self.lens = table, index, lens

    def __call__(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        scale: float,
        window: int | None,
        soft_cap: float | None,
        sinks: Tensor | None,
    ) -> Tensor:
        """Store, then read prefixes and own tokens."""
        keys, values = self.pool.keys[layer], self.pool.values[layer]
        append_kv(k, v, keys, values, self.tables, self.table, self.index)
        sinks = None if sinks is None else sinks.float()
        out = prefix_decode(
            q.contiguous(), keys, values, self.tables, self.lens, self.buffers,
            scale=scale, window=window, logits_soft_cap=soft_cap, sinks=sinks,
        )  # fmt: skip
        assert isinstance(out, Tensor)
        return out
