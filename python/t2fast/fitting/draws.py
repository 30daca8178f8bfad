"""The core's draws with replacement, made again in Python, so that what is refitted here resamples as the core does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from t2fast.fitting.rows import IntArray

__all__ = ["drawn"]

_LOW = 0xFFFF_FFFF


def drawn(count: int, seed: int, replicate: int) -> IntArray:
    """How often each of ``count`` units is drawn in a replicate of a bootstrap.

    Philox4x32-10 (Salmon et al. 2011) and Lemire's method (2019), as in the core's ``random.rs``.
    """
    out = np.zeros(count, dtype=np.int64)
    numbers = _uniform(seed, replicate)
    for _ in range(count):
        while True:
            product = next(numbers) * count
            low = product & 0xFFFF_FFFF_FFFF_FFFF
            if low >= count or low >= (2**64 - count) % count:
                break
        out[product >> 64] += 1
    return out


def _uniform(seed: int, stream: int) -> Iterator[int]:
    """64 random bits after another."""
    block = 0
    while True:
        x = [block & _LOW, block >> 32, stream & _LOW, stream >> 32]
        k0, k1 = seed & _LOW, seed >> 32
        for _ in range(10):
            a, b = x[0] * 0xD251_1F53, x[2] * 0xCD9E_8D57
            x = [(b >> 32) ^ x[1] ^ k0, b & _LOW, (a >> 32) ^ x[3] ^ k1, a & _LOW]
            k0, k1 = (k0 + 0x9E37_79B9) & _LOW, (k1 + 0xBB67_AE85) & _LOW
        yield x[0] | x[1] << 32
        yield x[2] | x[3] << 32
        block += 1
