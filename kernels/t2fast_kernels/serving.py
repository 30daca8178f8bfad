"""Rows of a serving stack, which keeps one block table per sequence: planned once a step, read by every layer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from t2fast_kernels.buffers import DecodeBuffers
from t2fast_kernels.plan_shared import plan_shared

__all__ = ["MIN_TOKENS", "RowPlanner", "Rows"]

#: Tokens that neighbours must share at least for their prefix to be read once.
MIN_TOKENS = 256


class Rows(NamedTuple):
    """What ``prefix_decode`` takes after the caches."""

    block_tables: Tensor  #: int32 ``[n_rows, max_pages]``
    seq_lens: Tensor  #: int32 ``[n_rows]``; 0: idle
    buffers: DecodeBuffers  #: planned for these rows


class RowPlanner:
    """Finds the prefixes that neighbouring rows share and keeps the plan, in memory that never moves.

    One for each group of layers that use the same block tables. A captured CUDA graph may read the plan; planning
    itself waits for nothing and belongs before the graph.

    Parameters
    ----------
    max_rows
        Most sequences decoded at once, padding included.
    n_q_heads, n_kv_heads, head_dim
        Of the layers, on this device.
    page_size
        Tokens per page of the block tables.
    device, itemsize
        Where the cache lies, and the bytes of one of its elements.

    Examples
    --------
    Four samples of a prompt on pages 0 to 15:

    >>> import torch
    >>> from t2fast_kernels.serving import RowPlanner
    >>> tables = torch.tensor([[*range(16), 16 + row] for row in range(4)], dtype=torch.int32)
    >>> planner = RowPlanner(4, 8, 2, 64, page_size=16)
    >>> rows = planner.plan(tables, torch.tensor([257, 260, 258, 261], dtype=torch.int32))
    >>> rows.buffers.planned.segments[0].tolist()  # table, begin, end, position of begin
    [0, 0, 256, 0]
    """

    def __init__(
        self,
        max_rows: int,
        n_q_heads: int,
        n_kv_heads: int,
        head_dim: int,
        *,
        page_size: int,
        device: torch.device | str = "cpu",
        itemsize: int = 2,
    ) -> None:
        self.page_size = page_size
        levels = 2  # a system prompt, and questions below it
        self.buffers = DecodeBuffers(
            max_rows,
            n_q_heads,
            n_kv_heads,
            head_dim,
            max_segments=max(1, levels * (max_rows // 2)),
            max_levels=levels,
            device=device,
            itemsize=itemsize,
        )

    def plan(self, block_tables: Tensor, seq_lens: Tensor) -> Rows:
        """Plan a step: int32 ``[n_rows, max_pages]``, int32 ``[n_rows]``, the token about to be decoded counted."""
        plan_shared(self.buffers, block_tables, seq_lens, self.page_size, min_tokens=MIN_TOKENS)
        return Rows(block_tables, seq_lens, self.buffers)
