"""Decode attention over prefixes shared by many rows and suffixes of their own."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from t2fast_kernels.backend import runs_triton
from t2fast_kernels.configs import chip_of, prefix_launch, suffix_launch
from t2fast_kernels.errors import KernelError
from t2fast_kernels.plan import DecodeBuffers
from t2fast_kernels.reference import attention as reference

__all__ = ["prefix_decode"]

#: Programs of launch A over all KV heads. More work items than that are read in turns; fewer leave programs idle, at
#: about a nanosecond each.
PROGRAMS = 1024
_CACHE_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)


def prefix_decode(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    tables: Tensor,
    lens: Tensor,
    buffers: DecodeBuffers,
    *,
    scale: float | None = None,
    window: int | None = None,
    soft_cap: float | None = None,
    sinks: Tensor | None = None,
    k_scale: float | Tensor | None = None,
    v_scale: float | Tensor | None = None,
    return_lse: bool = False,
    out: Tensor | None = None,
    check: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attention of one query token per row over its shared prefixes and its own suffix, as planned in ``buffers``.

    Row r reads its prefix runs, then tokens ``row_begin[r]`` to ``lens[r] - 1`` of its own row of the tables.
    Token t lies on page ``tables[row, t // page_size]`` in slot ``t % page_size``. The query stands at the position of
    the row's last token: nothing is masked but what ``window`` hides.

    Parameters
    ----------
    q
        ``[n_rows, n_q_heads, head_dim]``, float32, float16 or bfloat16; at least the planned rows and at most
        ``buffers.max_rows``. Rows that the plan doesn't hold, or holds as idle, give zeros.
    k_cache, v_cache
        ``[n_pages, page_size, n_kv_heads, head_dim]``, any strides with the last one 1; the dtype of ``q``, or
        float8_e4m3fn or float8_e5m2. A contiguous cache ``[n, length, n_kv_heads, head_dim]`` is one of n long pages.
    tables
        int32 ``[n_tables, max_pages]``: block tables as in vLLM and SGLang; rows for prefixes and for suffixes alike.
    lens
        int32 ``[n_rows]``, on the device: where each row's suffix ends, counted within its row of the tables.
    scale
        Factor of the scores; by default ``head_dim ** -0.5``.
    window
        Number of visible positions, the query's own included; None or 0: all.
    soft_cap
        Scores become ``soft_cap * tanh(score / soft_cap)``.
    sinks
        float32 ``[n_q_heads]``: one score more per head in the softmax's denominator (Xiao et al. 2023), added once.
    k_scale, v_scale
        What stored keys and values are to be multiplied by: a number, or float32 with one value or one per KV head.
    return_lse
        Also return the natural logarithm of the sum of the exponentiated scores, the sink's included: float32
        ``[n_rows, n_q_heads]``, -inf for idle rows and where there is nothing to read.
    out
        Where to write the output; like ``q``.
    check
        Look for page ids and lengths out of range first. That waits for the device: for debugging.

    Raises
    ------
    KernelError
        Arguments that don't agree with each other or with ``buffers``; before anything is launched.
    """
    _check_tensors(q, k_cache, v_cache, tables, lens, buffers, sinks, out)
    if window is not None and window < 0:
        raise KernelError(f"window = {window}: must be a positive number of tokens, or None for all")
    if soft_cap is not None and not soft_cap > 0:
        raise KernelError(f"soft_cap = {soft_cap}: must be positive, or None")
    if check:
        _check_tables(k_cache, tables, lens, buffers)
    scale = q.shape[2] ** -0.5 if scale is None else scale
    out_scale = 1.0
    if isinstance(k_scale, Tensor):
        k_scale = _per_head("k_scale", k_scale, k_cache)
    elif k_scale is not None:
        scale, k_scale = scale * k_scale, None
    if isinstance(v_scale, Tensor):
        v_scale = _per_head("v_scale", v_scale, k_cache)
    elif v_scale is not None:
        out_scale, v_scale = float(v_scale), None
    if out is None:
        out = torch.empty_like(q, memory_format=torch.contiguous_format)
    lse = q.new_empty(q.shape[:2], dtype=torch.float32) if return_lse else None
    _op(
        q,
        k_cache,
        v_cache,
        tables,
        lens,
        buffers.counts,
        buffers.items,
        buffers.row_map,
        buffers.segments,
        buffers.row_levels,
        buffers.rows,
        k_scale,
        v_scale,
        sinks,
        out,
        lse,
        float(scale),
        out_scale,
        window or 0,
        soft_cap or 0.0,
        buffers.block_m,
        buffers.max_items,
        buffers.max_partials,
    )
    return out if lse is None else (out, lse)


