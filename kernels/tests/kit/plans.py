"""Buffers to plan into."""

from __future__ import annotations

from conftest import DEVICE
from t2fast_kernels import CostModel, DecodeBuffers


def make(max_rows: int = 64, max_segments: int = 16, **options) -> DecodeBuffers:
    return DecodeBuffers(max_rows, 8, 2, 64, max_segments=max_segments, device=DEVICE, **options)


def h100(max_rows: int, max_segments: int, **options) -> DecodeBuffers:
    """Buffers that plan for a GPU, wherever the test runs."""
    buffers = DecodeBuffers(max_rows, 32, 8, 128, max_segments=max_segments, block_m=64, costs=CostModel(), **options)
    buffers.on_triton, buffers.tile_rows = True, 16
    return buffers
