"""The race: exponential clocks from Philox, and who rings first."""

from __future__ import annotations

import triton
import triton.language as tl

NO_TOKEN = tl.constexpr(2147483647)
#: Three streams of noise, told apart by what is added to a counter's first word: which token of a group is its first,
#: when each group rings, and how long after it the others do.
FIRST, GROUP, LATER = tl.constexpr(0), tl.constexpr(1 << 31), tl.constexpr(1 << 30)


@triton.jit
def exponentials(quad, STREAM: tl.constexpr, row, seed, prompt, sample, step):
    """Exponential variates [quads, 4]: one Philox call serves the four of a quad."""
    r0, r1, r2, r3 = tl.philox(
        tl.load(seed + row),
        quad.to(tl.uint32) + STREAM,
        tl.load(step + row).to(tl.uint32),
        tl.load(sample + row).to(tl.uint32),
        tl.load(prompt + row).to(tl.uint32),
    )
    bits = tl.reshape(tl.join(tl.join(r0, r2), tl.join(r1, r3)), [quad.shape[0], 4])
    # -log(1 - u) for u = (bits + 1/2) / 2^32. Winners come from u near 0, where the series is as exact as fp32;
    # elsewhere 1 - u is formed in integers, so that u never rounds to 1.
    low = bits < 67108864
    u = (tl.where(low, bits, bits ^ 0xFFFFFFFF).to(tl.float32) + 0.5) * 2.3283064365386963e-10
    series = u * (1.0 + u * (0.5 + u * (0.3333333333333333 + u * 0.25)))
    return tl.where(low, series, -tl.log(u))


@triton.jit
def fastest(race, x, token):
    """Value, token and logit of the largest; the lowest token on ties."""
    best = tl.max(tl.max(race, 1), 0)
    winner = tl.min(tl.min(tl.where(race == best, token, NO_TOKEN), 1), 0)
    level = tl.max(tl.max(tl.where(token == winner, x, float("-inf")), 1), 0)
    return best, winner, level


@triton.jit
def near(first):
    """What exponents are taken beside: the maximum, but 0 for what is impossible."""
    return tl.where(first == float("-inf"), 0.0, first)
