"""Decoder blocks of the Llama kind on the CPU: four products, and what lies between them in the compiled core.

transformers computes a block as some thirty operations on small tensors; for few rows they and their bookkeeping cost
as much as the products. Only blocks that are known word for word are run this way: the classes named here, with nothing
in or around them replaced, hooked or quantised. All others, and whatever comes in another form, take their own code.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MethodType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from t2fast import _core
from t2fast.sampling.engine.attention import Reading
from t2fast.sampling.engine.linear import packed, product, quick

__all__ = ["fuse"]

#: Models whose blocks are these: root-mean-square norms, rotary embedding of whole heads, a gate by SiLU.
_FAMILIES = {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}
_NORMS = ("input_layernorm", "post_attention_layernorm")
_PRODUCTS = ("q_proj", "k_proj", "v_proj", "o_proj")
#: The widest head whose norm the core takes.
_WIDEST = 512


def fuse(double: nn.Module) -> list[nn.Module]:
    """Run the blocks of a model's double that are known this way; their weights are copied.

    Returns
    -------
    list
        The linear layers whose weights the blocks have now.
    """
    taken: list[nn.Module] = []
    for block in double.modules():
        if _known(block):
            block.__dict__["fused"] = _fused(block)
            block.forward = MethodType(_forward, block)
            taken += [layer for layer in block.modules() if type(layer) is nn.Linear]
    return taken


def _known(block: Any) -> bool:
    """Whether a module is a block as transformers has it, its parts as well."""
    family = type(block).__module__.removeprefix("transformers.models.").split(".")[0]
    name = _FAMILIES.get(family)
    module = f"transformers.models.{family}.modeling_{family}"

    def own(part: Any, kind: str) -> bool:
        return type(part).__name__ == f"{name}{kind}" and type(part).__module__ == module

    if name is None or not own(block, "DecoderLayer"):
        return False
    if {*block._modules} != {"self_attn", "mlp", *_NORMS} or any(map(_changed, block.modules())):
        return False
    attention, mlp = block.self_attn, block.mlp
    norms = [getattr(block, one) for one in _NORMS]
    inside = {*attention._modules} - {*_PRODUCTS}
    if inside:
        if inside != {"q_norm", "k_norm"} or attention.head_dim > _WIDEST:
            return False
        norms += [attention.q_norm, attention.k_norm]
    linear = [*(attention._modules.get(one) for one in _PRODUCTS), mlp.gate_proj, mlp.up_proj, mlp.down_proj]
    return (
        own(attention, "Attention")
        and own(mlp, "MLP")
        and type(mlp.act_fn).__name__ in ("SiLU", "SiLUActivation")
        and all(own(norm, "RMSNorm") and _single(norm.weight) for norm in norms)
        and all(quick(layer) and _single(layer.weight) for layer in linear)
        and all(layer.bias is None or _single(layer.bias) for layer in linear)
        and attention.head_dim % 2 == 0
        and attention.q_proj.out_features % attention.head_dim == 0
    )


def _changed(module: nn.Module) -> bool:
    forward = module.__dict__.get("forward")
    ours = forward is None or quick(module) or getattr(forward, "__func__", None) is _forward
    return bool(not ours or module._forward_hooks or module._forward_pre_hooks)


def _single(weight: Any) -> bool:
    return type(weight) is nn.Parameter and weight.dtype == torch.float32 and weight.is_contiguous()


def _array(weight: Tensor) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = weight.detach().numpy()
    return found


def _joined(*layers: Any) -> tuple[Tensor, Tensor | None]:
    """The weights of layers with the same input, one after the other and packed, and their biases."""
    weight = torch.cat([layer.weight.detach() for layer in layers])
    biases = [layer.bias for layer in layers]
    if all(bias is None for bias in biases):
        return packed(weight), None
    zeros = [layer.weight.new_zeros(layer.out_features) for layer in layers]
    parts = [zero if bias is None else bias.detach() for bias, zero in zip(biases, zeros, strict=True)]
    return packed(weight), torch.cat(parts)


@dataclass
class _Fused:
    """A block's weights, as they were when the call began, and its computation."""

    layer: int
    head_dim: int
    n_kv_heads: int
    scale: float
    window: int | None
    #: Weights, with biases, in the order of the computation.
    heads: tuple[Tensor, Tensor | None]
    output: tuple[Tensor, Tensor | None]
    gate: tuple[Tensor, Tensor | None]
    down: tuple[Tensor, Tensor | None]
    #: Weights and epsilons of the norms before attention and before the gate; those of queries' and keys' heads.
    norms: list[tuple[npt.NDArray[np.float32], float]]
    head_norms: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], float] | None

    def __call__(self, x: Tensor, cos: Tensor, sin: Tensor, reading: Reading) -> Tensor:
        """A block's output for ``[tokens, width]``."""
        threads, n, dim = torch.get_num_threads(), len(x), self.head_dim
        normed = torch.empty_like(x)
        _core.normalise_rows(x.numpy(), None, *self.norms[0], normed.numpy(), threads)
        joined = product(normed, *self.heads)
        q = x.new_empty(n, joined.shape[1] // dim - 2 * self.n_kv_heads, dim)
        k, v = x.new_empty(2, n, self.n_kv_heads, dim)
        _core.split_heads(
            joined.numpy(), cos.numpy(), sin.numpy(), self.head_norms, q.numpy(), k.numpy(), v.numpy()
        )  # fmt: skip
        read = reading(self.layer, q, k, v, scale=self.scale, window=self.window, soft_cap=None, sinks=None)
        y = product(read.view(n, -1), *self.output)
        _core.normalise_rows(y.numpy(), x.numpy(), *self.norms[1], normed.numpy(), threads)
        both = product(normed, *self.gate)
        gated = x.new_empty(n, both.shape[1] // 2)
        _core.gate_rows(both.numpy(), gated.numpy(), threads)
        return product(gated, *self.down).add_(y)


def _fused(block: Any) -> _Fused:
    attention, mlp = block.self_attn, block.mlp
    # Mistral's attention looks its window up where the others were told theirs.
    asked = attention if hasattr(attention, "sliding_window") else attention.config
    norms = [getattr(block, one) for one in _NORMS]
    head_norms = None
    if "q_norm" in attention._modules:
        q, k = attention.q_norm, attention.k_norm
        head_norms = _array(q.weight), _array(k.weight), q.variance_epsilon
    return _Fused(
        layer=attention.layer_idx,
        head_dim=attention.head_dim,
        n_kv_heads=attention.k_proj.out_features // attention.head_dim,
        scale=attention.scaling,
        window=getattr(asked, "sliding_window", None) if "Llama" not in type(block).__name__ else None,
        heads=_joined(attention.q_proj, attention.k_proj, attention.v_proj),
        output=_joined(attention.o_proj),
        gate=_joined(mlp.gate_proj, mlp.up_proj),
        down=_joined(mlp.down_proj),
        norms=[(_array(norm.weight), norm.variance_epsilon) for norm in norms],
        head_norms=head_norms,
    )


def _forward(block: Any, hidden_states: Tensor, *given: Any, **more: Any) -> Tensor:
    fused: _Fused = block.__dict__["fused"]
    reading: Any = more.get("t2fast")
    turned: Any = more.get("position_embeddings")
    x = hidden_states
    usable = (
        not given
        and isinstance(turned, tuple)
        and getattr(reading, "dtype", None) == torch.float32
        and not hasattr(reading, "inspect")
        and x.dtype == torch.float32
        and x.dim() == 3
        and len(x) == 1
        and x.is_contiguous()
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and all(t.shape == (1, x.shape[1], fused.head_dim) and t.dtype == x.dtype for t in turned)
        and not _watched()
    )
    if not usable:
        out: Tensor = type(block).forward(block, hidden_states, *given, **more)
        return out
    cos, sin = (t[0].contiguous() for t in turned)
    return fused(x[0], cos, sin, reading)[None]


def _watched() -> bool:
    """Whether somebody has hooks on all modules."""
    module = torch.nn.modules.module
    return bool(module._global_forward_hooks or module._global_forward_pre_hooks)
