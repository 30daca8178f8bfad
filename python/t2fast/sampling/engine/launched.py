"""Decoder blocks of the Llama kind on a GPU: what lies between the products, each in one launch.

transformers computes a norm as eight operations and rotary embedding as ten: on a GPU each of them is a launch that
writes to memory what the next reads, and for few rows they take longer than the products and the attention together.
Only blocks that are known word for word are run this way. Weights are the modules' own and are looked up at every pass:
nothing is copied. So products of the same input are one launch only where they are small.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from t2fast.sampling.engine.attention import Reading, Turn
from t2fast.sampling.engine.known import known, known_norm, known_turn, turned_by, untouched, watched, window_of
from t2fast_kernels.products import gated_product, products, suits
from t2fast_kernels.rms_norm import WIDEST, rms_norm
from t2fast_kernels.silu_mul import silu_mul

__all__ = ["launch_few"]

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


def launch_few(double: nn.Module) -> None:
    """Run the blocks of a model's double that are known this way, and its norms."""
    turned = any(map(known_turn, double.modules()))
    for module in double.modules():
        if turned and _known(module):
            module.forward = MethodType(_forward, module)
        elif _norm(module):
            module.forward = MethodType(_normalise, module)


def _known(block: Any) -> bool:
    """Whether a module is a block that the operators can compute."""
    if not known(block, untouched, _plain, _forward):
        return False
    attention = block.self_attn
    weights = [*block.parameters()]
    norms = attention._modules.keys() & {"q_norm", "k_norm"}
    return (
        len({(weight.dtype, weight.device) for weight in weights}) == 1
        and block.input_layernorm.weight.numel() <= WIDEST
        and (not norms or attention.q_norm.variance_epsilon == attention.k_norm.variance_epsilon)
    )


def _norm(norm: Any) -> bool:
    return known_norm(norm, _normalise) and _plain(norm.weight) and norm.weight.numel() <= WIDEST


def _plain(weight: Any) -> bool:
    # Quantised weights are tensors of other types that look like ours.
    return type(weight) is nn.Parameter and weight.dtype in _FLOATS and weight.is_contiguous()


def _usable(x: Tensor, weight: Tensor) -> bool:
    """Whether nobody wants gradients, other types or a look inside."""
    return (
        x.dtype == weight.dtype
        and x.device == weight.device
        and x.dim() == 3
        and len(x) == 1
        and x.stride(-1) == 1
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled(x.device.type)
        and not torch.compiler.is_compiling()
        and not watched()
    )


def _normalise(norm: Any, hidden_states: Tensor) -> Tensor:
    if not _usable(hidden_states, norm.weight):
        out: Tensor = type(norm).forward(norm, hidden_states)
        return out
    return rms_norm(hidden_states[0], norm.weight, norm.variance_epsilon)[0][None]


def _forward(block: Any, hidden_states: Tensor, *given: Any, **more: Any) -> Tensor:
    x, attention = hidden_states, block.self_attn
    reading: Any = more.get("t2fast")
    turned: Any = more.get("position_embeddings")
    usable = (
        not given
        and getattr(reading, "dtype", None) == x.dtype
        and not hasattr(reading, "inspect")
        and _usable(x, block.input_layernorm.weight)
        and turned_by(turned, x, attention.head_dim)
    )
    if not usable:
        out: Tensor = type(block).forward(block, hidden_states, *given, **more)
        return out
    half = attention.head_dim // 2
    cos, sin = (t[0, :, :half] for t in turned)
    turn = Turn(cos, sin)
    if "q_norm" in attention._modules:
        norm = attention.q_norm
        turn = Turn(cos, sin, norm.weight, attention.k_norm.weight, norm.variance_epsilon)
    return _computed(block, x[0], turn, reading)[None]


def _computed(block: Any, x: Tensor, turn: Turn, reading: Reading) -> Tensor:
    """A block's output for ``[tokens, width]``."""
    attention, mlp = block.self_attn, block.mlp
    norm = block.input_layernorm
    y, _ = rms_norm(x, norm.weight, norm.variance_epsilon)
    q, k, v = (heads.view(len(x), -1, attention.head_dim) for heads in _heads(attention, y))
    read = reading(
        attention.layer_idx, q, k, v,
        scale=attention.scaling, window=window_of(block), soft_cap=None, sinks=None, turn=turn,
    )  # fmt: skip
    norm = block.post_attention_layernorm
    y, total = rms_norm(_product(attention.o_proj, read.flatten(1)), norm.weight, norm.variance_epsilon, residual=x)
    y = _gated(mlp.gate_proj, mlp.up_proj, y)
    if mlp.down_proj.bias is not None:
        return total + _product(mlp.down_proj, y)
    return total.addmm_(y, mlp.down_proj.weight.t())  # the product adds to what is there: no launch of its own


def _heads(attention: Any, x: Tensor) -> Sequence[Tensor]:
    """Queries, keys and values."""
    layers = attention.q_proj, attention.k_proj, attention.v_proj
    weights = [layer.weight for layer in layers]
    biases = [layer.bias for layer in layers if layer.bias is not None]
    if suits(x, weights) and len(biases) in (0, len(layers)):
        together: Sequence[Tensor] = products(x, weights, biases).split([len(weight) for weight in weights], 1)
        return together
    return [_product(layer, x) for layer in layers]


def _gated(gate: Any, up: Any, x: Tensor) -> Tensor:
    if gate.bias is None and up.bias is None and suits(x, [gate.weight, up.weight]):
        return gated_product(x, gate.weight, up.weight)
    return silu_mul(_product(gate, x), _product(up, x))


def _product(layer: Any, x: Tensor) -> Tensor:
    return linear(x, layer.weight, layer.bias)
