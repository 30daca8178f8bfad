"""Finding what neighbouring rows share, and writing the plan for it, without the host."""

from __future__ import annotations

import triton
import triton.language as tl

#: Fields of ``found`` per level and row: first row of its run, rows of the run, first page and end of what they share
#: at this level, the run's number or -1 where it has no place, its first item and first partial result.
HEAD, MEMBERS, BEGIN, END, RUN, ITEM, PARTIAL = (tl.constexpr(i) for i in range(7))
FIELDS = tl.constexpr(7)
_FAR = tl.constexpr(2147483647)


@triton.jit(do_not_specialize=["block_tables", "tables_stride", "seq_lens", "page_size"])
def neighbours_kernel(block_tables, tables_stride, seq_lens, page_size, common, BLOCK: tl.constexpr):
    """One row: how many leading pages, filled in both, it has in common with the row before."""
    row = tl.program_id(0)
    n = 0
    if row > 0:
        n = tl.maximum(tl.minimum(tl.load(seq_lens + row), tl.load(seq_lens + row - 1)), 0) // page_size
        own = block_tables + row.to(tl.int64) * tables_stride
        first = 0
        while first < n:
            page = first + tl.arange(0, BLOCK)
            same = tl.load(own + page, mask=page < n, other=0) == tl.load(
                own - tables_stride + page, mask=page < n, other=0
            )
            differs = tl.min(tl.where(same & (page < n), _FAR, page), 0)
            first = tl.where(differs < n, n, first + BLOCK)
            n = tl.minimum(n, differs)
    tl.store(common + row, n)


@triton.jit(do_not_specialize=["common", "found", "n_rows", "max_rows", "least"])
def runs_kernel(common, found, n_rows, max_rows, least, LEVELS: tl.constexpr, BLOCK: tl.constexpr):
    """One row: at each level its run, neighbours that share at least ``least`` pages more than at the level before."""
    row = tl.program_id(0)
    base = 0
    for level in tl.static_range(LEVELS):
        head, tail = 0, n_rows
        for first in range(0, n_rows, BLOCK):
            other = first + tl.arange(0, BLOCK)
            starts = (other < n_rows) & (tl.load(common + other, mask=other < n_rows, other=0) < base + least)
            head = tl.maximum(head, tl.max(tl.where(starts & (other <= row), other, 0), 0))
            tail = tl.minimum(tail, tl.min(tl.where(starts & (other > row), other, _FAR), 0))
        end = _FAR
        for first in range(head + 1, tail, BLOCK):
            other = first + tl.arange(0, BLOCK)
            end = tl.minimum(end, tl.min(tl.load(common + other, mask=other < tail, other=_FAR), 0))
        end = tl.where(tail - head > 1, end, base)
        at = found + level * FIELDS * max_rows + row
        tl.store(at + HEAD * max_rows, head)
        tl.store(at + MEMBERS * max_rows, tail - head)
        tl.store(at + BEGIN * max_rows, base)
        tl.store(at + END * max_rows, end)
        base = end


@triton.jit
def _sizes(found, level, row, n_rows, max_rows, page_size, tile_rows):
    """Of the runs that begin at a row: members, tiles of them, and tokens that they share; 0 elsewhere."""
    at = found + level * FIELDS * max_rows + row
    inside = row < n_rows
    members = tl.load(at + MEMBERS * max_rows, mask=inside, other=0)
    begins = (tl.load(at + HEAD * max_rows, mask=inside, other=-1) == row) & (members > 1)
    pages = tl.load(at + END * max_rows, mask=inside, other=0) - tl.load(at + BEGIN * max_rows, mask=inside, other=0)
    members = tl.where(begins, members, 0)
    return members, (members + tile_rows - 1) // tile_rows, tl.where(begins, pages * page_size, 0)


