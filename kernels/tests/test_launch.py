"""Kernels run on their tensors' device, whatever device is current, and reach every element of large tensors."""

from __future__ import annotations

import ast
import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import triton
from torch import Tensor

import t2fast_kernels
from conftest import DEVICE, INTERPRETED, TRITON
from kit.tensors import drawn, ids
from t2fast_kernels import (
    DecodeBuffers,
    append_kv,
    copy_pages,
    merge_state,
    plan,
    prefix_decode,
    rms_norm,
    sample,
    silu_mul,
)
from t2fast_kernels.products import gated_product, products

PACKAGE = Path(t2fast_kernels.__file__).parent


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
    "products": lambda: products(drawn(2, 8).half(), [drawn(8, 8).half()]),
    "gated_product": lambda: gated_product(drawn(2, 8).half(), drawn(8, 8).half(), drawn(8, 8).half()),
    "rms_norm": lambda: rms_norm(drawn(2, 8), drawn(8), 1e-6),
    "silu_mul": lambda: silu_mul(drawn(2, 8), drawn(2, 8)),
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


def launches(path: Path) -> list[str]:
    """Calls of the form ``kernel[grid](...)``, other than types and containers of functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Subscript):
            name = ast.unparse(node.func.value)
            if re.search("kernel", name):
                found.append(f"{path.name}:{node.lineno}: {name}")
    return found


def test_every_launch_goes_through_one_guarded_function():
    found = {path.name: launches(path) for path in PACKAGE.rglob("*.py")}
    assert len(found.pop("launch.py")) == 1
    assert not any(found.values()), found
    names = {kernel for path in (PACKAGE / "triton").rglob("*.py") for kernel in re.findall(r"def (\w+_kernel)", path.read_text(encoding="utf-8"))}  # fmt: skip
    launched = " ".join(path.read_text(encoding="utf-8") for path in PACKAGE.glob("*.py"))
    assert names
    assert all(re.search(rf"{name},", launched) for name in names)


@pytest.mark.skipif(TRITON, reason="the driver is a stub here")
@pytest.mark.filterwarnings("ignore:.*FP_FUSION.*:UserWarning")
def test_a_repeated_launch_passes_what_the_first_did():
    """With tensors of the call in their places; other layouts, alignments and settings are launched afresh."""
    import importlib

    from kit.stub_driver import stubbed

    attention = importlib.import_module("t2fast_kernels.attention")
    modules = [attention, importlib.import_module("t2fast_kernels.buffers")]
    with stubbed(*modules) as driver, pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(attention, "_bound", {})
        given = driver.arguments
        buffers = DecodeBuffers(4, 8, 2, 64, max_segments=1)
        plan(buffers, [[0, 0, 99, 0]], [[0]] * 4, range(4), method="shared")
        tables, lens = torch.zeros(5, 8, dtype=torch.int32), torch.zeros(4, dtype=torch.int32)

        def call(cache, q, **options):
            given.clear()
            out = prefix_decode(q, cache, cache, tables, lens, buffers, **options)
            assert driver.launched[-2:] == ["prefix_kernel", "suffix_kernel"]
            return [list(some) for some in given], out

        cache, q = (torch.zeros(20, 16, 2, 64, dtype=torch.bfloat16) for _ in "cq")
        q = torch.zeros(4, 8, 64, dtype=torch.bfloat16)
        first, _ = call(cache, q)
        other, q2 = torch.zeros_like(cache), torch.zeros_like(q)
        again, out = call(other, q2)
        assert len(attention._bound) == 1
        for before, after in zip(first, again, strict=True):
            for x, y in zip(before, after, strict=True):
                if x is cache or x is q:
                    assert y is (other if x is cache else q2)
                elif not isinstance(x, Tensor):
                    assert x == y
        assert any(value is out for value in again[1])
        call(cache, q, window=9)
        call(cache, torch.zeros(4 * 8 * 64 + 1, dtype=torch.bfloat16)[1:].view(4, 8, 64))
        call(cache, q[:3])
        assert len(attention._bound) == 4


def large(*shape: int) -> Tensor:
    """A float8 cache of gigabytes of which only what is touched takes memory; NaN nowhere that counts."""
    if DEVICE == "cuda":
        return torch.zeros(shape, dtype=torch.uint8, device=DEVICE).view(torch.float8_e5m2)
    return torch.from_numpy(np.empty(shape, np.uint8)).view(torch.float8_e5m2)


#: Pages x tokens x dimension of a head when heads lie outermost: the last of eight begins beyond 2^31 elements.
HEADS, PAGES, PAGE, DIM = 8, 1 << 16, 512, 16


@pytest.mark.skipif(not TRITON, reason="of kernels")
def test_appending_and_copying_where_heads_lie_far_apart():
    cache = large(HEADS, PAGES, PAGE, DIM).permute(1, 2, 0, 3)
    assert (HEADS - 1) * cache.stride(2) > 1 << 31
    k = torch.arange(HEADS * DIM, device=DEVICE).view(1, HEADS, DIM).remainder(5).float()
    tables = ids(0, PAGES - 1).reshape(1, 2)
    append_kv(k, k, cache, cache, tables, ids(0), ids(2 * PAGE - 1))
    assert torch.equal(cache[PAGES - 1, PAGE - 1].float(), k[0])
    copy_pages(cache, cache, ids(PAGES - 1), ids(3))
    assert torch.equal(cache[3, PAGE - 1].float(), k[0])


@pytest.mark.skipif(not TRITON, reason="of kernels")
def test_decoding_at_the_end_of_one_long_page():
    """A contiguous cache is one page, whose tokens alone lead beyond 2^31 elements."""
    cache = large(1, (1 << 27) + 64, 1, 16)
    first, last = (1 << 27) + 20, (1 << 27) + 40
    values = drawn(20, 1, 16).to(torch.float8_e5m2)
    cache[0, first:last].view(torch.uint8).copy_(values.view(torch.uint8))
    q = drawn(2, 2, 16, seed=1)
    buffers = DecodeBuffers(2, 2, 1, 16, max_segments=1, device=DEVICE)
    plan(buffers, [[0, first, first + 12, 0]], [[0], [0]], [0, 0], [first + 12] * 2, [12, 12], method="shared")
    out = prefix_decode(q, cache, cache, ids(0).reshape(1, 1), ids(last, last - 3), buffers)
    for row, n in ((0, 20), (1, 17)):
        seen = values[:n, 0].float()
        want = ((q[row] @ seen.T) * 16**-0.5).softmax(-1) @ seen
        torch.testing.assert_close(out[row], want, atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter replaces the compiler")
@pytest.mark.filterwarnings("ignore:.*FP_FUSION.*:UserWarning")
@pytest.mark.parametrize("name", ["append-bf16-bf16", "copy-fp16", "merge-bf16"])
def test_offsets_of_heads_and_slots_take_64_bits(name):
    from kit.offline import intermediate
    from kit.sampling_cases import cases

    text = intermediate(next(case for case in cases("sm_90") if case.name == name))
    products = re.findall(r"arith\.muli .* : (\S+)", text)
    assert products
    strided = [kind for kind in products if kind.startswith("tensor")]
    assert not [kind for kind in strided if "i32" in kind], f"Triton {triton.__version__}: {strided}"
