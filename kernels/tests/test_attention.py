from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from conftest import DEVICE, INTERPRETED, TRITON
from kit.scenes import Scene
from t2fast_kernels import DecodeBuffers, KernelError, attention, plan, prefix_decode
from t2fast_kernels.reference import attention as reference

pytestmark = pytest.mark.usefixtures("poison", "few_programs")


@pytest.fixture(scope="module")
def few_programs():
    """The interpreter runs idle programs too, one after the other; with few, items are also read in turns."""
    with pytest.MonkeyPatch.context() as patch:
        if INTERPRETED:
            patch.setattr(attention, "PROGRAMS", 8)
        yield


@st.composite
def scenes(draw) -> Scene:
    """Any tree of prefixes, shared at random, and any suffixes."""
    begins, lengths = st.integers(0, 20), st.sampled_from([0, 1, 2, 15, 16, 17, 40, 64, 65, 130])
    segments = [
        (begin, begin + draw(lengths), draw(st.integers(0, 50)))
        for begin in draw(st.lists(begins, min_size=0, max_size=4))
    ]
    levels = st.lists(st.integers(0, len(segments) - 1), max_size=3, unique=True) if segments else st.just([])
    rows = draw(st.lists(st.none() | levels | levels, min_size=1, max_size=9))
    suffixes = []
    for _ in rows:
        begin = draw(begins)
        suffixes.append((begin, begin + draw(st.sampled_from([0, 1, 2, 16, 31, 70]))))
    return Scene(
        segments,
        rows,
        suffixes,
        n_kv_heads=draw(st.integers(1, 3)),
        group=draw(st.sampled_from([1, 2, 3, 4, 5, 8, 16])),
        head_dim=draw(st.sampled_from([24, 32, 40, 64, 80])),
        page_size=draw(st.sampled_from([1, 3, 16, 17, 128])),
        dtype=draw(st.sampled_from([torch.float32, torch.float16])),
        seed=draw(st.integers(0, 99)),
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    scene=scenes(),
    block_m=st.sampled_from([16, 64, 128]),
    method=st.sampled_from(["auto", "shared", "split", "plain"]),
    split_size=st.sampled_from([16, 33, 64]),
    window=st.sampled_from([None, None, 1, 17, 60]),
    logits_soft_cap=st.sampled_from([None, None, 3.0]),
    sinks=st.booleans(),
)
@example(scene=Scene([(0, 130, 0)], [[0], [0]], [(0, 3), (0, 0)], group=1), block_m=16, method="shared", split_size=64, window=None, logits_soft_cap=None, sinks=False)  # fmt: skip
def test_any_scene(scene, block_m, method, split_size, window, logits_soft_cap, sinks):
    if scene.dtype == torch.float32:  # whose tiles of 128 don't fit into registers
        block_m = min(block_m, 64)
    options = {"max_items": 4096, "max_partials": 4096, "block_m": block_m}
    buffers = scene.buffers(**options)
    scene.plan(buffers, method=method, split_size=split_size if method == "split" else None)
    heads = torch.linspace(-2, 2, scene.q.shape[1]) if sinks else None
    scene.check(buffers, window=window, logits_soft_cap=logits_soft_cap, sinks=heads)


SHARED = Scene(
    [(0, 200, 0), (5, 38, 200)],
    [[0, 1], [0], [0, 1], None, [1], []],
    [(0, 9), (3, 30), (0, 1), (0, 5), (0, 40), (0, 7)],
)


@pytest.mark.parametrize("method", ["shared", "split", "plain"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": 0.7},
        {"scale": -0.7, "logits_soft_cap": 2.0},
        {"scale": 0.0},
        {"sinks": torch.tensor([0.0, -torch.inf] * 4)},
        {"window": 40, "logits_soft_cap": 2.0, "sinks": torch.arange(8.0)},
        {"k_scale": 0.5, "v_scale": 3.0},
        {"k_scale": torch.tensor([0.5]), "v_scale": torch.tensor([3.0, 0.25])},
    ],
    ids=str,
)
def test_options(method, options):
    buffers = SHARED.buffers(max_items=100, max_partials=100)
    SHARED.plan(buffers, method=method, split_size=64 if method == "split" else None)
    SHARED.check(buffers, **options)


