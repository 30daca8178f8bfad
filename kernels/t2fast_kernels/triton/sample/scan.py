"""The one pass that reads everything."""

from __future__ import annotations

import triton
import triton.language as tl

from t2fast_kernels.triton.sample.noise import FIRST, GROUP, NO_TOKEN, exponentials, fastest, near
from t2fast_kernels.triton.sample.row import factor, four_each, log, setting


@triton.jit
def _after(
    x, token, inside, row, repetition, presence, frequency, counts, counts_stride, bias, bias_stride, allowed,
    allowed_stride, PACKED: tl.constexpr,
):  # fmt: skip
    """Logits after bias, penalties and allowed tokens."""
    if bias is not None:
        x += tl.load(bias + row * bias_stride + token, mask=inside, other=0.0)
    if counts is not None:
        n = tl.load(counts + row * counts_stride + token, mask=inside, other=0)
        penalty = setting(repetition, row)
        x = tl.where(n != 0, tl.where(x > 0, tl.div_rn(x, penalty + tl.zeros_like(x)), x * penalty), x)
        x = tl.where(n > 0, x - setting(frequency, row) * n.to(tl.float32) - setting(presence, row), x)
    if allowed is not None:
        if PACKED:
            word = tl.load(allowed + row * allowed_stride + token // 32, mask=inside, other=0)
            x = tl.where(((word >> (token % 32)) & 1) != 0, x, float("-inf"))
        else:
            x = tl.where(tl.load(allowed + row * allowed_stride + token, mask=inside, other=0) != 0, x, float("-inf"))
    return x


@triton.jit(
    do_not_specialize=["seed", "prompt", "sample", "step", "temperature", "repetition", "presence", "frequency", "size"]
)
def scan_kernel(
    logits,
    logits_stride,
    vocab,
    n_chunks,
    seed,
    prompt,
    sample,
    step,
    temperature,
    repetition,
    presence,
    frequency,
    counts,
    counts_stride,
    bias,
    bias_stride,
    allowed,
    allowed_stride,
    PACKED: tl.constexpr,
    processed,  # [rows, processed_stride] fp32: the logits before temperature, written if there was anything to process
    processed_stride,
    groups,  # [rows, n_chunks * QUADS / 8]: maximum of every 32 tokens
    found,  # [pass, 4, rows, n_chunks]: here maximum, sum of exp(scale (x - maximum)), winner's score, and logit
    tokens,  # [pass, rows, n_chunks]: winner
    size,
    ALIGNED: tl.constexpr,
    QUADS: tl.constexpr,
):
    """One chunk of one row."""
    row = (tl.program_id(0) // n_chunks).to(tl.int64)
    chunk = tl.program_id(0) % n_chunks
    quad = chunk * QUADS + tl.arange(0, QUADS)
    token = quad[:, None] * 4 + tl.arange(0, 4)[None, :]
    inside = token < vocab
    at = logits + row * (tl.multiple_of(logits_stride, 4) if ALIGNED else logits_stride)
    whole = (chunk + 1) * (QUADS * 4) <= vocab
    x = _after(
        four_each(at, quad, quad >= 0, whole, vocab, ALIGNED), token, inside, row, repetition, presence, frequency,
        counts, counts_stride, bias, bias_stride, allowed, allowed_stride, PACKED,
    )  # fmt: skip
    if processed is not None:
        tl.store(processed + row * processed_stride + token, x, mask=inside)
    heat = setting(temperature, row)
    scale = factor(heat)

    x = tl.reshape(x, [QUADS // 8, 32])
    first = tl.max(x, 1)
    group = chunk * (QUADS // 8) + tl.arange(0, QUADS // 8)
    tl.store(groups + row * (n_chunks * (QUADS // 8)) + group, first)
    # Differences first: adding one number to all logits changes nothing but their own rounding.
    weight = tl.sum(tl.exp((x - near(first)[:, None]) * scale), 1)
    top = tl.max(first, 0)
    weight *= tl.exp((first - near(top)) * scale)
    total = tl.sum(weight, 0)
    if heat > 0:
        four = chunk * (QUADS // 32) + tl.arange(0, QUADS // 32)
        clocks = exponentials(four, GROUP, row, seed, prompt, sample, step)
        race = tl.reshape(weight, [QUADS // 32, 4]) / clocks
        best = tl.max(tl.max(race, 1), 0)
        score = log(best)
        # Whatever comes of NaN stays inside the chunk.
        last = (chunk + 1) * (QUADS // 8) - 1
        member = four[:, None] * 4 + tl.arange(0, 4)[None, :]
        leader = tl.min(tl.min(tl.where(race == best, member, last), 1), 0)
        some = leader * 8 + tl.arange(0, 8)
        its = some[:, None] * 4 + tl.arange(0, 4)[None, :]
        there = its < vocab
        y = _after(
            tl.load(at + its, mask=there, other=float("-inf")).to(tl.float32), its, there, row, repetition, presence,
            frequency, counts, counts_stride, bias, bias_stride, allowed, allowed_stride, PACKED,
        )  # fmt: skip
        heavy = tl.exp((y - near(tl.max(tl.max(y, 1), 0))) * scale)
        _, winner, level = fastest(heavy / exponentials(some, FIRST, row, seed, prompt, sample, step), y, its)
    else:
        score = tl.where(top == float("-inf"), top, 0.0)
        all_tokens = tl.reshape(token, [QUADS // 8, 32])
        winner = tl.min(tl.min(tl.where(x == top, all_tokens, NO_TOKEN), 1), 0)
        level = top
    here = row * n_chunks + chunk
    tl.store(found + here, top)
    tl.store(found + size + here, total)
    tl.store(found + 2 * size + here, score)
    tl.store(found + 3 * size + here, level)
    tl.store(tokens + here, winner)
