"""Root-mean-square normalisation, with the residual addition before it, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from t2fast_kernels.calls import NormCall

__all__ = ["normed", "rms_norm"]


def rms_norm(call: NormCall) -> None:
    """See :func:`t2fast_kernels.rms_norm.rms_norm`; writes ``y`` and ``total``."""
    x = call.x
    if call.residual is not None and call.total is not None:
        x = torch.add(x, call.residual, out=call.total)
    call.y.copy_(normed(x, call.weight, call.eps))


def normed(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """The last dimension's values over their root mean square, in fp32, rounded; times the weight, rounded."""
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype)
