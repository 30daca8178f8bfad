"""How the kernels are launched: one place for what is shipped, which is also what the compilation tests hold to their gates."""

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


def prefix_launch(block_m: int, block_d: int, itemsize: int) -> Launch:
    """Launch A for a tile of ``block_m`` rows x heads, heads padded to ``block_d``, ``itemsize`` bytes per element of q."""
    return Launch(block_m, 64 if block_d * itemsize <= 256 else 32, 8 if block_m == 128 else 4, 3)


def suffix_launch(group: int, block_d: int, itemsize: int) -> Launch:
    """Launch B for ``group`` query heads per KV head."""
    block_m = max(16, 1 << (group - 1).bit_length())
    return Launch(block_m, 64 if block_d * itemsize <= 256 else 32, 4, 3)
