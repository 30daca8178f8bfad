"""Copying pages of a paged cache."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["source", "destination", "page_size", "blocks"])
def copy_kernel(
    k_cache,
    k_page_stride,
    k_slot_stride,
    k_head_stride,
    v_cache,
    v_page_stride,
    v_slot_stride,
    v_head_stride,
    source,
    destination,
    page_size,
    blocks,  # of a page
    HEADS: tl.constexpr,
    DIM: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A block of one page of both caches."""
    copy = tl.program_id(0) // blocks
    to = tl.load(destination + copy).to(tl.int64)
    if to >= 0:
        whence = tl.load(source + copy).to(tl.int64)
        # In 64 bits: a contiguous cache is one page as large as itself.
        element = (tl.program_id(0) % blocks).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        mask = element < page_size.to(tl.int64) * (HEADS * DIM)
        slot, head, dim = element // (HEADS * DIM), element // DIM % HEADS, element % DIM
        k_at = k_cache + slot * k_slot_stride + head * k_head_stride + dim
        tl.store(k_at + to * k_page_stride, tl.load(k_at + whence * k_page_stride, mask=mask), mask=mask)
        v_at = v_cache + slot * v_slot_stride + head * v_head_stride + dim
        tl.store(v_at + to * v_page_stride, tl.load(v_at + whence * v_page_stride, mask=mask), mask=mask)
