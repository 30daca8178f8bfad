"""Root-mean-square normalisation, with the residual addition before it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from t2fast_kernels.backend import runs_triton
from t2fast_kernels.calls import NormCall, schema
from t2fast_kernels.errors import KernelError
from t2fast_kernels.launch import launch, overlapping
from t2fast_kernels.reference import rms_norm as reference

__all__ = ["rms_norm"]

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
#: The widest row: one program holds it in registers.
WIDEST = 1 << 14


def options(width: int) -> dict[str, Any]:
    """How rows of ``width`` are launched: as many warps as leave each thread a few dozen registers."""
    return {"num_warps": 4 if width <= 2048 else 8 if width <= 8192 else 16, "enable_fp_fusion": True}


def rms_norm(x: Tensor, weight: Tensor, eps: float, *, residual: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Add what a block keeps, normalise by the root mean square, and multiply by a weight: one launch.

    ``total = x + residual`` and ``y = weight * (total / sqrt(mean(total^2) + eps))`` (Zhang and Sennrich 2019), rounded
    as Hugging Face's Llama does it: the sum to the dtype, the quotient, computed in fp32, to the dtype; the product.

    Parameters
    ----------
    x
        ``[n_rows, width]``, float32, float16 or bfloat16, the last dimension contiguous, at most 16,384 wide.
    weight
        ``[width]`` of the same dtype.
    eps
        Added to the mean of squares.
    residual
        Like ``x``; None: nothing is added.

    Returns
    -------
    y
        Normalised, contiguous.
    total
        What was normalised: a new tensor, or ``x`` itself without a residual.

    Raises
    ------
    KernelError
        For shapes, types, strides and devices that don't agree; before anything is launched.

    Examples
    --------
    >>> import torch
    >>> from t2fast_kernels import rms_norm
    >>> y, total = rms_norm(torch.tensor([[1.0, 3.0]]), torch.ones(2), 0.0, residual=torch.tensor([[2.0, 1.0]]))
    >>> total.tolist(), (y * 12.5**0.5).round().tolist()  # sqrt((3^2 + 4^2) / 2)
    ([[3.0, 4.0]], [[3.0, 4.0]])
    """
    if x.dim() != 2 or x.dtype not in _FLOATS or x.stride(1) != 1 or not 0 < x.shape[1] <= WIDEST:
        raise KernelError(
            f"x: {x.dtype} {tuple(x.shape)}, strides {x.stride()}; "
            f"give float32, float16 or bfloat16 [n_rows, width at most {WIDEST}], the last contiguous"
        )
    if weight.dtype != x.dtype or weight.shape != x.shape[1:] or weight.stride(0) != 1:
        raise KernelError(f"weight: {weight.dtype} {tuple(weight.shape)}; give contiguous {x.dtype} ({x.shape[1]},)")
    if residual is not None and (residual.dtype != x.dtype or residual.shape != x.shape or residual.stride(1) != 1):
        raise KernelError(
            f"residual: {residual.dtype} {tuple(residual.shape)}, strides {residual.stride()}; "
            f"give x's {x.dtype} {tuple(x.shape)}, the last contiguous"
        )
    for name, other in (("weight", weight), ("residual", residual)):
        if other is not None and other.device != x.device:
            raise KernelError(f"{name}: on {other.device}, x on {x.device}; move it there")
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    total = None if residual is None else torch.empty_like(y)
    _op(*NormCall(x, residual, weight, y, total, eps))
    return y, x if total is None else total


_WRITES = ("y", "total")


@torch.library.custom_op("t2fast::rms_norm", mutates_args=_WRITES, schema=schema(NormCall, writes=_WRITES))
def _op(*arguments: Any) -> None:
    call = NormCall(*arguments)
    (_launch if runs_triton(call.x) else reference.rms_norm)(call)


def _launch(call: NormCall) -> None:
    import triton

    from t2fast_kernels.triton.rms_norm import rms_norm_kernel

    x, residual = call.x, call.residual
    rows, width = x.shape
    if rows:
        launch(
            rms_norm_kernel, (rows,), x,
            x, x.stride(0), residual, 0 if residual is None else residual.stride(0), call.weight, call.y, call.total,
            call.eps, WIDTH=width, BLOCK=triton.next_power_of_2(width), **options(width), **overlapping(x),
        )  # fmt: skip


@_op.register_fake
def _(*_arguments: object) -> None:
    return None
