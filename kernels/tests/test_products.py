"""products: reference and kernels against fp64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import INTERPRETED
from kit.tensors import drawn
from t2fast_kernels import KernelError
from t2fast_kernels.products import gated_product, products, suits

pytestmark = pytest.mark.usefixtures("poison")
ROWS = st.sampled_from([0, 1, 5, 17, 64, 70, 128])
WIDTHS = st.sampled_from([8, 64, 72, 192])
HALVES = st.sampled_from([torch.float16, torch.bfloat16])
#: The interpreter rounds toward zero.
STEPS = 2.2 if INTERPRETED else 1.1


def near(found, exact, dtype) -> None:
    # fp32 sums of a few hundred products below 20 in size; then half a step.
    torch.testing.assert_close(found.double(), exact, rtol=STEPS / 2 * torch.finfo(dtype).eps, atol=1e-4)


@given(
    rows=ROWS,
    width=WIDTHS,
    columns=st.sampled_from([(24,), (64, 64), (96, 32, 32), (40, 8, 100)]),
    bias=st.booleans(),
    dtype=HALVES,
    seed=st.integers(0, 1000),
)
def test_products(rows, width, columns, bias, dtype, seed) -> None:
    x = drawn(rows, width + 8, seed=seed, dtype=dtype)[:, :width]  # not contiguous
    weights = [drawn(n, width, seed=seed + i, dtype=dtype) for i, n in enumerate(columns, 1)]
    biases = [drawn(n, seed=seed + n, dtype=dtype) for n in columns] if bias else []
    found = products(x, weights, biases)
    assert found.is_contiguous()
    exact = x.double() @ torch.cat(weights).double().T
    near(found, exact + (torch.cat(biases).double() if bias else 0), dtype)


@given(rows=ROWS, width=WIDTHS, columns=st.sampled_from([24, 64, 100]), dtype=HALVES, seed=st.integers(0, 1000))
def test_gated_product(rows, width, columns, dtype, seed) -> None:
    x = drawn(rows, width, seed=seed, dtype=dtype)
    gate, up = (drawn(2, columns, width, seed=seed + 1) * width**-0.5).to(dtype)
    found = gated_product(x, gate, up)
    opened, total = (x.double() @ weight.double().T for weight in (gate, up))
    exact = opened / (1 + (-opened).exp()) * total
    # Four values of at most 10 are rounded before the last.
    step = STEPS / 2 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.double(), exact, rtol=5 * step, atol=5 * step)


def test_what_suits() -> None:
    def fits(rows, *columns, dtype=torch.bfloat16):
        x = torch.empty(rows, 64, device="meta", dtype=dtype)
        return suits(x, [torch.empty(n, 64, device="meta", dtype=dtype) for n in columns])

    assert fits(128, 2048, 1024, 1024)  # Qwen 3 of 0.6 billion
    assert fits(128, 3072, 3072)
    assert not fits(129, 2048, 1024, 1024)
    assert not fits(128, 14336, 14336)
    assert not fits(128, 2048, dtype=torch.float32)
    assert not fits(0, 64)


def test_products_errors() -> None:
    x, weight = drawn(3, 16).half(), drawn(8, 16).half()
    for change, words in (
        ({"x": x.float()}, "x: torch.float32"),
        ({"x": drawn(16, 3).half().T}, "strides"),
        ({"weights": [weight.float()]}, "weights: torch.float32"),
        ({"weights": [drawn(8, 15).half()]}, r"give contiguous torch.float16 \[columns, 16\]"),
        ({"weights": [weight] * 4}, "4 and 0; give 1 to 3"),
        ({"weights": []}, "0 and 0; give 1 to 3"),
        ({"biases": [weight[0]]}, r"biases: torch.float16 \(16,\)"),
        ({"weights": [weight.to("meta")]}, "weights: on meta"),
    ):
        with pytest.raises(KernelError, match=words):
            products(**({"x": x, "weights": [weight]} | change))
    with pytest.raises(KernelError, match=r"up: \(4, 16\)"):
        gated_product(x, weight, weight[:4])


def test_opcheck() -> None:
    x, weight = drawn(3, 16).half(), drawn(8, 16).half()
    torch.library.opcheck(torch.ops.t2fast.products.default, (x, [weight, weight + 1], [weight[:, 0].clone()] * 2))
    torch.library.opcheck(torch.ops.t2fast.gated_product.default, (x, weight, weight + 1))
