"""Decode attention over prefixes shared by many rows and suffixes of their own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from t2fast_kernels.backend import native, runs_triton
from t2fast_kernels.buffers import DecodeBuffers, Planned
from t2fast_kernels.calls import DecodeCall, schema
from t2fast_kernels.configs import chip_of, few_pieces, overlaps, prefix_launch, suffix_launch
from t2fast_kernels.errors import KernelError
from t2fast_kernels.launch import Repeat, repeated
from t2fast_kernels.reference import attention as reference

__all__ = ["prefix_decode"]

#: Programs of launch A over all KV heads. More work items than that are read in turns; fewer leave programs idle, at
#: about a nanosecond each.
PROGRAMS = 1024
#: Whether launch B may begin before launch A has ended, where the chip can do that. Results are the same.
OVERLAP = True
LOG2_E = 1.4426950408889634
#: Offsets up to here are computed in 32 bits.
INT32 = (1 << 31) - 1
_CACHE_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)


def prefix_decode(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_tables: Tensor,
    seq_lens: Tensor,
    buffers: DecodeBuffers,
    *,
    scale: float | None = None,
    window: int | None = None,
    logits_soft_cap: float | None = None,
    sinks: Tensor | None = None,
    k_scale: float | Tensor | None = None,
    v_scale: float | Tensor | None = None,
    return_lse: bool = False,
    out: Tensor | None = None,
    check: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attention of one query token per row over its shared prefixes and its own suffix, as planned in ``buffers``.

    ``softmax(scale q k) v``, the softmax running over everything a row reads: what is shared is read once for a tile of
    rows, and the parts are merged by their log-sum-exps (Juravsky et al. 2024, "Hydragen").

    Row r reads its prefix runs, then tokens ``row_begin[r]`` to ``seq_lens[r] - 1`` of its own row of
    ``block_tables``. Token t lies on page ``block_tables[row, t // page_size]`` in slot ``t % page_size``. The query
    stands at the position of the row's last token: nothing is masked but what ``window`` hides.

    Parameters
    ----------
    q
        ``[n_rows, n_q_heads, head_dim]``, float32, float16 or bfloat16; at least the planned rows and at most
        ``buffers.max_rows``. Rows that the plan doesn't hold, or holds as idle, give zeros.
    k_cache, v_cache
        ``[n_pages, page_size, n_kv_heads, head_dim]``, any strides with the last one 1; the dtype of ``q``, or
        float8_e4m3fn or float8_e5m2. A contiguous cache ``[n, length, n_kv_heads, head_dim]`` is one of n long pages.
    block_tables
        int32 ``[n_tables, max_pages]``, as in vLLM and SGLang; rows for prefixes and for suffixes alike.
    seq_lens
        int32 ``[n_rows]``, on the device: where each row's suffix ends, counted within its row of
        ``block_tables``.
    scale
        Factor of the scores; by default ``head_dim ** -0.5``.
    window
        Number of visible positions, the query's own included; None or 0: all.
    logits_soft_cap
        Scores become ``logits_soft_cap * tanh(score / logits_soft_cap)``.
    sinks
        float32 ``[n_q_heads]``: one score more per head in the softmax's denominator (Xiao et al. 2023), added once.
    k_scale, v_scale
        What stored keys and values are to be multiplied by: a number, or float32 with one value or one per KV head,
        those of keys not negative.
    return_lse
        Also return the natural logarithm of the sum of the exponentiated scores, the sink's included: float32
        ``[n_rows, n_q_heads]``, -inf for idle rows and where there is nothing to read.
    out
        Where to write the output; like ``q``.
    check
        Look for page ids and lengths out of range first. That waits for the device: for debugging.

    Returns
    -------
    out
        Like ``q``.
    lse
        Only if ``return_lse``.

    Raises
    ------
    KernelError
        Arguments that don't agree with each other or with ``buffers``; before anything is launched.

    Examples
    --------
    Two samples of a prompt of 20 tokens on pages 0 and 1; their own tokens are on pages 2 and 3:

    >>> import torch
    >>> from t2fast_kernels import DecodeBuffers, plan, prefix_decode
    >>> k_cache, v_cache = torch.ones(2, 4, 16, 1, 8)  # [n_pages, page_size, n_kv_heads, head_dim]
    >>> block_tables = torch.tensor([[0, 1], [2, 0], [3, 0]], dtype=torch.int32)
    >>> buffers = DecodeBuffers(2, 1, 1, 8, max_segments=1)
    >>> made = plan(buffers, segments=[[0, 0, 20, 0]], row_segments=[[0], [0]], row_table=[1, 2], row_position=20)
    >>> seq_lens = torch.tensor([1, 5], dtype=torch.int32)
    >>> out, lse = prefix_decode(
    ...     torch.zeros(2, 1, 8), k_cache, v_cache, block_tables, seq_lens, buffers, return_lse=True
    ... )
    >>> lse.exp().round().tolist()  # scores of 0, one for each token read
    [[21.0], [25.0]]
    """
    if window is not None and window < 0:
        raise KernelError(f"window = {window}: must be a positive number of tokens, or None for all")
    if logits_soft_cap is not None and not logits_soft_cap > 0:
        raise KernelError(f"logits_soft_cap = {logits_soft_cap}: must be positive, or None")
    factor, out_scale = q.shape[-1] ** -0.5 if scale is None else scale, 1.0
    if k_scale is not None and not isinstance(k_scale, Tensor):
        factor, k_scale = factor * k_scale, None
    if v_scale is not None and not isinstance(v_scale, Tensor):
        out_scale, v_scale = float(v_scale), None
    call = DecodeCall(
        q=q,
        k_cache=k_cache,
        v_cache=v_cache,
        block_tables=block_tables,
        seq_lens=seq_lens,
        planned=buffers.planned,
        k_scale=k_scale,
        v_scale=v_scale,
        sinks=sinks,
        out=torch.empty_like(q, memory_format=torch.contiguous_format) if out is None else out,
        lse=q.new_empty(q.shape[:2], dtype=torch.float32) if return_lse else None,
        scale=float(factor),
        out_scale=out_scale,
        window=window or 0,
        logits_soft_cap=logits_soft_cap or 0.0,
        block_m=buffers.block_m,
        partials=buffers.partials,
    )
    _check_tensors(call, buffers)
    if check:
        _check_contents(call, buffers)
    compiled = native(q)
    if compiled is None or not compiled.prefix_decode(call):
        _op(*call)
    return call.out if call.lse is None else (call.out, call.lse)


