"""merge_state: reference and kernel against fp64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kit.tensors import drawn
from t2fast_kernels import KernelError, merge_state

pytestmark = pytest.mark.usefixtures("poison")


@given(
    rows=st.integers(1, 4),
    heads=st.sampled_from([1, 5, 8, 17]),
    dim=st.sampled_from([1, 24, 64]),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    far=st.sampled_from([1.0, 40.0, 300.0]),
    seed=st.integers(0, 1000),
)
def test_merge_state(rows, heads, dim, dtype, far, seed) -> None:
    v_a, v_b = drawn(2, rows, heads, dim + 8, seed=seed, dtype=dtype)[..., :dim]
    s_a, s_b = drawn(2, rows, heads, seed=seed + 1) * far
    s_a[0, 0], v_a[0, 0] = -torch.inf, torch.nan  # an empty part may hold anything
    s_b[-1, -1], v_b[-1, -1] = -torch.inf, torch.nan
    v, s = merge_state(v_a, s_a, v_b, s_b)
    logs = torch.stack([s_a, s_b]).double()
    total = logs.logsumexp(0)
    share = (logs - torch.where(total == -torch.inf, 0.0, total)).exp()
    exact = sum((w[..., None] * x.double().nan_to_num() for w, x in zip(share, (v_a, v_b), strict=True)))
    assert v.dtype == dtype
    # Weights of at most 1 on values below 5: a handful of roundings by 2^-24 at 10, then one step of the dtype's.
    torch.testing.assert_close(v.double(), exact, atol=4e-6, rtol=torch.finfo(dtype).eps)
    # A sum rounded at its size, and a logarithm of at most log 2.
    torch.testing.assert_close(s.double(), total, atol=2.0**-22, rtol=2.0**-23)


def test_merge_state_with_itself_and_with_nothing() -> None:
    v, s = drawn(2, 3, 16), drawn(2, 3)
    same_v, same_s = merge_state(v, s, v, s)
    torch.testing.assert_close(same_v, v)
    torch.testing.assert_close(same_s, s + math.log(2))  # twice the mass
    nothing = torch.full_like(s, -torch.inf)
    v_none, s_none = merge_state(v, nothing, v, nothing)
    assert not v_none.any()
    assert (s_none == -torch.inf).all()


def test_merge_state_errors() -> None:
    v, s = drawn(2, 3, 16), drawn(2, 3)
    for change, words in (
        ({"v_a": drawn(3, 16)}, r"v_a: torch.float32 \(3, 16\)"),
        ({"v_b": v.half()}, "v_b: torch.float16"),
        ({"s_a": s.double()}, "s_a: torch.float64"),
        ({"s_b": drawn(3, 2)}, r"s_b: torch.float32 \(3, 2\)"),
        ({"v_b": drawn(2, 16, 3).transpose(1, 2)}, "v_b: strides"),
        ({"s_b": torch.empty(2, 3, device="meta")}, "s_b: on meta"),
    ):
        with pytest.raises(KernelError, match=words):
            merge_state(**({"v_a": v, "s_a": s, "v_b": v, "s_b": s} | change))


def test_opcheck() -> None:
    k, s = drawn(3, 2, 8), drawn(3, 2)
    torch.library.opcheck(torch.ops.t2fast.merge_state.default, (k, s, k + 1, s))
