"""Copying pages of a cache, in plain PyTorch."""

from __future__ import annotations

from torch import Tensor

__all__ = ["copy_pages"]


def copy_pages(k_cache: Tensor, v_cache: Tensor, source: Tensor, destination: Tensor) -> None:
    """See :func:`t2fast_kernels.copy_pages.copy_pages`."""
    copied = destination >= 0
    source, destination = source[copied].long(), destination[copied].long()
    for cache in (k_cache, v_cache):
        cache[destination] = cache[source]
