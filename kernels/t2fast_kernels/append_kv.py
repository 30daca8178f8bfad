"""Writing new keys and values into a paged cache, the heads' norms and rotary embedding included."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from t2fast_kernels.backend import native, runs_triton
from t2fast_kernels.calls import AppendCall, schema
from t2fast_kernels.errors import KernelError
from t2fast_kernels.launch import launch, overlapping
from t2fast_kernels.reference import append_kv as reference

__all__ = ["append_kv"]

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)
#: Heads per program, and how they are launched.
BLOCK_HEADS = 8
OPTIONS = {"num_warps": 4, "enable_fp_fusion": True}


def append_kv(
    k: Tensor,
    v: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_tables: Tensor,
    row_table: Tensor,
    index: Tensor,
    *,
    positions: Tensor | None = None,
    cos: Tensor | None = None,
    sin: Tensor | None = None,
    k_scale: float | Tensor | None = None,
    v_scale: float | Tensor | None = None,
    q: Tensor | None = None,
    q_norm: Tensor | None = None,
    k_norm: Tensor | None = None,
    eps: float = 1e-6,
) -> Tensor | None:
    """Write the keys and values of new tokens into their pages, after norms and rotary embedding if they are given.

    Token i goes to page ``block_tables[row_table[i], index[i] // page_size]``, slot ``index[i] % page_size``. Two
    tokens for one slot leave either of them there.

    Parameters
    ----------
    k, v
        ``[n_tokens, n_kv_heads, head_dim]``, float32, float16 or bfloat16; any strides with the last one 1.
    k_cache, v_cache
        ``[n_pages, page_size, n_kv_heads, head_dim]``, any strides with the last one 1; the dtype of ``k``, or
        float8_e4m3fn or float8_e5m2, to which values saturate.
    block_tables
        int32 ``[n_tables, max_pages]``: page ids.
    row_table, index
        int32 ``[n_tokens]``, on the device; ``index < 0`` skips a token.
    positions
        int32 or int64 ``[n_tokens]``: rows of ``cos`` and ``sin``. None: each token has its own, in order.
    cos, sin
        ``[n_positions, rotary_dim / 2]``, float32 or the dtype of ``k``, any row stride: dimension i turns together
        with i + rotary_dim / 2, as in Llama; the dimensions beyond ``rotary_dim`` stay. Hugging Face repeats each value
        for both halves: pass the first.
    k_scale, v_scale
        What stored keys and values are to be multiplied by when read, as in ``prefix_decode``: a number, or float32
        with one value or one per KV head. They are divided by it here.
    q
        ``[n_tokens, n_q_heads, head_dim]``: queries to normalise and rotate in the same launch.
    q_norm, k_norm
        ``[head_dim]`` of the dtype of ``k``: weights of a norm of each head before rotary embedding, as in Qwen 3 and
        rounded as in ``rms_norm``.
    eps
        Of these norms.

    Returns
    -------
    Tensor or None
        The rotated queries, if ``q`` was given; those of skipped tokens are turned as at position 0 where positions are
        given.

    Raises
    ------
    KernelError
        For shapes, types, strides and devices that don't agree; before anything is launched.

    Examples
    --------
    >>> import torch
    >>> from t2fast_kernels import append_kv
    >>> k_cache, v_cache = torch.zeros(2, 4, 16, 1, 8)  # [n_pages, page_size, n_kv_heads, head_dim]
    >>> block_tables = torch.tensor([[3, 1]], dtype=torch.int32)
    >>> row_table, index = torch.tensor([[0], [17]], dtype=torch.int32)  # token 17 of table 0: page 1, slot 1
    >>> append_kv(torch.ones(1, 1, 8), torch.ones(1, 1, 8), k_cache, v_cache, block_tables, row_table, index)
    >>> (k_cache.sum((2, 3)) > 0).nonzero().tolist()
    [[1, 1]]
    """
    for name, tensor, ndim in (("k", k, 3), ("v", v, 3), ("k_cache", k_cache, 4), ("v_cache", v_cache, 4)):
        if tensor.dim() != ndim or tensor.stride(-1) != 1:
            raise KernelError(
                f"{name}: shape {tuple(tensor.shape)}, strides {tensor.stride()}; "
                f"give {ndim} dimensions, the last contiguous"
            )
        if tensor.dtype not in _FLOATS and not (ndim == 4 and tensor.dtype in _FP8):
            raise KernelError(f"{name}: dtype {tensor.dtype}; give float32, float16 or bfloat16, in caches also float8")
        if ndim == 4 and tensor.shape[2:] != k.shape[1:]:
            raise KernelError(f"{name}: heads and dimension {tuple(tensor.shape[2:])}; give k's {tuple(k.shape[1:])}")
    if k.shape != v.shape or k.dtype != v.dtype:
        raise KernelError(f"v: {v.dtype} {tuple(v.shape)} differs from k: {k.dtype} {tuple(k.shape)}; give it like k")
    if k_cache.shape != v_cache.shape or k_cache.dtype != v_cache.dtype:
        raise KernelError(
            f"v_cache: {v_cache.dtype} {tuple(v_cache.shape)} differs from "
            f"k_cache: {k_cache.dtype} {tuple(k_cache.shape)}"
        )
    if k_cache.dtype not in _FP8 and k_cache.dtype != k.dtype:
        raise KernelError(f"k_cache: dtype {k_cache.dtype}; give k's {k.dtype}, float8_e4m3fn or float8_e5m2")
    n_tokens = k.shape[0]
    if block_tables.dtype != torch.int32 or block_tables.dim() != 2 or block_tables.stride(1) != 1:
        raise KernelError(
            f"block_tables: {block_tables.dtype} {tuple(block_tables.shape)}; "
            "give int32 [n_tables, max_pages], rows contiguous"
        )
    for name, tensor in (("row_table", row_table), ("index", index)):
        if tensor.dtype != torch.int32 or tensor.shape != (n_tokens,) or tensor.stride(0) != 1:
            raise KernelError(f"{name}: {tensor.dtype} {tuple(tensor.shape)}; give contiguous int32 [{n_tokens}]")
    if (cos is None) != (sin is None) or (positions is not None and cos is None):
        raise KernelError("positions, cos and sin: only some are given; rotary embedding needs cos and sin")
    if positions is not None and (
        positions.dtype not in (torch.int32, torch.int64) or positions.shape != (n_tokens,) or positions.stride(0) != 1
    ):
        raise KernelError(
            f"positions: {positions.dtype} {tuple(positions.shape)}; give contiguous int32 or int64 [{n_tokens}]"
        )
    if cos is not None and sin is not None:
        for name, tensor in (("cos", cos), ("sin", sin)):
            if tensor.dtype not in (torch.float32, k.dtype) or tensor.dim() != 2 or 2 * tensor.shape[1] > k.shape[2]:
                raise KernelError(
                    f"{name}: {tensor.dtype} {tuple(tensor.shape)}; give float32 or {k.dtype} "
                    f"[n_positions, rotary_dim / 2] with rotary_dim at most {k.shape[2]}"
                )
        alike = cos.shape == sin.shape and cos.dtype == sin.dtype and cos.stride(0) == sin.stride(0)
        if not alike or not cos.stride(1) == sin.stride(1) == 1:
            raise KernelError(
                f"sin: {sin.dtype} {tuple(sin.shape)}, strides {sin.stride()}; "
                f"give both like cos, {cos.dtype} {tuple(cos.shape)}, strides {cos.stride()}, rows contiguous"
            )
        if positions is None and len(cos) != n_tokens:
            raise KernelError(f"cos: {len(cos)} rows for {n_tokens} tokens; give positions, or one row for each token")
    for name, weight in (("q_norm", q_norm), ("k_norm", k_norm)):
        if weight is not None and (weight.dtype != k.dtype or weight.shape != k.shape[2:] or weight.stride(0) != 1):
            raise KernelError(
                f"{name}: {weight.dtype} {tuple(weight.shape)}; give contiguous {k.dtype} ({k.shape[2]},)"
            )
    if q is None and q_norm is not None:
        raise KernelError("q_norm: there is no q; give it, or leave q_norm out")
    if q is not None:
        if cos is None and q_norm is None:
            raise KernelError("q: nothing to do without cos and sin or q_norm; give them")
        if q.dim() != 3 or q.shape[0] != n_tokens or q.shape[2] != k.shape[2] or q.dtype != k.dtype or q.stride(2) != 1:
            raise KernelError(
                f"q: {q.dtype} {tuple(q.shape)}; "
                f"give {k.dtype} [{n_tokens}, n_q_heads, {k.shape[2]}], the last contiguous"
            )
    for name, other in (
        ("v", v), ("k_cache", k_cache), ("v_cache", v_cache), ("block_tables", block_tables), ("row_table", row_table),
        ("index", index), ("positions", positions), ("cos", cos), ("sin", sin), ("q", q),
        ("q_norm", q_norm), ("k_norm", k_norm),
    ):  # fmt: skip
        if other is not None and other.device != k.device:
            raise KernelError(f"{name}: on {other.device}, k on {k.device}; move it there")
    q_out = None if q is None else torch.empty_like(q, memory_format=torch.contiguous_format)
    scales = _scale("k_scale", k_scale, k), _scale("v_scale", v_scale, k)
    call = AppendCall(
        k, v, k_cache, v_cache, block_tables, row_table, index, positions, cos, sin, *scales, q, q_out,
        q_norm=q_norm, k_norm=k_norm, eps=eps,
    )  # fmt: skip
    compiled = native(k)
    if compiled is None or not compiled.append_kv(call):
        _op(*call)
    return q_out


def _scale(name: str, scale: float | Tensor | None, k: Tensor) -> Tensor | None:
    """A scale as float32 with one value or one per KV head."""
    if scale is None:
        return None
    if not isinstance(scale, Tensor):
        if not 0 < scale < float("inf"):
            raise KernelError(f"{name} = {scale}: must be positive and finite")
        return torch.full((1,), scale, device=k.device)
    if scale.dtype != torch.float32 or scale.numel() not in (1, k.shape[1]) or scale.device != k.device:
        raise KernelError(
            f"{name}: {scale.dtype} {tuple(scale.shape)} on {scale.device}; "
            f"give a number, or float32 with 1 or {k.shape[1]} values on {k.device}"
        )
    return scale.reshape(-1).contiguous()


_WRITES = ("k_cache", "v_cache", "q_out")


@torch.library.custom_op("t2fast::append_kv", mutates_args=_WRITES, schema=schema(AppendCall, writes=_WRITES))
def _op(*arguments: Any) -> None:
    call = AppendCall(*arguments)
    (_launch if runs_triton(call.k) else reference.append_kv)(call)


def _launch(call: AppendCall) -> None:
    import triton

    from t2fast_kernels.triton.append_kv import append_kernel

    k, v, k_cache, v_cache, q = call.k, call.v, call.k_cache, call.v_cache, call.q
    n_tokens, kv_heads, dim = k.shape
    q_heads = 0 if q is None else q.shape[1]
    if n_tokens == 0:
        return
    half = 0 if call.cos is None else call.cos.shape[1]
    largest = torch.finfo(k_cache.dtype).max if k_cache.dtype in _FP8 else 0.0
    grid = (n_tokens, triton.cdiv(kv_heads, BLOCK_HEADS) + triton.cdiv(q_heads, BLOCK_HEADS))
    launch(
        append_kernel, grid, k,
        k, k.stride(0), k.stride(1), v, v.stride(0), v.stride(1),
        k_cache, *k_cache.stride()[:3], v_cache, *v_cache.stride()[:3], k_cache.shape[1],
        call.block_tables, call.block_tables.stride(0), call.row_table, call.token_index,
        call.positions, call.cos, call.sin, 0 if call.cos is None else call.cos.stride(0), call.k_scale, call.v_scale,
        q, 0 if q is None else q.stride(0), 0 if q is None else q.stride(1), call.q_out,
        call.q_norm, call.k_norm, call.eps,
        KV_HEADS=kv_heads, Q_HEADS=q_heads,
        PER_HEAD_K=call.k_scale is not None and call.k_scale.numel() > 1,
        PER_HEAD_V=call.v_scale is not None and call.v_scale.numel() > 1,
        LARGEST=largest, DIM=dim, HALF=half, BLOCK_HEADS=BLOCK_HEADS,
        BLOCK_HALF=triton.next_power_of_2(max(half, 1)), BLOCK_DIM=triton.next_power_of_2(dim),
        **OPTIONS, **overlapping(k),
    )  # fmt: skip


@_op.register_fake
def _(*_arguments: object) -> None:
    return None
