"""The race: exponential clocks from Philox, and who rings first."""

from __future__ import annotations

import triton
import triton.language as tl

from t2fast_kernels.triton.sample.row import weigh

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


@triton.jit
def race(x, pivot, group, row, seed, prompt, sample, step, scale, top):
    """How soon the tokens of some groups ring, 0 for those not above the pivot, and the tokens; all [groups, 32]."""
    N_GROUPS: tl.constexpr = x.shape[0]
    token = group[:, None] * 32 + tl.arange(0, 32)[None, :]
    quad = tl.reshape(group[:, None] * 8 + tl.arange(0, 8)[None, :], [N_GROUPS * 8])
    first = tl.max(x, 1)
    weight = weigh(x - near(first)[:, None], scale)
    its = weight / tl.reshape(exponentials(quad, FIRST, row, seed, prompt, sample, step), [N_GROUPS, 32])
    leads = tl.min(tl.where(its == tl.max(its, 1)[:, None], token, NO_TOKEN), 1)
    # A group's largest weighs 1: only a group without tokens above the pivot, which was not read, weighs less.
    rate = tl.maximum(tl.sum(weight, 1), 1.0)
    four = exponentials(group // 4, GROUP, row, seed, prompt, sample, step)
    rings = tl.sum(tl.where((group % 4)[:, None] == tl.arange(0, 4)[None, :], four, 0.0), 1) / rate
    later = tl.reshape(exponentials(quad, LATER, row, seed, prompt, sample, step), [N_GROUPS, 32])
    later /= tl.where(weight > 0, weight, 1.0)
    clock = rings[:, None] + tl.where(token == leads[:, None], 0.0, later)
    return tl.where((x > pivot) & (weight > 0), weigh(first - top, scale)[:, None] / clock, 0.0), token
