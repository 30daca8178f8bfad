from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kit.plans import h100, make
from t2fast_kernels import DecodeBuffers, KernelError, plan


def tokens_read(buffers: DecodeBuffers, n_rows: int) -> list[dict[int, list[tuple[int, int, int]]]]:
    """What each row is given to read of each segment: (table, token, position), by following the buffers as the kernels do."""
    counts, items, row_map = (
        buffers.planned.counts.tolist(),
        buffers.planned.items.tolist(),
        buffers.planned.row_map.tolist(),
    )
    segments, levels, rows = (
        buffers.planned.segments.tolist(),
        buffers.planned.row_levels.tolist(),
        buffers.planned.rows.tolist(),
    )
    written: dict[int, tuple[int, list]] = {}
    for first, n, table, begin, end, position, slot, _ in items[: counts[0]]:
        assert 0 < n <= buffers.tile_rows
        assert begin < end
        for i, row in enumerate(row_map[first : first + n]):
            assert slot + i < counts[2] <= buffers.max_partials
            assert slot + i not in written
            written[slot + i] = row, [(table, token, position + token - begin) for token in range(begin, end)]
    read = []
    for row in range(n_rows):
        of_row: dict[int, list] = {}
        for slot, distance, n_pieces, segment in levels[row]:
            if segment < 0 or rows[row][0] < 0:
                assert n_pieces == 0
                continue
            pieces = [written.pop(slot + i * distance) for i in range(n_pieces)]
            assert all(owner == row for owner, _ in pieces)
            found = [token for _, piece in pieces for token in piece]
            if not n_pieces:
                table, begin, end, position = segments[segment]
                found = [(table, token, position + token - begin) for token in range(begin, end)]
            of_row[segment] = found
        read.append(of_row)
    assert not written
    assert all(table == -1 for table, *_ in rows[n_rows:])
    assert all(level == [0, 0, 0, -1] for of_row in levels[n_rows:] for level in of_row)
    return read


