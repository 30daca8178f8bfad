"""rms_norm: reference and kernel against fp64 and against Hugging Face's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import INTERPRETED
from kit.tensors import drawn
from t2fast_kernels import KernelError, rms_norm

pytestmark = pytest.mark.usefixtures("poison")


@given(
    rows=st.integers(0, 4),
    width=st.sampled_from([1, 24, 96, 1000, 2050]),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    size=st.sampled_from([1e-3, 1.0, 100.0]),
    adds=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_rms_norm(rows, width, dtype, size, adds, seed) -> None:
    x, other = (drawn(2, rows, width + 8, seed=seed) * size).to(dtype)[..., :width]  # not contiguous
    weight = drawn(width, seed=seed + 1, dtype=dtype)
    before = x.clone()
    y, total = rms_norm(x, weight, 1e-5, residual=other if adds else None)
    assert torch.equal(x, before)
    # The interpreter rounds toward zero.
    torch.testing.assert_close(total, x + other if adds else x, rtol=torch.finfo(dtype).eps * INTERPRETED, atol=0)
    assert y.dtype == dtype
    assert y.is_contiguous()
    wide = total.double()
    exact = weight.double() * wide / (wide.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    # Half a step where the quotient is rounded, and half where the product is; in fp32 the mean of squares and its root
    # are off by a few more.
    steps = 6 if dtype == torch.float32 else 2.2 if INTERPRETED else 1.1
    smallest = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    torch.testing.assert_close(y.double(), exact, rtol=steps * torch.finfo(dtype).eps, atol=8 * smallest)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_rms_norm_is_hugging_faces(dtype) -> None:
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    x, weight = drawn(7, 160, dtype=dtype), drawn(160, seed=1, dtype=dtype)
    norm = llama.LlamaRMSNorm(160, eps=1e-6).to(x.device)
    norm.weight = torch.nn.Parameter(weight, requires_grad=False)
    y, _ = rms_norm(x, weight, 1e-6)
    if not INTERPRETED:  # which rounds toward zero
        assert (y != norm(x)).double().mean() < (0.6 if dtype == torch.float32 else 0.01)
    torch.testing.assert_close(y, norm(x), rtol=4 * torch.finfo(dtype).eps, atol=0)


def test_rms_norm_errors() -> None:
    x, weight = drawn(3, 16), drawn(16)
    for change, words in (
        ({"x": drawn(16)}, r"x: torch.float32 \(16,\)"),
        ({"x": x.double()}, "x: torch.float64"),
        ({"x": drawn(16, 3).T}, "strides"),
        ({"x": drawn(1, 1).expand(2, 1 << 16)}, "width at most 16384"),
        ({"weight": weight.half()}, "weight: torch.float16"),
        ({"weight": drawn(15)}, r"weight: torch.float32 \(15,\)"),
        ({"residual": drawn(2, 16)}, r"residual: torch.float32 \(2, 16\)"),
        ({"weight": torch.empty(16, device="meta")}, "weight: on meta"),
    ):
        with pytest.raises(KernelError, match=words):
            rms_norm(**({"x": x, "weight": weight, "eps": 1e-6} | change))


def test_opcheck() -> None:
    x, weight = drawn(3, 16), drawn(16)
    call = (x, x + 1, weight, torch.zeros_like(x), torch.zeros_like(x), 1e-6)
    torch.library.opcheck(torch.ops.t2fast.rms_norm.default, call)
