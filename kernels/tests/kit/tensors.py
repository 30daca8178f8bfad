"""Small tensors on the device under test."""

from __future__ import annotations

import torch
from torch import Tensor

from conftest import DEVICE

FP8 = [torch.float8_e4m3fn, torch.float8_e5m2]


def ids(*values: int, dtype: torch.dtype = torch.int32) -> Tensor:
    return torch.tensor(values, dtype=dtype, device=DEVICE)


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype).to(DEVICE)
