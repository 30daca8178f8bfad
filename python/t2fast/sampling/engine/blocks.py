"""Decoder blocks of the Llama kind on the CPU: all but the attention's reading in two calls of the compiled core.

transformers computes a block as some thirty operations on small tensors; for few rows they and their bookkeeping cost
as much as the products, whose rows the core keeps side by side in the lanes of registers from one to the next. Only
blocks that are known word for word are run this way. All others, and whatever comes in another form, take their own
code.
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
from t2fast.sampling.engine.known import NORMS, known, turned_by, watched, window_of
from t2fast.sampling.engine.linear import quick

__all__ = ["fuse"]

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
    work = _core.BlockWork()
    for block in double.modules():
        if _known(block):
            block.__dict__["fused"] = _fused(block, work)
            block.forward = MethodType(_forward, block)
            taken += [layer for layer in block.modules() if type(layer) is nn.Linear]
    return taken


def _known(block: Any) -> bool:
    """Whether a module is a block that the core can compute."""
    if not known(block, _taken, _single, _forward):
        return False
    return "q_norm" not in block.self_attn._modules or block.self_attn.head_dim <= _WIDEST


def _taken(layer: nn.Module) -> bool:
    return quick(layer) and not layer._forward_hooks and not layer._forward_pre_hooks


def _single(weight: Any) -> bool:
    return type(weight) is nn.Parameter and weight.dtype == torch.float32 and weight.is_contiguous()


def _array(weight: Tensor) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = weight.detach().numpy()
    return found


def _biases(*layers: Any, in_turn: bool = False) -> npt.NDArray[np.float32] | None:
    """The biases of layers with the same input, one after the other or in turn; None: they have none."""
    if all(layer.bias is None for layer in layers):
        return None
    parts = [np.zeros(layer.out_features, np.float32) if layer.bias is None else _array(layer.bias) for layer in layers]
    return np.stack(parts, 1).reshape(-1) if in_turn else np.concatenate(parts)


@dataclass
class _Fused:
    """A block's weights, as they were when the call began, and its computation."""

    layer: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    scale: float
    window: int | None
    block: _core.Block
    #: Memory that the blocks of a model share.
    work: _core.BlockWork

    def __call__(self, x: Tensor, cos: Tensor, sin: Tensor, reading: Reading) -> Tensor:
        """A block's output for ``[tokens, width]``."""
        threads, n = torch.get_num_threads(), len(x)
        q = x.new_empty(n, self.n_heads, self.head_dim)
        k, v = x.new_empty(2, n, self.n_kv_heads, self.head_dim)
        self.block.heads(
            x.numpy(), cos.numpy(), sin.numpy(), q.numpy(), k.numpy(), v.numpy(), self.work, threads
        )  # fmt: skip
        read = reading(self.layer, q, k, v, scale=self.scale, window=self.window, soft_cap=None, sinks=None)
        out = x.clone()
        self.block.rest(out.numpy(), read.numpy(), self.work, threads)
        return out


def _fused(block: Any, work: _core.BlockWork) -> _Fused:
    attention, mlp = block.self_attn, block.mlp
    dim, n_kv_heads = attention.head_dim, attention.k_proj.out_features // attention.head_dim
    heads, both = [attention.q_proj, attention.k_proj, attention.v_proj], [mlp.gate_proj, mlp.up_proj]

    def norm(layer: Any) -> tuple[npt.NDArray[np.float32], float]:
        return _array(layer.weight), layer.variance_epsilon

    return _Fused(
        layer=attention.layer_idx,
        n_heads=attention.q_proj.out_features // dim,
        n_kv_heads=n_kv_heads,
        head_dim=dim,
        scale=attention.scaling,
        window=window_of(block),
        block=_core.Block(
            dim,
            n_kv_heads,
            [_array(layer.weight) for layer in heads],
            [_array(attention.o_proj.weight)],
            [_array(layer.weight) for layer in both],
            [_array(mlp.down_proj.weight)],
            [_biases(*heads), _biases(attention.o_proj), _biases(*both, in_turn=True), _biases(mlp.down_proj)],
            [norm(getattr(block, one)) for one in NORMS],
            [norm(attention.q_norm), norm(attention.k_norm)] if "q_norm" in attention._modules else None,
        ),
        work=work,
    )


def _forward(block: Any, hidden_states: Tensor, *given: Any, **more: Any) -> Tensor:
    fused: _Fused = block.__dict__["fused"]
    reading: Any = more.get("t2fast")
    turned: Any = more.get("position_embeddings")
    x = hidden_states
    usable = (
        not given
        and getattr(reading, "dtype", None) == torch.float32
        and not hasattr(reading, "inspect")
        and x.dtype == torch.float32
        and x.dim() == 3
        and len(x) == 1
        and x.is_contiguous()
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and turned_by(turned, x, fused.head_dim)
        and not watched()
    )
    if not usable:
        out: Tensor = type(block).forward(block, hidden_states, *given, **more)
        return out
    cos, sin = (t[0].contiguous() for t in turned)
    return fused(x[0], cos, sin, reading)[None]
