"""Steps of any size, window or place run what was compiled for the first."""

from __future__ import annotations

import importlib
from collections import defaultdict

import pytest
import torch

from conftest import DEVICE, INTERPRETED
from t2fast_kernels import DecodeBuffers, append_kv, plan, prefix_decode, sample

pytestmark = [
    pytest.mark.skipif(INTERPRETED, reason="the interpreter replaces the compiler"),
    pytest.mark.skipif(DEVICE == "cuda", reason="the driver is a stub here"),
    pytest.mark.filterwarnings("ignore:.*FP_FUSION.*:UserWarning"),
]
MODULES = [
    importlib.import_module(f"t2fast_kernels.{name}") for name in ("attention", "append_kv", "sample", "buffers")
]
#: Caches that were replaced: a compiled kernel that is dropped asks a driver to unload it, and there is none here.
KEPT: list[object] = []


def compiled(kernel) -> int:
    return sum(len(caches[0]) for caches in kernel.device_caches.values())


def test_nothing_is_compiled_anew_from_step_to_step():
    from kit.stub_driver import stubbed
    from t2fast_kernels.triton.append_kv import append_kernel
    from t2fast_kernels.triton.attention import prefix_kernel, suffix_kernel
    from t2fast_kernels.triton.sample import draw_kernel, finish_kernel, scan_kernel, share_kernel, verify_kernel

    kernels = (
        prefix_kernel,
        suffix_kernel,
        append_kernel,
        scan_kernel,
        share_kernel,
        draw_kernel,
        verify_kernel,
        finish_kernel,
    )
    for kernel in kernels:  # a test before this one may have compiled some: count from nothing
        KEPT.append(kernel.device_caches)
        kernel.device_caches = defaultdict(kernel.create_binder)
    slots = 37  # so that rows of the state begin anywhere
    with stubbed(*MODULES), torch.inference_mode():
        buffers = DecodeBuffers(slots, 8, 2, 64, max_segments=1)
        cache = torch.zeros(40, 16, 2, 64, dtype=torch.bfloat16)
        state = torch.zeros(8, slots, dtype=torch.int32)
        counts = []
        for n, width, window in ((slots, 48, 32), (16, 17, 7), (1, 1, 1), (5, 16, 1 << 20)):
            plan(buffers, [[0, 0, 99, 0]], [[0]] * n, range(n), method="shared")
            tables = torch.zeros(slots + 1, width, dtype=torch.int32)
            q = torch.zeros(n, 8, 64, dtype=torch.bfloat16)
            k = torch.zeros(n, 2, 64, dtype=torch.bfloat16)
            append_kv(k, k, cache, cache, tables, state[1, :n], state[2, :n])
            prefix_decode(q, cache, cache, tables, state[3, :n], buffers, window=window)
            logits = torch.zeros(n, 320, dtype=torch.bfloat16)
            heat = state[4, :n].view(torch.float32)
            sample(logits, 1, state[5, :n], state[6, :n], state[2, :n], temperature=heat, top_k=state[7, :n], top_p=0.9)
            counts.append([compiled(kernel) for kernel in kernels])
    assert counts[0] == [1, 1, 1, 1, 1, 1, 3, 1]  # the three passes of verify differ
    assert counts[1:] == counts[:1] * 3
