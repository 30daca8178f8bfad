"""Which implementation an operator runs."""

from __future__ import annotations

import os

from torch import Tensor

__all__ = ["runs_triton"]


def runs_triton(tensor: Tensor) -> bool:
    """Whether operators on ``tensor`` run the Triton kernels: on a GPU, and on the CPU under ``TRITON_INTERPRET=1``."""
    return tensor.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"
