"""How the kernels are launched: the one place for what is shipped, which the compilation tests hold to their gates."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Launch", "prefix_launch", "suffix_launch"]


@dataclass(frozen=True)
class Launch:
    """Tile and launch options of one kernel."""

    block_m: int
    block_n: int
    num_warps: int
    num_stages: int


def prefix_launch(hip: bool, block_m: int, block_d: int, itemsize: int) -> Launch:
    """Launch A.

    Parameters
    ----------
    hip
        Whether the chip is AMD's, whose compiler keeps more in registers and less in shared memory.
    block_m
        Rows times query heads of a tile.
    block_d
        Head dimension, padded to a power of two.
    itemsize
        Bytes per element of q; products of 4-byte elements use no tensor cores and need more registers.
    """
    row = block_d * itemsize
    if itemsize == 4:
        if block_m == 16:
            return Launch(block_m, 16 if row > 512 else 32, 4, 3)
        return Launch(block_m, 16, 8 if block_m == 64 else 16, 2)
    if hip:
        return Launch(block_m, 32, 8 if block_m == 128 else 4, 2 if row > 256 else 3)
    if block_m == 16:
        return Launch(block_m, 32 if row > 256 else 64, 4, 3)
    if row > 256:
        return Launch(block_m, 32, 8 if block_m == 64 else 16, 2)
    return Launch(block_m, 64, 4 if block_m == 64 else 8, 3)


def suffix_launch(hip: bool, group: int, block_d: int, itemsize: int) -> Launch:
    """Launch B, for ``group`` query heads per KV head. Five stages keep two blocks of K and V on their way."""
    block_m = max(16, 1 << (group - 1).bit_length())
    if block_m > 16:
        tile = prefix_launch(hip, 64 if block_m <= 64 else 128, block_d, itemsize)
        return Launch(block_m, tile.block_n, tile.num_warps, tile.num_stages)
    row = block_d * itemsize
    if hip:
        return Launch(block_m, 16 if row > 512 else 32, 4, 3)
    if itemsize == 4:
        return Launch(block_m, 16 if row > 512 else 32, 4, 3)
    return Launch(block_m, 16 if row > 256 else 64, 4, 5)