@given(
    data=st.data(),
    n_rows=st.integers(0, 64),
    n_segments=st.integers(0, 9),
    n_levels=st.integers(1, 3),
    method=st.sampled_from(["auto", "shared", "split", "plain"]),
    split_size=st.integers(1, 90),
    block_m=st.sampled_from([16, 64, 128]),
)
def test_every_row_reads_its_prefixes_once(data, n_rows, n_segments, n_levels, method, split_size, block_m):
    buffers = make(max_levels=3, block_m=block_m, max_items=20_000, max_partials=20_000)
    for _ in range(2):  # the second plan must leave nothing of the first
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
        begin = rng.integers(0, 50, n_segments)
        segments = np.stack([rng.integers(0, 99, n_segments), begin, begin + rng.integers(0, 70, n_segments), rng.integers(0, 99, n_segments)], 1)  # fmt: skip
        levels = np.stack([rng.permutation(np.arange(-n_levels, n_segments))[:n_levels] for _ in range(n_rows)]) if n_rows else np.zeros((0, n_levels), int)  # fmt: skip
        levels = np.maximum(levels, -1)
        table = np.where(rng.random(n_rows) < 0.2, -1, np.arange(n_rows))
        made = plan(buffers, segments, levels, table, 3, rng.integers(0, 9, n_rows), method=method, split_size=split_size if method == "split" else None)  # fmt: skip
        read = tokens_read(buffers, n_rows)
        for row in range(n_rows):
            want = {
                s: [(t, token, p + token - a) for token in range(a, b)]
                for s in levels[row].tolist()
                if s >= 0 and table[row] >= 0
                for t, a, b, p in [segments[s].tolist()]
            }
            assert read[row] == want
        assert made.n_rows == int((table >= 0).sum())
        assert [made.n_items, made.n_partials] == [buffers.planned.counts.tolist()[i] for i in (0, 2)]
        n_rows = n_rows // 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0, 0, 9, 0]], [[1]], [1]), "row_segments: values from 1 to 1; allowed are -1 and 0 to 0"),
        (([[0, 0, 9, 0]], [[-2]], [1]), "row_segments: values from -2 to -2"),
        (([[0, 9, 3, 0]], [[0]], [1]), "begin <= end"),
        (([[-1, 0, 3, 0]], [[0]], [1]), "must not be negative"),
        (([[0, 0, 3]], [[0]], [1]), "segments: shape (1, 3)"),
        (([0, 0, 3, 0], [[0]], [1]), "segments: shape (4,); give 2 dimensions"),
        (([[0, 0, 9, 0]], [[0], [0]], [1]), "row_segments has 2 rows, row_table 1"),
        (([[0, 0, 9, 0]], [[0]], [1], [0, 0]), "row_begin has 2 rows, row_table 1"),
        (([[0, 0, 9, 0]], [[0]], [1], [-1]), "row_begin and row_position must not be negative"),
        (([[0, 0, 9, 0]], [[0]], [1.0]), "row_table: dtype float64; give integers"),
        (([[0, 0, 2**31, 0]], [[0]], [1]), "segments: values beyond 32 bits"),
        (
            ([[0, 0, 9, 0]], [[0]] * 65, [1] * 65),
            "row_table: 65 exceed the capacity of 64; make DecodeBuffers with max_rows=65",
        ),
        (([[0, 0, 9, 0]] * 17, [[0]], [1]), "make DecodeBuffers with max_segments=17"),
        (([[0, 0, 9, 0]], [[0, 0]], [1]), "make DecodeBuffers with max_levels=2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input(arguments, message):
    buffers = make()
    plan(buffers, [[5, 0, 9, 0]], [[0]], [1])
    before = buffers.planned.items.clone(), buffers.planned.rows.clone()
    with pytest.raises(KernelError) as error:
        plan(buffers, *arguments)
    assert message in str(error.value)
    assert torch.equal(buffers.planned.items, before[0])
    assert torch.equal(buffers.planned.rows, before[1])


def test_options_out_of_range():
    buffers = make(max_items=3)
    with pytest.raises(KernelError, match="split_size = 0"):
        plan(buffers, [[0, 0, 9, 0]], [[0]], [1], split_size=0)
    with pytest.raises(KernelError, match="method = 'best': must be auto"):
        plan(buffers, [[0, 0, 9, 0]], [[0]], [1], method="best")
    with pytest.raises(
        KernelError,
        match=r"max_items = 3: this plan \(split, 10 tokens a piece\) needs 10; make DecodeBuffers with max_items=10",
    ):
        plan(buffers, [[0, 0, 100, 0]], [[0]], [1], method="split", split_size=10)
    with pytest.raises(KernelError, match="max_partials = 4: .* needs 9"):
        plan(make(max_partials=4), [[0, 0, 100, 0]], [[0]] * 9, range(9), method="shared")


def test_the_longest_items_come_first():
    buffers = make(max_items=100, max_partials=1000)
    lengths = [30, 500, 90, 500, 129]
    for method, size in (("shared", None), ("split", 128)):
        made = plan(buffers, [[i, 0, n, 0] for i, n in enumerate(lengths)], [[i] for i in range(5)], range(5, 10), method=method, split_size=size)  # fmt: skip
        items = buffers.planned.items[: made.n_items].tolist()
        tokens = [end - begin for _, _, _, begin, end, *_ in items]
        assert tokens == sorted(tokens, reverse=True)
        assert sum(tokens) == sum(lengths)


def test_planning(benchmark):
    """4,096 rows in 256 groups."""
    buffers = h100(4096, 256)
    segments = np.stack([np.arange(256), np.zeros(256), np.full(256, 2048), np.zeros(256)], 1).astype(np.int32)
    rows = np.arange(4096, dtype=np.int32)
    made = benchmark(
        plan, buffers, segments, (rows // 16)[:, None], rows + 256, np.zeros_like(rows), np.full_like(rows, 2048)
    )
    assert made.n_items == 256
