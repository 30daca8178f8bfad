"""Plans made from block tables: every row reads each of its tokens once, and kernels and reference write the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import DEVICE, TRITON
from kit import oracle
from kit.tensors import drawn
from t2fast_kernels import DecodeBuffers, KernelError, plan_shared, prefix_decode
from t2fast_kernels.calls import SharedCall
from t2fast_kernels.reference import plan_shared as reference
from test_plan import tokens_read

PAGE = 4


def tables_of(rng: np.random.Generator, n_rows: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tables that follow the row before for a while, then go to pages of their own; some rows are idle."""
    tables = np.arange(n_rows * width, dtype=np.int32).reshape(n_rows, width) + 1000
    lens = rng.integers(1, width * PAGE + 1, n_rows)
    lens[rng.random(n_rows) < 0.1] = 0
    for row in range(1, n_rows):
        n = int(rng.choice([0, 2, 5, 9, rng.integers(0, width + 1)]))
        tables[row, :n] = tables[row - 1, :n]
    return torch.from_numpy(tables).to(DEVICE), torch.from_numpy(lens.astype(np.int32)).to(DEVICE)


def plan_of(buffers: DecodeBuffers, tables, lens, **options) -> list[torch.Tensor]:
    plan_shared(buffers, tables, lens, PAGE, **options)
    return [tensor.cpu().clone() for tensor in buffers.planned]


