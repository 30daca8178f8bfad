"""The race between a row's groups of 32 tokens, then within the first: by one program per row."""

from __future__ import annotations

import triton
import triton.language as tl

from t2fast_kernels.triton.sample.filters import accepted, limits
from t2fast_kernels.triton.sample.noise import FIRST, GROUP, exponentials, fastest, near, race
from t2fast_kernels.triton.sample.row import GIVEN, begin, factor, setting, weigh, write


@triton.jit
def _winner(logits, vocab, n_groups, seed, prompt, sample, step, groups, sums, row, heat, scale, BLOCK: tl.constexpr):
    """A row's maximum (0 if all is impossible), its sum of exp(scale (x - maximum)), and its winner's token and logit.

    The sum is NaN for rows with NaN or +inf, 0 for impossible ones.
    """
    member = tl.arange(0, BLOCK // 4)[:, None] * 4 + tl.arange(0, 4)[None, :]
    highest = tl.full([BLOCK // 4, 4], float("-inf"), tl.float32)
    for start in range(0, n_groups, BLOCK):
        group = start + member
        highest = tl.maximum(highest, tl.load(groups + group, mask=group < n_groups, other=float("-inf")))
    top = near(tl.max(tl.max(highest, 1), 0))
    total = tl.zeros([BLOCK // 4, 4], tl.float32)
    best = total - 1.0
    ahead = member
    for start in range(0, n_groups, BLOCK):
        group = start + member
        here = group < n_groups
        first = tl.load(groups + group, mask=here, other=float("-inf"))
        weight = tl.load(sums + group, mask=here, other=0.0) * weigh(first - top, scale)
        total += weight
        if heat > 0:
            four = start // 4 + tl.arange(0, BLOCK // 4)
            speed = weight / exponentials(four, GROUP, row, seed, prompt, sample, step)
        else:
            speed = (first == top).to(tl.float32)
        better = (speed > best) & here
        best = tl.where(better, speed, best)
        ahead = tl.where(better, group, ahead)
    # Of NaN comes no winner; its place is still one of the row.
    leader = tl.min(tl.min(tl.where(best == tl.max(tl.max(best, 1), 0), ahead, n_groups - 1), 1), 0)
    quad = leader * 8 + tl.arange(0, 8)
    token = quad[:, None] * 4 + tl.arange(0, 4)[None, :]
    x = tl.load(logits + token, mask=token < vocab, other=float("-inf")).to(tl.float32)
    its_top = tl.max(tl.max(x, 1), 0)
    if heat > 0:
        speed = weigh(x - near(its_top), scale) / exponentials(quad, FIRST, row, seed, prompt, sample, step)
    else:
        speed = (x == its_top).to(tl.float32)
    _, winner, level = fastest(speed, x, token)
    return top, tl.sum(tl.sum(total, 1), 0), winner, level


@triton.jit
def _bounds(n_groups, groups, sums, level, top, scale, BLOCK: tl.constexpr):
    """How many of a row's groups reach above a level, and all that they weigh."""
    member = tl.arange(0, BLOCK)
    number, mass = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    for start in range(0, n_groups, BLOCK):
        group = start + member
        here = group < n_groups
        first = tl.load(groups + group, mask=here, other=float("-inf"))
        weight = tl.load(sums + group, mask=here, other=0.0) * weigh(first - top, scale)
        number += (first > level).to(tl.float32)
        mass += tl.where(first > level, weight, 0.0)
    return tl.sum(number, 0), tl.sum(mass, 0)


@triton.jit
def _gathered(logits, vocab, n_groups, groups, level, live, BLOCK: tl.constexpr, HELD: tl.constexpr):
    """The at most HELD groups that reach above a level, and their logits [groups, 32]."""
    member = tl.arange(0, BLOCK)
    n = 0
    for start in range(0, n_groups, BLOCK):
        group = start + member
        reached = tl.load(groups + group, mask=group < n_groups, other=float("-inf")) > level
        place = n + tl.cumsum(reached.to(tl.int32), 0) - 1
        tl.store(live + place, group, mask=reached)
        n += tl.sum(reached.to(tl.int32), 0)
    tl.debug_barrier()
    rank = tl.arange(0, HELD)
    group = tl.load(live + rank, mask=rank < n, other=0)
    token = group[:, None] * 32 + tl.arange(0, 32)[None, :]
    x = tl.load(logits + token, mask=(rank < n)[:, None] & (token < vocab), other=float("-inf")).to(tl.float32)
    return group, x


@triton.jit(do_not_specialize=[*GIVEN, "rows"])
def draw_kernel(
    logits,
    logits_stride,
    vocab,
    n_groups,
    seed,
    prompt,
    sample,
    step,
    temperature,
    top_k,
    top_p,
    min_p,
    shares,  # [rows]: the mass of which top-p takes its share, if not that of all tokens; -1 where it is
    groups,
    sums,
    stats,  # [2, rows]: maximum (0 if all is impossible), and sum of exp(scale (x - maximum))
    held,  # [pass, rows]: a candidate's logit,
    held_tokens,  # [pass, 2, rows]: its token and whether it stands
    live,  # [rows, HELD]: scratch
    rows,
    drawn,
    logprobs,
    FILTERED: tl.constexpr,
    BLOCK: tl.constexpr,
    HELD: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """One row: its winner, which without filters is drawn, and with them stands or is the first candidate."""
    if OVERLAP:
        begin()
    row = tl.program_id(0).to(tl.int64)
    heat = setting(temperature, row)
    scale = factor(heat)
    logits += row * logits_stride
    groups += row * n_groups
    sums += row * n_groups
    top, total, token, level = _winner(
        logits, vocab, n_groups, seed, prompt, sample, step, groups, sums, row, heat, scale, BLOCK
    )
    tl.store(stats + row, top)
    tl.store(stats + rows + row, total)
    if FILTERED:
        k, limit, lowest, active = limits(total, row, heat, top_k, top_p, min_p, shares)
        stands = active == 0
        if active:
            # What lies above the candidate weighs no more than the groups that reach there. Of peaked rows those are
            # few, and mostly that says enough.
            number, mass = _bounds(n_groups, groups, sums, level, top, scale, BLOCK)
            stands = accepted(mass, number * 32, level, top, scale, k, limit, lowest)
            if (stands == 0) & (number <= HELD):
                group, x = _gathered(logits, vocab, n_groups, groups, level, live + row * HELD, BLOCK, HELD)
                while stands == 0:
                    higher = x > level
                    mass = tl.sum(tl.sum(tl.where(higher, weigh(x - top, scale), 0.0), 1), 0)
                    number = tl.sum(tl.sum(higher.to(tl.float32), 1), 0)
                    stands = accepted(mass, number, level, top, scale, k, limit, lowest)
                    if stands == 0:
                        speed, member = race(x, level, group, row, seed, prompt, sample, step, scale, top)
                        _, token, level = fastest(speed, x, member)
        tl.store(held + row, level)
        tl.store(held_tokens + row, token)
        tl.store(held_tokens + rows + row, stands.to(tl.int32))
    else:
        write(drawn, logprobs, row, token, level, top, total, scale)
