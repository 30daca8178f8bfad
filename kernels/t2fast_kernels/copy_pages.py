"""Copying pages of a paged cache, as when a partly filled page is forked for several samples."""

from __future__ import annotations

import torch
from torch import Tensor

from t2fast_kernels.backend import runs_triton
from t2fast_kernels.errors import KernelError
from t2fast_kernels.launch import launch
from t2fast_kernels.reference import copy_pages as reference

__all__ = ["copy_pages"]

#: Elements per program, and how they are launched.
BLOCK = 4096
OPTIONS = {"num_warps": 8, "enable_fp_fusion": True}


def copy_pages(k_cache: Tensor, v_cache: Tensor, source: Tensor, destination: Tensor) -> None:
    """Copy page ``source[i]`` of both caches to page ``destination[i]``, for every i at once.

    No page may be a destination twice, nor source and destination in one call: the copies have no order.

    Parameters
    ----------
    k_cache, v_cache
        ``[n_pages, page_size, n_kv_heads, head_dim]`` of one dtype, any strides with the last one 1.
    source, destination
        int32 ``[n_copies]``, on the device: page ids; ``destination < 0`` skips a copy.

    Raises
    ------
    KernelError
        For shapes, types, strides and devices that don't agree; before anything is launched.

    Examples
    --------
    >>> import torch
    >>> from t2fast_kernels import copy_pages
    >>> k_cache, v_cache = torch.arange(4.0).expand(2, 16, 1, 8, 4).permute(0, 4, 1, 2, 3).clone()
    >>> copy_pages(k_cache, v_cache, torch.tensor([3], dtype=torch.int32), torch.tensor([0], dtype=torch.int32))
    >>> k_cache[:, 0, 0, 0].tolist()
    [3.0, 1.0, 2.0, 3.0]
    """
    for name, cache in (("k_cache", k_cache), ("v_cache", v_cache)):
        if cache.dim() != 4 or cache.stride(3) != 1:
            raise KernelError(
                f"{name}: shape {tuple(cache.shape)}, strides {cache.stride()}; "
                "give [n_pages, page_size, n_kv_heads, head_dim], the last contiguous"
            )
    if k_cache.shape != v_cache.shape or k_cache.dtype != v_cache.dtype:
        raise KernelError(
            f"v_cache: {v_cache.dtype} {tuple(v_cache.shape)} differs from "
            f"k_cache: {k_cache.dtype} {tuple(k_cache.shape)}"
        )
    for name, ids in (("source", source), ("destination", destination)):
        if ids.dtype != torch.int32 or ids.dim() != 1 or ids.shape != source.shape or (len(ids) and ids.stride(0) != 1):
            raise KernelError(
                f"{name}: {ids.dtype} {tuple(ids.shape)}; give contiguous int32 [n_copies], as many of each"
            )
    for name, other in (("v_cache", v_cache), ("source", source), ("destination", destination)):
        if other.device != k_cache.device:
            raise KernelError(f"{name}: on {other.device}, k_cache on {k_cache.device}; move it there")
    _op(k_cache, v_cache, source, destination)


@torch.library.custom_op("t2fast::copy_pages", mutates_args=("k_cache", "v_cache"))
def _op(k_cache: Tensor, v_cache: Tensor, source: Tensor, destination: Tensor) -> None:
    if not runs_triton(k_cache):
        reference.copy_pages(k_cache, v_cache, source, destination)
        return
    _launch(k_cache, v_cache, source, destination)


def _launch(k_cache: Tensor, v_cache: Tensor, source: Tensor, destination: Tensor) -> None:
    import triton

    from t2fast_kernels.triton.copy_pages import copy_kernel

    _, page_size, heads, dim = k_cache.shape
    if len(source) == 0:
        return
    # Bytes are copied as they are, whatever they mean.
    k, v = (cache.view(torch.uint8) if cache.element_size() == 1 else cache for cache in (k_cache, v_cache))
    blocks = triton.cdiv(page_size * heads * dim, BLOCK)
    launch(
        copy_kernel, (len(source) * blocks,), k,
        k, *k.stride()[:3], v, *v.stride()[:3], source, destination, page_size, blocks,
        HEADS=heads, DIM=dim, BLOCK=BLOCK, **OPTIONS,
    )  # fmt: skip


@_op.register_fake
def _(*_arguments: object) -> None:
    return None
