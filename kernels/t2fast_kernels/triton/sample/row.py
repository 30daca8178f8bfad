"""A row's settings, and its sum."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def setting(value, row):
    """A setting is a number, or a pointer to one per row."""
    value = tl.core.to_tensor(value)  # absent from tl itself before Triton 3.7
    if value.dtype.is_ptr():  # noqa: SIM108  # a choice for the compiler: only one side makes sense
        number = tl.load(value + row).to(tl.float32)
    else:
        number = value.to(tl.float32)
    return number


@triton.jit
def factor(temperature):
    """What logits are multiplied by; division in round-to-nearest, so that every device agrees."""
    warm = temperature > 0
    return tl.where(warm, tl.div_rn(1.0, tl.where(warm, temperature, 1.0)), 1.0)


@triton.jit
def log(x):
    """The logarithm, -inf at 0."""
    return tl.where(x > 0, tl.log(tl.where(x > 0, x, 1.0)), float("-inf"))


@triton.jit
def row_sum(found, size, row, n_chunks, CHUNKS: tl.constexpr):
    """A row's maximum and its sum of exp(x - maximum): NaN for rows with NaN or +inf, 0 for impossible ones."""
    chunk = tl.arange(0, CHUNKS)
    at = found + row * n_chunks + chunk
    top = tl.load(at, mask=chunk < n_chunks, other=float("-inf"))
    part = tl.load(at + size, mask=chunk < n_chunks, other=0.0)
    best = tl.max(top, 0)
    base = tl.where(best == float("-inf"), 0.0, best)
    return base, tl.sum(part * tl.exp(top - base), 0)
