"""What neighbouring rows share, and the plan for it, one run after the other."""

from __future__ import annotations

from itertools import pairwise

from t2fast_kernels.calls import SharedCall

Run = tuple[int, int, int, int]


def levels_of(common: list[int], least: int, n_levels: int) -> list[list[Run]]:
    """Runs of neighbours by level: first row, end, first page, end. Row i shares ``common[i]`` with row i - 1."""
    levels: list[list[Run]] = []
    parents: list[tuple[int, int, int]] = [(0, len(common), 0)]
    for _ in range(n_levels):
        runs, children = [], []
        for first, end, base in parents:
            cuts = [first, *(i for i in range(first + 1, end) if common[i] < base + least), end]
            for a, b in pairwise(cuts):
                if b - a > 1:
                    shared = min(common[a + 1 : b])
                    runs.append((a, b, base, shared))
                    children.append((a, b, shared))
        levels.append(runs)
        parents = children
    return levels


def plan_shared(call: SharedCall) -> None:
    """See :func:`t2fast_kernels.plan_shared.plan_shared`."""
    counts, items, row_map, segments, row_levels, rows = (tensor.numpy() for tensor in call.planned)
    tables, lens, page = call.block_tables.numpy(), call.seq_lens.tolist(), call.page_size
    n_rows = len(lens)
    common = [0] * n_rows
    for row in range(1, n_rows):
        n = max(0, min(lens[row - 1 : row + 1])) // page
        differs = (tables[row - 1, :n] != tables[row, :n]).nonzero()[0]
        common[row] = int(differs[0]) if len(differs) else n
    levels = levels_of(common, call.least, row_levels.shape[1]) if n_rows else []
    sizes = [(b - a, (end - begin) * page) for runs in levels for a, b, begin, end in runs]
    longest = max((tokens for _, tokens in sizes), default=0)
    read = sum(-(-n // call.tile_rows) * tokens for n, tokens in sizes)
    for_each = (read + call.fill - 1) // call.fill
    chunk = call.split_size or max((for_each + 63) // 64 * 64, 256)
    while chunk < longest and (
        sum(-(-n // call.tile_rows) * -(-tokens // chunk) for n, tokens in sizes) > len(items)
        or sum(n * -(-tokens // chunk) for n, tokens in sizes) > call.max_partials
    ):
        chunk = min(2 * chunk, longest)

    rows[:, 0], rows[:, 1:] = -1, 0
    row_levels[:] = 0, 0, 0, -1
    row_map[: len(rows)] = range(len(rows))
    for row in range(n_rows):
        rows[row, 0] = row if lens[row] > 0 else -1
    n_items = n_partials = n_splits = 0
    numbered = [(level, run) for level, runs in enumerate(levels) for run in runs]
    for number, (level, (first, end, begin_page, end_page)) in enumerate(numbered):
        n, begin, stop = end - first, begin_page * page, end_page * page
        splits, tiles = -(-(stop - begin) // chunk), -(-n // call.tile_rows)
        if (
            number >= len(segments)
            or n_items + tiles * splits > len(items)
            or n_partials + n * splits > call.max_partials
        ):
            break  # this run and all after it are left to the rows
        segments[number] = first, begin, stop, begin
        for piece in range(splits):
            token = begin + piece * chunk
            for tile in range(tiles):
                start, slot = tile * call.tile_rows, n_partials + piece * n
                members = min(n - start, call.tile_rows)
                items[n_items + piece * tiles + tile] = (
                    first + start, members, first, token, min(token + chunk, stop), token, slot + start, 0,
                )  # fmt: skip
        for row in range(first, end):
            row_levels[row, level] = n_partials + row - first, n, splits, number
            rows[row, 1:3] = stop
        n_items, n_partials, n_splits = n_items + tiles * splits, n_partials + n * splits, max(n_splits, splits)
    counts[:] = n_items, n_rows, n_partials, n_splits
