"""The one place from which kernels are launched: always on their tensors' device, whatever device is current."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["launch"]


def launch(kernel: Any, grid: tuple[int, ...], on: Tensor, /, *arguments: Any, **options: Any) -> Any:
    """Launch a Triton kernel over ``grid`` on the device of ``on``; returns what was compiled for it."""
    with torch.cuda.device_of(on):
        return kernel[grid](*arguments, **options)
