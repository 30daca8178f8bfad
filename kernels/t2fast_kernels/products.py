"""Several linear layers of the same few rows in one launch.

For few rows a product of a small model takes as long as its launch: what reads the same rows is better computed
together. The weights stay where they are, each by itself. Where a product fills the chip for longer, or rows are many,
the vendor's library is faster: ask :func:`suits` first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from t2fast_kernels.backend import runs_triton
from t2fast_kernels.errors import KernelError
from t2fast_kernels.launch import launch, overlapping
from t2fast_kernels.reference import products as reference

__all__ = ["gated_product", "products", "suits", "tile"]

_HALVES = (torch.float16, torch.bfloat16)
#: Most rows, and most programs of 64 rows and 64 columns: two for each multiprocessor of today's chips.
MOST_ROWS = 128
MOST_PROGRAMS = 264
#: Layers that a launch takes.
MOST_LAYERS = 3


def suits(x: Tensor, weights: Sequence[Tensor]) -> bool:
    """Whether these products, ``[n_rows, width]`` by ``[columns, width]`` each, are small enough to gain."""
    rows, columns = len(x), sum(len(weight) for weight in weights)
    programs = -(-rows // 64) * -(-columns // 64)
    return x.dtype in _HALVES and 0 < rows <= MOST_ROWS and programs <= MOST_PROGRAMS


def tile(rows: int, gated: bool, hip: bool) -> dict[str, Any]:
    """How a launch over so many rows is cut: enough programs for the chip, and enough loads under way in each."""
    block_m = min(64, max(16, 1 << (rows - 1).bit_length()))
    return {
        "BLOCK_M": block_m,
        "BLOCK_N": 64 if rows > 64 and not gated else 32,
        "BLOCK_K": 64 if block_m == 64 else 128,
        "num_warps": 4,
        "num_stages": 2 if hip else 6 if block_m == 64 else 5,
        "enable_fp_fusion": True,
    }


def products(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor] = ()) -> Tensor:
    """``x weight^T + bias`` for each of up to three layers, side by side.

    Parameters
    ----------
    x
        ``[n_rows, width]``, float16 or bfloat16, the last dimension contiguous.
    weights
        Contiguous ``[columns, width]`` of the same dtype.
    biases
        ``[columns]`` for each of the layers, or none.

    Returns
    -------
    Tensor
        ``[n_rows, sum of columns]``, each value rounded once from fp32.

    Raises
    ------
    KernelError
        For shapes, types, strides and devices that don't agree; before anything is launched.
    """
    _check(x, weights)
    if not 0 < len(weights) <= MOST_LAYERS or len(biases) not in (0, len(weights)):
        raise KernelError(f"weights, biases: {len(weights)} and {len(biases)}; give 1 to {MOST_LAYERS}, biases or none")
    for bias, weight in zip(biases, weights, strict=False):
        if bias.dtype != x.dtype or bias.shape != weight.shape[:1] or bias.device != x.device or bias.stride(0) != 1:
            raise KernelError(
                f"biases: {bias.dtype} {tuple(bias.shape)}; give {x.dtype} ({len(weight)},) on {x.device}"
            )
    out: Tensor = _products(x, list(weights), list(biases))
    return out


def gated_product(x: Tensor, gate: Tensor, up: Tensor) -> Tensor:
    """``silu_mul(x gate^T, x up^T)``: both products rounded before, as if they were written.

    Parameters
    ----------
    x
        ``[n_rows, width]``, float16 or bfloat16, the last dimension contiguous.
    gate, up
        Contiguous ``[columns, width]`` of the same dtype.

    Returns
    -------
    Tensor
        ``[n_rows, columns]``.

    Raises
    ------
    KernelError
        For shapes, types, strides and devices that don't agree; before anything is launched.
    """
    _check(x, (gate, up))
    if gate.shape != up.shape:
        raise KernelError(f"up: {tuple(up.shape)}; give gate's {tuple(gate.shape)}")
    out: Tensor = _gated(x, gate, up)
    return out


def _check(x: Tensor, weights: Sequence[Tensor]) -> None:
    if x.dim() != 2 or x.dtype not in _HALVES or x.stride(1) != 1:
        raise KernelError(
            f"x: {x.dtype} {tuple(x.shape)}, strides {x.stride()}; give float16 or bfloat16 [n_rows, width], "
            "the last contiguous"
        )
    for weight in weights:
        if weight.dtype != x.dtype or weight.dim() != 2 or weight.shape[1] != x.shape[1] or not weight.is_contiguous():
            raise KernelError(
                f"weights: {weight.dtype} {tuple(weight.shape)}; give contiguous {x.dtype} [columns, {x.shape[1]}]"
            )
        if weight.device != x.device:
            raise KernelError(f"weights: on {weight.device}, x on {x.device}; move them there")


@torch.library.custom_op("t2fast::products", mutates_args=())
def _products(x: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    return (_launch_products if runs_triton(x) else reference.products)(x, weights, biases)


def _launch_products(x: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    import triton

    from t2fast_kernels.triton.products import products_kernel

    rows, width = x.shape
    columns = [len(weight) for weight in weights] + [0] * (MOST_LAYERS - len(weights))
    out = x.new_empty(rows, sum(columns))
    if out.numel():
        how = tile(rows, False, torch.version.hip is not None)
        tiles = [triton.cdiv(one, how["BLOCK_N"]) for one in columns]
        # Layers that are not there have the type of those that are.
        absent = MOST_LAYERS - len(weights)
        pointers: list[Tensor | None] = [*weights, *weights[:1] * absent, *biases, *biases[:1] * absent]
        pointers += [None] * (2 * MOST_LAYERS - len(pointers))
        launch(
            products_kernel, (triton.cdiv(rows, how["BLOCK_M"]), sum(tiles)), x,
            x, x.stride(0), *pointers, out, rows,
            COLUMNS_0=columns[0], COLUMNS_1=columns[1], COLUMNS_2=columns[2],
            WIDTH=width, UPCAST=not x.is_cuda, **how, **overlapping(x),
        )  # fmt: skip
    return out


@_products.register_fake
def _(x: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    del biases
    return x.new_empty(len(x), sum(len(weight) for weight in weights))


@torch.library.custom_op("t2fast::gated_product", mutates_args=())
def _gated(x: Tensor, gate: Tensor, up: Tensor) -> Tensor:
    return (_launch_gated if runs_triton(x) else reference.gated_product)(x, gate, up)


def _launch_gated(x: Tensor, gate: Tensor, up: Tensor) -> Tensor:
    import triton

    from t2fast_kernels.triton.products import gated_kernel

    rows, width = x.shape
    out = x.new_empty(rows, len(gate))
    if out.numel():
        how = tile(rows, True, torch.version.hip is not None)
        grid = triton.cdiv(rows, how["BLOCK_M"]), triton.cdiv(len(gate), how["BLOCK_N"])
        sizes = {"COLUMNS": len(gate), "WIDTH": width, "UPCAST": not x.is_cuda, **overlapping(x)}
        launch(gated_kernel, grid, x, x, x.stride(0), gate, up, out, rows, **sizes, **how)
    return out


@_gated.register_fake
def _(x: Tensor, gate: Tensor, up: Tensor) -> Tensor:
    del up
    return x.new_empty(len(x), len(gate))
