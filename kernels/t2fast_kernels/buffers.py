"""Device memory of fixed capacity that plans are written into and decode steps read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from t2fast_kernels.backend import runs_triton
from t2fast_kernels.costs import CostModel
from t2fast_kernels.errors import KernelError

__all__ = ["NO_LEVEL", "DecodeBuffers", "Planned"]

Ints = npt.NDArray[np.int32]

#: The entry in row_levels where a row has no prefix.
NO_LEVEL = (0, 0, 0, -1)


class Planned(NamedTuple):
    """A plan as it lies on the device, int32, in the order in which the operator takes it."""

    #: Items, rows, partials, largest number of splits.
    counts: Tensor
    #: Per work item: first entry in row_map, rows, table, begin, end, position of begin, first partial, 0.
    items: Tensor
    #: The rows of the work items, one item's after the other's.
    row_map: Tensor
    #: Per prefix run: table, begin, end, position of begin.
    segments: Tensor
    #: Per row and level: first partial, distance to the next, number of partials (0: the row reads it), segment or -1.
    row_levels: Tensor
    #: Per row: table or -1, begin, position of begin, how many levels it may have to read by itself.
    rows: Tensor


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

    Examples
    --------
    For a model with 32 query heads and 8 KV heads of 128, up to 256 samples of up to 16 prompts:

    >>> from t2fast_kernels import DecodeBuffers
    >>> buffers = DecodeBuffers(256, 32, 8, 128, max_segments=16)
    >>> buffers.planned.rows.shape
    torch.Size([256, 4])
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
        if self.device.type == "cuda" and self.device.index is None:
            self.device = torch.device("cuda", torch.cuda.current_device())
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

        #: Where launch A leaves outputs and log-sum-exps for launch B: float32, for one layer at a time.
        self.partials: tuple[Tensor, ...] = ()
        if self.on_triton:
            # Each by itself: PyTorch 2.11 misplaces what compiled steps write to a part of a larger tensor.
            sums = torch.empty(self.max_partials, n_q_heads, dtype=torch.float32, device=self.device)
            self.partials = sums.new_empty(self.max_partials, n_q_heads, head_dim), sums

        shapes = {
            "counts": (4,),
            "items": (self.max_items, 8),
            "row_map": (pairs,),
            "segments": (max(1, max_segments), 4),  # rows without a prefix look at the first, too
            "row_levels": (max_rows, max_levels, 4),
            "rows": (max_rows, 4),
        }
        sizes = [int(np.prod(shape)) for shape in shapes.values()]
        pinned = self.device.type == "cuda"
        self._host = torch.zeros(sum(sizes), dtype=torch.int32, pin_memory=pinned)
        self._device = torch.zeros(sum(sizes), dtype=torch.int32, device=self.device) if pinned else self._host
        self._copied = torch.cuda.Event() if pinned else None
        host, on_device = (
            {name: part.view(shape) for (name, shape), part in zip(shapes.items(), whole.split(sizes), strict=True)}
            for whole in (self._host, self._device)
        )
        #: What ``prefix_decode`` reads.
        self.planned = Planned(**on_device)
        self._views: dict[str, Ints] = {name: tensor.numpy() for name, tensor in host.items()}
        self._views["rows"][:, 0] = -1
        self._views["row_levels"][:] = NO_LEVEL
        self._send()

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
