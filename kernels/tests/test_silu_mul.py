"""silu_mul: reference and kernel against fp64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import INTERPRETED
from kit.tensors import drawn
from t2fast_kernels import KernelError, silu_mul

pytestmark = [
    pytest.mark.usefixtures("poison"),
    pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning"),  # the interpreter's NumPy
]


@given(
    rows=st.integers(0, 4),
    width=st.sampled_from([1, 24, 1000, 2050]),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    size=st.sampled_from([1e-3, 1.0, 30.0]),
    seed=st.integers(0, 1000),
)
def test_silu_mul(rows, width, dtype, size, seed) -> None:
    both = (drawn(rows, 2 * width, seed=seed) * size).to(dtype)
    gate, up = both[:, :width], both[:, width:]  # as of one product
    out = silu_mul(gate, up)
    assert out.dtype == dtype
    assert out.is_contiguous()
    exact = gate.double() / (1 + (-gate.double()).exp()) * up.double()
    # Half a step where the gate is rounded, and half where the product is; in fp32 the exponential is off by more.
    steps = 8 if dtype == torch.float32 else 2.2 if INTERPRETED else 1.1  # the interpreter rounds toward zero
    # Exponentials beyond fp32's make it 0.
    smallest = max(torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps, 3e-37)
    atol = smallest * (1 + float(up.abs().max()) if rows else 1)
    torch.testing.assert_close(out.double(), exact, rtol=steps * torch.finfo(dtype).eps, atol=atol)


def test_silu_mul_far_from_zero() -> None:
    gate = torch.tensor([[-torch.inf, -200.0, -90.0, 200.0]], device=drawn(1).device)
    out = silu_mul(gate, torch.ones_like(gate))
    assert out[0, 1:].tolist() == pytest.approx([0, 0, 200], abs=1e-36)


def test_silu_mul_errors() -> None:
    gate, up = drawn(2, 3, 16)
    for change, words in (
        ({"gate": drawn(16)}, r"gate: torch.float32 \(16,\)"),
        ({"gate": gate.double()}, "gate: torch.float64"),
        ({"up": up.half()}, "up: torch.float16"),
        ({"up": drawn(16, 3).T}, "up: strides"),
        ({"up": torch.empty(3, 16, device="meta")}, "up: on meta"),
    ):
        with pytest.raises(KernelError, match=words):
            silu_mul(**({"gate": gate, "up": up} | change))


def test_opcheck() -> None:
    gate, up = drawn(2, 3, 16)
    torch.library.opcheck(torch.ops.t2fast.silu_mul.default, (gate, up))
