"""What the kernels do alike: a row's settings, its logits, and its results."""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language import core  # to_tensor; the interpreter rewrites only modules it finds among the globals
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

#: What differs from call to call, or is one number per row: neither its value nor its alignment compiles anything anew.
GIVEN = ("seed", "prompt", "sample", "step", "temperature", "top_k", "top_p", "min_p")


@triton.jit
def begin():
    """Wait for the launch before, and let the next one begin.

    Every launch but the first waits before it reads or writes anything. So when one has ended, all before it have.
    """
    gdc_wait()
    gdc_launch_dependents()


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
def weigh(difference, scale):
    """exp(scale * difference): the chip knows powers of two, so one multiplication comes before it and none after."""
    return tl.exp2(difference * tl.minimum(scale * 1.4426950408889634, 3.4028234663852886e38))


@triton.jit
def four_each(at, quad, wanted, whole, vocab, ALIGNED: tl.constexpr):
    """A row's logits [quads, 4] as they are stored: -inf where they are not wanted, and beyond the vocabulary.

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
    return x


@triton.jit
def write(drawn, logprobs, row, token, level, top, total, scale):
    """A row's results, for rows with NaN and impossible ones too."""
    possible = total > 0
    tl.store(drawn + row, tl.where(possible, token, -1).to(tl.int64))
    worth = tl.where(total == 0, float("-inf"), total)
    tl.store(logprobs + row, tl.where(possible, (level - top) * scale - log(total), worth))
