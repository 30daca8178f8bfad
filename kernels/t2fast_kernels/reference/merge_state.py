"""Merging two partial attention results, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["merge_state"]


def merge_state(v_a: Tensor, s_a: Tensor, v_b: Tensor, s_b: Tensor) -> tuple[Tensor, Tensor]:
    """See :func:`t2fast_kernels.merge_state.merge_state`."""
    top = torch.maximum(s_a, s_b)
    safe = torch.where(top == -torch.inf, 0.0, top)
    a, b = (s_a - safe).exp(), (s_b - safe).exp()
    total = a + b
    share = torch.where(total > 0, total, 1.0)
    # A part without weight may hold anything, NaN included.
    v = sum(torch.where(w[..., None] > 0, x.float() * (w / share)[..., None], 0.0) for w, x in ((a, v_a), (b, v_b)))
    assert isinstance(v, Tensor)
    return v.to(v_a.dtype), safe + total.log()