_WRITES = ("out", "lse", "partials")


@torch.library.custom_op("t2fast::prefix_decode", mutates_args=_WRITES, schema=schema(DecodeCall, writes=_WRITES))
def _op(*arguments: Any) -> None:
    call = DecodeCall(*arguments)
    if runs_triton(call.q):
        _launch(call)
        return
    result, sums = reference.prefix_decode(call)
    call.out.copy_(result)
    if call.lse is not None:
        call.lse.copy_(sums)


#: Launches that are remembered: one for each layout of the tensors, and each size of batch.
MOST_BOUND = 4096
#: What a launch was made from, and how to repeat it on other tensors like those.
_bound: dict[tuple[Any, ...], list[Repeat]] = {}


def _launch(call: DecodeCall) -> None:
    """The two kernels. Their grids depend on capacities alone, so that a captured graph holds for every plan."""
    q = call.q
    if not len(q):
        return
    # Everything that the launches depend on but for the addresses; of those, whether they are multiples of 16.
    pointers = (
        q,
        call.k_cache,
        call.v_cache,
        call.out,
        call.lse,
        call.k_scale,
        call.v_scale,
        call.sinks,
        *call.partials,
    )
    planned = Planned(*call.planned)
    key = (
        q.device, q.dtype, q.shape, q.stride(), call.k_cache.dtype, call.k_cache.shape, call.k_cache.stride(),
        call.v_cache.stride(), call.block_tables.stride(0), call.out.stride(), len(planned.items),
        planned.row_levels.shape, call.block_m, call.scale, call.out_scale, call.window, call.logits_soft_cap,
        _stride(call.k_scale), _stride(call.v_scale), OVERLAP, INT32,
        *[None if t is None else t.data_ptr() & 15 for t in pointers],
    )  # fmt: skip
    bound = _bound.get(key)
    if bound is None:
        bound = [repeat for repeat in _first_launch(call) if repeat is not None]
        if bound:
            if len(_bound) >= MOST_BOUND:
                _bound.clear()
            _bound[key] = bound
        return
    tensors = call._asdict() | planned._asdict()
    tensors["partial_o"], tensors["partial_lse"] = call.partials
    for repeat in bound:
        repeat(q, tensors)


