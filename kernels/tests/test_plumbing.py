"""append_kv, copy_pages and merge_states: reference and kernels against loops in fp64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from conftest import DEVICE, INTERPRETED, TRITON
from t2fast_kernels.append_kv import append_kv
from t2fast_kernels.copy_pages import copy_pages
from t2fast_kernels.errors import KernelError
from t2fast_kernels.merge_states import merge_states

pytestmark = pytest.mark.usefixtures("poison")
FP8 = [torch.float8_e4m3fn, torch.float8_e5m2]


def ids(*values: int, dtype: torch.dtype = torch.int32) -> Tensor:
    return torch.tensor(values, dtype=dtype, device=DEVICE)


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype).to(DEVICE)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equality that float8 and NaN have too."""
    return torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


# append_kv


def turned(x: Tensor, angle: Tensor) -> Tensor:
    """Rotary embedding of one token's heads, written with complex numbers."""
    half = len(angle)
    pairs = torch.complex(x[:, :half].double(), x[:, half : 2 * half].double()) * torch.polar(
        torch.ones_like(angle), angle
    )
    return torch.cat([pairs.real, pairs.imag, x[:, 2 * half :].double()], 1)


@given(
    n_tokens=st.integers(1, 5),
    heads=st.sampled_from([(1, 1), (2, 6), (9, 18)]),
    dim=st.sampled_from([8, 24, 80]),
    rotary=st.sampled_from([None, 1.0, 0.5]),
    page_size=st.sampled_from([1, 3, 16]),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    scale=st.sampled_from([None, 0.5, "heads"]),
    seed=st.integers(0, 1000),
)
def test_append_kv(n_tokens, heads, dim, rotary, page_size, dtype, scale, seed) -> None:
    kv_heads, q_heads = heads
    k, v = drawn(2, n_tokens, kv_heads, dim + 4, seed=seed, dtype=dtype)[..., :dim]  # not contiguous
    q = drawn(n_tokens, q_heads, dim, seed=seed + 1, dtype=dtype)
    tables = torch.randperm(12, generator=torch.Generator().manual_seed(seed)).reshape(3, 4).to(torch.int32).to(DEVICE)
    slots = torch.randperm(3 * 4 * page_size, generator=torch.Generator().manual_seed(seed))[:n_tokens]
    table, index = (slots // (4 * page_size)).tolist(), (slots % (4 * page_size)).tolist()
    index[0] = -1 if seed % 2 else index[0]
    # Caches whose pages lie head by head, as some engines keep them.
    k_cache, v_cache = drawn(2, 12, kv_heads, page_size, dim, dtype=dtype).transpose(2, 3)
    before = k_cache.clone(), v_cache.clone()
    scales = [None if scale is None else 0.5 if scale == 0.5 else drawn(kv_heads, seed=5).abs() + 0.5 for _ in range(2)]
    rotation = {}
    if rotary is not None:
        angles = drawn(7, int(dim * rotary) // 2, seed=3)
        position = torch.arange(n_tokens, dtype=torch.int64, device=DEVICE) % 7
        if seed % 2:
            position[0] = 10**6  # that of a skipped token doesn't matter
        rotation = {"positions": position, "cos": angles.cos(), "sin": angles.sin(), "q": q}
    result = append_kv(
        k, v, k_cache, v_cache, tables, ids(*table), ids(*index), k_scale=scales[0], v_scale=scales[1], **rotation
    )
    eps = {torch.float32: 1e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}[dtype]
    expected = [cache.double() for cache in before]
    for i in range(n_tokens):
        if index[i] < 0:
            continue
        page, slot = int(tables[table[i], index[i] // page_size]), index[i] % page_size
        for cache, new, factor, turns in zip(expected, (k, v), scales, (rotary is not None, False), strict=True):
            x = turned(new[i], angles[position[i]].double()) if turns else new[i].double()
            cache[page, slot] = x / torch.as_tensor(1.0 if factor is None else factor).double().reshape(-1, 1).to(
                DEVICE
            )
        if rotary is not None:
            torch.testing.assert_close(
                result[i].double(), turned(q[i], angles[position[i]].double()), atol=eps * 4, rtol=eps
            )
    for cache, exact, old in zip((k_cache, v_cache), expected, before, strict=True):
        torch.testing.assert_close(cache.double(), exact, atol=eps * 4, rtol=eps)
        untouched = exact == old.double()
        assert torch.equal(cache[untouched], old[untouched])
    assert (result is None) == (rotary is None)


@pytest.mark.parametrize("fp8", FP8, ids=str)
def test_append_kv_float8_rounds_and_saturates(fp8) -> None:
    k = torch.linspace(-3, 3, 32, device=DEVICE).reshape(2, 1, 16)
    if INTERPRETED:  # whose rounding to float8 is wrong where it carries into the exponent
        k = k.to(fp8).float()
    k[0, 0, 0], k[1, 0, 15] = -1e6, 1e6
    k_cache, v_cache = torch.zeros(2, 2, 4, 1, 16, device=DEVICE).to(fp8)
    append_kv(
        k, k, k_cache, v_cache, ids(1, 0).reshape(1, 2), ids(0, 0), ids(1, 6), k_scale=0.25, v_scale=ids(1).float()
    )
    largest = torch.finfo(fp8).max
    for cache, scale in ((k_cache, 0.25), (v_cache, 1.0)):
        exact = (k / scale).clamp(-largest, largest).to(fp8).float()
        assert torch.equal(torch.stack([cache[1, 1], cache[0, 2]]).float(), exact)
        assert int((cache.float() != 0).sum()) == int((exact != 0).sum())


def test_append_kv_is_hugging_faces_rotary_embedding() -> None:
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    k, q = drawn(5, 2, 16), drawn(5, 4, 16, seed=1)
    angles = torch.outer(torch.arange(9.0), 10000 ** (-torch.arange(8) / 8)).to(DEVICE)
    position = ids(0, 3, 8, 1, 2)
    k_cache, v_cache = torch.zeros(2, 5, 1, 2, 16, device=DEVICE)
    table = torch.arange(5, dtype=torch.int32, device=DEVICE).reshape(5, 1)
    rotated = append_kv(
        k, k, k_cache, v_cache, table, ids(0, 1, 2, 3, 4), ids(0, 0, 0, 0, 0),
        positions=position, cos=angles.cos(), sin=angles.sin(), q=q,
    )  # fmt: skip
    whole = torch.cat([angles, angles], 1)[position.long()][None]
    theirs_q, theirs_k = llama.apply_rotary_pos_emb(
        q.transpose(0, 1)[None], k.transpose(0, 1)[None], whole.cos(), whole.sin()
    )
    torch.testing.assert_close(rotated, theirs_q[0].transpose(0, 1), atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(k_cache[:, 0], theirs_k[0].transpose(0, 1), atol=2e-6, rtol=1e-5)
    assert torch.equal(v_cache[:, 0], k)


def test_append_kv_errors() -> None:
    good = {
        "k": drawn(3, 2, 8), "v": drawn(3, 2, 8), "k_cache": drawn(4, 2, 2, 8), "v_cache": drawn(4, 2, 2, 8),
        "tables": ids(0, 1).reshape(1, 2), "row_table": ids(0, 0, 0), "index": ids(0, 1, 2),
    }  # fmt: skip
    cos = drawn(9, 4)
    for change, words in (
        ({"k": drawn(3, 8)}, r"k: shape \(3, 8\)"),
        ({"k": drawn(3, 8, 2).transpose(1, 2)}, "strides"),
        ({"v": drawn(3, 2, 8).half()}, "v: torch.float16"),
        ({"k_cache": drawn(4, 2, 3, 8)}, r"k_cache: heads and dimension \(3, 8\)"),
        ({"k_cache": drawn(4, 2, 2, 8).half(), "v_cache": drawn(4, 2, 2, 8).half()}, "k_cache: dtype torch.float16"),
        ({"v_cache": drawn(5, 2, 2, 8)}, "v_cache"),
        ({"tables": ids(0, 1)}, "tables"),
        ({"index": ids(0, 1)}, r"index: torch.int32 \(2,\)"),
        ({"row_table": ids(0, 0, 0).long()}, "row_table: torch.int64"),
        ({"cos": cos}, "positions, cos and sin"),
        ({"cos": cos, "sin": cos.half(), "positions": ids(0, 1, 2)}, "sin: torch.float16"),
        ({"cos": drawn(9, 5), "sin": drawn(9, 5), "positions": ids(0, 1, 2)}, "rotary_dim at most 8"),
        ({"cos": cos, "sin": cos, "positions": ids(0, 1)}, "positions"),
        ({"q": drawn(3, 4, 8)}, "q: nothing to do"),
        ({"q": drawn(2, 4, 8), "cos": cos, "sin": cos, "positions": ids(0, 1, 2)}, r"q: torch.float32 \(2, 4, 8\)"),
        ({"k_scale": 0.0}, "k_scale = 0.0"),
        ({"v_scale": drawn(3)}, r"v_scale: torch.float32 \(3,\)"),
        ({"index": torch.zeros(3, dtype=torch.int32, device="meta")}, "index: on meta"),
    ):
        with pytest.raises(KernelError, match=words):
            append_kv(**(good | change))


# copy_pages


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
    assert same_bits(k_cache, expected[0])
    assert same_bits(v_cache, expected[1])


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


# merge_states


@given(
    rows=st.integers(1, 4),
    heads=st.sampled_from([1, 5, 8, 17]),
    dim=st.sampled_from([1, 24, 64]),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    natural=st.booleans(),
    far=st.sampled_from([1.0, 40.0, 300.0]),
    seed=st.integers(0, 1000),
)
def test_merge_states(rows, heads, dim, dtype, natural, far, seed) -> None:
    v_a, v_b = drawn(2, rows, heads, dim + 8, seed=seed, dtype=dtype)[..., :dim]
    s_a, s_b = drawn(2, rows, heads, seed=seed + 1) * far
    s_a[0, 0], v_a[0, 0] = -torch.inf, torch.nan  # an empty part may hold anything
    s_b[-1, -1], v_b[-1, -1] = -torch.inf, torch.nan
    v, s = merge_states(v_a, s_a, v_b, s_b, natural=natural)
    base = 1.0 if natural else math.log(2)
    logs = torch.stack([s_a, s_b]).double() * base
    total = logs.logsumexp(0)
    share = (logs - torch.where(total == -torch.inf, 0.0, total)).exp()
    exact = sum((w[..., None] * x.double().nan_to_num() for w, x in zip(share, (v_a, v_b), strict=True)))
    eps = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}[dtype]
    assert v.dtype == dtype
    torch.testing.assert_close(v.double(), exact, atol=4 * eps + 1e-7 * far, rtol=eps + 1e-7 * far)
    torch.testing.assert_close(s.double(), total / base, atol=2e-6, rtol=2e-6)


def test_merge_states_with_itself_and_with_nothing() -> None:
    v, s = drawn(2, 3, 16), drawn(2, 3)
    same_v, same_s = merge_states(v, s, v, s)
    torch.testing.assert_close(same_v, v)
    torch.testing.assert_close(same_s, s + 1)  # base 2: twice the mass is one more
    nothing = torch.full_like(s, -torch.inf)
    v_none, s_none = merge_states(v, nothing, v, nothing)
    assert not v_none.any()
    assert (s_none == -torch.inf).all()


def test_merge_states_errors() -> None:
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
            merge_states(**({"v_a": v, "s_a": s, "v_b": v, "s_b": s} | change))


# Their place in PyTorch


def calls() -> list[tuple[str, tuple[object, ...]]]:
    k = drawn(3, 2, 8)
    caches = drawn(4, 2, 2, 8), drawn(4, 2, 2, 8, seed=1)
    table, rotation = ids(0, 1, 2).reshape(1, 3), (ids(0, 1, 2), drawn(5, 4), drawn(5, 4))
    q, s = drawn(3, 4, 8), drawn(3, 2)
    append = (k, k + 1, *caches, table, ids(0, 0, 0), ids(0, 1, 5), *rotation, None, None, q, torch.zeros_like(q))
    return [("append_kv", append), ("copy_pages", (*caches, ids(0), ids(3))), ("merge_states", (k, s, k + 1, s, False))]


@pytest.mark.parametrize("number", range(3))
def test_opcheck(number) -> None:
    name, arguments = calls()[number]
    torch.library.opcheck(getattr(torch.ops.t2fast, name).default, arguments)


def test_compile_whole() -> None:
    table, row_table, index, positions = ids(0, 1, 2).reshape(1, 3), ids(0, 0, 0), ids(0, 1, 5), ids(0, 1, 2)
    source, destination, cos, sin = ids(0), ids(3), drawn(5, 4), drawn(5, 4, seed=1)

    def step(k: Tensor, q: Tensor, k_cache: Tensor, v_cache: Tensor) -> tuple[Tensor, ...]:
        copy_pages(k_cache, v_cache, source, destination)
        rotary = {"positions": positions, "cos": cos, "sin": sin, "q": q}
        q = append_kv(k, k * 2, k_cache, v_cache, table, row_table, index, k_scale=2.0, **rotary)
        return *merge_states(q, q[..., 0], q * 2, q[..., 1]), k_cache.sum((1, 2, 3))

    caches = [(drawn(4, 2, 2, 8), drawn(4, 2, 2, 8, seed=1)) for _ in range(2)]
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    ours, plain = (f(drawn(3, 2, 8), drawn(3, 4, 8), *c) for f, c in zip((compiled, step), caches, strict=True))
    for a, b in zip((*ours, *caches[0]), (*plain, *caches[1]), strict=True):
        assert torch.equal(a, b)


@pytest.mark.skipif(not (TRITON and DEVICE == "cuda"), reason="graphs need a GPU")
def test_graph_capture() -> None:
    k, index = drawn(3, 2, 8), ids(0, 1, 5)
    k_cache, v_cache = torch.zeros(2, 4, 2, 2, 8, device=DEVICE)
    table, row_table = ids(0, 1, 2).reshape(1, 3), ids(0, 0, 0)
    append_kv(k, k, k_cache, v_cache, table, row_table, index)  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        append_kv(k, k, k_cache, v_cache, table, row_table, index)
    k.add_(1)
    index.add_(-1)
    graph.replay()
    assert torch.equal(k_cache[0, 0], k[1])
    assert torch.equal(k_cache[2, 0], k[2])