@torch.library.custom_op("t2fast::prefix_decode", mutates_args=("out", "lse"))
def _op(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    tables: Tensor,
    lens: Tensor,
    counts: Tensor,
    items: Tensor,
    row_map: Tensor,
    segments: Tensor,
    row_levels: Tensor,
    rows: Tensor,
    k_scale: Tensor | None,
    v_scale: Tensor | None,
    sinks: Tensor | None,
    out: Tensor,
    lse: Tensor | None,
    scale: float,
    out_scale: float,
    window: int,
    soft_cap: float,
    block_m: int,
    max_items: int,
    max_partials: int,
) -> None:
    planned = (counts, items, row_map, segments, row_levels, rows)
    if runs_triton(q):
        with torch.cuda.device_of(q):
            _launch(
                q, k_cache, v_cache, tables, lens, *planned, k_scale, v_scale, sinks, out, lse,
                scale, out_scale, window, soft_cap, block_m, max_items, max_partials,
            )  # fmt: skip
        return
    result, sums = reference.prefix_decode(
        q, k_cache, v_cache, tables, lens, *planned, k_scale, v_scale, sinks, scale, out_scale, window, soft_cap
    )
    out.copy_(result)
    if lse is not None:
        lse.copy_(sums)


def _launch(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    tables: Tensor,
    lens: Tensor,
    counts: Tensor,
    items: Tensor,
    row_map: Tensor,
    segments: Tensor,
    row_levels: Tensor,
    rows: Tensor,
    k_scale: Tensor | None,
    v_scale: Tensor | None,
    sinks: Tensor | None,
    out: Tensor,
    lse: Tensor | None,
    scale: float,
    out_scale: float,
    window: int,
    soft_cap: float,
    block_m: int,
    max_items: int,
    max_partials: int,
) -> None:
    """The two kernels. Their grids depend on capacities alone, so that a captured graph holds for every plan."""
    from t2fast_kernels.triton import attention as kernels

    n_rows, n_q_heads, head_dim = q.shape
    _, page_size, n_kv_heads, _ = k_cache.shape
    group, block_d = n_q_heads // n_kv_heads, max(16, 1 << (head_dim - 1).bit_length())
    if n_rows == 0:
        return
    chip = chip_of(q.device)
    log2_e = 1.4426950408889634
    partial_o = q.new_empty((max_partials, n_q_heads, head_dim), dtype=torch.float32)
    partial_lse = q.new_empty((max_partials, n_q_heads), dtype=torch.float32)
    shared = {
        "tables_stride": tables.stride(0),
        "page_size": page_size,
        "k_stride_page": k_cache.stride(0),
        "k_stride_slot": k_cache.stride(1),
        "k_stride_head": k_cache.stride(2),
        "v_stride_page": v_cache.stride(0),
        "v_stride_slot": v_cache.stride(1),
        "v_stride_head": v_cache.stride(2),
        "k_scale": k_scale,
        "k_scale_stride": 0 if k_scale is None else k_scale.stride(0),
        "q_stride_row": q.stride(0),
        "q_stride_head": q.stride(1),
        "window": window,
        "scale": scale / soft_cap if soft_cap else scale * log2_e,
        "cap": soft_cap * log2_e,
        "N_Q_HEADS": n_q_heads,
        "GROUP": group,
        "HEAD_DIM": head_dim,
        "BLOCK_D": block_d,
        "PAGE": page_size if page_size & (page_size - 1) == 0 and page_size <= 1024 else 0,
        "WINDOW": window > 0,
        "SOFT_CAP": soft_cap > 0,
        "K_SCALE": k_scale is not None,
        # The interpreter's products of bfloat16 are wrong.
        "UPCAST": q.dtype == torch.bfloat16 and not q.is_cuda,
    }
    if max_items:
        launch = prefix_launch(chip, block_m, block_d, q.element_size())
        programs = min(max_items, max(1, PROGRAMS // n_kv_heads))
        kernels.prefix_kernel[(n_kv_heads, programs)](
            q, k_cache, v_cache, tables, lens, counts, items, row_map, rows,
            partial_o=partial_o, partial_lse=partial_lse, n_rows=n_rows,
            BLOCK_M=launch.block_m, BLOCK_N=launch.block_n, **launch.options,
            **shared,
        )  # fmt: skip
    launch = suffix_launch(chip, group, block_d, q.element_size())
    kernels.suffix_kernel[(n_kv_heads, n_rows)](
        q, k_cache, v_cache, tables, lens, segments, row_levels, rows,
        v_scale=v_scale, sinks=sinks, partial_o=partial_o, partial_lse=partial_lse, out=out, lse=lse,
        out_stride_row=out.stride(0), out_stride_head=out.stride(1),
        v_scale_stride=0 if v_scale is None else v_scale.stride(0), out_scale=out_scale,
        BLOCK_M=launch.block_m, BLOCK_N=launch.block_n, **launch.options,
        LEVELS=row_levels.shape[1], V_SCALE=v_scale is not None,
        SINKS=sinks is not None, LSE=lse is not None,
        **shared,
    )  # fmt: skip


@_op.register_fake
def _(*_arguments: object) -> None:
    return None


def _check_tensors(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    tables: Tensor,
    lens: Tensor,
    buffers: DecodeBuffers,
    sinks: Tensor | None,
    out: Tensor | None,
) -> None:
    """What can be seen without reading a tensor."""
    heads, dim = buffers.n_q_heads, buffers.head_dim
    if q.dim() != 3 or q.shape[1] != heads or q.shape[2] != dim or q.shape[0] > buffers.max_rows:
        raise KernelError(
            f"q: shape {tuple(q.shape)}; the buffers were made for [at most {buffers.max_rows}, {heads}, {dim}]"
        )
    if q.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise KernelError(f"q: dtype {q.dtype}; give float32, float16 or bfloat16")
    if q.dtype == torch.float32 and buffers.block_m == 128 and buffers.on_triton:
        raise KernelError(
            "q: float32 with block_m = 128; make DecodeBuffers with block_m=64, or give float16 or bfloat16"
        )
    for name, cache in (("k_cache", k_cache), ("v_cache", v_cache)):
        if cache.dim() != 4 or cache.shape[2] != buffers.n_kv_heads or cache.shape[3] != dim:
            raise KernelError(
                f"{name}: shape {tuple(cache.shape)}; give [n_pages, page_size, {buffers.n_kv_heads}, {dim}]"
            )
        if cache.dtype not in _CACHE_DTYPES or (cache.element_size() > 1 and cache.dtype != q.dtype):
            raise KernelError(f"{name}: dtype {cache.dtype}; give q's {q.dtype}, float8_e4m3fn or float8_e5m2")
    if k_cache.shape != v_cache.shape or k_cache.dtype != v_cache.dtype:
        raise KernelError(
            f"v_cache: {v_cache.dtype} {tuple(v_cache.shape)} differs from k_cache, "
            f"{k_cache.dtype} {tuple(k_cache.shape)}; make them alike"
        )
    for name, tensor, ndim in (("tables", tables, 2), ("lens", lens, 1)):
        if tensor.dtype != torch.int32 or tensor.dim() != ndim:
            raise KernelError(f"{name}: {tensor.dtype} of {tensor.dim()} dimensions; give int32 of {ndim}")
    if lens.shape[0] < q.shape[0]:
        raise KernelError(f"lens: {lens.shape[0]} entries for {q.shape[0]} rows of q")
    if sinks is not None and (sinks.dtype != torch.float32 or sinks.shape != (heads,)):
        raise KernelError(f"sinks: {sinks.dtype} {tuple(sinks.shape)}; give float32 ({heads},)")
    if out is not None and (out.shape != q.shape or out.dtype != q.dtype):
        raise KernelError(f"out: {out.dtype} {tuple(out.shape)}; give {q.dtype} {tuple(q.shape)} like q")
    given = {"q": q, "k_cache": k_cache, "v_cache": v_cache, "tables": tables, "lens": lens, "sinks": sinks, "out": out}
    for name, each in given.items():
        if each is None:
            continue
        if each.stride(-1) != 1 and each.shape[-1] > 1:
            raise KernelError(f"{name}: stride {each.stride(-1)} in the last dimension; call .contiguous() on it")
        if each.device.type != buffers.device.type:
            raise KernelError(f"{name} is on {each.device}, the buffers on {buffers.device}; put both on one device")


def _per_head(name: str, value: Tensor, k_cache: Tensor) -> Tensor:
    """A scale for each KV head, without a copy."""
    if value.dtype != torch.float32 or value.numel() not in (1, k_cache.shape[2]):
        raise KernelError(
            f"{name}: {value.dtype} {tuple(value.shape)}; give a number, or float32 with 1 or {k_cache.shape[2]} values"
        )
    return value.reshape(-1).expand(k_cache.shape[2])


def _check_tables(k_cache: Tensor, tables: Tensor, lens: Tensor, buffers: DecodeBuffers) -> None:
    """Every page that the plan and ``lens`` lead to exists."""
    n_pages, page = k_cache.shape[:2]
    entries, width = tables.cpu(), tables.shape[1]
    rows = buffers.rows[: lens.shape[0]].cpu()
    levels = set(buffers.row_levels[:, :, 3].flatten().tolist())
    runs = [("segments", index, *buffers.segments[index, :3].tolist()) for index in sorted(levels) if index >= 0]
    runs += [
        ("lens", row, table, begin, end)
        for row, ((table, begin, _, _), end) in enumerate(zip(rows.tolist(), lens[: len(rows)].tolist(), strict=True))
        if table >= 0
    ]
    for name, index, table, begin, end in runs:
        if table >= tables.shape[0]:
            raise KernelError(f"{name}[{index}]: table {table}, but tables has {tables.shape[0]} rows")
        if end < begin or math.ceil(end / page) > width:
            raise KernelError(
                f"{name}[{index}] = {end}: must lie between {begin} and {width * page}, the room in a row of tables"
            )
        ids = entries[table, begin // page : math.ceil(end / page)]
        if len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= n_pages):
            raise KernelError(
                f"tables[{table}]: page ids from {int(ids.min())} to {int(ids.max())}; the cache has 0 to {n_pages - 1}"
            )
