"""Exact sampling without a sort.

The token drawn is the one whose clock rings first: token t waits an exponential time E_t / exp(x_t), E_t being a
function of the row's key and t alone (the Gumbel-max trick, its logarithm taken once per chunk). Filtered sampling
draws from the kept tokens with the same clocks. What is kept is always everything from some logit on, so:

* ``scan`` reads each row once: maximum, sum and winner of every chunk, and the maximum of every 32 tokens.
* ``verify`` takes the winner of the tokens above the last rejected winner, measures the probability and the number
  of tokens above it, which say whether the filters keep it, and meanwhile finds the winner among those. A rejected
  winner's whole level is dropped, never a kept token, so the first accepted one is the winner among the kept.
* ``finish`` goes on by itself where the launches of ``verify`` did not suffice.

Maxima of 32 tokens let the later passes read only what can lie above the winner. Chunks have a fixed size and are
merged in a fixed order: a row's result depends neither on its place in the batch nor on the batch's size.
"""

from __future__ import annotations

import triton
import triton.language as tl

_NO_TOKEN = tl.constexpr(2147483647)


@triton.jit
def _setting(value, row):
    """A setting is a number, or a pointer to one per row."""
    value = tl.core.to_tensor(value)  # absent from tl itself before Triton 3.7
    if value.dtype.is_ptr():  # noqa: SIM108  # a choice for the compiler: only one side makes sense
        number = tl.load(value + row).to(tl.float32)
    else:
        number = value.to(tl.float32)
    return number


@triton.jit
def _scale(temperature):
    """What logits are multiplied by; division in round-to-nearest, so that every device agrees."""
    warm = temperature > 0
    return tl.where(warm, tl.div_rn(1.0, tl.where(warm, temperature, 1.0)), 1.0)


