"""The compiled operators against their definition in PyTorch, and attention against fp64 as well."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tests.support.tiny import torch

from t2fast.errors import T2Error
from t2fast.sampling.engine import native
from t2fast_kernels import DecodeBuffers, append_kv, plan, prefix_decode, sample
from t2fast_kernels.backend import use_native
from t2fast_kernels.calls import SampleCall
from t2fast_kernels.reference import sample as reference

pytestmark = pytest.mark.skipif(native._core.vector_lanes() < native._LANES, reason="registers too narrow")


class Watched(native.Compiled):
    """Counts what it did and what it declined."""

    def __init__(self):
        self.done, self.declined = 0, 0

    def _note(self, result):
        taken = result is not None and result is not False
        self.done, self.declined = self.done + taken, self.declined + (not taken)
        return result

    def prefix_decode(self, call):
        return self._note(super().prefix_decode(call))

    def append_kv(self, call):
        return self._note(super().append_kv(call))

    def sample(self, call):
        return self._note(super().sample(call))


@pytest.fixture
def watched():
    compiled = Watched()
    use_native(compiled)
    yield compiled
    use_native(None)
    native.install()


def both(watched, run):
    """What the compiled code gives, and what the definition gives."""
    ours = run()
    assert watched.done, "the compiled code declined"
    use_native(None)
    theirs = run()
    use_native(watched)
    return ours, theirs


class Scene:
    """Three prompts of any length, rows of them that hold tokens of their own, in pages in any order."""

    def __init__(self, *, heads=2, group=2, dim=32, page=16, rows=(5, 1, 3), prefix=(70, 16, 131), own=9, seed=0,
                 dtype=torch.float32):  # fmt: skip
        rng = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(seed)
        n, self.own = sum(rows), own
        self.lens = torch.from_numpy(rng.integers(1, own + 1, n).astype(np.int32))
        width = -(-max(*prefix, own) // page)
        tables = rng.permutation((len(prefix) + n) * width).astype(np.int32).reshape(-1, width)
        self.tables = torch.from_numpy(tables)
        shape = (tables.size, page, heads, dim)
        self.k, self.v = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
        self.q = (torch.randn(n, heads * group, dim, generator=generator) * 2).to(dtype)
        self.of = np.repeat(np.arange(len(prefix)), rows)
        self.prefix, self.rows = prefix, np.arange(len(prefix), len(prefix) + n)
        self.rows[-1] = -1  # idle
        self.buffers = DecodeBuffers(n, heads * group, heads, dim, max_segments=len(prefix), max_items=99, max_partials=999)  # fmt: skip

    def plan(self, method="auto", split=None):
        segments = [[i, 0, length, 0] for i, length in enumerate(self.prefix)]
        position = np.array(self.prefix)[self.of]
        plan(self.buffers, segments, self.of[:, None], self.rows, 0, position, method=method, split_size=split)

    def read(self, **options):
        out, lse = prefix_decode(self.q, self.k, self.v, self.tables, self.lens, self.buffers, return_lse=True, **options)  # fmt: skip
        return out, lse

    def exact(self, scale=None, window=None, logits_soft_cap=None, sinks=None):
        """fp64, a row and a head at a time."""
        n, heads, dim = self.q.shape
        page, group = self.k.shape[1], heads // self.k.shape[2]
        out, lse = torch.zeros(n, heads, dim, dtype=torch.float64), torch.full((n, heads), -torch.inf).double()
        for r, h in itertools.product(range(n), range(heads)):
            if self.rows[r] < 0:
                continue
            runs = ((int(self.of[r]), self.prefix[self.of[r]]), (int(self.rows[r]), int(self.lens[r])))
            at = [(int(self.tables[t, i // page]), i % page) for t, end in runs for i in range(end)]
            k, v = (torch.stack([c[p, s, h // group] for p, s in at]).double() for c in (self.k, self.v))
            scores = k @ self.q[r, h].double() * (dim**-0.5 if scale is None else scale)
            if logits_soft_cap:
                scores = logits_soft_cap * torch.tanh(scores / logits_soft_cap)
            if window:
                scores[: max(0, len(scores) - window)] = -torch.inf
            if sinks is not None:
                scores, v = torch.cat([scores, sinks[h : h + 1].double()]), torch.cat([v, v.new_zeros(1, dim)])
            out[r, h], lse[r, h] = scores.softmax(0) @ v, scores.logsumexp(0)
        return out, lse

    def check(self, watched, **options):
        (out, lse), (same, as_lse) = both(watched, lambda: self.read(**options))
        exact, exact_lse = self.exact(**options)
        # As for the kernels: the error's norm over the result's.
        close = 1e-6 if self.q.dtype == torch.float32 else 2e-3
        assert (out.double() - exact).norm() <= close * exact.norm()
        assert (out.double() - same.double()).norm() <= 2 * close * exact.norm()
        torch.testing.assert_close(lse.double(), exact_lse, atol=5e-6, rtol=5e-6)
        torch.testing.assert_close(lse, as_lse, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", ["shared", "split", "plain"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": -0.7},
        {"window": 1},
        {"window": 40, "logits_soft_cap": 2.0},
        {"sinks": torch.tensor([0.0, 3.0, -torch.inf, -1.0]), "window": 90},
    ],
    ids=str,
)
def test_attention(watched, method, options):
    scene = Scene()
    scene.plan(method, 33 if method == "split" else None)
    scene.check(watched, **options)
    assert not watched.declined


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "shape",
    [
        {"dim": 8, "group": 1, "heads": 1},
        {"dim": 24, "group": 3},
        {"dim": 64, "group": 4, "rows": (40, 33, 9)},  # tiles of every width
        {"dim": 80, "group": 8, "page": 5},
        {"dim": 33, "group": 1, "rows": (17, 1, 2), "page": 1},
        {"dim": 256, "group": 1, "heads": 1, "prefix": (1, 64, 65)},
        {"own": 300, "page": 64, "prefix": (3, 200, 128)},
    ],
    ids=str,
)
def test_attention_of_any_shape(watched, shape, dtype):
    scene = Scene(dtype=dtype, **shape)
    for method in ("shared", "plain"):
        scene.plan(method)
        scene.check(watched)
    scene.plan("split", 64)
    scene.check(watched, window=100)


def test_threads_change_nothing(watched):
    scene = Scene(rows=(20, 9, 7))
    scene.plan()
    before, found = torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            found.append(scene.read())
        finally:
            torch.set_num_threads(before)
    assert watched.done == 2
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_row_does_not_depend_on_the_others(watched):
    one, many = Scene(rows=(1, 1, 1)), Scene(rows=(30, 30, 30))
    many.k, many.v = (torch.randn(many.k.shape) for _ in range(2))
    many.plan("split", 64)
    one.k, one.v, one.tables = many.k, many.v, many.tables
    one.rows, one.of = np.array([3, 40, 70]), np.array([0, 1, 2])
    many.rows = np.arange(3, 93)
    many.plan("split", 64)
    one.lens, one.q = many.lens[[0, 37, 67]], many.q[[0, 37, 67]]
    one.plan("split", 64)
    assert torch.equal(one.read()[0], many.read()[0][[0, 37, 67]])
    assert watched.done == 2


def test_what_is_not_its_own_is_left_to_the_definition(watched):
    scene = Scene()
    scene.plan()
    scene.read(k_scale=0.5, v_scale=2.0)
    scene.k = scene.k.transpose(1, 2).contiguous().transpose(1, 2)
    scene.read()
    assert (watched.done, watched.declined) == (0, 2)


def test_pages_that_do_not_exist(watched):
    scene = Scene()
    scene.plan()
    scene.tables[0, 0] = 10**6
    with pytest.raises(T2Error, match="page 1000000"):
        scene.read()
    ids = torch.tensor([0], dtype=torch.int32)
    with pytest.raises(T2Error, match="leads to no page"):
        append_kv(scene.k[:1, 0], scene.v[:1, 0], scene.k, scene.v, scene.tables, ids, ids)
    assert not watched.declined


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_append(watched, dtype):
    scene = Scene(dtype=dtype)
    index = torch.tensor([3, -1, 17, 0], dtype=torch.int32)
    row_table = torch.tensor([1, 0, 2, 5], dtype=torch.int32)
    k, v = torch.randn(2, 2, 4, 32).to(dtype).transpose(1, 2)  # heads first, as models have them

    def run():
        caches = scene.k.clone(), scene.v.clone()
        append_kv(k, v, *caches, scene.tables, row_table, index)
        return caches

    ours, theirs = both(watched, run)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert not torch.equal(ours[0], scene.k)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_rows_read_without_the_operators_are_theirs(dtype):
    scene = Scene(dtype=dtype, own=20)
    scene.plan()
    table, index = torch.from_numpy(scene.rows.astype(np.int32)), scene.lens - 1
    index[-1] = -1
    k, v = torch.randn(2, len(index), 2, 32).to(dtype)
    options = {"scale": 0.3, "window": 50, "soft_cap": 3.0}
    caches = scene.k.clone(), scene.v.clone()
    rows = native.Rows(scene.tables, table, index, scene.lens, scene.buffers.planned)
    for _ in range(2):
        out = rows.read(scene.q, k, v, *caches, torch.arange(4.0), **options)
    append_kv(k, v, scene.k, scene.v, scene.tables, table, index)
    exact, _ = scene.read(scale=0.3, window=50, logits_soft_cap=3.0, sinks=torch.arange(4.0))
    assert torch.equal(out, exact)
    assert torch.equal(caches[0], scene.k)
    # Other rows, another type and other strides are the operators'.
    assert rows.read(scene.q[1:], k[1:], v[1:], *caches, None, **options) is None
    assert rows.read(scene.q.double(), k, v, *caches, None, **options) is None
    apart = [cache.transpose(1, 2).contiguous().transpose(1, 2) for cache in caches]
    assert rows.read(scene.q, k, v, *apart, None, **options) is None


# The draw


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.0},
        {"temperature": 0.6, "top_k": 20, "top_p": 0.9},
        {"min_p": 0.05, "top_p": 0.95, "order": "joint"},
        {"temperature": torch.linspace(0, 2, 64)},
        {"repetition_penalty": 1.3, "frequency_penalty": 0.4, "counts": True},
        {"logit_bias": torch.linspace(-3, 3, 1003), "allowed": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_same_tokens(watched, settings, dtype):
    """Bit for bit the definition's tokens, over thousands of draws."""
    generator = torch.Generator().manual_seed(3)
    logits = (torch.randn(64, 1003, generator=generator) * 3).to(dtype)
    settings = dict(settings)
    if settings.pop("counts", False):
        settings["counts"] = torch.randint(-1, 3, logits.shape, generator=generator, dtype=torch.int32)
    if settings.pop("allowed", False):
        settings["allowed"] = torch.rand(logits.shape, generator=generator) < 0.5
    rows = torch.arange(64, dtype=torch.int32)

    def run():
        drawn = [sample(logits, -5, rows - 9, rows % 7, step, **settings) for step in range(40)]
        return torch.stack([tokens for tokens, _ in drawn]), torch.stack([logprobs for _, logprobs in drawn])

    (tokens, logprobs), (same, as_logprobs) = both(watched, run)
    assert not watched.declined
    assert torch.equal(tokens, same)
    torch.testing.assert_close(logprobs, as_logprobs, atol=3e-6, rtol=3e-6)


