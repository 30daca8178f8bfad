"""How the kernels are launched: the one place for what is shipped, which the compilation tests hold to their gates."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch

__all__ = ["Chip", "Launch", "chip_of", "few_pieces", "overlaps", "prefix_launch", "suffix_launch"]

#: What the configurations tell apart: NVIDIA's chips before and from compute capability 9.0 on, and AMD's.
Chip = Literal["ampere", "hopper", "cdna"]


@cache
def chip_of(device: torch.device) -> Chip:
    """The family of a device; for the interpreter's CPU the newest."""
    if torch.version.hip is not None:
        return "cdna"
    return "ampere" if device.type == "cuda" and torch.cuda.get_device_capability(device) < (9, 0) else "hopper"


def overlaps(chip: Chip) -> bool:
    """Whether a launch can begin while the one before is at work (programmatic dependent launch)."""
    return chip == "hopper" and os.environ.get("TRITON_INTERPRET") != "1"


@dataclass(frozen=True)
class Launch:
    """Tile and launch options of one kernel."""

    block_m: int
    block_n: int
    num_warps: int
    num_stages: int
    fast: bool = False  #: whole blocks without masks; takes registers

    @property
    def options(self) -> dict[str, int | bool]:
        """What the compiler is told besides the tile. Fused multiply-adds are named, else Triton warns."""
        return {"num_warps": self.num_warps, "num_stages": self.num_stages, "enable_fp_fusion": True}


def prefix_launch(chip: Chip, block_m: int, block_d: int, itemsize: int, cache_itemsize: int = 2) -> Launch:
    """Launch A.

    Parameters
    ----------
    chip
        AMD's compiler keeps more in registers and less in shared memory; before Hopper the products' operands go
        through registers.
    block_m
        Rows times query heads of a tile; 128 for heads of at most 256 bytes only, whose tile fits into registers.
    block_d
        Head dimension, padded to a power of two.
    itemsize
        Bytes per element of q; products of 4-byte elements use no tensor cores and need more registers.
    cache_itemsize
        Bytes per element of the cache; 1-byte elements are converted in registers.
    """
    row, hip = block_d * itemsize, chip == "cdna"
    if itemsize == 4:
        if block_m == 16:
            return Launch(block_m, 16 if row > 512 else 32, 4, 2 if hip else 3)
        return Launch(block_m, 16, 4 if row == 512 and not hip else 8, 1 if row > 512 and hip else 2)
    fast = chip != "ampere" or block_m == 16
    warps = 8 if block_m == 128 or (block_m == 64 and row > 256 and not hip) else 4
    if hip:
        return Launch(block_m, 32, warps, 2, fast)
    narrow = row > 256 or (chip == "ampere" and block_m == 64 and row == 256)
    if chip == "hopper" and not narrow:
        # One block of K and V is worked on while two are on their way: a program alone on its processor waits less.
        return Launch(block_m, 128 if block_m == 128 else 64, warps, 4 if cache_itemsize == 1 else 5, fast)
    return Launch(
        block_m, 32 if narrow else 64, warps, 2 if row > 256 and (block_m > 16 or chip == "hopper") else 3, fast
    )


def suffix_launch(chip: Chip, group: int, block_d: int, itemsize: int, cache_itemsize: int) -> Launch:
    """Launch B, for ``group`` query heads per KV head.

    On Hopper a program is one warp: a tile of 16 holds a group's few rows, whose instructions more warps repeat, and
    their reductions would wait for each other; fp8's conversion takes registers, and so fewer tokens at once.
    """
    block_m = next(m for m in (16, 64, 128) if m >= group)
    if block_m > 16 or chip == "cdna" or itemsize == 4:
        return prefix_launch(chip, block_m, block_d, itemsize)
    wide = block_d * itemsize > 256
    if chip == "hopper":
        return Launch(block_m, 16 if cache_itemsize == 1 and not wide else 32, 4 if wide else 1, 3, True)
    stages = 5 if block_d * itemsize < 256 and cache_itemsize > 1 else 4  # longer heads and fp8 need the registers
    return Launch(block_m, 16 if wide else 64, 8 if wide else 4, stages, True)


def few_pieces(group: int, block_d: int) -> dict[str, int]:
    """How launch B folds partial results: ``group`` padded to a power of two, and pieces at once.

    As many as fill the registers of a tile of 16: what a program waits for is the first of them.
    """
    few = 1 << (group - 1).bit_length()
    return {"FEW": few, "PIECES": max(1, min(8, 2048 // (few * block_d)))}
