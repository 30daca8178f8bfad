"""Exact sampling in plain PyTorch: what CPU tensors run, and the readable truth beside the kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from t2fast_kernels.calls import SampleCall

__all__ = ["clocks", "exponentials", "heated", "leaders", "philox", "processed", "sample", "threshold"]

_LOW = 0xFFFFFFFF
#: Tokens that share a noise: 32 that follow one another, the first of them a multiple of 32.
GROUP = 32
#: Added to the first word of a counter: three streams of noise.
_FIRST, _GROUP, _LATER = 0, 1 << 31, 1 << 30
#: Groups worked on at a time, so that the integer temporaries stay in a core's cache.
_BLOCK = 4096
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


def exponentials(quad: Tensor, seed: Tensor, prompt: Tensor, sample: Tensor, step: Tensor) -> Tensor:
    """Exponential variates, fp32 ``[..., 4]``: -log(1 - u) with u = (word + 1/2) / 2^32.

    The words are Philox's four at the counters (quad, step, sample, prompt); all arguments are int64 and broadcast. The
    smallest variates, which win, come from u near 0, where fp32 is dense.
    """
    words = torch.stack(philox([quad, step & _LOW, sample & _LOW, prompt & _LOW], seed), -1)
    low = words < 1 << 26  # u < 1/64: there the series is as exact as fp32; above, the complement 1 - u is
    u = torch.where(low, words, _LOW - words).float().add_(0.5).mul_(2.0**-32)
    series = u * (1 + u * (1 / 2 + u * (1 / 3 + u * (1 / 4))))
    return torch.where(low, series, u.log().neg_())


def _grouped(y: Tensor) -> Tensor:
    """Heated logits ``[rows, groups, 32]``, -inf beyond the vocabulary."""
    padded = torch.nn.functional.pad(y, (0, -y.shape[1] % GROUP), value=-torch.inf)
    groups: Tensor = padded.unflatten(1, (-1, GROUP))
    return groups


def _near(groups: Tensor) -> Tensor:
    """What exponents are taken beside: the maximum of a group, but 0 where it is impossible."""
    first = groups.amax(-1, keepdim=True)
    return torch.where(first == -torch.inf, 0.0, first)


def leaders(y: Tensor, seed: Tensor, prompt: Tensor, sample: Tensor, step: Tensor) -> Tensor:
    """The first group of each row to ring, ``[rows, 1]``."""
    groups = _grouped(y)
    near = _near(groups)
    four = torch.arange(_GROUP, _GROUP + (groups.shape[1] + 3) // 4, device=y.device)
    rings = exponentials(four, *(key.reshape(-1, 1) for key in (seed, prompt, sample, step))).flatten(1)
    weight = (groups - near).exp().sum(2)
    return (near[:, :, 0] + (weight / rings[:, : groups.shape[1]]).log()).argmax(1, keepdim=True)


def clocks(y: Tensor, seed: Tensor, prompt: Tensor, sample: Tensor, step: Tensor, live: Tensor | None = None) -> Tensor:
    """When each token's clock rings, as its negative logarithm: fp32 ``[rows, vocab]``, the largest first.

    Token t of weight w = exp(y) rings after an exponential time of rate w, independently of all others, so the first
    of any set to ring is t with the probability w over the sum of the set's weights. The times come from few variates.
    Group g of 32 tokens that follow one another first rings after e / (sum of its weights), where e is word g % 4 at
    the counter (2^31 + g // 4, step, sample, prompt); the first of its tokens is the one with the smallest e / w, where
    e is word t % 4 at (t // 4, ...); each other follows after another e / w, of (2^30 + t // 4, ...). Minimum and place
    of the minimum of exponential variates are independent, and what remains of the others is exponential again.

    Keys are ``[rows]`` or broadcast. ``live``, bool ``[rows, groups]``, restricts the work: other groups never ring.
    """
    groups = _grouped(y)
    rows, n_groups = groups.shape[:2]
    key = torch.stack([k.reshape(-1).long().expand(rows) for k in (seed, prompt, sample, step)])
    row, group = (torch.ones(rows, n_groups, device=y.device) if live is None else live).nonzero(as_tuple=True)
    times = torch.full_like(groups, -torch.inf)
    for first in range(0, len(row), _BLOCK):
        r, g = row[first : first + _BLOCK], group[first : first + _BLOCK]
        keys = [k[:, None] for k in key[:, r]]
        its = groups[r, g]
        near = _near(its)
        weight = (its - near).exp()
        quads = (g * (GROUP // 4))[:, None] + torch.arange(GROUP // 4, device=y.device)
        leads = (weight / exponentials(_FIRST + quads, *keys).flatten(1)).argmax(1, keepdim=True)
        rings = exponentials(_GROUP + g[:, None] // 4, *keys)[:, 0].gather(1, g[:, None] % 4)
        later = exponentials(_LATER + quads, *keys).flatten(1) / weight
        times[r, g] = near - (rings / weight.sum(1, keepdim=True) + later.scatter(1, leads, 0.0)).log()
    return times.flatten(1)[:, : y.shape[1]]


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
        key = [k.reshape(-1).long().expand(rows) for k in (seed, prompt, sample, step)]
        filtered = any(row is not None for row in per_row[1:4]) or list(settings[1:4]) != [0, 1, 0]
        if filtered:
            out = y < threshold(y, top_k, top_p, min_p, top_k_first)
            live = _grouped(y.masked_fill(out, -torch.inf)).amax(2) > -torch.inf
            chosen = clocks(y, key[0], key[1], key[2], key[3], live).masked_fill_(out, -torch.inf)
        else:  # then no other group matters
            live = torch.zeros(rows, -(-vocab // GROUP), dtype=torch.bool, device=x.device)
            chosen = clocks(y, key[0], key[1], key[2], key[3], live.scatter_(1, leaders(y, *key), True))
        chosen = torch.where(cold, y, chosen)
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
