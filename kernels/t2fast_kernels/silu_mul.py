"""The gate of a feed-forward block."""

from __future__ import annotations

import torch
from torch import Tensor

from t2fast_kernels.backend import runs_triton
from t2fast_kernels.errors import KernelError
from t2fast_kernels.launch import launch, overlapping
from t2fast_kernels.reference import silu_mul as reference

__all__ = ["silu_mul"]

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
#: Values per program, and how they are launched.
BLOCK = 1024
OPTIONS = {"num_warps": 4, "enable_fp_fusion": True}


def silu_mul(gate: Tensor, up: Tensor) -> Tensor:
    """``gate / (1 + exp(-gate)) * up`` in one launch (SwiGLU, Shazeer 2020); the gate is computed in fp32 and rounded.

    Parameters
    ----------
    gate, up
        ``[n_rows, width]``, float32, float16 or bfloat16, the last dimension contiguous.

    Returns
    -------
    Tensor
        Contiguous ``[n_rows, width]`` of the same dtype.

    Raises
    ------
    KernelError
        For shapes, types, strides and devices that don't agree; before anything is launched.

    Examples
    --------
    >>> import torch
    >>> from t2fast_kernels import silu_mul
    >>> [round(x, 4) for x in silu_mul(torch.tensor([[0.0, 1.0]]), torch.tensor([[5.0, 2.0]]))[0].tolist()]
    [0.0, 1.4621]
    """
    if gate.dim() != 2 or gate.dtype not in _FLOATS:
        raise KernelError(f"gate: {gate.dtype} {tuple(gate.shape)}; give float32, float16 or bfloat16 [n_rows, width]")
    if up.shape != gate.shape or up.dtype != gate.dtype:
        raise KernelError(f"up: {up.dtype} {tuple(up.shape)}; give gate's {gate.dtype} {tuple(gate.shape)}")
    if up.device != gate.device:
        raise KernelError(f"up: on {up.device}, gate on {gate.device}; move it there")
    for name, tensor in (("gate", gate), ("up", up)):
        if tensor.stride(1) != 1:
            raise KernelError(f"{name}: strides {tensor.stride()}; make the last dimension contiguous")
    out: Tensor = _op(gate, up)
    return out


@torch.library.custom_op("t2fast::silu_mul", mutates_args=())
def _op(gate: Tensor, up: Tensor) -> Tensor:
    return _launch(gate, up) if runs_triton(gate) else reference.silu_mul(gate, up)


def _launch(gate: Tensor, up: Tensor) -> Tensor:
    import triton

    from t2fast_kernels.triton.silu_mul import silu_mul_kernel

    rows, width = gate.shape
    out = gate.new_empty(gate.shape)
    if out.numel():
        launch(
            silu_mul_kernel, (rows, triton.cdiv(width, BLOCK)), out,
            gate, gate.stride(0), up, up.stride(0), out, WIDTH=width, BLOCK=BLOCK, **OPTIONS, **overlapping(out),
        )  # fmt: skip
    return out


@_op.register_fake
def _(gate: Tensor, up: Tensor) -> Tensor:
    del up
    return gate.new_empty(gate.shape)
