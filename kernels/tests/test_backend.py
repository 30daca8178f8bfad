"""Kernels run on their tensors' device, whatever device is current."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

from conftest import INTERPRETED
from kit.tensors import drawn, ids
from t2fast_kernels import DecodeBuffers, append_kv, copy_pages, merge_state, plan, prefix_decode, sample


def decode() -> None:
    buffers = DecodeBuffers(2, 2, 1, 16, max_segments=1)
    plan(buffers, [[0, 0, 4, 0]], [[0], [0]], [1, 2], method="shared")
    cache = drawn(4, 16, 1, 16)
    prefix_decode(drawn(2, 2, 16), cache, cache, ids(0, 1, 2).reshape(3, 1), ids(1, 2), buffers)


CALLS = {
    "prefix_decode": decode,
    "append_kv": lambda: append_kv(
        drawn(1, 1, 8), drawn(1, 1, 8), drawn(2, 4, 1, 8), drawn(2, 4, 1, 8), ids(0, 1).reshape(1, 2), ids(0), ids(3)
    ),
    "copy_pages": lambda: copy_pages(drawn(3, 2, 1, 8), drawn(3, 2, 1, 8), ids(0), ids(2)),
    "merge_state": lambda: merge_state(drawn(2, 3, 16), drawn(2, 3), drawn(2, 3, 16), drawn(2, 3)),
    "sample": lambda: sample(drawn(1, 40), 1, 0, 0, 0, top_k=3, top_p=0.9),
}


@pytest.mark.skipif(not INTERPRETED, reason="of launches")
@pytest.mark.parametrize("name", CALLS)
def test_launches_name_their_device(name, monkeypatch):
    entered = []

    @contextmanager
    def device_of(tensor):
        entered.append(tensor.device)
        yield

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    CALLS[name]()
    assert entered
