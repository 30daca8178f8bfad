"""A step of several operators traces as one graph."""

from __future__ import annotations

import torch
from torch import Tensor

from kit.tensors import drawn, ids
from t2fast_kernels import append_kv, copy_pages, merge_state


def test_compile_whole() -> None:
    table, row_table, index, positions = ids(0, 1, 2).reshape(1, 3), ids(0, 0, 0), ids(0, 1, 5), ids(0, 1, 2)
    source, destination, cos, sin = ids(0), ids(3), drawn(5, 4), drawn(5, 4, seed=1)

    def step(k: Tensor, q: Tensor, k_cache: Tensor, v_cache: Tensor) -> tuple[Tensor, ...]:
        copy_pages(k_cache, v_cache, source, destination)
        rotary = {"positions": positions, "cos": cos, "sin": sin, "q": q}
        q = append_kv(k, k * 2, k_cache, v_cache, table, row_table, index, k_scale=2.0, **rotary)
        return *merge_state(q, q[..., 0], q * 2, q[..., 1]), k_cache.sum((1, 2, 3))

    caches = [(drawn(4, 2, 2, 8), drawn(4, 2, 2, 8, seed=1)) for _ in range(2)]
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    ours, plain = (f(drawn(3, 2, 8), drawn(3, 4, 8), *c) for f, c in zip((compiled, step), caches, strict=True))
    for a, b in zip((*ours, *caches[0]), (*plain, *caches[1]), strict=True):
        assert torch.equal(a, b)