@pytest.mark.parametrize("cache", [torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_dtypes(dtype, cache):
    if DEVICE == "cuda" and cache == torch.float8_e4m3fn and torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("no float8_e4m3fn before compute capability 8.9")
    cache = dtype if cache == torch.bfloat16 else cache
    scene = Scene(SHARED.segments, SHARED.row_segments, SHARED.suffixes, head_dim=64, dtype=dtype, cache_dtype=cache)
    buffers = scene.buffers(max_partials=100)
    for method in ("shared", "plain"):
        scene.plan(buffers, method=method)
        scene.check(buffers, k_scale=0.5)


def test_head_dims():
    for head_dim in (1, 8, 24, 72, 96, 128, 192, 256):
        scene = Scene([(0, 40, 0)], [[0], [0]], [(0, 9), (0, 20)], head_dim=head_dim, group=1)
        buffers = scene.buffers()
        scene.plan(buffers, method="shared")
        scene.check(buffers)


def test_nothing_to_read():
    scene = Scene([(0, 0, 0)], [[0], [], None], [(3, 3), (0, 0), (0, 8)])
    buffers = scene.buffers()
    scene.plan(buffers)
    out, lse = scene.decode(buffers)
    assert not out.any()
    assert (lse == -torch.inf).all()
    out, lse = scene.decode(buffers, sinks=torch.full((8,), -torch.inf))  # sinks that are none
    assert not out.any()
    assert (lse == -torch.inf).all()
    out, lse = scene.decode(buffers, sinks=torch.ones(8))
    assert not out.any()
    assert (lse[:2] == 1).all()
    assert (lse[2] == -torch.inf).all()


def test_buffers_fresh_from_the_box_are_idle():
    buffers = SHARED.buffers()
    out, lse = SHARED.decode(buffers)
    assert not out.any()
    assert (lse == -torch.inf).all()


def test_rows_beyond_the_plan_are_zero():
    buffers = SHARED.buffers()
    segments, levels, tables, begins, positions = SHARED.planned
    SHARED.plan(buffers, method="shared")
    plan(buffers, segments, levels[:2], tables[:2], begins[:2], positions[:2], method="shared")
    out, lse = SHARED.decode(buffers)
    want, _ = SHARED.expected()
    torch.testing.assert_close(out[:2].double(), want[:2], atol=1e-5, rtol=0)
    assert not out[2:].any()
    assert (lse[2:] == -torch.inf).all()


def test_steps_need_no_new_plan():
    scene = Scene([(0, 50, 0)], [[0], [0], [0]], [(0, 20), (0, 20), (4, 24)])
    buffers = scene.buffers()
    scene.plan(buffers)
    for lens in ((1, 2, 5), (2, 3, 6), (16, 17, 20)):
        scene.seq_lens = torch.tensor(lens, dtype=torch.int32)
        for row, end in enumerate(lens):  # what lies beyond is not yet written
            for token in range(end, scene.suffixes[row][1]):
                page = scene.block_tables[1 + row, token // 16]
                scene.k_cache[page, token % 16] = scene.v_cache[page, token % 16] = torch.nan
        if lens[0] == 1:
            written = scene.k_cache.clone(), scene.v_cache.clone()
        scene.k_cache, scene.v_cache = (torch.where(t.isnan(), torch.randn(()), t) for t in written)
        scene.check(buffers)


def test_layouts():
    """Keys and values side by side in one cache, queries cut out of a fused projection, output into a wider tensor."""
    scene = Scene([(0, 50, 0)], [[0], [0]], [(0, 20), (0, 7)])
    both = torch.stack([scene.k_cache, scene.v_cache], dim=1)
    fused = torch.cat([scene.q, scene.q], dim=1).to(DEVICE)
    wide = torch.full((2, 16, 32), torch.nan, device=DEVICE)
    buffers = scene.buffers()
    scene.plan(buffers, method="shared")
    both, tables, lens = both.to(DEVICE), scene.block_tables.to(DEVICE), scene.seq_lens.to(DEVICE)
    out = prefix_decode(fused[:, :8], both[:, 0], both[:, 1], tables, lens, buffers, out=wide[:, 8:])
    assert out.data_ptr() == wide[:, 8:].data_ptr()
    assert wide[:, :8].isnan().all()
    assert (out.cpu() - scene.expected()[0]).norm() < 1e-5


def test_contiguous_tensors_are_long_pages():
    generator = torch.Generator().manual_seed(0)
    prefix, own = (torch.randn(2, n, 30, 2, 32, generator=generator) for n in (1, 3))
    keys, values = torch.cat([prefix, own], 1)
    q = torch.randn(3, 4, 32, generator=generator)
    buffers = DecodeBuffers(3, 4, 2, 32, max_segments=1, device=DEVICE)
    plan(buffers, [[0, 0, 25, 0]], [[0]] * 3, [1, 2, 3], 0, 25)
    tables = torch.arange(4, dtype=torch.int32, device=DEVICE)[:, None]
    lens = torch.tensor([4, 9, 30], dtype=torch.int32, device=DEVICE)
    out = prefix_decode(q.to(DEVICE), keys.to(DEVICE), values.to(DEVICE), tables, lens, buffers).cpu()
    for row, n in enumerate(lens.tolist()):
        k, v = (torch.cat([t[0, :25], t[1 + row, :n]]).transpose(0, 1)[None] for t in (keys, values))
        want = torch.nn.functional.scaled_dot_product_attention(q[row][None, :, None], k, v, enable_gqa=True)
        torch.testing.assert_close(out[row], want[0, :, 0], atol=2e-6, rtol=0)


@pytest.mark.skipif(not TRITON, reason="matrix products on the CPU vary with their shapes")
@pytest.mark.parametrize("window", [None, 70])
def test_a_row_does_not_depend_on_who_shares_its_batch(window, monkeypatch):
    if INTERPRETED:  # whose matrix products vary with a row's place; tensor cores' don't
        monkeypatch.setattr(np, "matmul", lambda a, b, **_: np.einsum("ik,kj->ij", a, b))
    rows = [[0, 1], [0], [0, 1], [1], [0, 1], [0], [0, 1]]
    scene = Scene([(0, 200, 0), (5, 88, 200)], rows, [(0, 9 + i) for i in range(7)], n_kv_heads=1)
    buffers = scene.buffers(max_items=100, max_partials=100, block_m=16)
    scene.plan(buffers, method="split", split_size=64)
    together, lse = scene.decode(buffers, window=window)
    segments, levels, tables, begins, positions = scene.planned
    for row in (4, 6, 1):
        kept = [levels[r] if r in (row, 0) else [-1, -1] for r in range(7)]
        plan(buffers, segments, kept, [t if r in (row, 0) else -1 for r, t in enumerate(tables)], begins, positions, method="split", split_size=64)  # fmt: skip
        alone, lse_alone = scene.decode(buffers, window=window)
        assert torch.equal(alone[row], together[row])
        assert torch.equal(lse_alone[row], lse[row])


@pytest.mark.skipif(not TRITON, reason="the reference has no tiles")
def test_float32_has_no_wide_tiles():
    buffers = SHARED.buffers(block_m=128)
    with pytest.raises(KernelError, match="q: float32 with block_m = 128; make DecodeBuffers with block_m=64"):
        SHARED.decode(buffers)


def test_buffers_without_room_for_prefixes():
    scene = Scene([], [[], None, []], [(0, 20), (0, 9), (3, 40)])
    buffers = scene.buffers(max_segments=0)
    scene.plan(buffers)
    scene.check(buffers)


def test_pools_of_any_size(monkeypatch):
    """Offsets take 64 bits where a pool reaches beyond 32, whichever dimension makes it large."""
    page = torch.empty(1, 1 << 20, 8, 512, device="meta")
    assert attention._reach(page) > attention.INT32
    assert attention._reach(torch.empty(1 << 15, 8, 16, 1024, device="meta").transpose(1, 2)) > attention.INT32
    assert attention._reach(torch.empty(1 << 10, 16, 8, 128, device="meta")) < attention.INT32
    monkeypatch.setattr(attention, "INT32", -1)  # as if this pool were large
    buffers = SHARED.buffers()
    SHARED.plan(buffers, method="shared")
    SHARED.check(buffers)


def test_devices_differ_by_number_too():
    buffers = SHARED.buffers()
    buffers.device = torch.device(DEVICE, 1)
    with pytest.raises(KernelError, match="put both on one device"):
        SHARED.decode(buffers)


ARGUMENTS = ("q", "k_cache", "v_cache", "block_tables", "seq_lens")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": lambda t: t[:, :4]}, "q: shape (6, 4, 32); the buffers were made for [at most 6, 8, 32]"),
        ({"q": lambda t: t.double()}, "q: dtype torch.float64"),
        ({"q": lambda t: torch.cat([t, t])}, "q: shape (12, 8, 32)"),
        (
            {"q": lambda t: t.transpose(1, 2).contiguous().transpose(1, 2)},
            "q: stride 8 in the last dimension; call .contiguous()",
        ),
        ({"k_cache": lambda t: t[0]}, "k_cache: shape (16, 2, 32); give [n_pages, page_size, 2, 32]"),
        ({"v_cache": lambda t: t.half()}, "v_cache: dtype torch.float16; give q's torch.float32"),
        ({"v_cache": lambda t: t[:-1]}, "differs from k_cache"),
        ({"block_tables": lambda t: t.long()}, "block_tables: torch.int64 of 2 dimensions; give int32 of 2"),
        ({"seq_lens": lambda t: t[:2]}, "seq_lens: 2 entries for 6 rows of q"),
        ({"block_tables": lambda t: t.to("meta")}, "block_tables is on meta, the buffers on"),
        ({"window": -1}, "window = -1"),
        ({"logits_soft_cap": 0.0}, "logits_soft_cap = 0.0"),
        ({"sinks": torch.zeros(3)}, "sinks: torch.float32 (3,); give float32 (8,)"),
        ({"k_scale": torch.zeros(3)}, "k_scale: torch.float32 (3,); give a number, or float32 with 1 or 2 values"),
        ({"out": torch.zeros(6, 8, 16)}, "out: torch.float32 (6, 8, 16); give torch.float32 (6, 8, 32)"),
        (
            {
                "block_tables": lambda t: t.clone().index_fill_(1, torch.tensor([0], device=t.device), 1000),
                "check": True,
            },
            "block_tables[0]: page ids from 0 to 1000; the cache has 0 to 10",
        ),
        ({"block_tables": lambda t: t[:3], "check": True}, "table 3, but block_tables has 3 rows"),
        (
            {"seq_lens": lambda t: t.clone().fill_(10**6), "check": True},
            "seq_lens[0] = 1000000: must lie between 0 and",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input(change, message):
    scene = Scene([(0, 20, 0)], [[0]] * 6, [(0, 5)] * 6)
    buffers = scene.buffers()
    scene.plan(buffers)
    tensors = {name: getattr(scene, name).to(DEVICE) for name in ARGUMENTS}
    tensors |= {name: f(tensors[name]) if callable(f) else f for name, f in change.items()}
    with pytest.raises(KernelError) as error:
        prefix_decode(**tensors, buffers=buffers)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_query_is_needed_for_every_planned_row():
    buffers = SHARED.buffers()
    SHARED.plan(buffers)
    if TRITON:  # the device alone knows; nothing out of bounds is read
        out = prefix_decode(
            *(getattr(SHARED, name).to(DEVICE)[: 2 if name in ("q", "seq_lens") else None] for name in ARGUMENTS),
            buffers,
        )
        torch.testing.assert_close(out.cpu().double(), SHARED.expected()[0][:2], atol=1e-5, rtol=0)
    else:
        with pytest.raises(KernelError, match="q: 2 rows, but 6 are planned"):
            prefix_decode(SHARED.q[:2], *(getattr(SHARED, name) for name in ARGUMENTS[1:]), buffers)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_opcheck(monkeypatch, no_native):  # noqa: ARG001
    torch.use_deterministic_algorithms(False)
    buffers = SHARED.buffers()
    SHARED.plan(buffers)
    calls = []
    monkeypatch.setattr(attention, "_op", lambda *call: calls.append(call))
    SHARED.decode(buffers, sinks=torch.zeros(8), scale=0.2)
    torch.library.opcheck(torch.ops.t2fast.prefix_decode.default, calls[0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_traces_as_one_graph_for_every_plan(no_native):  # noqa: ARG001
    torch.use_deterministic_algorithms(False)
    torch.compiler.reset()
    buffers = SHARED.buffers()
    tensors = [getattr(SHARED, name).to(DEVICE) for name in ARGUMENTS]
    graphs = []

    def count(graph, _inputs):
        graphs.append(graph)
        return graph

    @torch.compile(fullgraph=True, backend=count)
    def step(q, *others):
        return prefix_decode(q * 2, *others, buffers, window=50)

    for method in ("shared", "plain"):
        SHARED.plan(buffers, method=method)
        want = prefix_decode(tensors[0] * 2, *tensors[1:], buffers, window=50)
        assert torch.equal(step(*tensors), want)
    assert len(graphs) == 1


@pytest.mark.skipif(DEVICE != "cuda", reason="CUDA graphs need a GPU")
def test_a_captured_graph_holds_for_every_plan():
    scene, buffers = SHARED, SHARED.buffers(max_items=100, max_partials=100)
    tensors = [getattr(scene, name).to(DEVICE) for name in ARGUMENTS]
    scene.plan(buffers)
    prefix_decode(*tensors, buffers)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out, lse = prefix_decode(*tensors, buffers, return_lse=True)
    want, want_lse = scene.expected()
    for options in ({"method": "plain"}, {"method": "shared"}, {"method": "split", "split_size": 32}, {}):
        scene.plan(buffers, **options)
        out.fill_(torch.nan)
        graph.replay()
        torch.testing.assert_close(out.cpu().double(), want, atol=1e-5, rtol=0)
        torch.testing.assert_close(lse.cpu().double(), want_lse, atol=1e-5, rtol=0)
    segments, levels, tables, begins, positions = scene.planned
    plan(buffers, segments, levels[:3], tables[:3], begins[:3], positions[:3])
    graph.replay()
    torch.testing.assert_close(out[:3].cpu().double(), want[:3], atol=1e-5, rtol=0)
    assert not out[3:].any()


@pytest.mark.skipif(INTERPRETED or DEVICE == "cuda", reason="of the CPU reference")
def test_scattered_pages_and_long_batches(monkeypatch):
    """The reference reads rows in several goes when they are long, and copies a prefix only when its pages are scattered."""
    rng = np.random.default_rng(0)
    scene = Scene([(0, 300, 0)], [[0]] * 12, [(0, int(n)) for n in rng.integers(0, 600, 12)], head_dim=64)
    buffers = scene.buffers()
    scene.plan(buffers)
    monkeypatch.setattr(reference, "GATHERED", 1 << 17)
    scene.check(buffers)
