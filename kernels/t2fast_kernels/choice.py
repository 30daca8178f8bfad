"""Which way of reading the prefixes a plan takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from t2fast_kernels.buffers import DecodeBuffers
from t2fast_kernels.costs import Estimates

__all__ = ["SPLIT_SIZES", "Choice", "Method", "choose"]

Method = Literal["auto", "shared", "split", "plain"]

#: Split sizes that "auto" and "split" consider, in tokens.
SPLIT_SIZES = (256, 512, 1024, 2048, 4096, 8192)
#: The CPU reference has no processors to fill; it splits so that a piece's scores stay in the cache.
CPU_SPLIT = 1024


@dataclass(frozen=True)
class Choice:
    """A way of reading, and why."""

    method: str
    chunk: int  # tokens per piece; all of them unless the method is "split"
    reason: str
    estimates: Estimates | None = None


def choose(
    buffers: DecodeBuffers,
    method: Method,
    split_size: int | None,
    length: npt.NDArray[np.int64],
    n_sharing: npt.NDArray[np.int64],
    tiles: npt.NDArray[np.int64],
) -> Choice:
    """The method asked for, or the fastest by the cost model's estimate that the buffers have room for."""
    longest = int(length.max()) if len(length) else 0
    whole = max(1, longest)
    if not longest or not n_sharing.any():
        return Choice("plain", whole, "no prefixes")
    if method in ("shared", "plain"):
        return Choice(method, whole, "as asked")
    if method == "split" and split_size is not None:
        return Choice("split", split_size, "as asked")

    def fits(chunk: int) -> bool:
        splits = -(-length // chunk)
        return bool(tiles @ splits <= buffers.max_items and n_sharing @ splits <= buffers.max_partials)

    if not buffers.on_triton:
        chunk = split_size or CPU_SPLIT
        if method == "split" or (longest > chunk and fits(chunk)):
            return Choice("split", chunk, "on the CPU each prefix is read once, in pieces that stay in the cache")
        return Choice("shared", whole, "on the CPU each prefix is read once")
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
            return Choice(chosen, chunk, "estimated", estimates)
    return Choice("split", sizes[-1], "as asked")
