from __future__ import annotations

import pytest

from kit.plans import make
from t2fast_kernels import DecodeBuffers, KernelError, plan


def test_addresses_never_change():
    buffers = make()
    names = ("counts", "items", "row_map", "segments", "row_levels", "rows")
    before = [(getattr(buffers.planned, name).data_ptr(), getattr(buffers.planned, name).shape) for name in names]
    plan(buffers, [[0, 0, 99, 0]], [[0]] * 9, range(1, 10))
    assert [
        (getattr(buffers.planned, name).data_ptr(), getattr(buffers.planned, name).shape) for name in names
    ] == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 8, 2, 64), "max_rows = 0: must be at least 1"),
        ((65536, 8, 2, 64), "max_rows = 65536: a launch takes at most 65535"),
        ((4, 8, 3, 64), "n_q_heads = 8: must be a multiple of n_kv_heads = 3"),
        ((4, 8, 2, 512), "head_dim = 512: the kernels take 1 to 256"),
        ((4, 256, 1, 64), "n_q_heads / n_kv_heads = 256: the kernels take at most 128"),
    ],
)
def test_impossible_buffers(arguments, message):
    with pytest.raises(KernelError, match=message):
        DecodeBuffers(*arguments, max_segments=1)
    with pytest.raises(KernelError, match="block_m = 32: must be 16, 64 or 128"):
        make(block_m=32)
    with pytest.raises(KernelError, match="head_dim = 256: a tile of block_m = 128 takes at most 128; make it 64"):
        DecodeBuffers(4, 8, 2, 256, max_segments=1, block_m=128)
    with pytest.raises(KernelError, match="max_segments = -1"):
        make(max_segments=-1)
