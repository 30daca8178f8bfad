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
#: The CPU reference has no processors to fill; it splits so that a piece's scores stay in the cache.
CPU_SPLIT = 1024


class DecodeBuffers:
    """Device memory of fixed size and address that :func:`plan` fills and ``prefix_decode`` reads.

    Captured CUDA graphs stay valid: a new plan changes what lies in the buffers, never where they lie or how large a launch
    is. One set serves every layer of a model.

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
        Rows times query heads per KV head that one program of launch A works on: 16, 64 or 128. By default 16 if a launch
        can never hold more, else 64, which memory bandwidth hides even when half empty; 128 pays where prefixes of many
        thousand tokens are each shared by a hundred rows or more.
    max_items, max_partials
        Most pieces of prefixes, and most rows times pieces. The defaults hold any plan without splits, and the splits that
        the cost model chooses; a small ``split_size`` of your own may need more.
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
        if n_q_heads % n_kv_heads:
            raise KernelError(f"n_q_heads = {n_q_heads}: must be a multiple of n_kv_heads = {n_kv_heads}")
        if not 1 <= head_dim <= 256:
            raise KernelError(f"head_dim = {head_dim}: the kernels take 1 to 256; use PyTorch's attention beyond")
        group = n_q_heads // n_kv_heads
        if group > 128:
            raise KernelError(f"n_q_heads / n_kv_heads = {group}: the kernels take at most 128; use PyTorch's attention beyond")
        if block_m is None:
            block_m = next(m for m in (16, 64, 128) if m >= min(64, max_rows * group) and m >= group)
        if block_m not in (16, 64, 128) or block_m < group:
            raise KernelError(f"block_m = {block_m}: must be 16, 64 or 128 and at least n_q_heads / n_kv_heads = {group}")

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
        self.max_items = max_items if max_items is not None else max_segments + pairs // self.tile_rows + bool(pairs) * extra
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
        self._views["row_levels"][:, :, 3] = -1
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
    why
        One sentence.
    split_size
        Tokens per piece; None unless the method is "split".
    estimates
        The cost model's seconds per layer; None where the method was given or nothing is shared.
    n_rows, n_items, n_partials
        Rows that decode, work items of launch A, and partial results that launch B folds.
    """

    method: str
    why: str
    split_size: int | None
    estimates: Estimates | None
    n_rows: int
    n_items: int
    n_partials: int

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

    Plan again when a row starts, ends or moves, outside of graph capture.

    Parameters
    ----------
    segments
        int ``[n_segments, 4]``: table, begin, end and absolute position of begin of each prefix run. Tokens are counted
        within a row of the tables.
    row_segments
        int ``[n_rows, n_levels]``: each row's prefix runs, -1 for none.
    row_table, row_begin, row_position
        int ``[n_rows]`` or, for the last two, one number for all: where each row's own tokens are: row of the tables (-1:
        the row is idle), first token within it, absolute position of that token.
    method
        "auto" takes what the cost model estimates to be fastest; see :class:`Plan`.
    split_size
        Tokens per piece for the method "split". With ``method="split"`` and a size given, what a row computes doesn't depend on
        which other rows are planned.

    Raises
    ------
    KernelError
        Shapes that don't agree, values out of range, or a capacity of ``buffers`` exceeded. Nothing is written then.
    """
    runs = _ints("segments", segments, 2).reshape(-1, 4) if np.size(segments) else np.zeros((0, 4), np.int32)
    table = _ints("row_table", row_table, 1)
    n_rows = len(table)
    of_rows = _ints("row_segments", row_segments, 2) if np.size(row_segments) else np.full((n_rows, 1), -1, np.int32)
    begin, position = (
        np.broadcast_to(_ints(name, value, None), (n_rows,)) if np.ndim(value) == 0 else _ints(name, value, 1)
        for name, value in (("row_begin", row_begin), ("row_position", row_position))
    )
    for name, value, most, remedy in (
        ("row_table", n_rows, buffers.max_rows, "max_rows"),
        ("segments", len(runs), buffers.max_segments, "max_segments"),
        ("row_segments", of_rows.shape[1], buffers.max_levels if len(runs) else of_rows.shape[1], "max_levels"),
    ):
        if value > most:
            raise KernelError(f"{name}: {value} exceed the capacity {most}; make DecodeBuffers with {remedy}={value}")
    for name, array in (("row_segments", of_rows), ("row_begin", begin), ("row_position", position)):
        if len(array) != n_rows:
            raise KernelError(f"{name} has {len(array)} rows, row_table {n_rows}: give one entry per row")
    if n_rows and (of_rows.max() >= len(runs) or of_rows.min() < -1):
        raise KernelError(f"row_segments: values from {of_rows.min()} to {of_rows.max()}; allowed are -1 and 0 to {len(runs) - 1}")
    length = runs[:, 2] - runs[:, 1]
    if len(runs) and (runs.min() < 0 or length.min() < 0):
        raise KernelError("segments: each row is table, begin, end, position, none negative and begin <= end")
    if n_rows and (begin.min() < 0 or position.min() < 0):
        raise KernelError("row_begin and row_position must not be negative; mark idle rows by row_table = -1")
    if split_size is not None and split_size < 1:
        raise KernelError(f"split_size = {split_size}: must be a positive number of tokens")
    if method not in ("auto", "shared", "split", "plain"):
        raise KernelError(f"method = {method!r}: must be auto, shared, split or plain")

    # The rows of each segment, one segment's after the other's: a stable sort of (row, level) pairs by segment.
    n_segments, n_levels = len(runs), of_rows.shape[1]
    keys = np.where(table[:, None] >= 0, of_rows, -1).ravel() if n_rows and table.min() < 0 else of_rows.ravel()
    if n_segments and len(keys):
        pairs = np.flatnonzero(keys >= 0) if keys.min() < 0 else np.arange(len(keys))
        sorted_keys = keys[pairs]
        if (sorted_keys[1:] < sorted_keys[:-1]).any():
            # 16 bits sort by counting.
            order = np.argsort(sorted_keys.astype(np.int16) if n_segments < 1 << 15 else sorted_keys, kind="stable")
            pairs, sorted_keys = pairs[order], sorted_keys[order]
        n_sharing = np.bincount(sorted_keys, minlength=n_segments)
    else:
        pairs = sorted_keys = np.zeros(0, np.int64)
        n_sharing = np.zeros(n_segments, np.int64)
    tiles = -(-n_sharing // buffers.tile_rows)

    estimates = None
    chosen, chunk, why = _choose(buffers, method, split_size, length, n_sharing, tiles)
    if isinstance(why, Estimates):
        estimates = why
        why = _reason(estimates, chosen)

    splits = -(-length // chunk) if chosen != "plain" else np.zeros(n_segments, np.int64)
    per_segment = tiles * splits
    n_items, n_partials = int(per_segment.sum()), int((n_sharing * splits).sum())
    for name, value, most in (("max_items", n_items, buffers.max_items), ("max_partials", n_partials, buffers.max_partials)):
        if value > most:
            raise KernelError(
                f"{name} = {most}: this plan ({chosen}, split_size {chunk}) needs {value}; "
                f"make DecodeBuffers with {name}={value} or choose a larger split_size"
            )

    view = buffers._open()
    view["segments"][:n_segments] = runs
    rows = view["rows"]
    rows[:n_rows, 0], rows[:n_rows, 1], rows[:n_rows, 2] = table, begin, position
    rows[n_rows:, 0] = -1
    levels = view["row_levels"]
    levels[:, :, 2:] = 0, -1
    if len(pairs):
        first_row = np.cumsum(n_sharing) - n_sharing
        first_partial = np.cumsum(n_sharing * splits) - n_sharing * splits
        row, level = np.divmod(pairs, n_levels)
        slot = np.arange(len(pairs)) + (first_partial - first_row)[sorted_keys]
        levels[row, level] = np.stack([slot, n_sharing[sorted_keys], splits[sorted_keys], sorted_keys], axis=1)
        view["row_map"][: len(row)] = row
    if n_items:
        # Pieces of the same tokens lie side by side, so that tiles find them in L2; the longest segments come first.
        segment = np.repeat(np.arange(n_segments), per_segment)
        within = np.arange(n_items) - np.repeat(np.cumsum(per_segment) - per_segment, per_segment)
        piece, tile = np.divmod(within, tiles[segment])
        start = tile * buffers.tile_rows
        offset = piece * chunk
        items = view["items"]
        items[:n_items, 0] = first_row[segment] + start
        items[:n_items, 1] = np.minimum(n_sharing[segment] - start, buffers.tile_rows)
        items[:n_items, 2] = runs[segment, 0]
        items[:n_items, 3] = runs[segment, 1] + offset
        items[:n_items, 4] = np.minimum(items[:n_items, 3] + chunk, runs[segment, 2])
        items[:n_items, 5] = runs[segment, 3] + offset
        items[:n_items, 6] = first_partial[segment] + piece * n_sharing[segment] + start
    view["counts"][:] = n_items, n_rows, n_partials, int(splits.max()) if n_items else 0
    buffers._send()
    return Plan(
        chosen, why, chunk if chosen == "split" else None, estimates, int((table >= 0).sum()), n_items, n_partials
    )


def _choose(
    buffers: DecodeBuffers,
    method: Method,
    split_size: int | None,
    length: npt.NDArray[np.integer],
    n_sharing: npt.NDArray[np.int64],
    tiles: npt.NDArray[np.int64],
) -> tuple[str, int, str | Estimates]:
    """Method, tokens per piece, and the reason or what it follows from."""
    longest = int(length.max()) if len(length) else 0
    whole = max(1, longest)
    if not n_sharing.any() or not longest:
        return "plain", whole, "no prefixes"
    if method in ("shared", "plain"):
        return method, whole, "as asked"
    if method == "split" and split_size is not None:
        return "split", split_size, "as asked"

    def fits(chunk: int) -> bool:
        splits = -(-length // chunk)
        return bool(tiles @ splits <= buffers.max_items and n_sharing @ splits <= buffers.max_partials)

    if not buffers.on_triton:
        chunk = split_size or CPU_SPLIT
        if method == "split" or (longest > chunk and fits(chunk)):
            return "split", chunk, "on the CPU each prefix is read once, in pieces that stay in the cache"
        return "shared", whole, "on the CPU each prefix is read once"
    estimates = buffers.costs.estimate(
        length.astype(np.int64),
        n_sharing,
        n_kv_heads=buffers.n_kv_heads,
        group=buffers.group,
        head_dim=buffers.head_dim,
        itemsize=buffers.itemsize,
        block_m=buffers.block_m,
        split_sizes=SPLIT_SIZES if split_size is None else (split_size,),
    )
    ways = {("split", size): seconds for size, seconds in estimates.split.items() if fits(size)}
    if method == "auto":
        ways |= {("shared", whole): estimates.shared, ("plain", whole): estimates.plain}
    elif not ways:
        return "split", split_size or SPLIT_SIZES[0], "as asked"
    chosen, chunk = min(ways, key=ways.__getitem__)
    return chosen, chunk, estimates


def _reason(estimates: Estimates, chosen: str) -> str:
    """The estimates in one line, the chosen way's first."""
    times = {"shared": estimates.shared, "plain": estimates.plain}
    if estimates.split:
        times["split"] = min(estimates.split.values())
    ordered = sorted(times, key=lambda way: (way != chosen, times[way]))
    return "estimated " + ", ".join(f"{way} {times[way] * 1e6:.1f} us" for way in ordered)


def _ints(name: str, value: npt.ArrayLike, ndim: int | None) -> Ints:
    """An int32 array, without a copy where it is one already."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise KernelError(f"{name}: dtype {array.dtype}; give integers")
    if ndim is not None and array.ndim != ndim:
        raise KernelError(f"{name}: shape {array.shape}; give {ndim} dimension{'s' * (ndim > 1)}")
    if array.dtype != np.int32:
        if array.size and (array.max() >= 1 << 31 or array.min() < -(1 << 31)):
            raise KernelError(f"{name}: values beyond 32 bits")
        array = array.astype(np.int32)
    return array
