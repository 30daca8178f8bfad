"""A row's settings, and its sum."""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language import core  # to_tensor; the interpreter rewrites only modules it finds among the globals

#: Arguments that are one per row: their alignment compiles nothing anew.
PER_ROW = ("seed", "prompt", "sample", "step", "temperature")


@triton.jit
def setting(value, row):
    """A setting is a number, or a pointer to one per row."""
    value = core.to_tensor(value)  # absent from tl itself before Triton 3.7
    if value.dtype.is_ptr():  # noqa: SIM108  # a choice for the compiler: only one side makes sense
        number = tl.load(value + row).to(tl.float32)
    else:
        number = value.to(tl.float32)
    return number


@triton.jit
def factor(temperature):
    """What differences of logits are multiplied by, finite; division in round-to-nearest, so that devices agree."""
    warm = temperature > 0
    return tl.minimum(tl.where(warm, tl.div_rn(1.0, tl.where(warm, temperature, 1.0)), 1.0), 3.4028234663852886e38)


@triton.jit
def log(x):
    """The logarithm, -inf at 0."""
    return tl.where(x > 0, tl.log(tl.where(x > 0, x, 1.0)), float("-inf"))


@triton.jit
def row_sum(found, size, row, n_chunks, scale, CHUNKS: tl.constexpr):
    """A row's maximum and its sum of exp(scale (x - maximum)): NaN for rows with NaN or +inf, 0 for impossible ones."""
    chunk = tl.arange(0, CHUNKS)
    at = found + row * n_chunks + chunk
    top = tl.load(at, mask=chunk < n_chunks, other=float("-inf"))
    part = tl.load(at + size, mask=chunk < n_chunks, other=0.0)
    best = tl.max(top, 0)
    base = tl.where(best == float("-inf"), 0.0, best)
    return base, tl.sum(part * tl.exp((top - base) * scale), 0)


@triton.jit
def four_each(at, quad, wanted, whole, vocab, ALIGNED: tl.constexpr):
    """A row's logits [quads, 4] in fp32: -inf where they are not wanted, and beyond the vocabulary.

    Where rows are aligned a quad is one load, given that no mask can end inside of it: ``whole`` says that all quads
    lie in the vocabulary. Elsewhere it is four loads by one thread, so that quads stay together.
    """
    if ALIGNED:
        token = quad[:, None] * 4 + tl.arange(0, 4)[None, :]
        if whole:
            x = tl.load(at + token, mask=wanted[:, None], other=float("-inf"))
        else:
            x = tl.load(at + token, mask=wanted[:, None] & (token < vocab), other=float("-inf"))
    else:
        token = quad * 4
        a = tl.load(at + token, mask=wanted & (token < vocab), other=float("-inf"))
        b = tl.load(at + token + 1, mask=wanted & (token + 1 < vocab), other=float("-inf"))
        c = tl.load(at + token + 2, mask=wanted & (token + 2 < vocab), other=float("-inf"))
        d = tl.load(at + token + 3, mask=wanted & (token + 3 < vocab), other=float("-inf"))
        x = tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), [quad.shape[0], 4])
    return x.to(tl.float32)
