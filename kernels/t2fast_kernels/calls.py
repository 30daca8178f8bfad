"""What the operators take, listed once each: schema, launch and reference follow.

A call is what is left after the public function's checks, in the operator's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, get_type_hints

from torch import Tensor

__all__ = ["AppendCall", "DecodeCall", "NormCall", "SampleCall", "SharedCall", "schema"]


class DecodeCall(NamedTuple):
    """A decode step of one layer, for ``prefix_decode``."""

    q: Tensor
    k_cache: Tensor
    v_cache: Tensor
    block_tables: Tensor
    seq_lens: Tensor
    planned: Sequence[Tensor]  #: the fields of :class:`t2fast_kernels.buffers.Planned`
    k_scale: Tensor | None  #: one for all KV heads, or one for each
    v_scale: Tensor | None
    sinks: Tensor | None
    out: Tensor
    lse: Tensor | None
    scale: float  #: of the scores; a number for k_scale is part of it
    out_scale: float
    window: int  #: 0: everything is visible
    logits_soft_cap: float  #: 0: none
    block_m: int
    partials: Sequence[Tensor]  #: outputs and log-sum-exps that launch A leaves for launch B; none for the reference


class AppendCall(NamedTuple):
    """New tokens of one layer, for ``append_kv``."""

    k: Tensor
    v: Tensor
    k_cache: Tensor
    v_cache: Tensor
    block_tables: Tensor
    row_table: Tensor
    token_index: Tensor
    positions: Tensor | None
    cos: Tensor | None
    sin: Tensor | None
    k_scale: Tensor | None
    v_scale: Tensor | None
    q: Tensor | None
    q_out: Tensor | None
    q_norm: Tensor | None  #: weights of the heads' norms, before rotary embedding
    k_norm: Tensor | None
    eps: float


class NormCall(NamedTuple):
    """Rows to normalise, for ``rms_norm``."""

    x: Tensor
    residual: Tensor | None
    weight: Tensor
    y: Tensor
    total: Tensor | None
    eps: float


class SharedCall(NamedTuple):
    """Block tables of which neighbouring rows share pages, for ``plan_shared``."""

    block_tables: Tensor
    seq_lens: Tensor
    planned: Sequence[Tensor]  #: the fields of :class:`t2fast_kernels.buffers.Planned`
    page_size: int
    least: int  #: pages that neighbours must share
    split_size: int  #: tokens per piece; 0: as many as ``fill`` asks for
    fill: int  #: work items that fill the chip
    tile_rows: int
    max_partials: int


class SampleCall(NamedTuple):
    """Rows to draw from, for ``sample``. Settings follow ``t2fast_kernels.sample.SETTINGS``: numbers, and tensors."""

    logits: Tensor
    seed: Tensor
    prompt: Tensor
    sample: Tensor
    step: Tensor
    settings: Sequence[float]
    per_row: Sequence[Tensor | None]  #: where not None, instead of the number
    top_k_first: bool
    counts: Tensor | None
    logit_bias: Tensor | None
    allowed: Tensor | None
    n_logprobs: int


_TYPES = {
    Tensor: "Tensor",
    Tensor | None: "Tensor?",
    Sequence[Tensor]: "Tensor[]",
    Sequence[Tensor | None]: "Tensor?[]",
    Sequence[float]: "float[]",
    float: "float",
    int: "int",
    bool: "bool",
}


def schema(call: type, returns: str = "()", writes: Sequence[str] = ()) -> str:
    """The operator's schema, as PyTorch wants it.

    Parameters
    ----------
    call
        One of the classes of this module.
    returns
        What the operator returns, in PyTorch's words.
    writes
        Fields that it writes to.
    """
    words = []
    for name, hint in get_type_hints(call).items():
        word = _TYPES[hint]
        if name in writes:
            word = word.replace("Tensor", f"Tensor({'abcdef'[writes.index(name)]}!)")
        words.append(f"{word} {name}")
    return f"({', '.join(words)}) -> {returns}"
