"""Decoder blocks that are known word for word, so that they can be computed in another way.

They are those of the classes named here, with nothing in or around them replaced, hooked or quantised; all others keep
their own code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["NORMS", "PRODUCTS", "known", "known_norm", "known_turn", "turned_by", "untouched", "watched", "window_of"]

#: Models whose blocks are these: root-mean-square norms, rotary embedding of whole heads, a gate by SiLU.
_FAMILIES = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}
NORMS = ("input_layernorm", "post_attention_layernorm")
PRODUCTS = ("q_proj", "k_proj", "v_proj", "o_proj")


def known(
    block: Any, layer: Callable[[nn.Module], bool], weight: Callable[[Any], bool], forward: Callable[..., Any]
) -> bool:
    """Whether a module is a block as transformers has it, its parts as well.

    Parameters
    ----------
    block
        Any module.
    layer, weight
        Whether a linear layer, and a parameter, is one that the other way can take.
    forward
        What that way has put in place of the block's ``forward``, if it is there already.
    """
    if not _own(block, "DecoderLayer"):
        return False
    if {*block._modules} != {"self_attn", "mlp", *NORMS}:
        return False
    if not all(layer(part) if type(part) is nn.Linear else untouched(part, forward) for part in block.modules()):
        return False
    attention, mlp = block.self_attn, block.mlp
    norms = [getattr(block, one) for one in NORMS]
    inside = {*attention._modules} - {*PRODUCTS}
    if inside:
        if inside != {"q_norm", "k_norm"}:
            return False
        norms += [attention.q_norm, attention.k_norm]
    linear = [*(attention._modules.get(one) for one in PRODUCTS), mlp.gate_proj, mlp.up_proj, mlp.down_proj]
    return (
        _own(attention, "Attention")
        and _own(mlp, "MLP")
        and type(mlp.act_fn).__name__ in ("SiLU", "SiLUActivation")
        and all(_own(norm, "RMSNorm") and weight(norm.weight) for norm in norms)
        and all(type(one) is nn.Linear and weight(one.weight) for one in linear)
        and all(one.bias is None or weight(one.bias) for one in linear)
        and attention.head_dim % 2 == 0
        and attention.q_proj.out_features % attention.head_dim == 0
    )


def known_norm(norm: Any, forward: Callable[..., Any]) -> bool:
    """Whether a module is a root-mean-square norm of these models."""
    return _own(norm, "RMSNorm") and untouched(norm, forward)


def known_turn(rotary: Any) -> bool:
    """Whether a module computes rotary embedding as these models do: the same angles for both halves of a head."""
    return _own(rotary, "RotaryEmbedding") and untouched(rotary)


def _own(part: Any, kind: str) -> bool:
    """Whether a module is of one of these models' own classes."""
    family = type(part).__module__.removeprefix("transformers.models.").split(".")[0]
    module = f"transformers.models.{family}.modeling_{family}"
    return type(part).__module__ == module and type(part).__name__ == f"{_FAMILIES.get(family)}{kind}"


def untouched(module: nn.Module, *ours: Callable[..., Any]) -> bool:
    """Whether a module has no hooks, and no other ``forward`` than its class's and ours."""
    forward = module.__dict__.get("forward")
    own = forward is None or getattr(forward, "__func__", None) in ours
    return bool(own and not module._forward_hooks and not module._forward_pre_hooks)


def window_of(block: Any) -> int | None:
    """How many tokens a known block's attention sees."""
    if "Llama" in type(block).__name__:
        return None
    # Mistral's attention looks its window up where the others were told theirs.
    asked = block.self_attn if hasattr(block.self_attn, "sliding_window") else block.self_attn.config
    window: int | None = getattr(asked, "sliding_window", None)
    return window


def watched() -> bool:
    """Whether somebody has hooks on all modules."""
    module = torch.nn.modules.module
    return bool(module._global_forward_hooks or module._global_forward_pre_hooks)


def turned_by(turned: Any, x: Tensor, head_dim: int) -> bool:
    """Whether these are cosine and sine of each token of ``x``, ``[1, tokens, width]``, for whole heads."""
    return isinstance(turned, tuple) and all(
        t.shape == (1, x.shape[1], head_dim) and t.dtype == x.dtype for t in turned
    )
