"""The one pass that reads everything."""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents

from t2fast_kernels.triton.sample.noise import near
from t2fast_kernels.triton.sample.row import factor, four_each, setting, weigh


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


@triton.jit
def _measure(
    x, chunk, vocab, n_chunks, row, scale, repetition, presence, frequency, counts, counts_stride, bias, bias_stride,
    allowed, allowed_stride, PACKED: tl.constexpr, processed, processed_stride, groups, sums, QUADS: tl.constexpr,
):  # fmt: skip
    """What is kept of a chunk: maximum and sum of every 32 tokens. No thread waits for another warp's."""
    quad = chunk * QUADS + tl.arange(0, QUADS)
    token = quad[:, None] * 4 + tl.arange(0, 4)[None, :]
    inside = token < vocab
    x = _after(
        x.to(tl.float32), token, inside, row, repetition, presence, frequency, counts, counts_stride, bias,
        bias_stride, allowed, allowed_stride, PACKED,
    )  # fmt: skip
    if processed is not None:
        tl.store(processed + row * processed_stride + token, x, mask=inside)
    x = tl.reshape(x, [QUADS // 8, 32])
    first = tl.max(x, 1)
    # Differences first: adding one number to all logits changes nothing but their own rounding.
    total = tl.sum(weigh(x - near(first)[:, None], scale), 1)
    group = row * (n_chunks * (QUADS // 8)) + chunk * (QUADS // 8) + tl.arange(0, QUADS // 8)
    tl.store(groups + group, first)
    tl.store(sums + group, total)


@triton.jit(do_not_specialize=["stripes", "temperature", "repetition", "presence", "frequency"])
def scan_kernel(
    raw,  # the logits as they came
    raw_stride,
    vocab,
    n_chunks,
    stripes,
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
    sums,  # the same: their sum of exp(scale (x - maximum))
    ALIGNED: tl.constexpr,
    QUADS: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """Every ``stripes``-th chunk of one row; the next one's logits are on their way while one is worked on."""
    if OVERLAP:
        gdc_launch_dependents()
    row = (tl.program_id(0) // stripes).to(tl.int64)
    chunk = tl.program_id(0) % stripes
    scale = factor(setting(temperature, row))
    at = raw + row * (tl.multiple_of(raw_stride, 4) if ALIGNED else raw_stride)
    quad = tl.arange(0, QUADS)
    n_whole = vocab // (QUADS * 4)
    x = four_each(at, chunk * QUADS + quad, quad < tl.where(chunk < n_whole, QUADS, 0), True, vocab, ALIGNED)
    while chunk < n_whole:
        after = chunk + stripes
        coming = four_each(at, after * QUADS + quad, quad < tl.where(after < n_whole, QUADS, 0), True, vocab, ALIGNED)
        _measure(
            x, chunk, vocab, n_chunks, row, scale, repetition, presence, frequency, counts, counts_stride, bias,
            bias_stride, allowed, allowed_stride, PACKED, processed, processed_stride, groups, sums, QUADS,
        )  # fmt: skip
        x, chunk = coming, after
    if chunk < n_chunks:  # the end of the vocabulary
        _measure(
            four_each(at, chunk * QUADS + quad, quad >= 0, False, vocab, ALIGNED), chunk, vocab, n_chunks, row, scale,
            repetition, presence, frequency, counts, counts_stride, bias, bias_stride, allowed, allowed_stride, PACKED,
            processed, processed_stride, groups, sums, QUADS,
        )  # fmt: skip
