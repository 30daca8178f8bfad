"""What a decode step is to read: rows that share prefixes, turned into work items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t2fast_kernels.batch import checked
from t2fast_kernels.buffers import NO_LEVEL, DecodeBuffers
from t2fast_kernels.choice import Method, choose
from t2fast_kernels.costs import Estimates
from t2fast_kernels.errors import KernelError

__all__ = ["Plan", "plan"]


@dataclass(frozen=True)
class Plan:
    """How a decode step reads its prefixes, and why.

    Attributes
    ----------
    method
        "shared": each prefix once for a tile of its rows; "split": the same, in pieces of ``split_size`` tokens;
        "plain": each row reads its prefixes itself.
    split_size
        Tokens per piece; None unless the method is "split".
    reason
        Why this method; see also ``why``.
    estimates
        The cost model's seconds per layer; None where it was not asked.
    n_rows, n_items, n_partials
        Rows that decode, work items of launch A, and partial results that launch B folds.

    Examples
    --------
    >>> from t2fast_kernels import DecodeBuffers, plan
    >>> plan(DecodeBuffers(4, 8, 2, 64, max_segments=1), [], [], range(4)).why
    'no prefixes'
    """

    method: str
    split_size: int | None
    reason: str
    estimates: Estimates | None
    n_rows: int
    n_items: int
    n_partials: int

    @property
    def why(self) -> str:
        """The reason for the method, with the estimates it rests on."""
        if self.estimates is None:
            return self.reason
        times = {"shared": self.estimates.shared, "plain": self.estimates.plain}
        if self.estimates.split:
            times["split"] = min(self.estimates.split.values())
        ordered = sorted(times, key=lambda way: (way != self.method, times[way]))
        return f"{self.reason}: " + ", ".join(f"{way} {times[way] * 1e6:.1f} us" for way in ordered)

    def __str__(self) -> str:
        size = f" by {self.split_size}" if self.split_size else ""
        return f"{self.method}{size}: {self.n_rows} rows, {self.n_items} items, {self.n_partials} partials ({self.why})"


def plan(
    buffers: DecodeBuffers,
    segments: npt.ArrayLike,
    row_segments: npt.ArrayLike,
    row_table: npt.ArrayLike,
    row_begin: npt.ArrayLike | int = 0,
    row_position: npt.ArrayLike | int = 0,
    *,
    method: Method = "auto",
    split_size: int | None = None,
) -> Plan:
    """Write what the next decode steps read into ``buffers``. A step itself needs no new plan: it reads ``lens``.

    Plan again when a row starts, ends or moves, outside of graph capture and on the stream that decodes.

    Parameters
    ----------
    segments
        int ``[n_segments, 4]``: table, begin, end and absolute position of begin of each prefix run. Tokens are counted
        within a row of the tables.
    row_segments
        int ``[n_rows, n_levels]``: each row's prefix runs, -1 for none.
    row_table, row_begin, row_position
        int ``[n_rows]`` or, for the last two, one number for all. Where each row's own tokens are: row of the tables
        (-1: the row is idle), first token within it, absolute position of that token.
    method
        "auto" takes what the cost model estimates to be fastest; see :class:`Plan`.
    split_size
        Tokens per piece for the method "split". With ``method="split"`` and a size given, what a row computes doesn't
        depend on which other rows are planned.

    Raises
    ------
    KernelError
        Shapes that don't agree, values out of range, or a capacity of ``buffers`` exceeded. Nothing is written then.

    Examples
    --------
    Tables 0 and 1 hold prompts of 100 and 40 tokens, tables 2 to 7 the tokens of four and two samples of them:

    >>> from t2fast_kernels import DecodeBuffers, plan
    >>> buffers = DecodeBuffers(6, 8, 2, 64, max_segments=2)
    >>> made = plan(
    ...     buffers,
    ...     segments=[[0, 0, 100, 0], [1, 0, 40, 0]],
    ...     row_segments=[[0], [0], [0], [0], [1], [1]],
    ...     row_table=range(2, 8),
    ...     row_position=[100, 100, 100, 100, 40, 40],
    ... )
    >>> print(made)
    shared: 6 rows, 2 items, 6 partials (on the CPU each prefix is read once)
    """
    batch = checked(buffers, segments, row_segments, row_table, row_begin, row_position)
    if split_size is not None and split_size < 1:
        raise KernelError(f"split_size = {split_size}: must be a positive number of tokens")
    if method not in ("auto", "shared", "split", "plain"):
        raise KernelError(f"method = {method!r}: must be auto, shared, split or plain")
    runs, length, of_rows = batch.runs, batch.length, batch.row_segments
    n_segments, n_rows = len(runs), len(of_rows)

    # The rows of each segment, one segment's after the other's: a stable sort of (row, level) pairs by segment.
    keys = of_rows.ravel()
    every = not n_rows or keys.min() >= 0
    pairs = np.arange(len(keys), dtype=np.int32) if every else np.flatnonzero(keys >= 0)
    sharing = keys if every else keys.take(pairs)
    if (sharing[1:] < sharing[:-1]).any():
        # 16 bits sort by counting.
        order = np.argsort(sharing.astype(np.int16) if n_segments < 1 << 15 else sharing, kind="stable")
        pairs, sharing, every = pairs.take(order), sharing.take(order), False
    bounds = np.searchsorted(sharing, np.arange(n_segments + 1, dtype=np.int32))
    n_sharing = bounds[1:] - bounds[:-1]
    tiles = -(-n_sharing // buffers.tile_rows)

    choice = choose(buffers, method, split_size, length, n_sharing, tiles)
    splits = -(-length // choice.chunk) if choice.method != "plain" else np.zeros(n_segments, np.int64)
    pieces, partials = tiles * splits, n_sharing * splits
    # Where each segment's items and partials end among all of them.
    pieces_to, partials_to = pieces.cumsum(), partials.cumsum()
    n_items, n_partials = (int(pieces_to[-1]), int(partials_to[-1])) if n_segments else (0, 0)
    for name, value, most in (
        ("max_items", n_items, buffers.max_items),
        ("max_partials", n_partials, buffers.max_partials),
    ):
        if value > most:
            raise KernelError(
                f"{name} = {most}: this plan ({choice.method}, {choice.chunk} tokens a piece) needs {value}; "
                f"make DecodeBuffers with {name}={value}, or choose a larger split_size"
            )

    view = buffers._open()
    for column, array in enumerate(batch.rows):
        view["rows"][:n_rows, column] = array
    view["rows"][:n_rows, 3] = buffers.max_levels if choice.method == "plain" else 0
    if n_rows < buffers.max_rows:
        view["rows"][n_rows:, 0] = -1
        view["row_levels"][n_rows:] = NO_LEVEL
    if n_segments:
        view["segments"][:n_segments] = runs
        # A segment's entry for its items and for its rows, before pieces, tiles and ranks are added.
        of_item = np.zeros((n_segments, 8), np.int32)
        of_item[:, 2:6] = runs
        of_item[:, 0] = bounds[:-1]
        of_item[:, 1] = n_sharing
        first_partial = np.subtract(partials_to, partials, out=of_item[:, 6], casting="unsafe")
        of_row = np.empty((n_segments + 1, 4), np.int32)
        np.subtract(first_partial, of_item[:, 0], out=of_row[:-1, 0])
        of_row[:-1, 1], of_row[:-1, 2], of_row[:-1, 3] = n_sharing, splits, np.arange(n_segments)
        of_row[-1] = NO_LEVEL  # which is where -1 leads
        levels = view["row_levels"].reshape(-1, 4)[: len(keys)]
        of_row.take(keys, axis=0, out=levels, mode="wrap")
        if every:
            levels[:, 0] += pairs
        else:
            levels[pairs, 0] += np.arange(len(pairs), dtype=np.int32)
        view["row_map"][: len(pairs)] = pairs if buffers.max_levels == 1 else pairs // buffers.max_levels
    else:
        view["row_levels"][:n_rows] = NO_LEVEL
    if n_items:
        items = view["items"][:n_items]
        segment = np.repeat(np.arange(n_segments), pieces)
        of_item.take(segment, axis=0, out=items, mode="clip")
        if n_items > n_segments or pieces.max() > 1:
            # Pieces of the same tokens lie side by side, so that tiles find them in L2.
            piece, tile = np.divmod(np.arange(n_items) - (pieces_to - pieces).take(segment), tiles.take(segment))
            start, offset = tile * buffers.tile_rows, piece * choice.chunk
            items[:, 6] += piece * items[:, 1] + start
            items[:, 0] += start
            items[:, 1] = np.minimum(items[:, 1] - start, buffers.tile_rows)
            items[:, 3] += offset
            items[:, 4] = np.minimum(items[:, 4], items[:, 3] + choice.chunk)
            items[:, 5] += offset
        tokens = items[:, 4] - items[:, 3]
        if tokens.min() < tokens.max():
            # The longest first, so that none is begun when the chip runs empty.
            items[:] = items.take(np.argsort(-tokens, kind="stable"), axis=0)
    view["counts"][:] = n_items, n_rows, n_partials, int(splits.max()) if n_items else 0
    buffers._send()
    return Plan(
        method=choice.method,
        reason=choice.reason,
        split_size=choice.chunk if choice.method == "split" else None,
        estimates=choice.estimates,
        n_rows=batch.n_active,
        n_items=n_items,
        n_partials=n_partials,
    )