@triton.jit(
    do_not_specialize=[
        "found", "counts", "chunk", "n_rows", "max_rows", "page_size", "split_size", "tile_rows", "fill",
        "max_segments", "max_items", "max_partials",
    ]
)  # fmt: skip
def places_kernel(
    found, counts, chunk, n_rows, max_rows, page_size, split_size, tile_rows, fill,
    max_segments, max_items, max_partials, LEVELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """All runs: how long their pieces are, and where their items and partial results lie."""
    read = tl.zeros([], tl.int64)  # tokens times tiles of rows that read them
    longest = 0
    for level in tl.static_range(LEVELS):
        for first in range(0, n_rows, BLOCK):
            row = first + tl.arange(0, BLOCK)
            _, tiles, tokens = _sizes(found, level, row, n_rows, max_rows, page_size, tile_rows)
            read += tl.sum(tiles.to(tl.int64) * tokens, 0)
            longest = tl.maximum(longest, tl.max(tokens, 0))
    # Pieces so long that about ``fill`` work items come out; longer where the buffers hold fewer.
    for_each = ((read + fill - 1) // fill + 63) // 64 * 64
    size = tl.where(split_size > 0, split_size, tl.maximum(for_each, 256).to(tl.int32))
    full = True
    while full:
        items, partials = tl.zeros([], tl.int64), tl.zeros([], tl.int64)
        for level in tl.static_range(LEVELS):
            for first in range(0, n_rows, BLOCK):
                row = first + tl.arange(0, BLOCK)
                members, tiles, tokens = _sizes(found, level, row, n_rows, max_rows, page_size, tile_rows)
                splits = ((tokens + size - 1) // size).to(tl.int64)
                items += tl.sum(tiles * splits, 0)
                partials += tl.sum(members * splits, 0)
        full = ((items > max_items) | (partials > max_partials)) & (size < longest)
        size = tl.where(full, tl.minimum(size * 2, longest), size)
    # Places in the order of the levels: what finds none, and all after it, is left to the rows.
    runs, n_items, n_partials, n_splits = 0, 0, 0, 0
    items, partials = tl.zeros([], tl.int64), tl.zeros([], tl.int64)
    for level in tl.static_range(LEVELS):
        for first in range(0, n_rows, BLOCK):
            row = first + tl.arange(0, BLOCK)
            members, tiles, tokens = _sizes(found, level, row, n_rows, max_rows, page_size, tile_rows)
            splits = ((tokens + size - 1) // size).to(tl.int64)
            one = (members > 0).to(tl.int32)
            run = runs + tl.cumsum(one, 0)
            item, partial = items + tl.cumsum(tiles * splits, 0), partials + tl.cumsum(members * splits, 0)
            fits = (one > 0) & (run <= max_segments) & (item <= max_items) & (partial <= max_partials)
            at = found + level * FIELDS * max_rows + row
            tl.store(at + RUN * max_rows, tl.where(fits, run - 1, -1), mask=row < n_rows)
            tl.store(at + ITEM * max_rows, (item - tiles * splits).to(tl.int32), mask=row < n_rows)
            tl.store(at + PARTIAL * max_rows, (partial - members * splits).to(tl.int32), mask=row < n_rows)
            n_items = tl.maximum(n_items, tl.max(tl.where(fits, item, 0), 0).to(tl.int32))
            n_partials = tl.maximum(n_partials, tl.max(tl.where(fits, partial, 0), 0).to(tl.int32))
            n_splits = tl.maximum(n_splits, tl.max(tl.where(fits, splits, 0), 0).to(tl.int32))
            runs += tl.sum(one, 0)
            items += tl.sum(tiles * splits, 0)
            partials += tl.sum(members * splits, 0)
    tl.store(chunk, size)
    tl.store(counts, n_items)
    tl.store(counts + 1, n_rows)
    tl.store(counts + 2, n_partials)
    tl.store(counts + 3, n_splits)


@triton.jit(
    do_not_specialize=[
        "seq_lens", "found", "chunk", "items", "row_map", "segments", "row_levels", "rows", "n_rows", "max_rows",
        "page_size", "tile_rows",
    ]
)  # fmt: skip
def write_kernel(
    seq_lens, found, chunk, items, row_map, segments, row_levels, rows, n_rows, max_rows, page_size, tile_rows,
    LEVELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row: what it reads; for the first of a run also the run's work items."""
    row = tl.program_id(0)
    length = tl.load(seq_lens + row, mask=row < n_rows, other=0)
    size = tl.load(chunk)
    own = 0
    for level in tl.static_range(LEVELS):
        slot, members, splits, run = 0, 0, 0, -1
        if row < n_rows:
            of_level = found + level * FIELDS * max_rows
            head = tl.load(of_level + HEAD * max_rows + row)
            run = tl.load(of_level + RUN * max_rows + head)
            if run >= 0:
                at = of_level + head
                members = tl.load(at + MEMBERS * max_rows)
                begin, end = tl.load(at + BEGIN * max_rows) * page_size, tl.load(at + END * max_rows) * page_size
                partial = tl.load(at + PARTIAL * max_rows)
                splits = (end - begin + size - 1) // size
                slot, own = partial + row - head, end
                if row == head:
                    tl.store(segments + run * 4, row)
                    tl.store(segments + run * 4 + 1, begin)
                    tl.store(segments + run * 4 + 2, end)
                    tl.store(segments + run * 4 + 3, begin)
                    tiles = (members + tile_rows - 1) // tile_rows
                    entry = items + tl.load(at + ITEM * max_rows) * 8
                    for first in range(0, tiles * splits, BLOCK):
                        number = first + tl.arange(0, BLOCK)
                        mask = number < tiles * splits
                        # Pieces of the same tokens lie side by side, so that tiles find them in L2.
                        start, token = number % tiles * tile_rows, begin + number // tiles * size
                        item = entry + number * 8
                        tl.store(item, row + start, mask=mask)
                        tl.store(item + 1, tl.minimum(members - start, tile_rows), mask=mask)
                        tl.store(item + 2, row + 0 * number, mask=mask)
                        tl.store(item + 3, token, mask=mask)
                        tl.store(item + 4, tl.minimum(token + size, end), mask=mask)
                        tl.store(item + 5, token, mask=mask)
                        tl.store(item + 6, partial + number // tiles * members + start, mask=mask)
                        tl.store(item + 7, 0 * number, mask=mask)
        entry = row_levels + (row * LEVELS + level) * 4
        tl.store(entry, slot)
        tl.store(entry + 1, members)
        tl.store(entry + 2, splits)
        tl.store(entry + 3, run)
    tl.store(row_map + row, row)
    tl.store(rows + row * 4, tl.where(length > 0, row, -1))
    tl.store(rows + row * 4 + 1, own)
    tl.store(rows + row * 4 + 2, own)
    tl.store(rows + row * 4 + 3, 0)
