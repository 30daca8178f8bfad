"""What a decode step is to read: rows that share prefixes, turned into work items in buffers of fixed capacity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from t2fast_kernels.backend import runs_triton
from t2fast_kernels.costs import CostModel, Estimates
from t2fast_kernels.errors import KernelError

__all__ = ["DecodeBuffers", "Plan", "plan"]

Ints = npt.NDArray[np.int32]
Method = Literal["auto", "shared", "split", "plain"]

#: Split sizes that "auto" and "split" consider, in tokens.
SPLIT_SIZES = (256, 512, 1024, 2048, 4096, 8192)
#: The entry in row_levels where a row has no prefix.
NO_LEVEL = (0, 0, 0, -1)
#: The CPU reference has no processors to fill; it splits so that a piece's scores stay in the cache.
CPU_SPLIT = 1024


class DecodeBuffers:
    """Device memory of fixed size and address that :func:`plan` fills and ``prefix_decode`` reads.

    Captured CUDA graphs stay valid: a new plan changes what lies in the buffers, never where they lie or how large a
    launch is. One set serves every layer of a model.

    Parameters
    ----------
    max_rows
        Most rows (sequences decoded at once).
    n_q_heads, n_kv_heads, head_dim
        Of the model; on each device, if heads are spread over several.
    max_segments
        Most prefix runs in a plan. 0: rows read everything themselves, and launch A is left out.
    max_levels
        Most prefix runs of one row: 1 for a shared prompt, 2 for a system prompt and a question, and so on.
    device
        Where the operators run.
    itemsize
        Bytes per element of the KV cache, for the cost model.
    block_m
        Rows times query heads per KV head that one program of launch A works on: 16, 64 or, for head dimensions up to
        128 and two-byte queries, 128. By default 16 if there can never be more, else 64, whose arithmetic a roofline
        hides behind memory even when the tile is nearly empty; 128 reads less from L2 where prefixes of many thousand
        tokens are each shared by a hundred rows or more.
    max_items, max_partials
        Most pieces of prefixes, and most rows times pieces. The defaults hold any plan without splits, and the splits
        that the cost model chooses; a small ``split_size`` of your own may need more.
    costs
        What the choice between the methods rests on; by default :meth:`CostModel.of` the device.

    Raises
    ------
    KernelError
        A capacity is negative, heads don't divide, ``head_dim`` is not in 1..256, a group of query heads exceeds 128 or
        ``block_m`` is not one of the three or smaller than the group.
    """

    def __init__(
        self,
        max_rows: int,
        n_q_heads: int,
        n_kv_heads: int,
        head_dim: int,
        *,
        max_segments: int,
        max_levels: int = 1,
        device: torch.device | str = "cpu",
        itemsize: int = 2,
        block_m: int | None = None,
        max_items: int | None = None,
        max_partials: int | None = None,
        costs: CostModel | None = None,
    ) -> None:
        for name, value, least in (
            ("max_rows", max_rows, 1),
            ("n_kv_heads", n_kv_heads, 1),
            ("n_q_heads", n_q_heads, 1),
            ("max_segments", max_segments, 0),
            ("max_levels", max_levels, 1),
        ):
            if value < least:
                raise KernelError(f"{name} = {value}: must be at least {least}")
        if max_rows > 65535:
            raise KernelError(f"max_rows = {max_rows}: a launch takes at most 65535; decode in several batches")
        if n_q_heads % n_kv_heads:
            raise KernelError(f"n_q_heads = {n_q_heads}: must be a multiple of n_kv_heads = {n_kv_heads}")
        if not 1 <= head_dim <= 256:
            raise KernelError(f"head_dim = {head_dim}: the kernels take 1 to 256; use PyTorch's attention beyond")
        group = n_q_heads // n_kv_heads
        if group > 128:
            raise KernelError(
                f"n_q_heads / n_kv_heads = {group}: the kernels take at most 128; use PyTorch's attention beyond"
            )
        if block_m is None:
            block_m = next(m for m in (16, 64, 128) if m >= min(64, max_rows * group) and m >= group)
        if block_m not in (16, 64, 128) or block_m < group:
            raise KernelError(
                f"block_m = {block_m}: must be 16, 64 or 128 and at least n_q_heads / n_kv_heads = {group}"
            )
        if block_m == 128 and head_dim > 128:
            raise KernelError(f"head_dim = {head_dim}: a tile of block_m = 128 takes at most 128; make it 64")

        self.device = torch.device(device)
        self.max_rows, self.max_segments, self.max_levels = max_rows, max_segments, max_levels
        self.n_q_heads, self.n_kv_heads, self.head_dim = n_q_heads, n_kv_heads, head_dim
        self.group, self.itemsize, self.block_m = group, itemsize, block_m
        self.costs = costs or CostModel.of(self.device)
        self.on_triton = runs_triton(torch.empty(0, device=self.device))
        #: Rows in one work item. The CPU reference has no tiles to fill.
        self.tile_rows = block_m // group if self.on_triton else max_rows
        # The cost model never splits into more than about this many items beyond one per tile.
        extra = -(-4 * self.costs.programs // n_kv_heads) if self.on_triton else 64
        pairs = max_rows * max_levels if max_segments else 0
        self.max_items = (
            max_items if max_items is not None else max_segments + pairs // self.tile_rows + bool(pairs) * extra
        )
        self.max_partials = (
            max_partials if max_partials is not None else pairs + bool(pairs) * extra * min(self.tile_rows, max_rows)
        )

        shapes = {
            "counts": (4,),
            "items": (max(1, self.max_items), 8),
            "segments": (max(1, max_segments), 4),
            "row_levels": (max_rows, max_levels, 4),
            "rows": (max_rows, 4),
            "row_map": (max(1, pairs),),
        }
        size = sum(int(np.prod(shape)) for shape in shapes.values())
        pinned = self.device.type == "cuda"
        self._host = torch.zeros(size, dtype=torch.int32, pin_memory=pinned)
        self._device = torch.zeros(size, dtype=torch.int32, device=self.device) if pinned else self._host
        self._copied = torch.cuda.Event() if pinned else None
        self._views: dict[str, Ints] = {}
        host, start = self._host.numpy(), 0
        for name, shape in shapes.items():
            stop = start + int(np.prod(shape))
            self._views[name] = host[start:stop].reshape(shape)
            setattr(self, name, self._device[start:stop].view(shape))
            start = stop
        self._views["rows"][:, 0] = -1
        self._views["row_levels"][:] = NO_LEVEL
        self._send()

    #: On the device, int32. counts: items, rows, partials, largest number of splits.
    counts: torch.Tensor
    #: Per work item: first entry in row_map, rows, table, begin, end, position of begin, first partial, 0.
    items: torch.Tensor
    #: The rows of the work items, one item's after the other's.
    row_map: torch.Tensor
    #: Per prefix run: table, begin, end, position of begin.
    segments: torch.Tensor
    #: Per row and level: first partial, distance to the next, number of partials (0: the row reads it), segment or -1.
    row_levels: torch.Tensor
    #: Per row: table or -1, begin, position of begin, 0.
    rows: torch.Tensor

    def _send(self) -> None:
        """Copy the staged plan to the device."""
        if self._copied is not None:
            with torch.cuda.device(self.device):
                self._device.copy_(self._host, non_blocking=True)
                self._copied.record()

    def _open(self) -> dict[str, Ints]:
        """The staging arrays, once the device has taken over what was written to them last."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._views


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
    """
    runs, length, of_rows, own, n_active = _checked(buffers, segments, row_segments, row_table, row_begin, row_position)
    if split_size is not None and split_size < 1:
        raise KernelError(f"split_size = {split_size}: must be a positive number of tokens")
    if method not in ("auto", "shared", "split", "plain"):
        raise KernelError(f"method = {method!r}: must be auto, shared, split or plain")
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

    choice = _choose(buffers, method, split_size, length, n_sharing, tiles)
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
    for column, array in enumerate(own):
        view["rows"][:n_rows, column] = array
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
    view["counts"][:] = n_items, n_rows, n_partials, int(splits.max()) if n_items else 0
    buffers._send()
    return Plan(
        method=choice.method,
        reason=choice.reason,
        split_size=choice.chunk if choice.method == "split" else None,
        estimates=choice.estimates,
        n_rows=n_active,
        n_items=n_items,
        n_partials=n_partials,
    )


def _checked(
    buffers: DecodeBuffers,
    segments: npt.ArrayLike,
    row_segments: npt.ArrayLike,
    row_table: npt.ArrayLike,
    row_begin: npt.ArrayLike | int,
    row_position: npt.ArrayLike | int,
) -> tuple[Ints, npt.NDArray[np.int64], Ints, tuple[Ints, Ints, Ints], int]:
    """Segments, lengths, segments of rows (-1 where none and for idle rows), rows' own arrays, active rows."""
    runs = _ints("segments", segments, 2) if np.size(segments) else np.zeros((0, 4), np.int32)
    table = _ints("row_table", row_table, 1)
    n_rows = len(table)
    of_rows = _ints("row_segments", row_segments, 2) if np.size(row_segments) else np.full((n_rows, 1), -1, np.int32)
    begin, position = _per_row("row_begin", row_begin, n_rows), _per_row("row_position", row_position, n_rows)
    for name, value, most, remedy in (
        ("row_table", n_rows, buffers.max_rows, "max_rows"),
        ("segments", len(runs), buffers.max_segments, "max_segments"),
        ("row_segments", of_rows.shape[1], buffers.max_levels, "max_levels"),
    ):
        if value > most:
            raise KernelError(
                f"{name}: {value} exceed the capacity of {most}; make DecodeBuffers with {remedy}={value}"
            )
    for name, array in (("row_segments", of_rows), ("row_begin", begin), ("row_position", position)):
        if len(array) != n_rows:
            raise KernelError(f"{name} has {len(array)} rows, row_table {n_rows}: give one entry per row")
    if runs.shape[1] != 4:
        raise KernelError(f"segments: shape {runs.shape}; give table, begin, end, position for each")
    length = (runs[:, 2] - runs[:, 1]).astype(np.int64)
    if len(runs) and (runs.min() < 0 or length.min() < 0):
        raise KernelError("segments: table, begin, end and position must not be negative, and begin <= end")
    if n_rows == 0:
        return runs, length, np.full((0, buffers.max_levels), -1, np.int32), (table, begin, position), 0
    if of_rows.max() >= len(runs) or of_rows.min() < -1:
        raise KernelError(
            f"row_segments: values from {of_rows.min()} to {of_rows.max()}; allowed are -1 and 0 to {len(runs) - 1}"
        )
    if begin.min() < 0 or position.min() < 0:
        raise KernelError("row_begin and row_position must not be negative; idle rows have row_table = -1")
    if of_rows.shape[1] < buffers.max_levels:
        of_rows = np.pad(of_rows, ((0, 0), (0, buffers.max_levels - of_rows.shape[1])), constant_values=-1)
    n_active = n_rows
    if table.min() < 0:
        of_rows = np.where(table[:, None] < 0, np.int32(-1), of_rows)
        n_active -= int((table < 0).sum())
    return runs, length, of_rows, (table, begin, position), n_active


