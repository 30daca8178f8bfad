"""Telling weights apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["fingerprint"]


@torch.no_grad()
def fingerprint(model: torch.nn.Module) -> str:
    """Sixteen hexadecimal digits that differ for different weights, quantised ones included.

    Each tensor's bits are summed with weights that depend on their place, in 64-bit integers, where the order of adding
    does not matter: the same on any device, and as fast as memory.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        for text in _described(value):
            digest.update(f"{name} {text};".encode())
    return digest.hexdigest()[:16]


def _described(value: Any) -> Iterator[str]:
    """A value of a state as texts: quantised layers keep tuples, types and tensors of several parts."""
    if isinstance(value, tuple | list):
        for one in value:
            yield from _described(one)
    elif isinstance(value, dict):
        for name, one in sorted(value.items(), key=lambda item: str(item[0])):
            yield str(name)
            yield from _described(one)
    elif not isinstance(value, Tensor):
        yield str(value)
    elif value.is_quantized:
        yield str(value.qscheme())
        yield from _described(value.int_repr())
        per_channel = value.qscheme() in (torch.per_channel_affine, torch.per_channel_affine_float_qparams)
        yield from _described(
            (value.q_per_channel_scales(), value.q_per_channel_zero_points())
            if per_channel
            else (value.q_scale(), value.q_zero_point())
        )
    elif hasattr(value, "__tensor_flatten__"):
        names, _ = value.__tensor_flatten__()
        for name in names:
            yield from _described(getattr(value, name))
    else:
        yield f"{tuple(value.shape)} {value.dtype} {_sum(value)}"


def _sum(tensor: Tensor) -> int:
    tensor = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
    kind = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}.get(tensor.element_size(), torch.int64)
    bits = tensor.contiguous().reshape(-1).view(kind)
    total = 0
    for start in range(0, len(bits), 1 << 24):
        part = bits[start : start + (1 << 24)].long()
        place = torch.arange(start + 1, start + 1 + len(part), device=part.device)
        # Odd weights, so that no change of a single value vanishes modulo 2^64.
        total += int((part * ((place * 0x9E3779B1) ^ (place << 20) | 1)).sum())
    return total % (1 << 64)
