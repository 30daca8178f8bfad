"""The attention function through which a Hugging Face model reads and writes pages.

The model runs over packed tokens, ``input_ids [1, tokens]``, without a cache of its own. Its attention layers call
:func:`attend`, which hands queries, keys and values to the :class:`Reading` of the current forward pass: a prefill,
where tokens read what comes before them in the same text, or a decode step, where each token is a row of the batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface

from t2fast.errors import T2Error

__all__ = ["NAME", "Reading", "Turn", "attend", "mask_makers"]

#: What a configuration calls this attention.
NAME = "t2fast"

#: By thread, whoever makes masks for the forward pass under way: only a probe wants any.
mask_makers = threading.local()


class Turn(NamedTuple):
    """What is still to be done to the heads of queries and keys: their norms, and rotary embedding."""

    #: ``[tokens, head_dim / 2]``.
    cos: Tensor
    sin: Tensor
    #: Weights of the norms; None: there is none.
    q_norm: Tensor | None = None
    k_norm: Tensor | None = None
    eps: float = 0.0


class Reading(Protocol):
    """What a forward pass does with the queries, keys and values of a layer, each ``[tokens, heads, head_dim]``."""

    #: The type that keys and values are kept in; None: as they come.
    dtype: torch.dtype | None

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
        """Store the keys and values and give the attention's output, like ``q``."""


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
    t2fast: Reading | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: ``[1, heads, tokens, head_dim]`` in, ``[1, tokens, heads, head_dim]`` out."""
    if t2fast is None:
        raise T2Error(
            "the model does not pass keyword arguments on to its attention: t2fast cannot run it "
            "(--engine generate can)"
        )
    inspect: Callable[..., None] | None = getattr(t2fast, "inspect", None)
    if inspect is not None:
        inspect(module, query, key, value, attention_mask, sliding_window, more)
    kind = query.dtype
    # Under autocast, and in models that compute parts of attention in another type, the three may differ.
    dtype = t2fast.dtype
    if dtype is not None and not (kind == key.dtype == value.dtype == dtype):
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    # Inside, types are as they are: autocast would change those of single operations.
    autocast = torch.is_autocast_enabled(query.device.type)
    with torch.autocast(query.device.type, enabled=False) if autocast else nullcontext():
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
    return out[None] if autocast else out[None].to(kind), None


def _mask(*arguments: Any, **keywords: Any) -> Tensor | None:
    # What a token may see follows from where it stands, so a model need not build a mask, unless it is being probed.
    make = getattr(mask_makers, "make", None)
    return None if make is None else make(*arguments, **keywords)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, _mask)
