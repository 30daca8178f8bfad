"""Several linear layers of the same rows, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from t2fast_kernels.reference.silu_mul import silu_mul

__all__ = ["gated_product", "products"]


def products(x: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    """See :func:`t2fast_kernels.products.products`."""
    found = [linear(x, weight, biases[i] if biases else None) for i, weight in enumerate(weights)]
    return torch.cat(found, 1)


def gated_product(x: Tensor, gate: Tensor, up: Tensor) -> Tensor:
    """See :func:`t2fast_kernels.products.gated_product`."""
    return silu_mul(linear(x, gate), linear(x, up))
