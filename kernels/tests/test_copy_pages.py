"""copy_pages: reference and kernel against indexing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kit.tensors import FP8, drawn, ids
from t2fast_kernels import KernelError, copy_pages

pytestmark = pytest.mark.usefixtures("poison")


@given(
    page_size=st.sampled_from([1, 5, 300]),
    heads=st.sampled_from([1, 3]),
    dim=st.sampled_from([8, 24]),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16, *FP8]),
    seed=st.integers(0, 1000),
)
def test_copy_pages(page_size, heads, dim, dtype, seed) -> None:
    k_cache, v_cache = drawn(2, 8, heads, page_size, dim, seed=seed).to(dtype).transpose(2, 3)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(seed)).tolist()
    source, destination = [order[0], order[0], order[1]], [order[2], order[3], -1]
    expected = k_cache.clone(), v_cache.clone()
    for cache in expected:
        for s, d in zip(source, destination, strict=True):
            if d >= 0:
                cache[d] = cache[s].clone()
    copy_pages(k_cache, v_cache, ids(*source), ids(*destination))
    for ours, wanted in zip((k_cache, v_cache), expected, strict=True):  # bytes: float8 and NaN have no equality
        assert torch.equal(ours.contiguous().view(torch.uint8), wanted.contiguous().view(torch.uint8))


def test_copy_no_pages() -> None:
    cache = drawn(2, 2, 1, 8)
    copy_pages(cache, cache.clone(), ids(), ids())
    assert torch.equal(cache, drawn(2, 2, 1, 8))


def test_copy_pages_errors() -> None:
    cache = drawn(4, 2, 2, 8)
    for change, words in (
        ({"k_cache": drawn(4, 2, 8)}, r"k_cache: shape \(4, 2, 8\)"),
        ({"v_cache": drawn(4, 2, 2, 8).half()}, "v_cache: torch.float16"),
        ({"source": ids(0, 1).long()}, "source: torch.int64"),
        ({"destination": ids(0, 1, 2)}, r"destination: torch.int32 \(3,\)"),
        ({"destination": torch.zeros(2, dtype=torch.int32, device="meta")}, "destination: on meta"),
    ):
        arguments = {"k_cache": cache, "v_cache": cache, "source": ids(0, 1), "destination": ids(2, 3)} | change
        with pytest.raises(KernelError, match=words):
            copy_pages(**arguments)


def test_opcheck() -> None:
    torch.library.opcheck(
        torch.ops.t2fast.copy_pages.default, (drawn(4, 2, 2, 8), drawn(4, 2, 2, 8, seed=1), ids(0), ids(3))
    )
