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
        Rows times query heads of a tile; 128 for heads of at most 256 bytes only, whose tile fits into registers.
    block_d
        Head dimension, padded to a power of two.
    itemsize
        Bytes per element of q; products of 4-byte elements use no tensor cores and need more registers.
    """
    row = block_d * itemsize
    if itemsize == 4:
        if block_m == 16:
            return Launch(block_m, 16 if row > 512 else 32, 4, 2 if hip else 3)
        return Launch(block_m, 16, 4 if row == 512 and not hip else 8, 2)
    warps = 8 if block_m == 128 or (block_m == 64 and row > 256 and not hip) else 4
    if hip:
        return Launch(block_m, 32, warps, 2)
    return Launch(block_m, 32 if row > 256 else 64, warps, 2 if block_m > 16 and row > 256 else 3)


def suffix_launch(hip: bool, group: int, block_d: int, itemsize: int) -> Launch:
    """Launch B, for ``group`` query heads per KV head. Five stages keep two blocks of K and V on their way."""
    block_m = next(m for m in (16, 64, 128) if m >= group)
    if block_m > 16 or hip or itemsize == 4:
        return prefix_launch(hip, block_m, block_d, itemsize)
    return Launch(block_m, 16 if block_d * itemsize > 256 else 64, 4, 5)
