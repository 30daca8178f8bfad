"""Whether the filters keep a candidate, and the next one if not, where many tokens lie above it."""

from __future__ import annotations

import triton
import triton.language as tl

from t2fast_kernels.triton.sample.filters import accepted, limits
from t2fast_kernels.triton.sample.noise import NO_TOKEN, fastest, race
from t2fast_kernels.triton.sample.row import GIVEN, begin, factor, four_each, log, setting, weigh, write


@triton.jit
def _measured(
    logits, logits_stride, vocab, row, chunk, maxima, scale, top, pivot, ALIGNED: tl.constexpr, QUADS: tl.constexpr
):
    """Mass and number of a chunk's tokens above the pivot; ``maxima`` are those of the groups, for each quad."""
    quad = chunk * QUADS + tl.arange(0, QUADS)
    live = maxima > pivot
    mass, number = 0.0, 0.0
    if tl.max(live.to(tl.int32), 0) > 0:
        at = logits + row * (tl.multiple_of(logits_stride, 4) if ALIGNED else logits_stride)
        x = four_each(at, quad, live, (chunk + 1) * (QUADS * 4) <= vocab, vocab, ALIGNED).to(tl.float32)
        higher = x > pivot
        mass = tl.sum(tl.sum(tl.where(higher, weigh(x - top, scale), 0.0), 1), 0)
        number = tl.sum(tl.sum(higher.to(tl.float32), 1), 0)
    return mass, number


@triton.jit
def _raced(
    logits, logits_stride, vocab, seed, prompt, sample, step, row, chunk, maxima, scale, top, pivot,
    ALIGNED: tl.constexpr, QUADS: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """Also the first of them to ring: its score, token and logit.

    By PART quads at a time: noise takes registers, and what takes many leaves room for few programs.
    """
    at = logits + row * (tl.multiple_of(logits_stride, 4) if ALIGNED else logits_stride)
    mass = tl.zeros([PART // 8, 32], tl.float32)
    number, best, level, winner = mass, mass, mass + float("-inf"), mass.to(tl.int32) + NO_TOKEN
    part = chunk * QUADS
    while part < (chunk + 1) * QUADS:
        quad = part + tl.arange(0, PART)
        live = tl.load(maxima + quad // 8) > pivot
        if tl.max(live.to(tl.int32), 0) > 0:
            x = four_each(at, quad, live, (part + PART) * 4 <= vocab, vocab, ALIGNED).to(tl.float32)
            x = tl.reshape(x, [PART // 8, 32])
            higher = x > pivot
            mass += tl.where(higher, weigh(x - top, scale), 0.0)
            number += higher.to(tl.float32)
            group = part // 8 + tl.arange(0, PART // 8)
            speed, token = race(x, pivot, group, row, seed, prompt, sample, step, scale, top)
            better = speed > best
            best = tl.where(better, speed, best)
            winner = tl.where(better, token, winner)
            level = tl.where(better, x, level)
        part += PART
    speed, token, reached = fastest(best, level, winner)
    return tl.sum(tl.sum(mass, 1), 0), tl.sum(tl.sum(number, 1), 0), log(speed), token, reached


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


@triton.jit(do_not_specialize=["stripes", *GIVEN, "size", "rows"])
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
    PART: tl.constexpr,
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
        maxima = groups + row * (n_chunks * (QUADS // 8))
        at = found + (PASS - 1) * 4 * size + row * n_chunks
        if PASS == 1:
            quad = tl.arange(0, QUADS)
            its = tl.load(maxima + chunk * (QUADS // 8) + quad // 8)
            while chunk < n_chunks:
                after = chunk + stripes
                more = quad < tl.where(after < n_chunks, QUADS, 0)
                coming = tl.load(maxima + after * (QUADS // 8) + quad // 8, mask=more, other=float("-inf"))
                mass, number = _measured(
                    logits, logits_stride, vocab, row, chunk, its, scale, top, level, ALIGNED, QUADS
                )
                tl.store(at + chunk, mass)
                tl.store(at + size + chunk, number)
                its, chunk = coming, after
        else:
            while chunk < n_chunks:
                mass, number, score, winner, reached = _raced(
                    logits, logits_stride, vocab, seed, prompt, sample, step, row, chunk, maxima, scale, top, level,
                    ALIGNED, QUADS, PART,
                )  # fmt: skip
                tl.store(at + chunk, mass)
                tl.store(at + size + chunk, number)
                tl.store(at + 2 * size + chunk, score)
                tl.store(at + 3 * size + chunk, reached)
                tl.store(winners + (PASS - 1) * size + row * n_chunks + chunk, winner)
                chunk += stripes


@triton.jit(do_not_specialize=[*GIVEN, "size", "rows"])
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
    PART: tl.constexpr,
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
        maxima = groups + row * (n_chunks * (QUADS // 8))
        while stands == 0:
            mass, number, score, next_token, next_level = 0.0, 0.0, float("-inf"), 0, float("-inf")
            for chunk in range(n_chunks):
                part, some, reach, winner, reached = _raced(
                    logits, logits_stride, vocab, seed, prompt, sample, step, row, chunk, maxima, scale, top, level,
                    ALIGNED, QUADS, PART,
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
