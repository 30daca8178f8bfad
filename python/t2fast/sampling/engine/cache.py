"""Keys and values in pages, and the two ways of reading them: a prefill of whole texts, and a decode step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.dlpack import from_dlpack

from t2fast.sampling.engine.attention import Turn
from t2fast.sampling.engine.native import Rows, install, read_texts
from t2fast.sampling.engine.probe import Shape
from t2fast_kernels.append_kv import append_kv
from t2fast_kernels.attention import prefix_decode
from t2fast_kernels.buffers import DecodeBuffers

__all__ = ["Decode", "Pool", "Prefill", "Span", "on_device"]

install()


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
        self.keys = [_alone(layer[0]) for layer in self.data]
        self.values = [_alone(layer[1]) for layer in self.data]


def _alone(part: Tensor) -> Tensor:
    """The same memory as a tensor that is no view of another.

    torch.compile copies what an operator writes to, if that is a part of a larger tensor, and PyTorch 2.11 takes the
    copy from the wrong place.
    """
    alone: Tensor = from_dlpack(part)
    return alone


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
    """Computes the keys and values of texts, several at once; see :class:`t2fast.sampling.engine.attention.Reading`.

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
        self.dtype = pool.data.dtype
        self._at: tuple[Tensor, Tensor, Tensor] | None = None

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
        turn: Turn | None = None,
    ) -> Tensor:
        """Store, then let each span read its text."""
        keys, values = self.pool.keys[layer].flatten(0, 1), self.pool.values[layer].flatten(0, 1)
        if turn is None:
            keys.index_copy_(0, self.places, k)
            values.index_copy_(0, self.places, v)
        else:
            q = self._turned(layer, q, k, v, turn)
        out = torch.empty_like(q, memory_format=torch.contiguous_format)
        places = [span.places for span in self.spans]
        limits = [[span.begin, span.end] for span in self.spans]
        if read_texts(
            q, self.pool.keys[layer], self.pool.values[layer], limits, places, sinks, out, scale, window, soft_cap
        ):
            return out
        for span in self.spans:
            first, mask = span.mask(window or 0)
            part = slice(span.begin, span.end)
            if turn is None and len(span.places) == span.end - span.begin and not first:
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

    def _turned(self, layer: int, q: Tensor, k: Tensor, v: Tensor, turn: Turn) -> Tensor:
        """Store turned keys, and values; gives the turned queries."""
        if self._at is None:  # every page, as one table that all tokens have
            pages = torch.arange(self.pool.data.shape[2], dtype=torch.int32, device=q.device)[None]
            index = self.places.to(torch.int32)
            self._at = pages, torch.zeros_like(index), index
        turned = append_kv(k, v, self.pool.keys[layer], self.pool.values[layer], *self._at, q=q, **turn._asdict())
        assert turned is not None
        return turned


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
    """One token for each row of the batch; see :class:`t2fast.sampling.engine.attention.Reading`.

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
        self.dtype = pool.data.dtype
        self.table, self.index, self.lens = table, index, lens
        self._rows = Rows(tables, table, index, lens, buffers.planned) if lens.device.type == "cpu" else None

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
        turn: Turn | None = None,
    ) -> Tensor:
        """Store, then read prefixes and own tokens."""
        keys, values = self.pool.keys[layer], self.pool.values[layer]
        # Who traces needs to see operators.
        if turn is None and not torch.compiler.is_compiling() and self._rows is not None:
            read = self._rows.read(q, k, v, keys, values, sinks, scale, window, soft_cap)
            if read is not None:
                return read
        more: dict[str, Any] = {} if turn is None else {"q": q, **turn._asdict()}
        turned = append_kv(k, v, keys, values, self.tables, self.table, self.index, **more)
        q = q if turned is None else turned
        sinks = None if sinks is None else sinks.float()
        out = prefix_decode(
            q.contiguous(), keys, values, self.tables, self.lens, self.buffers,
            scale=scale, window=window, logits_soft_cap=soft_cap, sinks=sinks,
        )  # fmt: skip
        assert isinstance(out, Tensor)
        return out
