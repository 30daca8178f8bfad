"""The one pass that reads everything."""

from __future__ import annotations

import triton
import triton.language as tl

from t2fast_kernels.triton.sample.noise import clocks, fastest
from t2fast_kernels.triton.sample.row import factor, log, setting


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
    processed,  # [rows, vocab] fp32: the logits before temperature, written if there was anything to process
    groups,  # [rows, n_chunks * QUADS / 8]: maximum of every 32 tokens
    found,  # [pass, 4, rows, n_chunks]: here maximum, sum of exp(scale (x - maximum)), winner's score, and logit
    tokens,  # [pass, rows, n_chunks]: winner
    size,
    QUADS: tl.constexpr,
):
    """One chunk of one row."""
    row = (tl.program_id(0) // n_chunks).to(tl.int64)
    chunk = tl.program_id(0) % n_chunks
    quad = chunk * QUADS + tl.arange(0, QUADS)
    token = quad[:, None] * 4 + tl.arange(0, 4)[None, :]
    inside = token < vocab
    x = tl.load(logits + row * logits_stride + token, mask=inside, other=float("-inf")).to(tl.float32)
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
    if processed is not None:
        tl.store(processed + row * vocab + token, x, mask=inside)
    heat = setting(temperature, row)

    group = tl.max(tl.reshape(x, [QUADS // 8, 32]), 1)
    tl.store(groups + row * (n_chunks * (QUADS // 8)) + chunk * (QUADS // 8) + tl.arange(0, QUADS // 8), group)
    top = tl.max(group, 0)
    base = tl.where(top == float("-inf"), 0.0, top)
    # Differences first: adding one number to all logits changes nothing but their own rounding.
    weight = tl.exp((x - base) * factor(heat))
    total = tl.sum(tl.sum(weight, 1), 0)
    race = x
    if heat > 0:
        race = weight / clocks(quad, row, seed, prompt, sample, step)
    best, winner, level = fastest(race, x, token)
    score = tl.where(heat > 0, log(best), tl.where(top == float("-inf"), top, 0.0))
    at = row * n_chunks + chunk
    tl.store(found + at, top)
    tl.store(found + size + at, total)
    tl.store(found + 2 * size + at, score)
    tl.store(found + 3 * size + at, level)
    tl.store(tokens + at, winner)