def test_flat_logits_and_odd_rows(watched):
    """Where noise alone decides, and rows that cannot be drawn from."""
    logits = torch.zeros(8, 5000)
    logits[1], logits[2, 7], logits[3, 7], logits[4, 1:] = -torch.inf, torch.nan, torch.inf, -torch.inf
    logits[5] += 1e6
    rows = torch.arange(8)

    def run():
        drawn = [sample(logits, 1, 2, rows, step) for step in range(100)]
        return torch.stack([tokens for tokens, _ in drawn]), torch.stack([logprobs for _, logprobs in drawn])

    ours, theirs = both(watched, run)
    assert torch.equal(ours[0], theirs[0])
    assert ours[0][:, 1:4].eq(-1).all()
    torch.testing.assert_close(ours[1], theirs[1], atol=1e-5, rtol=1e-5, equal_nan=True)


def test_rows_that_rounding_decides_are_the_definitions(watched, monkeypatch):
    """Two tokens that ring at the same time up to rounding: the compiled code sees them and asks."""
    asked = []
    draw = reference.sample

    def counting(call):
        asked.append(len(call.logits))
        return draw(call)

    keys = [torch.tensor([k]) for k in (1, 2, 3, 4)]
    first, other = reference.exponentials(torch.tensor([0]), *keys)[0, :2].log()
    logits = torch.full((3, 8), -50.0)
    logits[1, :2] = torch.stack([first, other])  # of one group: e / w are equal
    monkeypatch.setattr(reference, "sample", counting)
    tokens, _ = sample(logits, *(int(k) for k in keys))
    assert asked == [1]
    assert watched.done == 1
    use_native(None)
    assert torch.equal(tokens, sample(logits, *(int(k) for k in keys))[0])


def test_a_subset_of_a_call_is_the_call():
    rows = torch.arange(6)
    call = SampleCall(
        logits=torch.randn(6, 50), seed=torch.tensor([1]), prompt=rows, sample=rows, step=rows,
        settings=[1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0], per_row=[torch.linspace(0, 1, 6), *[None] * 6],
        top_k_first=True, counts=torch.zeros(6, 50, dtype=torch.int32), logit_bias=torch.randn(6, 50), allowed=None,
        n_logprobs=0,
    )  # fmt: skip
    some = torch.tensor([4, 1])
    part, whole = reference.sample(native._of_rows(call, some)), reference.sample(call)
    assert torch.equal(part[0], whole[0][some])
    assert torch.equal(part[1], whole[1][some])
