"""append_kv: reference and kernel against loops in fp64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from conftest import DEVICE, INTERPRETED, TRITON
from kit.tensors import FP8, drawn, ids
from t2fast_kernels import KernelError, append_kv

pytestmark = pytest.mark.usefixtures("poison")


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
    # Values stay below 5 and scales above 1/2. In fp32: two products and their sum, each rounded by 2^-24 at 10 at most,
    # the angle's cosine and sine, and the division double to 6e-6; then one step of the dtype's rounding.
    close = {"atol": 6e-6, "rtol": torch.finfo(dtype).eps}
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
            torch.testing.assert_close(result[i].double(), turned(q[i], angles[position[i]].double()), **close)
    for cache, exact, old in zip((k_cache, v_cache), expected, before, strict=True):
        torch.testing.assert_close(cache.double(), exact, **close)
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


@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_append_kv_is_hugging_faces_block_of_qwen(dtype, turned) -> None:
    """Norms of the heads, then rotary embedding by each token's own angles, as the model rounds them."""
    qwen = pytest.importorskip("transformers.models.qwen3.modeling_qwen3")
    k, q = drawn(5, 3, 24, dtype=dtype), drawn(5, 10, 24, seed=1, dtype=dtype)
    norms = [qwen.Qwen3RMSNorm(24, eps=1e-5).to(dtype).to(DEVICE) for _ in range(2)]
    for seed, norm in enumerate(norms):
        norm.weight = torch.nn.Parameter(drawn(24, seed=seed, dtype=dtype), requires_grad=False)
    angles = torch.cat([drawn(1, 5, 12)] * 2, -1)
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    k_cache, v_cache = torch.zeros(2, 5, 1, 3, 24, device=DEVICE, dtype=dtype)
    table = torch.arange(5, dtype=torch.int32, device=DEVICE).reshape(5, 1)
    own = {"cos": cos[0, :, :12], "sin": sin[0, :, :12]} if turned else {}
    found = append_kv(
        k, k, k_cache, v_cache, table, ids(0, 1, 2, 3, 4), ids(0, 0, -1, 0, 0), **own,
        q=q, q_norm=norms[0].weight, k_norm=norms[1].weight, eps=1e-5,
    )  # fmt: skip
    theirs = [norm(x)[None].transpose(1, 2) for norm, x in zip(norms, (q, k), strict=True)]
    if turned:
        # One rounding instead of theirs after each product and the sum.
        theirs = qwen.apply_rotary_pos_emb(*(x.float() for x in theirs), cos.float(), sin.float())
    theirs_q, theirs_k = (x[0].transpose(0, 1).float() for x in theirs)
    # A value may fall to the other side where it is rounded after the norm, and be rounded once more: two steps. In
    # fp32 the sum of squares may be off by a few.
    steps = 4 if INTERPRETED else 2  # the interpreter rounds toward zero
    close = {"atol": 2 * steps * torch.finfo(dtype).eps, "rtol": steps * torch.finfo(dtype).eps}
    torch.testing.assert_close(found.float(), theirs_q, **close)
    written = torch.tensor([0, 1, 3, 4], device=DEVICE)
    torch.testing.assert_close(k_cache[written, 0].float(), theirs_k[written], **close)
    assert torch.equal(v_cache[written, 0], k[written])
    assert not k_cache[2].any()


def test_append_kv_errors() -> None:
    good = {
        "k": drawn(3, 2, 8), "v": drawn(3, 2, 8), "k_cache": drawn(4, 2, 2, 8), "v_cache": drawn(4, 2, 2, 8),
        "block_tables": ids(0, 1).reshape(1, 2), "row_table": ids(0, 0, 0), "index": ids(0, 1, 2),
    }  # fmt: skip
    cos = drawn(9, 4)
    for change, words in (
        ({"k": drawn(3, 8)}, r"k: shape \(3, 8\)"),
        ({"k": drawn(3, 8, 2).transpose(1, 2)}, "strides"),
        ({"v": drawn(3, 2, 8).half()}, "v: torch.float16"),
        ({"k_cache": drawn(4, 2, 3, 8)}, r"k_cache: heads and dimension \(3, 8\)"),
        ({"k_cache": drawn(4, 2, 2, 8).half(), "v_cache": drawn(4, 2, 2, 8).half()}, "k_cache: dtype torch.float16"),
        ({"v_cache": drawn(5, 2, 2, 8)}, "v_cache"),
        ({"block_tables": ids(0, 1)}, "block_tables"),
        ({"index": ids(0, 1)}, r"index: torch.int32 \(2,\)"),
        ({"row_table": ids(0, 0, 0).long()}, "row_table: torch.int64"),
        ({"cos": cos}, "positions, cos and sin"),
        ({"positions": ids(0, 1, 2)}, "positions, cos and sin"),
        ({"cos": cos, "sin": cos}, "cos: 9 rows for 3 tokens"),
        ({"k_norm": drawn(9)}, r"k_norm: torch.float32 \(9,\)"),
        ({"q_norm": drawn(8)}, "q_norm: there is no q"),
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


def test_opcheck() -> None:
    k, q = drawn(3, 2, 8), drawn(3, 4, 8)
    rotation = (ids(0, 1, 2), drawn(5, 4), drawn(5, 4))
    table = ids(0, 1, 2).reshape(1, 3)
    caches = drawn(4, 2, 2, 8), drawn(4, 2, 2, 8, seed=1)
    norms = drawn(8), drawn(8), 1e-6
    call = (k, k + 1, *caches, table, ids(0, 0, 0), ids(0, 1, 5), *rotation, None, None, q, torch.zeros_like(q), *norms)
    torch.library.opcheck(torch.ops.t2fast.append_kv.default, call)


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
