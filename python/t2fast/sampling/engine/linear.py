"""Linear layers of a model's double on the CPU: by oneDNN, with the weights laid out for it.

PyTorch multiplies fp32 by MKL there, which on AMD's processors leaves the wide vector registers unused: oneDNN is more
than twice as fast. Where it is not known to be faster the layers stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

__all__ = ["pack", "packed", "product", "quick", "quicken"]

#: Types that oneDNN multiplies here.
_KINDS = (torch.float32, torch.bfloat16)
#: Share of the free memory that packed weights may take.
_SHARE = 0.25
#: Weights smaller than this are not worth the call.
_LEAST = 1 << 12


def quicken(double: nn.Module) -> None:
    """Let the linear layers of a model's double multiply by oneDNN, on processors where that is faster.

    Only plain layers change: not subclasses, nor layers whose ``forward`` was replaced.
    """
    if not _faster():
        return
    for layer in filter(_plain, double.modules()):
        layer.forward = MethodType(_forward, layer)


def pack(double: nn.Module, free: int, fuse: Callable[[nn.Module], Collection[nn.Module]] = lambda _: ()) -> None:
    """Copy the weights of quickened layers in the layout that products of few rows want, if ``free`` bytes allow.

    Many steps read a weight that was copied once. The copy is what the rest of the call uses, whatever happens to the
    model's own weight: so it is made for each call. ``fuse`` first takes the layers that it runs in another way, and
    copies their weights itself.
    """
    layers: list[Any] = [layer for layer in double.modules() if quick(layer)]
    weights: dict[int, Tensor] = {id(layer.weight): layer.weight for layer in layers}
    if sum(w.numel() * w.itemsize for w in weights.values()) > _SHARE * free:
        return
    taken = {id(layer) for layer in fuse(double)}
    layers = [layer for layer in layers if id(layer) not in taken]
    weights = {id(layer.weight): layer.weight for layer in layers}
    made = {key: packed(weight) for key, weight in weights.items()}
    for layer in layers:
        layer.__dict__["packed"] = made[id(layer.weight)]


def packed(weight: Tensor) -> Tensor:
    """A copy of a weight in the layout that products of few rows want."""
    with torch.no_grad():
        made: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _ROWS)
    return made


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x weight^T + bias`` with a weight packed or not."""
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return y


#: Rows that weights are packed for.
_ROWS = 64


def _faster() -> bool:
    """Whether oneDNN is known to be faster than what PyTorch uses by itself."""
    onednn: Any = torch.backends.mkldnn
    return (
        bool(onednn.is_available() and onednn.enabled)
        and "AVX512" in torch.backends.cpu.get_cpu_capability()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _plain(layer: Any) -> bool:
    """Whether a module is PyTorch's own linear layer with a weight that oneDNN multiplies."""
    if type(layer) is not nn.Linear or "forward" in layer.__dict__ or "weight" not in layer._parameters:
        return False
    weight = layer.weight
    return (
        type(weight) is nn.Parameter  # quantised weights are tensors of other types that look like fp32
        and weight.device.type == "cpu"
        and weight.dtype in _KINDS
        and weight.is_contiguous()
        and weight.numel() > _LEAST
    )


def quick(layer: nn.Module) -> bool:
    """Whether a layer multiplies by oneDNN."""
    forward = layer.__dict__.get("forward")
    return isinstance(forward, MethodType) and forward.__func__ is _forward


def _forward(layer: Any, x: Tensor) -> Tensor:
    weight = layer.weight
    if torch.is_grad_enabled() or x.dtype != weight.dtype or torch.is_autocast_enabled("cpu"):
        return linear(x, weight, layer.bias)
    return product(x, layer.__dict__.get("packed", weight), layer.bias)