@triton.jit
def _clocks(quad, row, seed, prompt, sample, step):
    """Exponential variates [quads, 4]: one Philox call serves the four tokens of a quad."""
    r0, r1, r2, r3 = tl.philox(
        tl.load(seed + row),
        quad.to(tl.uint32),
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
def _log(x):
    """The logarithm, -inf at 0."""
    return tl.where(x > 0, tl.log(tl.where(x > 0, x, 1.0)), float("-inf"))


@triton.jit
def _winner(race, x, token):
    """Value, token and logit of the largest; the lowest token on ties."""
    best = tl.max(tl.max(race, 1), 0)
    winner = tl.min(tl.min(tl.where(race == best, token, _NO_TOKEN), 1), 0)
    level = tl.max(tl.max(tl.where(token == winner, x, float("-inf")), 1), 0)
    return best, winner, level


@triton.jit
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
    found,  # [pass, 4, rows, n_chunks]: here maximum, sum of exp(x - maximum), winner's score and logit
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
        penalty = _setting(repetition, row)
        x = tl.where(n != 0, tl.where(x > 0, tl.div_rn(x, penalty + tl.zeros_like(x)), x * penalty), x)
        x = tl.where(n > 0, x - _setting(frequency, row) * n.to(tl.float32) - _setting(presence, row), x)
    if allowed is not None:
        if PACKED:
            word = tl.load(allowed + row * allowed_stride + token // 32, mask=inside, other=0)
            x = tl.where(((word >> (token % 32)) & 1) != 0, x, float("-inf"))
        else:
            x = tl.where(tl.load(allowed + row * allowed_stride + token, mask=inside, other=0) != 0, x, float("-inf"))
    if processed is not None:
        tl.store(processed + row * vocab + token, x, mask=inside)
    heat = _setting(temperature, row)
    x *= _scale(heat)

    group = tl.max(tl.reshape(x, [QUADS // 8, 32]), 1)
    tl.store(groups + row * (n_chunks * (QUADS // 8)) + chunk * (QUADS // 8) + tl.arange(0, QUADS // 8), group)
    top = tl.max(group, 0)
    base = tl.where(top == float("-inf"), 0.0, top)
    weight = tl.exp(x - base)
    total = tl.sum(tl.sum(weight, 1), 0)
    race = x
    if heat > 0:
        race = weight / _clocks(quad, row, seed, prompt, sample, step)
    best, winner, level = _winner(race, x, token)
    score = tl.where(heat > 0, top + _log(best), best)
    at = row * n_chunks + chunk
    tl.store(found + at, top)
    tl.store(found + size + at, total)
    tl.store(found + 2 * size + at, score)
    tl.store(found + 3 * size + at, level)
    tl.store(tokens + at, winner)


@triton.jit
def _row_sum(found, size, row, n_chunks, CHUNKS: tl.constexpr):
    """A row's maximum and its sum of exp(x - maximum): NaN for rows with NaN or +inf, 0 for impossible ones."""
    chunk = tl.arange(0, CHUNKS)
    at = found + row * n_chunks + chunk
    top = tl.load(at, mask=chunk < n_chunks, other=float("-inf"))
    part = tl.load(at + size, mask=chunk < n_chunks, other=0.0)
    best = tl.max(top, 0)
    base = tl.where(best == float("-inf"), 0.0, best)
    return base, tl.sum(part * tl.exp(top - base), 0)


@triton.jit
def _limits(top, total, row, temperature, top_k, top_p, min_p, shares):
    """What a kept token's superiors may number and weigh, its least logit, and whether there is anything to check."""
    k, p, least = _setting(top_k, row), _setting(top_p, row), _setting(min_p, row)
    whole = total
    if shares is not None:
        whole = tl.load(shares + row)
    k = tl.where(k >= 1, k, float("inf"))
    mass = tl.where(p < 1, p * whole, float("inf"))
    lowest = tl.where(least > 0, top + tl.log(tl.where(least > 0, least, 1.0)), float("-inf"))
    filtered = (k < float("inf")) | (p < 1) | (least > 0)
    # total > 0 is false for NaN too: such rows are told apart at the end.
    return k, mass, lowest, filtered & (_setting(temperature, row) > 0) & (total > 0)


@triton.jit
def _above(
    logits, logits_stride, vocab, n_chunks, seed, prompt, sample, step, groups, row, chunk, scale, top, pivot,
    QUADS: tl.constexpr,
):  # fmt: skip
    """Of a chunk's tokens above the pivot: mass and number, and the winner's score, token and logit."""
    quad = chunk * QUADS + tl.arange(0, QUADS)
    live = tl.load(groups + row * (n_chunks * (QUADS // 8)) + quad // 8) > pivot
    mass, number, score, winner, level = 0.0, 0.0, float("-inf"), 0, float("-inf")
    if tl.max(live.to(tl.int32), 0) > 0:
        token = quad[:, None] * 4 + tl.arange(0, 4)[None, :]
        x = tl.load(logits + row * logits_stride + token, mask=live[:, None] & (token < vocab), other=float("-inf")).to(
            tl.float32
        )
        x *= scale
        higher = x > pivot
        weight = tl.where(higher, tl.exp(x - top), 0.0)
        mass = tl.sum(tl.sum(weight, 1), 0)
        number = tl.sum(tl.sum(higher.to(tl.float32), 1), 0)
        best, winner, level = _winner(weight / _clocks(quad, row, seed, prompt, sample, step), x, token)
        score = _log(best)
    return mass, number, score, winner, level


@triton.jit
def _accepted(mass, number, level, k, limit, lowest):
    """Whether the filters keep a candidate; they always keep the most likely token."""
    return ((mass < limit) & (number < k) & (level >= lowest)) | (number == 0)


@triton.jit
def _candidate(
    PASS: tl.constexpr, k, limit, lowest, active, found, tokens, held, held_tokens, size, rows, row, n_chunks,
    CHUNKS: tl.constexpr,
):  # fmt: skip
    """What is known after a pass: the candidate's token and logit, and whether it stands.

    The scan's winner is the first candidate. A later pass has measured what lies above the one before: that one stands,
    or the pass's own winner is the next.
    """
    stands, n_here = active == 0, n_chunks
    if PASS > 0:
        # Where a candidate stood already, later passes wrote nothing.
        stands = tl.load(held_tokens + ((PASS - 1) * 2 + 1) * rows + row) > 0
        n_here = tl.where(stands, 0, n_chunks)
    chunk = tl.arange(0, CHUNKS)
    here = chunk < n_here
    at = found + PASS * 4 * size + row * n_chunks + chunk
    score = tl.load(at + 2 * size, mask=here, other=float("-inf"))
    first = tl.min(tl.where((score == tl.max(score, 0)) & here, chunk, CHUNKS - 1), 0)  # the lowest token on ties
    level = tl.max(tl.where(chunk == first, tl.load(at + 3 * size, mask=here, other=float("-inf")), float("-inf")), 0)
    token = tl.sum(
        tl.where(chunk == first, tl.load(tokens + PASS * size + row * n_chunks + chunk, mask=here, other=0), 0), 0
    )
    if PASS > 0:
        mass = tl.sum(tl.load(at, mask=here, other=0.0), 0)
        number = tl.sum(tl.load(at + size, mask=here, other=0.0), 0)
        last = tl.load(held + (PASS - 1) * rows + row)
        last_token = tl.load(held_tokens + (PASS - 1) * 2 * rows + row)
        stands = stands | _accepted(mass, number, last, k, limit, lowest)
        level = tl.where(stands, last, level)
        token = tl.where(stands, last_token, token)
    return token, level, stands


@triton.jit
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
    QUADS: tl.constexpr,
    CHUNKS: tl.constexpr,
):
    """One chunk of one row: what lies above the candidate."""
    row = (tl.program_id(0) // n_chunks).to(tl.int64)
    chunk = tl.program_id(0) % n_chunks
    top, total = _row_sum(found, size, row, n_chunks, CHUNKS)
    k, limit, lowest, active = _limits(top, total, row, temperature, top_k, top_p, min_p, shares)
    token, level, stands = _candidate(
        PASS - 1, k, limit, lowest, active, found, tokens, held, held_tokens, size, rows, row, n_chunks, CHUNKS
    )
    if chunk == 0:
        tl.store(held + (PASS - 1) * rows + row, level)
        tl.store(held_tokens + (PASS - 1) * 2 * rows + row, token)
        tl.store(held_tokens + ((PASS - 1) * 2 + 1) * rows + row, stands.to(tl.int32))
    at = row * n_chunks + chunk
    if stands == 0:
        scale = _scale(_setting(temperature, row))
        mass, number, score, winner, reached = _above(
            logits, logits_stride, vocab, n_chunks, seed, prompt, sample, step, groups, row, chunk, scale, top, level,
            QUADS,
        )  # fmt: skip
        tl.store(found + PASS * 4 * size + at, mass)
        tl.store(found + (PASS * 4 + 1) * size + at, number)
        tl.store(found + (PASS * 4 + 2) * size + at, score)
        tl.store(found + (PASS * 4 + 3) * size + at, reached)
        tl.store(tokens + PASS * size + at, winner)


@triton.jit
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
    QUADS: tl.constexpr,
    CHUNKS: tl.constexpr,
):
    """One row: further passes where the candidate doesn't stand yet, then the result."""
    row = tl.program_id(0).to(tl.int64)
    top, total = _row_sum(found, size, row, n_chunks, CHUNKS)
    k, limit, lowest, active = _limits(top, total, row, temperature, top_k, top_p, min_p, shares)
    token, level, stands = _candidate(
        PASS, k, limit, lowest, active, found, tokens, held, held_tokens, size, rows, row, n_chunks, CHUNKS
    )
    if PASS > 0:
        scale = _scale(_setting(temperature, row))
        while stands == 0:
            mass, number, score, next_token, next_level = 0.0, 0.0, float("-inf"), 0, float("-inf")
            for chunk in range(n_chunks):
                part, some, reach, winner, reached = _above(
                    logits, logits_stride, vocab, n_chunks, seed, prompt, sample, step, groups, row, chunk, scale, top,
                    level, QUADS,
                )  # fmt: skip
                mass += part
                number += some
                better = reach > score
                next_token = tl.where(better, winner, next_token)
                next_level = tl.where(better, reached, next_level)
                score = tl.where(better, reach, score)
            stands = _accepted(mass, number, level, k, limit, lowest)
            token = tl.where(stands, token, next_token)
            level = tl.where(stands, level, next_level)
    possible = total > 0
    tl.store(drawn + row, tl.where(possible, token, -1).to(tl.int64))
    tl.store(logprobs + row, tl.where(possible, level - top - _log(total), tl.where(total == 0, float("-inf"), total)))


@triton.jit
def _ordered(x):
    """Integers in the order of the floats."""
    bits = x.to(tl.int32, bitcast=True)
    return tl.where(bits < 0, bits ^ 2147483647, bits)


@triton.jit
def _at_least(logits, logits_stride, vocab, n_chunks, groups, row, scale, top, key, QUADS: tl.constexpr):
    """Number and mass of a row's tokens from a level on, the level as an ordered integer."""
    level = tl.where(key < 0, key ^ 2147483647, key).to(tl.float32, bitcast=True)
    number, mass = 0.0, 0.0
    for chunk in range(n_chunks):
        quad = chunk * QUADS + tl.arange(0, QUADS)
        live = tl.load(groups + row * (n_chunks * (QUADS // 8)) + quad // 8) >= level
        if tl.max(live.to(tl.int32), 0) > 0:
            token = quad[:, None] * 4 + tl.arange(0, 4)[None, :]
            inside = live[:, None] & (token < vocab)
            x = tl.load(logits + row * logits_stride + token, mask=inside, other=float("-inf")).to(tl.float32) * scale
            kept = inside & (x >= level)
            number += tl.sum(tl.sum(kept.to(tl.float32), 1), 0)
            mass += tl.sum(tl.sum(tl.where(kept, tl.exp(x - top), 0.0), 1), 0)
    return number, mass


@triton.jit
def share_kernel(
    logits,
    logits_stride,
    vocab,
    n_chunks,
    temperature,
    top_k,
    groups,
    found,
    size,
    shares,
    QUADS: tl.constexpr,
    CHUNKS: tl.constexpr,
    GROUPS: tl.constexpr,
):
    """One row: the mass of the tokens that top-k keeps, by bisection over the floats.

    The k-th largest of the maxima of 32 tokens is a lower bound of the k-th largest logit, mostly the logit itself.
    """
    row = tl.program_id(0).to(tl.int64)
    top, total = _row_sum(found, size, row, n_chunks, CHUNKS)
    k = _setting(top_k, row)
    mass = total
    if (k >= 1) & (k < vocab) & (total > 0):
        n_groups = n_chunks * (QUADS // 8)
        group = tl.arange(0, GROUPS)
        maxima = tl.load(groups + row * n_groups + group, mask=group < n_groups, other=float("-inf"))
        keys = _ordered(maxima)
        # At least k are >= low, fewer than k are >= high; once exactly k are, that level will do.
        low, high = _ordered(tl.full([], float("-inf"), tl.float32)).to(tl.int64), _ordered(top).to(tl.int64) + 1
        highest = high
        while high - low > 1:
            middle = low + (high - low) // 2
            number = tl.sum((keys >= middle).to(tl.float32), 0)
            low = tl.where(number >= k, middle, low)
            high = tl.where(number >= k, tl.where(number == k, low + 1, high), middle)
        scale = _scale(_setting(temperature, row))
        number, mass = _at_least(
            logits, logits_stride, vocab, n_chunks, groups, row, scale, top, low.to(tl.int32), QUADS
        )
        high = tl.where(number == k, low + 1, highest)
        while high - low > 1:
            middle = low + (high - low) // 2
            number, part = _at_least(
                logits, logits_stride, vocab, n_chunks, groups, row, scale, top, middle.to(tl.int32), QUADS
            )
            mass = tl.where(number >= k, part, mass)
            low = tl.where(number >= k, middle, low)
            high = tl.where(number >= k, tl.where(number == k, low + 1, high), middle)
    tl.store(shares + row, mass)


@triton.jit
def top_kernel(
    logits,
    logits_stride,
    vocab,
    n_chunks,
    temperature,
    groups,
    found,
    size,
    n_top,
    top_tokens,
    top_logprobs,
    QUADS: tl.constexpr,
    CHUNKS: tl.constexpr,
    GROUPS: tl.constexpr,
):
    """One row: its most likely tokens one after the other, equal ones by index."""
    row = tl.program_id(0).to(tl.int64)
    top, total = _row_sum(found, size, row, n_chunks, CHUNKS)
    scale = _scale(_setting(temperature, row))
    n_groups = n_chunks * (QUADS // 8)
    group = tl.arange(0, GROUPS)
    maxima = tl.load(groups + row * n_groups + group, mask=group < n_groups, other=float("-inf"))
    last, last_token = float("inf"), -1
    for rank in range(n_top):
        level = tl.max(maxima, 0)
        first = tl.min(tl.where(maxima == level, group, GROUPS - 1), 0)
        token = first * 32 + tl.arange(0, 32)
        x = (
            tl.load(logits + row * logits_stride + token, mask=token < vocab, other=float("-inf")).to(tl.float32)
            * scale
        )
        beyond = tl.where(level < last, -1, last_token)
        found_token = tl.min(tl.where((x == level) & (token > beyond), token, _NO_TOKEN), 0)
        after = (x < level) | ((x == level) & (token > found_token))
        maxima = tl.where(group == first, tl.max(tl.where(after, x, float("-inf")), 0), maxima)
        last, last_token = level, found_token
        possible = (total > 0) & (level > float("-inf"))
        tl.store(top_tokens + row * n_top + rank, tl.where(possible, found_token, -1).to(tl.int64))
        worth = tl.where(possible, level - top - _log(total), float("-inf"))
        tl.store(top_logprobs + row * n_top + rank, tl.where(total != total, total, worth))
