"""Exact sampling in plain PyTorch: what CPU tensors run, and the readable truth beside the kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from t2fast_kernels.calls import SampleCall

__all__ = ["gumbel", "heated", "philox", "processed", "sample", "threshold"]

_LOW = 0xFFFFFFFF
#: Counters worked on at a time, so that the integer temporaries stay in a core's cache.
_BLOCK = 32768
#: Sorting this many largest logits settles almost every row; the others sort everything.
_HEAD = 1024


def philox(counter: Sequence[Tensor], seed: Tensor) -> list[Tensor]:
    """Philox4x32-10 (Salmon et al. 2011): four words of 32 bits, in int64, for four counter words and a 64-bit key.

    Counter words are int64 in [0, 2^32); they and the seed broadcast. The seed's low word is the first key, as in
    ``triton.language.philox``, whose bits these are.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = seed & _LOW, (seed >> 32) & _LOW
    for _ in range(10):
        # The products need 64 bits; int64 keeps them all, the sign bit being one of them. c1 and c3 hold more than
        # their low words until the next round or the end masks them.
        a, b = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c2 = ((b >> 32) ^ (c1 ^ k0)) & _LOW, ((a >> 32) ^ (c3 ^ k1)) & _LOW
        c1, c3 = b, a
        k0, k1 = (k0 + 0x9E3779B9) & _LOW, (k1 + 0xBB67AE85) & _LOW
    return [c0, c1 & _LOW, c2, c3 & _LOW]