def _first_launch(call: DecodeCall) -> Iterator[Repeat | None]:
    """Compile where necessary, and launch."""
    from t2fast_kernels.triton import attention as kernels

    q, k_cache, v_cache, out = call.q, call.k_cache, call.v_cache, call.out
    planned = Planned(*call.planned)
    n_rows, n_q_heads, head_dim = q.shape
    _, page_size, n_kv_heads, _ = k_cache.shape
    group, block_d = n_q_heads // n_kv_heads, max(16, 1 << (head_dim - 1).bit_length())
    chip = chip_of(q.device)
    partial_o, partial_lse = call.partials
    cap = call.logits_soft_cap
    # Without launch A there is no telling what the launch before wrote, and when.
    overlap = OVERLAP and len(planned.items) > 0 and overlaps(chip)
    shared: dict[str, Any] = {
        "tables_stride": call.block_tables.stride(0),
        "page_size": page_size,
        "k_stride_page": k_cache.stride(0),
        "k_stride_slot": k_cache.stride(1),
        "k_stride_head": k_cache.stride(2),
        "v_stride_page": v_cache.stride(0),
        "v_stride_slot": v_cache.stride(1),
        "v_stride_head": v_cache.stride(2),
        "k_scale": call.k_scale,
        "k_scale_stride": _stride(call.k_scale),
        "q_stride_row": q.stride(0),
        "q_stride_head": q.stride(1),
        "window": call.window,
        "scale": call.scale / cap if cap else call.scale * LOG2_E,
        "cap": cap * LOG2_E,
        "N_Q_HEADS": n_q_heads,
        "GROUP": group,
        "HEAD_DIM": head_dim,
        "BLOCK_D": block_d,
        "PAGE": page_size if page_size & (page_size - 1) == 0 and page_size <= 1024 else 0,
        "WINDOW": call.window > 0,
        "SOFT_CAP": cap > 0,
        "K_SCALE": call.k_scale is not None,
        # The interpreter's products of bfloat16 are wrong.
        "UPCAST": q.dtype == torch.bfloat16 and not q.is_cuda,
        "LONG": _reach(k_cache) > INT32 or _reach(v_cache) > INT32,
        "SAME": k_cache.stride() == v_cache.stride(),
        "POSITIVE": call.scale > 0,
        # Launch B begins with its own tokens while launch A is at work, and waits for it only then.
        "OVERLAP": overlap,
    }
    shared |= {"q": q, "k_cache": k_cache, "v_cache": v_cache, "block_tables": call.block_tables}
    shared |= {"seq_lens": call.seq_lens, "rows": planned.rows, "partial_o": partial_o, "partial_lse": partial_lse}
    if n_items := len(planned.items):
        tile = prefix_launch(chip, call.block_m, block_d, q.element_size(), k_cache.element_size())
        programs = min(n_items, max(1, PROGRAMS // n_kv_heads))
        own = {"counts": planned.counts, "items": planned.items, "row_map": planned.row_map, "n_rows": n_rows}
        own |= {"BLOCK_M": tile.block_m, "BLOCK_N": tile.block_n, "FAST": tile.fast}
        yield repeated(kernels.prefix_kernel, (n_kv_heads, programs), q, shared | own, tile.options)
    tile = suffix_launch(chip, group, block_d, q.element_size(), k_cache.element_size())
    own = {
        "segments": planned.segments,
        "row_levels": planned.row_levels,
        "v_scale": call.v_scale,
        "sinks": call.sinks,
        "out": out,
        "lse": call.lse,
        "out_stride_row": out.stride(0),
        "out_stride_head": out.stride(1),
        "v_scale_stride": _stride(call.v_scale),
        "out_scale": call.out_scale,
        "BLOCK_M": tile.block_m,
        "BLOCK_N": tile.block_n,
        "FAST": tile.fast,
        "LEVELS": planned.row_levels.shape[1],
        **few_pieces(group, block_d),
        "V_SCALE": call.v_scale is not None,
        "SINKS": call.sinks is not None,
        "LSE": call.lse is not None,
    }
    options = tile.options | ({"launch_pdl": True} if overlap else {})
    yield repeated(kernels.suffix_kernel, (n_kv_heads, n_rows), q, shared | own, options)


def _reach(cache: Tensor) -> int:
    """The largest offset of a token from its head's first."""
    return (cache.shape[0] - 1) * cache.stride(0) + (cache.shape[1] - 1) * cache.stride(1) + cache.shape[3]


def _stride(scale: Tensor | None) -> int:
    """From one KV head's scale to the next: 0 where one serves all."""
    return 0 if scale is None or scale.numel() == 1 else 1


@_op.register_fake
def _(*_arguments: object) -> None:
    return None


def _check_tensors(call: DecodeCall, buffers: DecodeBuffers) -> None:
    """What can be seen without reading a tensor."""
    q, k_cache, v_cache = call.q, call.k_cache, call.v_cache
    heads, kv_heads, dim = buffers.n_q_heads, buffers.n_kv_heads, buffers.head_dim
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
        if cache.dim() != 4 or cache.shape[2] != kv_heads or cache.shape[3] != dim:
            raise KernelError(f"{name}: shape {tuple(cache.shape)}; give [n_pages, page_size, {kv_heads}, {dim}]")
        if cache.dtype not in _CACHE_DTYPES or (cache.element_size() > 1 and cache.dtype != q.dtype):
            raise KernelError(f"{name}: dtype {cache.dtype}; give q's {q.dtype}, float8_e4m3fn or float8_e5m2")
    if k_cache.shape != v_cache.shape or k_cache.dtype != v_cache.dtype:
        raise KernelError(
            f"v_cache: {v_cache.dtype} {tuple(v_cache.shape)} differs from k_cache, "
            f"{k_cache.dtype} {tuple(k_cache.shape)}; make them alike"
        )
    for name, tensor, ndim in (("block_tables", call.block_tables, 2), ("seq_lens", call.seq_lens, 1)):
        if tensor.dtype != torch.int32 or tensor.dim() != ndim:
            raise KernelError(f"{name}: {tensor.dtype} of {tensor.dim()} dimensions; give int32 of {ndim}")
    if call.seq_lens.shape[0] < q.shape[0]:
        raise KernelError(f"seq_lens: {call.seq_lens.shape[0]} entries for {q.shape[0]} rows of q")
    if call.sinks is not None and (call.sinks.dtype != torch.float32 or call.sinks.shape != (heads,)):
        raise KernelError(f"sinks: {call.sinks.dtype} {tuple(call.sinks.shape)}; give float32 ({heads},)")
    for name, scale in (("k_scale", call.k_scale), ("v_scale", call.v_scale)):
        if scale is not None and (scale.dtype != torch.float32 or scale.numel() not in (1, kv_heads)):
            raise KernelError(
                f"{name}: {scale.dtype} {tuple(scale.shape)}; give a number, or float32 with 1 or {kv_heads} values"
            )
    if call.out.shape != q.shape or call.out.dtype != q.dtype:
        raise KernelError(f"out: {call.out.dtype} {tuple(call.out.shape)}; give {q.dtype} {tuple(q.shape)} like q")
    for name in ("q", "k_cache", "v_cache", "block_tables", "seq_lens", "sinks", "k_scale", "v_scale", "out"):
        each: Tensor | None = getattr(call, name)
        if each is None:
            continue
        if each.dim() and each.stride(-1) != 1 and each.shape[-1] > 1:
            raise KernelError(f"{name}: stride {each.stride(-1)} in the last dimension; call .contiguous() on it")
        if each.device != buffers.device:
            raise KernelError(f"{name} is on {each.device}, the buffers on {buffers.device}; put both on one device")


def _check_contents(call: DecodeCall, buffers: DecodeBuffers) -> None:
    """Every page that the plan and ``seq_lens`` lead to exists."""
    planned, block_tables = buffers.planned, call.block_tables
    n_pages, page = call.k_cache.shape[:2]
    entries, width = block_tables.cpu(), block_tables.shape[1]
    rows = planned.rows[: call.seq_lens.shape[0]].cpu()
    ends = call.seq_lens[: len(rows)].tolist()
    used = set(planned.row_levels[:, :, 3].flatten().tolist())
    runs = [("segments", index, *planned.segments[index, :3].tolist()) for index in sorted(used) if index >= 0]
    runs += [
        ("seq_lens", row, table, begin, end)
        for row, ((table, begin, _, _), end) in enumerate(zip(rows.tolist(), ends, strict=True))
        if table >= 0
    ]
    for name, index, table, begin, end in runs:
        if table >= block_tables.shape[0]:
            raise KernelError(f"{name}[{index}]: table {table}, but block_tables has {block_tables.shape[0]} rows")
        if end < begin or math.ceil(end / page) > width:
            raise KernelError(
                f"{name}[{index}] = {end}: must lie between {begin} and {width * page}, "
                "the room in a row of block_tables"
            )
        ids = entries[table, begin // page : math.ceil(end / page)]
        if len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= n_pages):
            raise KernelError(
                f"block_tables[{table}]: page ids from {int(ids.min())} to {int(ids.max())}; "
                f"the cache has 0 to {n_pages - 1}"
            )