@given(
    seed=st.integers(0, 2**32),
    n_rows=st.integers(0, 40),
    levels=st.integers(1, 3),
    least=st.sampled_from([1, 4, 8, 13]),
    split_size=st.sampled_from([None, 5, 16]),
    segments=st.sampled_from([1, 3, 60]),
    capacity=st.sampled_from([20, 4000]),
)
def test_every_row_reads_its_tokens_once(seed, n_rows, levels, least, split_size, segments, capacity):
    rng = np.random.default_rng(seed)
    tables, lens = tables_of(rng, n_rows, 12)
    buffers = DecodeBuffers(
        40, 8, 2, 16, max_segments=segments, max_levels=levels, max_items=capacity, max_partials=capacity, device=DEVICE
    )
    # Whatever the last plan left must not show.
    for tensor in buffers.planned:
        tensor.fill_(77)
    counts, _, _, runs, row_levels, rows = plan_of(buffers, tables, lens, min_tokens=least, split_size=split_size)
    assert counts[0] <= capacity
    assert counts[2] <= capacity
    shared = tokens_read(buffers, n_rows)
    for row, (length, of_row) in enumerate(zip(lens.tolist(), shared, strict=True)):
        table, begin, position, _ = rows[row].tolist()
        assert table == (row if length > 0 else -1)
        assert begin == position
        read = []
        for tokens in of_row.values():
            assert len(tokens) >= least
            for other, token, at in tokens:
                assert token == at
                assert tables[other, token // PAGE] == tables[row, token // PAGE]
                read.append(token)
        if table >= 0:
            assert begin <= length
            assert sorted(read) == list(range(begin))
    assert all(-1 <= run < segments for run in row_levels[:, :, 3].flatten().tolist())
    assert len(runs) == segments


@given(seed=st.integers(0, 2**32), levels=st.integers(1, 3), capacity=st.sampled_from([12, 500]))
@pytest.mark.skipif(not TRITON, reason="of kernels")
def test_kernels_write_what_the_reference_writes(seed, levels, capacity):
    rng = np.random.default_rng(seed)
    tables, lens = tables_of(rng, 30, 12)
    sizes = {"max_segments": 20, "max_levels": levels, "max_items": capacity, "max_partials": capacity}
    buffers = DecodeBuffers(33, 8, 2, 16, device=DEVICE, **sizes)
    counts, items, *others = plan_of(buffers, tables, lens, min_tokens=4)
    want = [torch.zeros_like(tensor, device="cpu") for tensor in buffers.planned]
    fill = 2 * buffers.costs.programs // 2
    reference.plan_shared(
        SharedCall(tables.cpu(), lens.cpu(), want, PAGE, 1, 0, fill, buffers.tile_rows, buffers.max_partials)
    )
    assert torch.equal(counts, want[0])
    assert torch.equal(items[: counts[0]], want[1][: counts[0]])
    runs = int(others[2][:, :, 3].max()) + 1
    assert torch.equal(others[1][:runs], want[3][:runs])
    for ours, theirs in ((others[0][:33], want[2][:33]), (others[2], want[4]), (others[3], want[5])):
        assert torch.equal(ours, theirs)


def test_decoding_by_such_a_plan():
    """Two questions under a system prompt, three and two samples, and a stranger; lengths grow after the plan."""
    page, lens = 16, torch.tensor([70, 81, 65, 90, 85, 20], dtype=torch.int32)
    system, questions = [30, 2], [[7, 21], [5, 11]]
    tables = torch.zeros(6, 7, dtype=torch.int32)
    for row in range(5):
        tables[row, :4] = torch.tensor(system + questions[row // 3])
        tables[row, 4:] = torch.arange(3) + 40 + 3 * row
    tables[5] = torch.arange(7) + 60
    k, v = drawn(2, 80, page, 2, 16)
    q = drawn(6, 4, 16, seed=1)
    for levels in (1, 2):
        buffers = DecodeBuffers(6, 4, 2, 16, max_segments=4, max_levels=levels, device=DEVICE)
        plan_shared(buffers, tables.to(DEVICE), lens.to(DEVICE), page, min_tokens=32)
        n = int((buffers.planned.row_levels[:, :, 2] > 0).sum())
        assert n == (5 if levels == 1 else 10)
        for grown in (0, 3):
            out = prefix_decode(q, k, v, tables.to(DEVICE), (lens + grown).to(DEVICE), buffers, check=True)
            want, _ = oracle.decode(
                q.cpu(), k.cpu(), v.cpu(), tables, lens + grown, [], [[]] * 6, list(range(6)), [0] * 6, [0] * 6
            )
            torch.testing.assert_close(out.cpu().double(), want, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block_tables": torch.zeros(2, 3)}, "block_tables: torch.float32 (2, 3); give int32"),
        ({"seq_lens": torch.zeros(2, 1, dtype=torch.int32)}, "seq_lens: torch.int32 (2, 1); give contiguous"),
        ({"seq_lens": torch.zeros(3, dtype=torch.int32)}, "block_tables: 2 rows for 3 of seq_lens"),
        ({"seq_lens": torch.zeros(5, dtype=torch.int32), "block_tables": torch.zeros(5, 3, dtype=torch.int32)}, "make DecodeBuffers with max_rows=5"),
        ({"page_size": 0}, "page_size = 0: must be a positive"),
        ({"min_tokens": 0}, "min_tokens = 0"),
        ({"split_size": -1}, "split_size = -1"),
        ({"buffers": DecodeBuffers(4, 2, 1, 16, max_segments=0, device=DEVICE)}, "max_segments = 0; make DecodeBuffers with room"),
        ({"seq_lens": torch.zeros(2, dtype=torch.int32, device="meta")}, "seq_lens is on meta"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_bad_input(change, message):
    arguments = {
        "buffers": DecodeBuffers(4, 2, 1, 16, max_segments=1, device=DEVICE),
        "block_tables": torch.zeros(2, 3, dtype=torch.int32, device=DEVICE),
        "seq_lens": torch.zeros(2, dtype=torch.int32, device=DEVICE),
        "page_size": 16,
    } | {name: value.to(DEVICE) if isinstance(value, torch.Tensor) and value.device.type == "cpu" else value for name, value in change.items()}  # fmt: skip
    with pytest.raises(KernelError) as error:
        plan_shared(**arguments)
    assert message in str(error.value)


def test_planning_and_decoding_trace_as_one_graph(no_native):  # noqa: ARG001
    torch.compiler.reset()
    buffers = DecodeBuffers(3, 2, 1, 16, max_segments=2, device=DEVICE)
    tables = torch.tensor([[0, 1, 2], [0, 1, 3], [0, 1, 4]], dtype=torch.int32, device=DEVICE)
    lens = torch.tensor([40, 35, 36], dtype=torch.int32, device=DEVICE)
    cache, q = drawn(5, 16, 1, 16), drawn(3, 2, 16, seed=1)

    def step(q, tables, lens):
        plan_shared(buffers, tables, lens, 16, min_tokens=16)
        return prefix_decode(q, cache, cache, tables, lens, buffers) * 2

    want = step(q, tables, lens)
    assert buffers.planned.counts.tolist()[1:3] == [3, 3]
    for tensor in buffers.planned:
        tensor.zero_()
    assert torch.equal(torch.compile(step, fullgraph=True, backend="aot_eager")(q, tables, lens), want)
    assert buffers.planned.counts.tolist()[1:3] == [3, 3]


@pytest.mark.skipif(DEVICE != "cuda", reason="CUDA graphs need a GPU")
def test_planning_inside_a_graph():
    buffers = DecodeBuffers(8, 4, 2, 16, max_segments=2, device=DEVICE)
    tables, lens = torch.zeros(8, 6, dtype=torch.int32, device=DEVICE), torch.zeros(8, dtype=torch.int32, device=DEVICE)
    cache, q = drawn(60, 16, 2, 16), drawn(8, 4, 16, seed=1)

    def step():
        plan_shared(buffers, tables, lens, 16, min_tokens=32)
        return prefix_decode(q, cache, cache, tables, lens, buffers)

    step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = step()
    for seed in range(3):
        new = torch.randperm(60, generator=torch.Generator().manual_seed(seed))[:48].view(8, 6).int()
        new[1 : 3 + seed, :3] = new[0, :3]
        tables.copy_(new)
        lens.copy_(torch.randint(50, 96, (8,)))
        graph.replay()
        want, _ = oracle.decode(
            q.cpu(), cache.cpu(), cache.cpu(), new, lens.cpu(), [], [[]] * 8, list(range(8)), [0] * 8, [0] * 8
        )
        torch.testing.assert_close(out.cpu().double(), want, atol=1e-5, rtol=0)
