"""Whether the filters keep a candidate, and the next one if not."""

from __future__ import annotations

import triton
import triton.language as tl

from t2fast_kernels.triton.sample.noise import FIRST, GROUP, LATER, NO_TOKEN, exponentials, fastest, near
from t2fast_kernels.triton.sample.row import factor, four_each, log, row_sum, setting


@triton.jit
def _limits(total, row, temperature, top_k, top_p, min_p, shares):
    """What a kept token's superiors may number and weigh, its least distance from the top, and whether to check."""
    k, p, least = setting(top_k, row), setting(top_p, row), setting(min_p, row)
    whole = total
    if shares is not None:
        whole = tl.load(shares + row)
    k = tl.where(k >= 1, k, float("inf"))
    mass = tl.where(p < 1, p * whole, float("inf"))
    lowest = tl.where(least > 0, tl.log(tl.where(least > 0, least, 1.0)), float("-inf"))
    filtered = (k < float("inf")) | (p < 1) | (least > 0)
    # total > 0 is false for NaN too: such rows are told apart at the end.
    return k, mass, lowest, filtered & (setting(temperature, row) > 0) & (total > 0)


@triton.jit
def _above(
    logits, logits_stride, vocab, n_chunks, seed, prompt, sample, step, groups, row, chunk, scale, top, pivot,
    NOISE: tl.constexpr, ALIGNED: tl.constexpr, QUADS: tl.constexpr,
):  # fmt: skip
    """Of a chunk's tokens above the pivot: mass and number, and the winner's score, token and logit."""
    quad = chunk * QUADS + tl.arange(0, QUADS)
    live = tl.load(groups + row * (n_chunks * (QUADS // 8)) + quad // 8) > pivot
    mass, number, score, winner, level = 0.0, 0.0, float("-inf"), 0, float("-inf")
    if tl.max(live.to(tl.int32), 0) > 0:
        at = logits + row * (tl.multiple_of(logits_stride, 4) if ALIGNED else logits_stride)
        x = four_each(at, quad, live, (chunk + 1) * (QUADS * 4) <= vocab, vocab, ALIGNED)
        higher = x > pivot
        mass = tl.sum(tl.sum(tl.where(higher, tl.exp((x - top) * scale), 0.0), 1), 0)
        number = tl.sum(tl.sum(higher.to(tl.float32), 1), 0)
        if NOISE:
            score, winner, level = _race(x, pivot, chunk, row, seed, prompt, sample, step, scale, top, QUADS)
    return mass, number, score, winner, level


@triton.jit
def _race(x, pivot, chunk, row, seed, prompt, sample, step, scale, top, QUADS: tl.constexpr):
    """Score, token and logit of the first to ring among a chunk's tokens above the pivot."""
    N_GROUPS: tl.constexpr = QUADS // 8
    quad = chunk * QUADS + tl.arange(0, QUADS)
    token = tl.reshape(quad[:, None] * 4 + tl.arange(0, 4)[None, :], [N_GROUPS, 32])
    x = tl.reshape(x, [N_GROUPS, 32])
    first = tl.max(x, 1)
    weight = tl.exp((x - near(first)[:, None]) * scale)
    its = weight / tl.reshape(exponentials(quad, FIRST, row, seed, prompt, sample, step), [N_GROUPS, 32])
    leads = tl.min(tl.where(its == tl.max(its, 1)[:, None], token, NO_TOKEN), 1)
    four = chunk * (QUADS // 32) + tl.arange(0, QUADS // 32)
    # A group's largest weighs 1: only a group without tokens above the pivot, which was not read, weighs less.
    group = tl.maximum(tl.sum(weight, 1), 1.0)
    rings = tl.reshape(exponentials(four, GROUP, row, seed, prompt, sample, step), [N_GROUPS]) / group
    later = tl.reshape(exponentials(quad, LATER, row, seed, prompt, sample, step), [N_GROUPS, 32])
    later /= tl.where(weight > 0, weight, 1.0)
    clock = rings[:, None] + tl.where(token == leads[:, None], 0.0, later)
    rate = tl.where((x > pivot) & (weight > 0), tl.exp((first - top) * scale)[:, None] / clock, 0.0)
    best, winner, level = fastest(rate, x, token)
    return log(best), winner, level


@triton.jit
def _accepted(mass, number, level, top, scale, k, limit, lowest):
    """Whether the filters keep a candidate; they always keep the most likely token."""
    return ((mass < limit) & (number < k) & ((level - top) * scale >= lowest)) | (number == 0)


@triton.jit
def _candidate(
    PASS: tl.constexpr, top, scale, k, limit, lowest, active, found, tokens, held, held_tokens, size, rows, row,
    n_chunks, CHUNKS: tl.constexpr,
):  # fmt: skip
    """What is known after a pass: the candidate's token and logit, and whether it stands.

    The scan's winner is the first candidate, and mostly the last: the first pass measures what lies above it, without
    noise. A later pass has also found the winner there, the next candidate if the one before doesn't stand.
    """
    stands, n_here = active == 0, n_chunks
    if PASS > 0:
        # Where a candidate stood already, later passes wrote nothing.
        stands = tl.load(held_tokens + ((PASS - 1) * 2 + 1) * rows + row) > 0
        n_here = tl.where(stands, 0, n_chunks)
    chunk = tl.arange(0, CHUNKS)
    here = chunk < n_here
    at = found + PASS * 4 * size + row * n_chunks + chunk
    score = float("-inf") + tl.zeros([CHUNKS], tl.float32)
    if PASS != 1:
        score = tl.load(at + 2 * size, mask=here, other=float("-inf"))
    if PASS == 0:
        score += (tl.load(at, mask=here, other=float("-inf")) - top) * scale
    first = tl.min(tl.where((score == tl.max(score, 0)) & here, chunk, CHUNKS - 1), 0)  # the lowest token on ties
    level, token = float("-inf"), 0
    if PASS != 1:
        reached = tl.load(at + 3 * size, mask=here, other=float("-inf"))
        winners = tl.load(tokens + PASS * size + row * n_chunks + chunk, mask=here, other=0)
        level = tl.max(tl.where(chunk == first, reached, float("-inf")), 0)
        token = tl.sum(tl.where(chunk == first, winners, 0), 0)
    if PASS > 0:
        mass = tl.sum(tl.load(at, mask=here, other=0.0), 0)
        number = tl.sum(tl.load(at + size, mask=here, other=0.0), 0)
        last = tl.load(held + (PASS - 1) * rows + row)
        last_token = tl.load(held_tokens + (PASS - 1) * 2 * rows + row)
        stands = stands | _accepted(mass, number, last, top, scale, k, limit, lowest)
        level = last if PASS == 1 else tl.where(stands, last, level)
        token = last_token if PASS == 1 else tl.where(stands, last_token, token)
    return token, level, stands


@triton.jit(
    do_not_specialize=["seed", "prompt", "sample", "step", "temperature", "top_k", "top_p", "min_p", "size", "rows"]
)
def verify_kernel(
    logits,
    logits_stride,
    vocab,
    n_chunks,
    seed,
    prompt,
    sample,
    step,
    temperature,
    top_k,
    top_p,
    min_p,
    shares,  # [rows]: the mass of which top-p takes its share, if it is not that of all tokens
    groups,
    found,  # here mass and number above the candidate, and the score and logit of the winner among them
    tokens,
    held,  # [pass, rows]: the candidate's logit,
    held_tokens,  # [pass, 2, rows]: its token and whether it stands
    size,
    rows,
    PASS: tl.constexpr,
    ALIGNED: tl.constexpr,
    QUADS: tl.constexpr,
    CHUNKS: tl.constexpr,
):
    """One chunk of one row: what lies above the candidate."""
    row = (tl.program_id(0) // n_chunks).to(tl.int64)
    chunk = tl.program_id(0) % n_chunks
    scale = factor(setting(temperature, row))
    top, total = row_sum(found, size, row, n_chunks, scale, CHUNKS)
    k, limit, lowest, active = _limits(total, row, temperature, top_k, top_p, min_p, shares)
    token, level, stands = _candidate(
        PASS - 1,
        top,
        scale,
        k,
        limit,
        lowest,
        active,
        found,
        tokens,
        held,
        held_tokens,
        size,
        rows,
        row,
        n_chunks,
        CHUNKS,
    )
    if chunk == 0:
        tl.store(held + (PASS - 1) * rows + row, level)
        tl.store(held_tokens + (PASS - 1) * 2 * rows + row, token)
        tl.store(held_tokens + ((PASS - 1) * 2 + 1) * rows + row, stands.to(tl.int32))
    at = row * n_chunks + chunk
    if stands == 0:
        mass, number, score, winner, reached = _above(
            logits, logits_stride, vocab, n_chunks, seed, prompt, sample, step, groups, row, chunk, scale, top, level,
            PASS > 1, ALIGNED, QUADS,
        )  # fmt: skip
        tl.store(found + PASS * 4 * size + at, mass)
        tl.store(found + (PASS * 4 + 1) * size + at, number)
        if PASS > 1:
            tl.store(found + (PASS * 4 + 2) * size + at, score)
            tl.store(found + (PASS * 4 + 3) * size + at, reached)
            tl.store(tokens + PASS * size + at, winner)


@triton.jit(
    do_not_specialize=["seed", "prompt", "sample", "step", "temperature", "top_k", "top_p", "min_p", "size", "rows"]
)
def finish_kernel(
    logits,
    logits_stride,
    vocab,
    n_chunks,
    seed,
    prompt,
    sample,
    step,
    temperature,
    top_k,
    top_p,
    min_p,
    shares,
    groups,
    found,
    tokens,
    held,
    held_tokens,
    size,
    rows,
    drawn,
    logprobs,
    PASS: tl.constexpr,
    ALIGNED: tl.constexpr,
    QUADS: tl.constexpr,
    CHUNKS: tl.constexpr,
):
    """One row: further passes where the candidate doesn't stand yet, then the result."""
    row = tl.program_id(0).to(tl.int64)
    scale = factor(setting(temperature, row))
    top, total = row_sum(found, size, row, n_chunks, scale, CHUNKS)
    k, limit, lowest, active = _limits(total, row, temperature, top_k, top_p, min_p, shares)
    token, level, stands = _candidate(
        PASS, top, scale, k, limit, lowest, active, found, tokens, held, held_tokens, size, rows, row, n_chunks, CHUNKS
    )
    if PASS > 0:
        while stands == 0:
            mass, number, score, next_token, next_level = 0.0, 0.0, float("-inf"), 0, float("-inf")
            for chunk in range(n_chunks):
                part, some, reach, winner, reached = _above(
                    logits, logits_stride, vocab, n_chunks, seed, prompt, sample, step, groups, row, chunk, scale, top,
                    level, True, ALIGNED, QUADS,
                )  # fmt: skip
                mass += part
                number += some
                better = reach > score
                next_token = tl.where(better, winner, next_token)
                next_level = tl.where(better, reached, next_level)
                score = tl.where(better, reach, score)
            stands = _accepted(mass, number, level, top, scale, k, limit, lowest)
            token = tl.where(stands, token, next_token)
            level = tl.where(stands, level, next_level)
    possible = total > 0
    tl.store(drawn + row, tl.where(possible, token, -1).to(tl.int64))
    tl.store(
        logprobs + row,
        tl.where(possible, (level - top) * scale - log(total), tl.where(total == 0, float("-inf"), total)),
    )
