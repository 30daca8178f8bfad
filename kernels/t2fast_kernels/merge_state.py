"""Merging attention over two parts of the keys into attention over both."""

from __future__ import annotations

import torch
from torch import Tensor

from t2fast_kernels.backend import runs_triton
from t2fast_kernels.errors import KernelError
from t2fast_kernels.launch import launch
from t2fast_kernels.reference import merge_state as reference

__all__ = ["merge_state"]

#: Heads per program, and how they are launched.
BLOCK_HEADS = 8
OPTIONS = {"num_warps": 4, "enable_fp_fusion": True}


def merge_state(v_a: Tensor, s_a: Tensor, v_b: Tensor, s_b: Tensor) -> tuple[Tensor, Tensor]:
    """Attention over the union of two disjoint parts of the keys, from the attention over each.

    ``s = log(exp(s_a) + exp(s_b))`` and ``v = (exp(s_a) v_a + exp(s_b) v_b) / exp(s)``, computed in fp32 (Milakov and
    Gimelshein 2018). A part with ``s = -inf`` is empty and its v is not looked at; two empty parts give v = 0 and
    s = -inf. Arguments and layout are those of FlashInfer's ``merge_state``, whose logarithms have base 2.

    Parameters
    ----------
    v_a, v_b
        ``[n_rows, n_heads, head_dim]``, float32, float16 or bfloat16, the last dimension contiguous.
    s_a, s_b
        float32 ``[n_rows, n_heads]``: natural logarithm of the sum of the exponentiated scores, as ``prefix_decode``
        returns it.

    Returns
    -------
    v
        Like ``v_a``.
    s
        float32 ``[n_rows, n_heads]``.

    Raises
    ------
    KernelError
        For shapes, types, strides and devices that don't agree; before anything is launched.

    Examples
    --------
    >>> import torch
    >>> from t2fast_kernels import merge_state
    >>> ones, sizes = torch.ones(1, 1, 4), torch.tensor([[3.0]]).log()  # three tokens, then one
    >>> v, s = merge_state(ones, sizes, 5 * ones, torch.zeros(1, 1))
    >>> v[0, 0].tolist(), round(float(s.exp()), 4)
    ([2.0, 2.0, 2.0, 2.0], 4.0)
    """
    if v_a.dim() != 3 or v_a.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise KernelError(
            f"v_a: {v_a.dtype} {tuple(v_a.shape)}; give float32, float16 or bfloat16 [n_rows, n_heads, head_dim]"
        )
    if v_b.shape != v_a.shape or v_b.dtype != v_a.dtype:
        raise KernelError(f"v_b: {v_b.dtype} {tuple(v_b.shape)}; give v_a's {v_a.dtype} {tuple(v_a.shape)}")
    for name, s in (("s_a", s_a), ("s_b", s_b)):
        if s.dtype != torch.float32 or s.shape != v_a.shape[:2]:
            raise KernelError(f"{name}: {s.dtype} {tuple(s.shape)}; give float32 {tuple(v_a.shape[:2])}")
    for name, other in (("v_a", v_a), ("s_a", s_a), ("v_b", v_b), ("s_b", s_b)):
        if other.device != v_a.device:
            raise KernelError(f"{name}: on {other.device}, v_a on {v_a.device}; move it there")
        if name.startswith("v") and other.stride(2) != 1:
            raise KernelError(f"{name}: strides {other.stride()}; make the last dimension contiguous")
    v, s = _op(v_a, s_a, v_b, s_b)
    return v, s


@torch.library.custom_op("t2fast::merge_state", mutates_args=())
def _op(v_a: Tensor, s_a: Tensor, v_b: Tensor, s_b: Tensor) -> tuple[Tensor, Tensor]:
    if not runs_triton(v_a):
        return reference.merge_state(v_a, s_a, v_b, s_b)
    return _launch(v_a, s_a, v_b, s_b)


def _launch(v_a: Tensor, s_a: Tensor, v_b: Tensor, s_b: Tensor) -> tuple[Tensor, Tensor]:
    import triton

    from t2fast_kernels.triton.merge_state import merge_kernel

    rows, heads, dim = v_a.shape
    v, s = v_a.new_empty(v_a.shape), s_a.new_empty(s_a.shape)
    if v.numel():
        launch(
            merge_kernel, (rows, triton.cdiv(heads, BLOCK_HEADS)), v,
            v_a, v_a.stride(0), v_a.stride(1), s_a.contiguous(),
            v_b, v_b.stride(0), v_b.stride(1), s_b.contiguous(), v, s,
            HEADS=heads, DIM=dim, BLOCK_HEADS=BLOCK_HEADS, BLOCK_DIM=triton.next_power_of_2(dim), **OPTIONS,
        )  # fmt: skip
    return v, s


@_op.register_fake
def _(v_a: Tensor, s_a: Tensor, v_b: Tensor, s_b: Tensor) -> tuple[Tensor, Tensor]:
    del v_b, s_b
    return v_a.new_empty(v_a.shape), s_a.new_empty(s_a.shape)
