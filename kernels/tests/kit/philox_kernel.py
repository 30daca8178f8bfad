"""Triton's own Philox, for comparison."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def philox_kernel(seed, words, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    c0 = tl.load(words + i).to(tl.uint32, bitcast=True)
    c1 = tl.load(words + n + i).to(tl.uint32, bitcast=True)
    c2 = tl.load(words + 2 * n + i).to(tl.uint32, bitcast=True)
    c3 = tl.load(words + 3 * n + i).to(tl.uint32, bitcast=True)
    r0, r1, r2, r3 = tl.philox(tl.load(seed), c0, c1, c2, c3)
    tl.store(out + i, r0.to(tl.int32, bitcast=True))
    tl.store(out + n + i, r1.to(tl.int32, bitcast=True))
    tl.store(out + 2 * n + i, r2.to(tl.int32, bitcast=True))
    tl.store(out + 3 * n + i, r3.to(tl.int32, bitcast=True))
