"""The gate of a feed-forward block, in plain PyTorch."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import silu

__all__ = ["silu_mul"]


def silu_mul(gate: Tensor, up: Tensor) -> Tensor:
    """See :func:`t2fast_kernels.silu_mul.silu_mul`."""
    return silu(gate) * up
