"""Planning on the device: which neighbouring rows share pages, read off their block tables."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from t2fast_kernels.backend import runs_triton
from t2fast_kernels.buffers import DecodeBuffers, Planned
from t2fast_kernels.calls import SharedCall, schema
from t2fast_kernels.errors import KernelError
from t2fast_kernels.launch import launch
from t2fast_kernels.reference import plan_shared as reference

__all__ = ["plan_shared"]

#: Pages compared, or work items written, at a time; and rows looked at.
BLOCK, ROWS = 128, 512
OPTIONS = {"num_warps": 4, "enable_fp_fusion": True}


def plan_shared(
    buffers: DecodeBuffers,
    block_tables: Tensor,
    seq_lens: Tensor,
    page_size: int,
    *,
    min_tokens: int = 256,
    split_size: int | None = None,
) -> None:
    """Write what the next decode steps read into ``buffers``, as :func:`plan` does, but from the device's block tables.

    For serving stacks that keep one table per sequence: rows that share a prefix share its pages. Neighbours are
    compared page by page, so rows with a common prefix should lie side by side, as samples of a prompt do. With
    ``max_levels=2`` in the buffers, runs inside a run are found too: a system prompt, and questions below it. Nothing
    waits for the device, sizes depend on capacities alone: the call can be captured in a CUDA graph, and a plan holds
    for later steps in which the sequences have only grown.

    Parameters
    ----------
    buffers
        Made with ``max_segments`` of at least 1.
    block_tables
        int32 ``[n_rows, max_pages]``: the table of each row, its first token on the first page.
    seq_lens
        int32 ``[n_rows]``: tokens of each row, the newest included, as ``prefix_decode`` takes them; a row without
        tokens is idle. Only pages that are full in both neighbours count as shared.
    page_size
        Tokens per page.
    min_tokens
        What neighbours must share at least, beyond the level before; below about 256, sharing costs more than it saves.
    split_size
        Tokens per piece of a prefix; by default as many as fill the chip. Pieces get longer where ``max_items`` or
        ``max_partials`` of the buffers would not suffice; a run without a place even then is read by each row itself.

    Raises
    ------
    KernelError
        Arguments that don't agree with each other or with ``buffers``; before anything is launched.

    Examples
    --------
    Three samples of a prompt of 32 tokens on pages 5 and 6, and a stranger:

    >>> import torch
    >>> from t2fast_kernels import DecodeBuffers, plan_shared
    >>> tables = torch.tensor([[5, 6, 0], [5, 6, 1], [5, 6, 2], [7, 8, 9]], dtype=torch.int32)
    >>> lens = torch.tensor([40, 33, 35, 48], dtype=torch.int32)
    >>> buffers = DecodeBuffers(4, 8, 2, 64, max_segments=2)
    >>> plan_shared(buffers, tables, lens, 16, min_tokens=16)
    >>> buffers.planned.segments[0].tolist()  # table, begin, end, position of begin
    [0, 0, 32, 0]
    >>> buffers.planned.rows[:, 1].tolist()  # where each row's own tokens begin
    [32, 32, 32, 0]
    """
    scattered = block_tables.dim() != 2 or (block_tables.numel() and block_tables.stride(1) != 1)
    if block_tables.dtype != torch.int32 or scattered:
        raise KernelError(
            f"block_tables: {block_tables.dtype} {tuple(block_tables.shape)}; "
            "give int32 [n_rows, max_pages], rows contiguous"
        )
    if seq_lens.dtype != torch.int32 or seq_lens.dim() != 1 or (len(seq_lens) and seq_lens.stride(0) != 1):
        raise KernelError(f"seq_lens: {seq_lens.dtype} {tuple(seq_lens.shape)}; give contiguous int32 [n_rows]")
    n_rows = len(seq_lens)
    if len(block_tables) < n_rows:
        raise KernelError(f"block_tables: {len(block_tables)} rows for {n_rows} of seq_lens")
    if n_rows > buffers.max_rows:
        raise KernelError(
            f"seq_lens: {n_rows} rows exceed the capacity of {buffers.max_rows}; "
            f"make DecodeBuffers with max_rows={n_rows}"
        )
    if not buffers.max_segments:
        raise KernelError("buffers: max_segments = 0; make DecodeBuffers with room for the runs that are to be found")
    for name, value in (("page_size", page_size), ("min_tokens", min_tokens), ("split_size", split_size)):
        if value is not None and value < 1:
            raise KernelError(f"{name} = {value}: must be a positive number of tokens")
    for name, tensor in (("block_tables", block_tables), ("seq_lens", seq_lens)):
        if tensor.device != buffers.device:
            raise KernelError(f"{name} is on {tensor.device}, the buffers on {buffers.device}; put both on one device")
    call = SharedCall(
        block_tables=block_tables,
        seq_lens=seq_lens,
        planned=buffers.planned,
        page_size=page_size,
        least=-(-min_tokens // page_size),
        split_size=split_size or 0,
        fill=max(1, 2 * buffers.costs.programs // buffers.n_kv_heads),
        tile_rows=buffers.tile_rows,
        max_partials=buffers.max_partials,
    )
    _op(*call)


@torch.library.custom_op(
    "t2fast::plan_shared", mutates_args=("planned",), schema=schema(SharedCall, writes=("planned",))
)
def _op(*arguments: Any) -> None:
    call = SharedCall(*arguments)
    (_launch if runs_triton(call.seq_lens) else reference.plan_shared)(call)


def _launch(call: SharedCall) -> None:
    from t2fast_kernels.triton import plan_shared as kernels

    counts, items, row_map, segments, row_levels, rows = Planned(*call.planned)
    n_rows, max_rows, levels = len(call.seq_lens), len(rows), row_levels.shape[1]
    scratch = counts.new_empty(max_rows * (kernels.FIELDS.value * levels + 1) + 1)
    common, chunk, found = scratch[:max_rows], scratch[max_rows : max_rows + 1], scratch[max_rows + 1 :]
    if n_rows:
        launch(
            kernels.neighbours_kernel, (n_rows,), counts,
            call.block_tables, call.block_tables.stride(0), call.seq_lens, call.page_size, common,
            BLOCK=BLOCK, **OPTIONS,
        )  # fmt: skip
        launch(
            kernels.runs_kernel, (n_rows,), counts,
            common, found, n_rows, max_rows, call.least, LEVELS=levels, BLOCK=ROWS, **OPTIONS,
        )  # fmt: skip
    launch(
        kernels.places_kernel, (1,), counts,
        found, counts, chunk, n_rows, max_rows, call.page_size, call.split_size, call.tile_rows, call.fill,
        len(segments), len(items), call.max_partials, LEVELS=levels, BLOCK=ROWS, **OPTIONS,
    )  # fmt: skip
    launch(
        kernels.write_kernel, (max_rows,), counts,
        call.seq_lens, found, chunk, items, row_map, segments, row_levels, rows, n_rows, max_rows, call.page_size,
        call.tile_rows, LEVELS=levels, BLOCK=BLOCK, **OPTIONS,
    )  # fmt: skip


@_op.register_fake
def _(*_arguments: object) -> None:
    return None
