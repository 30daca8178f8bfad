"""Which implementation an operator runs."""

from __future__ import annotations

import os
from typing import Protocol

import torch
from torch import Tensor

from t2fast_kernels.calls import AppendCall, DecodeCall, SampleCall

__all__ = ["Native", "native", "runs_triton", "use_native"]


def runs_triton(tensor: Tensor) -> bool:
    """Whether operators on ``tensor`` run the Triton kernels: on a GPU, and on the CPU under ``TRITON_INTERPRET=1``."""
    return tensor.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"


class Native(Protocol):
    """Compiled code for CPU tensors, which another package may bring; what it declines, the PyTorch reference does."""

    def prefix_decode(self, call: DecodeCall) -> bool:
        """Write ``out`` and ``lse``, or return False."""

    def append_kv(self, call: AppendCall) -> bool:
        """Write ``k_cache`` and ``v_cache``, or return False."""

    def sample(self, call: SampleCall) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """Draw the reference's tokens, or return None."""


_native: Native | None = None


def use_native(found: Native | None) -> None:
    """Let operators on CPU tensors try this first; None: the reference alone."""
    global _native
    _native = found


def native(tensor: Tensor) -> Native | None:
    """What to try for ``tensor``: nothing while PyTorch traces, which needs to see operators."""
    if _native is None or type(tensor) is not Tensor or not tensor.is_cpu or torch.compiler.is_compiling():
        return None
    return None if runs_triton(tensor) else _native
