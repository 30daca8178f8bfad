"""The one exception that the operators raise for bad input, before anything is launched."""

from __future__ import annotations

__all__ = ["KernelError"]


class KernelError(ValueError):
    """An argument cannot be used; the message names it, the value met and the remedy.

    Examples
    --------
    >>> from t2fast_kernels import DecodeBuffers, KernelError
    >>> try:
    ...     DecodeBuffers(4, 8, 3, 64, max_segments=1)
    ... except KernelError as error:
    ...     print(error)
    n_q_heads = 8: must be a multiple of n_kv_heads = 3
    """