@dataclass(frozen=True)
class _Choice:
    method: str
    chunk: int  # tokens per piece; all of them unless the method is "split"
    reason: str
    estimates: Estimates | None = None


def _choose(
    buffers: DecodeBuffers,
    method: Method,
    split_size: int | None,
    length: npt.NDArray[np.int64],
    n_sharing: npt.NDArray[np.int64],
    tiles: npt.NDArray[np.int64],
) -> _Choice:
    """The method asked for, or the fastest by the cost model's estimate that the buffers have room for."""
    longest = int(length.max()) if len(length) else 0
    whole = max(1, longest)
    if not longest or not n_sharing.any():
        return _Choice("plain", whole, "no prefixes")
    if method in ("shared", "plain"):
        return _Choice(method, whole, "as asked")
    if method == "split" and split_size is not None:
        return _Choice("split", split_size, "as asked")

    def fits(chunk: int) -> bool:
        splits = -(-length // chunk)
        return bool(tiles @ splits <= buffers.max_items and n_sharing @ splits <= buffers.max_partials)

    if not buffers.on_triton:
        chunk = split_size or CPU_SPLIT
        if method == "split" or (longest > chunk and fits(chunk)):
            return _Choice("split", chunk, "on the CPU each prefix is read once, in pieces that stay in the cache")
        return _Choice("shared", whole, "on the CPU each prefix is read once")
    # Splitting is for filling the chip: with two waves of programs there is nothing left to fill.
    sizes: tuple[int, ...] = SPLIT_SIZES if split_size is None else (split_size,)
    if method == "auto" and int(tiles.sum()) * buffers.n_kv_heads >= 2 * buffers.costs.programs:
        sizes = ()
    estimates = buffers.costs.estimate(
        length,
        n_sharing,
        n_kv_heads=buffers.n_kv_heads,
        group=buffers.group,
        head_dim=buffers.head_dim,
        itemsize=buffers.itemsize,
        block_m=buffers.block_m,
        split_sizes=sizes,
    )
    ways = {("split", size): seconds for size, seconds in estimates.split.items()}
    if method == "auto":
        ways |= {("shared", whole): estimates.shared, ("plain", whole): estimates.plain}
    for chosen, chunk in sorted(ways, key=ways.__getitem__):
        if chosen == "plain" or fits(chunk):
            return _Choice(chosen, chunk, "estimated", estimates)
    return _Choice("split", sizes[-1], "as asked")


def _per_row(name: str, value: npt.ArrayLike | int, n_rows: int) -> Ints:
    """An array as it is; a number once for each row."""
    if isinstance(value, int) and 0 <= value < 1 << 31:
        return np.full(n_rows, value, np.int32)
    return np.full(n_rows, _ints(name, value, 0)) if np.ndim(value) == 0 else _ints(name, value, 1)


def _ints(name: str, value: npt.ArrayLike, ndim: int) -> Ints:
    """An int32 array, without a copy where it is one already."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise KernelError(f"{name}: dtype {array.dtype}; give integers")
    if array.ndim != ndim:
        raise KernelError(f"{name}: shape {array.shape}; give {ndim} dimension{'s' * (ndim > 1)}")
    if array.dtype != np.int32:
        if array.size and (array.max() >= 1 << 31 or array.min() < -(1 << 31)):
            raise KernelError(f"{name}: values beyond 32 bits")
        array = array.astype(np.int32)
    return array