def gumbel(vocab: int, seed: Tensor, prompt: Tensor, sample: Tensor, step: Tensor) -> Tensor:
    """Gumbel noise, fp32 ``[rows, vocab]``, -log(-log(1 - u)) with u = (word + 1/2) / 2^32.

    Token t of a row takes word t % 4 of the counter (t // 4, step, sample, prompt). One Philox call serves four
    tokens: with one each, the noise would cost more than reading the logits. The keys are ``[rows]`` or broadcast.
    The largest values, which win, come from u near 0, where fp32 is dense.
    """
    rows = max(t.numel() for t in (seed, prompt, sample, step))
    key, *words = (t.reshape(-1, 1).expand(rows, 1).long() for t in (seed, step, sample, prompt))
    n_quads = (vocab + 3) // 4
    quads = torch.arange(n_quads, device=seed.device)
    noise = torch.empty(rows, n_quads, 4, device=seed.device)
    height = max(1, _BLOCK // n_quads)
    for first in range(0, rows, height):
        part = slice(first, first + height)
        for word, drawn in enumerate(philox([quads, *(w[part] & _LOW for w in words)], key[part])):
            low = drawn < 1 << 26  # u < 1/64: there the series is as exact as fp32; above, the complement 1 - u is
            u = torch.where(low, drawn, _LOW - drawn).float().add_(0.5).mul_(2.0**-32)
            series = u * (1 + u * (1 / 2 + u * (1 / 3 + u * (1 / 4))))
            noise[part, :, word] = torch.where(low, series, u.log().neg_()).log_().neg_()
    return noise.reshape(rows, -1)[:, :vocab]


def processed(
    logits: Tensor,
    repetition: float | Tensor,
    presence: float | Tensor,
    frequency: float | Tensor,
    counts: Tensor | None,
    logit_bias: Tensor | None,
    allowed: Tensor | None,
) -> Tensor:
    """The logits, fp32, after bias, penalties and allowed tokens, in this order. Tensors are ``[rows, 1]``."""
    x = logits.float()
    if logit_bias is not None:
        x = x + logit_bias
    if counts is not None:
        x = torch.where(counts != 0, torch.where(x > 0, x / repetition, x * repetition), x)
        x = torch.where(counts > 0, x - frequency * counts - presence, x)
    if allowed is not None:
        if allowed.dtype != torch.bool:
            token = torch.arange(logits.shape[1], device=logits.device)
            allowed = (allowed[:, token // 32] >> (token % 32)) & 1 == 1
        x = x.masked_fill(~allowed, -torch.inf)
    return x


def heated(x: Tensor, temperature: float | Tensor) -> Tensor:
    """The logits beside their row's largest, over the temperature; temperature 0 leaves the scale alone.

    Differences first: adding one number to all logits then changes nothing but their own rounding.
    """
    heat = torch.as_tensor(temperature, dtype=torch.float32, device=x.device)
    scale = torch.where(heat > 0, 1 / heat, 1.0).clamp_(max=torch.finfo(torch.float32).max)
    top = x.amax(1, keepdim=True)
    return (x - torch.where(top == -torch.inf, 0.0, top)) * scale


def threshold(
    x: Tensor, top_k: float | Tensor, top_p: float | Tensor, min_p: float | Tensor, top_k_first: bool
) -> Tensor:
    """The smallest kept logit of each row, ``[rows, 1]``: a token is kept when ``x >= threshold``.

    Top-k keeps a token with fewer than k strictly above it, top-p one with less than p of the mass strictly above it,
    min-p one at least min-p times as likely as the most likely. Equal logits share their fate. The mass is that of all
    tokens, or with ``top_k_first`` that of those top-k keeps.
    """
    rows, vocab = x.shape
    k = torch.as_tensor(top_k, device=x.device).expand(rows, 1)
    k = torch.where(k < 1, vocab, k)
    p = torch.as_tensor(top_p, dtype=torch.float64, device=x.device).expand(rows, 1)
    top = x.amax(1, keepdim=True)
    lowest = top + torch.as_tensor(min_p, dtype=torch.float32, device=x.device).log()
    total = (x - top).exp().sum(1, keepdim=True, dtype=torch.float64)

    def cut(width: int, chosen: slice | Tensor) -> tuple[Tensor, Tensor]:
        """The threshold among the ``width`` largest of some rows, and whether it is surely that of all."""
        values = x[chosen].topk(width, dim=1).values
        mass = (values - top[chosen]).double().exp()
        fresh = torch.ones_like(values, dtype=torch.bool)
        fresh[:, 1:] = values[:, 1:] != values[:, :-1]
        n_above = torch.where(fresh, torch.arange(width, device=x.device), 0).cummax(1).values
        above = torch.where(fresh, mass.cumsum(1) - mass, 0).cummax(1).values
        within = n_above < k[chosen]
        whole = torch.where(within, mass, 0).sum(1, keepdim=True) if top_k_first else total[chosen]
        keep = within & ((above < p[chosen] * whole) | (p[chosen] >= 1)) & (values >= lowest[chosen])
        keep[:, 0] = True
        return torch.where(keep, values, torch.inf).amin(1, keepdim=True), ~(within if top_k_first else keep)[:, -1]

    least, settled = cut(min(_HEAD, vocab), slice(None))
    if vocab > _HEAD and not settled.all():
        open_ = (~settled).nonzero()[:, 0]
        least[open_] = cut(vocab, open_)[0]
    return least


def sample(call: SampleCall) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See :func:`t2fast_kernels.sample.sample`."""
    logits, seed, prompt, sample, step, settings, per_row, top_k_first, counts, logit_bias, allowed, n_logprobs = call
    temperature, top_k, top_p, min_p, repetition, presence, frequency = (
        value if row is None else row.reshape(-1, 1) for value, row in zip(settings, per_row, strict=True)
    )
    rows, vocab = logits.shape
    x = processed(logits, repetition, presence, frequency, counts, logit_bias, allowed)
    top = x.amax(1)
    y = heated(x, temperature)
    total = y.logsumexp(1)
    chosen = y
    cold = torch.as_tensor(temperature, device=x.device) <= 0
    if not bool(cold.all()):
        chosen = y + torch.where(cold, 0.0, gumbel(vocab, seed, prompt, sample, step))
        if any(row is not None for row in per_row[1:4]) or list(settings[1:4]) != [0, 1, 0]:
            chosen.masked_fill_(y < threshold(y, top_k, top_p, min_p, top_k_first), -torch.inf)
    tokens = chosen.argmax(1)
    empty, broken = top == -torch.inf, top.isnan() | (top == torch.inf)
    logprobs = torch.where(empty, -torch.inf, y.gather(1, tokens[:, None])[:, 0] - total)
    logprobs = torch.where(broken, torch.nan, logprobs)
    tokens = torch.where(broken | empty, -1, tokens)
    if not n_logprobs:
        return tokens, logprobs, tokens.new_empty(rows, 0), logprobs.new_empty(rows, 0)
    # One integer per token that sorts by logit, then by lowest index; adding 0 makes one zero of two.
    bits = (x + 0.0).view(torch.int32).long()
    rank = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits) * vocab - torch.arange(vocab, device=x.device)
    top_tokens = rank.topk(n_logprobs, dim=1).indices
    top_logprobs = y.gather(1, top_tokens) - total[:, None]
    impossible = empty[:, None] | (top_logprobs == -torch.inf)
    top_tokens = top_tokens.masked_fill(impossible | broken[:, None], -1)
    top_logprobs = top_logprobs.masked_fill(impossible, -torch.inf).masked_fill(broken[:, None], torch.nan)
    return tokens, logprobs, top_tokens, top_logprobs
