"""Sampling as one writes it on a blackboard: fp64, one row at a time, everything sorted."""

from __future__ import annotations

import math

import numpy as np


def philox(counter: list[int], seed: int) -> list[int]:
    c, (k0, k1) = list(counter), (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k0, b & 0xFFFFFFFF, a >> 32 ^ c[3] ^ k1, a & 0xFFFFFFFF]
        k0, k1 = k0 + 0x9E3779B9 & 0xFFFFFFFF, k1 + 0xBB67AE85 & 0xFFFFFFFF
    return c


def variate(index: int, stream: int, seed: int, prompt: int, sample: int, step: int) -> float:
    word = philox([stream + index // 4, step, sample, prompt], seed)[index % 4]
    return -math.log1p(-(word + 0.5) / 2.0**32)


def clocks(x, *key: int) -> np.ndarray:
    """When each token rings, after exponential times of the rates exp(x), as negative logarithms."""
    times = np.full(len(x), np.inf)
    for g in range(0, len(x), 32):
        weight = {t: math.exp(x[t] - max(x)) for t in range(g, min(g + 32, len(x)))}
        possible = [t for t in weight if weight[t] > 0]
        if not possible:
            continue
        first = variate(g // 32, 1 << 31, *key) / sum(weight.values())
        leader = min(possible, key=lambda t: variate(t, 0, *key) / weight[t])
        for t in possible:
            times[t] = first if t == leader else first + variate(t, 1 << 30, *key) / weight[t]
    with np.errstate(divide="ignore"):
        return max(x) - np.log(times)


def processed(
    logits, temperature=1.0, repetition=1.0, presence=0.0, frequency=0.0, counts=None, bias=None, allowed=None
):
    x = np.array(logits, dtype=np.float64)
    if bias is not None:
        x += bias
    for t in range(len(x)) if counts is not None else ():
        if counts[t] != 0:
            x[t] = x[t] / repetition if x[t] > 0 else x[t] * repetition
        if counts[t] > 0:
            x[t] -= presence + frequency * counts[t]
    if allowed is not None:
        x[~np.asarray(allowed)] = -np.inf
    return x / temperature if temperature > 0 else x


def kept(x, top_k=0, top_p=1.0, min_p=0.0, top_k_first=False) -> np.ndarray:
    weight = np.exp(x - x.max())
    n_above = np.array([(x > level).sum() for level in x])
    above = np.array([weight[x > level].sum() for level in x])
    within = n_above < top_k if top_k else np.ones(len(x), bool)
    whole = weight[within].sum() if top_k_first else weight.sum()
    keep = within & (weight >= min_p * (1 - 1e-12))
    if top_p < 1:
        keep &= above < top_p * whole
    return keep | (x == x.max())


def log_softmax(x) -> np.ndarray:
    return x - x.max() - math.log(np.exp(x - x.max()).sum())
