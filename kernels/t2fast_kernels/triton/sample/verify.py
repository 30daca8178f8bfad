"""Whether the filters keep a candidate, and the next one if not, where many tokens lie above it."""

from __future__ import annotations

import triton
import triton.language as tl

from t2fast_kernels.triton.sample.filters import accepted, limits
from t2fast_kernels.triton.sample.noise import race
from t2fast_kernels.triton.sample.row import begin, factor, four_each, setting, weigh, write


@triton.jit
def _above(
    logits, logits_stride, vocab, seed, prompt, sample, step, row, chunk, maxima, scale, top, pivot,
    NOISE: tl.constexpr, ALIGNED: tl.constexpr, QUADS: tl.constexpr,
):  # fmt: skip
    """Of a chunk's tokens above the pivot: mass and number, and the winner's score, token and logit.

    ``maxima`` are those of the groups, for each quad.
    """
    quad = chunk * QUADS + tl.arange(0, QUADS)
    live = maxima > pivot
    mass, number, score, winner, level = 0.0, 0.0, float("-inf"), 0, float("-inf")
    if tl.max(live.to(tl.int32), 0) > 0:
        at = logits + row * (tl.multiple_of(logits_stride, 4) if ALIGNED else logits_stride)
        x = four_each(at, quad, live, (chunk + 1) * (QUADS * 4) <= vocab, vocab, ALIGNED).to(tl.float32)
        higher = x > pivot
        mass = tl.sum(tl.sum(tl.where(higher, weigh(x - top, scale), 0.0), 1), 0)
        number = tl.sum(tl.sum(higher.to(tl.float32), 1), 0)
        if NOISE:
            group = chunk * (QUADS // 8) + tl.arange(0, QUADS // 8)
            x = tl.reshape(x, [QUADS // 8, 32])
            score, winner, level = race(x, pivot, group, row, seed, prompt, sample, step, scale, top)
    return mass, number, score, winner, level


@triton.jit
def _candidate(
    PASS: tl.constexpr, temperature, top_k, top_p, min_p, shares, stats, found, winners, held, held_tokens, size, rows,
    row, n_chunks, CHUNKS: tl.constexpr,
):  # fmt: skip
    """What is known after a pass, 0 being the draw: the candidate's token and logit, and whether it stands.

    The draw's winner is the first candidate, and mostly the last: the first pass measures what lies above it, without
    noise. A later pass has also found the winner there, the next candidate if the one before doesn't stand.
    """
    LAST: tl.constexpr = PASS - 1 if PASS > 0 else 0
    stands = tl.load(held_tokens + (LAST * 2 + 1) * rows + row) > 0
    token = tl.load(held_tokens + LAST * 2 * rows + row)
    level = tl.load(held + LAST * rows + row)
    if PASS > 0:  # noqa: SIM102  # the compiler's choice, then the program's
        if stands == 0:  # else the pass wrote nothing
            heat = setting(temperature, row)
            scale = factor(heat)
            top = tl.load(stats + row)
            k, limit, lowest, _ = limits(tl.load(stats + rows + row), row, heat, top_k, top_p, min_p, shares)
            chunk = tl.arange(0, CHUNKS)
            here = chunk < n_chunks
            at = found + LAST * 4 * size + row * n_chunks + chunk
            mass = tl.sum(tl.load(at, mask=here, other=0.0), 0)
            number = tl.sum(tl.load(at + size, mask=here, other=0.0), 0)
            if PASS > 1:
                score = tl.load(at + 2 * size, mask=here, other=float("-inf"))
                reached = tl.load(at + 3 * size, mask=here, other=float("-inf"))
                next_token = tl.load(winners + LAST * size + row * n_chunks + chunk, mask=here, other=0)
            stands = accepted(mass, number, level, top, scale, k, limit, lowest)
            if PASS > 1:
                first = tl.min(tl.where((score == tl.max(score, 0)) & here, chunk, CHUNKS - 1), 0)  # the lowest on ties
                level = tl.where(stands, level, tl.max(tl.where(chunk == first, reached, float("-inf")), 0))
                token = tl.where(stands, token, tl.sum(tl.where(chunk == first, next_token, 0), 0))
    return token, level, stands


@triton.jit(
    do_not_specialize=[
        "stripes", "seed", "prompt", "sample", "step", "temperature", "top_k", "top_p", "min_p", "size", "rows",
    ]
)  # fmt: skip
def verify_kernel(
    logits,
    logits_stride,
    vocab,
    n_chunks,
    stripes,
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
    stats,
    found,  # [pass, 4, rows, n_chunks]: mass and number above the candidate; score and logit of the winner among them
    winners,  # [pass, rows, n_chunks]: that winner's token
    held,
    held_tokens,
    size,
    rows,
    PASS: tl.constexpr,
    ALIGNED: tl.constexpr,
    QUADS: tl.constexpr,
    CHUNKS: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """Every ``stripes``-th chunk of one row: what lies above the candidate, unless it stands."""
    if OVERLAP:
        begin()
    row = (tl.program_id(0) // stripes).to(tl.int64)
    chunk = tl.program_id(0) % stripes
    token, level, stands = _candidate(
        PASS - 1, temperature, top_k, top_p, min_p, shares, stats, found, winners, held, held_tokens, size, rows,
        row, n_chunks, CHUNKS,
    )  # fmt: skip
    if PASS > 1:  # noqa: SIM102
        if chunk == 0:
            tl.store(held + (PASS - 1) * rows + row, level)
            tl.store(held_tokens + (PASS - 1) * 2 * rows + row, token)
            tl.store(held_tokens + ((PASS - 1) * 2 + 1) * rows + row, stands.to(tl.int32))
    if stands == 0:
        scale = factor(setting(temperature, row))
        top = tl.load(stats + row)
        quad = tl.arange(0, QUADS)
        its = groups + row * (n_chunks * (QUADS // 8)) + quad // 8
        maxima = tl.load(its + chunk * (QUADS // 8))
        while chunk < n_chunks:
            after = chunk + stripes
            coming = tl.load(
                its + after * (QUADS // 8), mask=quad < tl.where(after < n_chunks, QUADS, 0), other=float("-inf")
            )
            mass, number, score, winner, reached = _above(
                logits, logits_stride, vocab, seed, prompt, sample, step, row, chunk, maxima, scale, top, level,
                PASS > 1, ALIGNED, QUADS,
            )  # fmt: skip
            at = found + (PASS - 1) * 4 * size + row * n_chunks + chunk
            tl.store(at, mass)
            tl.store(at + size, number)
            if PASS > 1:
                tl.store(at + 2 * size, score)
                tl.store(at + 3 * size, reached)
                tl.store(winners + (PASS - 1) * size + row * n_chunks + chunk, winner)
            maxima, chunk = coming, after


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
    stats,
    found,
    winners,
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
    OVERLAP: tl.constexpr,
):
    """One row: further passes where the candidate doesn't stand yet, then the result."""
    if OVERLAP:
        begin()
    row = tl.program_id(0).to(tl.int64)
    heat = setting(temperature, row)
    scale = factor(heat)
    top, total = tl.load(stats + row), tl.load(stats + rows + row)
    token, level, stands = _candidate(
        PASS, temperature, top_k, top_p, min_p, shares, stats, found, winners, held, held_tokens, size, rows, row,
        n_chunks, CHUNKS,
    )  # fmt: skip
    if stands == 0:
        k, limit, lowest, _ = limits(total, row, heat, top_k, top_p, min_p, shares)
        its = groups + row * (n_chunks * (QUADS // 8)) + tl.arange(0, QUADS) // 8
        while stands == 0:
            mass, number, score, next_token, next_level = 0.0, 0.0, float("-inf"), 0, float("-inf")
            for chunk in range(n_chunks):
                part, some, reach, winner, reached = _above(
                    logits, logits_stride, vocab, seed, prompt, sample, step, row, chunk,
                    tl.load(its + chunk * (QUADS // 8)), scale, top, level, True, ALIGNED, QUADS,
                )  # fmt: skip
                mass += part
                number += some
                better = reach > score
                next_token = tl.where(better, winner, next_token)
                next_level = tl.where(better, reached, next_level)
                score = tl.where(better, reach, score)
            stands = accepted(mass, number, level, top, scale, k, limit, lowest)
            token = tl.where(stands, token, next_token)
            level = tl.where(stands, level, next_level)
    write(drawn, logprobs, row, token, level, top, total, scale)
