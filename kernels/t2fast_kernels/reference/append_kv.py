"""Writing new keys and values into a paged cache, the heads' norms and rotary embedding included, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from t2fast_kernels.calls import AppendCall
from t2fast_kernels.reference.rms_norm import normed

__all__ = ["append_kv"]


def append_kv(call: AppendCall) -> None:
    """See :func:`t2fast_kernels.append_kv.append_kv`; writes ``k_cache``, ``v_cache`` and ``q_out``."""
    k, v, k_cache, v_cache, block_tables, row_table, index = call[:7]
    q, cos, sin, k_scale, v_scale = call.q, call.cos, call.sin, call.k_scale, call.v_scale
    if call.k_norm is not None:
        k = normed(k, call.k_norm, call.eps)
    if q is not None and call.q_norm is not None:
        q = normed(q, call.q_norm, call.eps)
    if cos is not None and sin is not None:
        if call.positions is not None:
            # Tokens that are skipped may carry any position.
            at = torch.where(index >= 0, call.positions, 0).long()
            cos, sin = cos[at], sin[at]
        k = _rotated(k, cos, sin)
        q = None if q is None else _rotated(q, cos, sin)
    if q is not None and call.q_out is not None:
        call.q_out.copy_(q)
    page_size = k_cache.shape[1]
    written = (index >= 0).nonzero()[:, 0]
    token = index[written].long()
    page = block_tables[row_table[written].long(), token // page_size].long()
    for new, cache, scale in ((k, k_cache, k_scale), (v, v_cache, v_scale)):
        values = new[written].float()
        if scale is not None:
            values = values / scale.reshape(-1, 1)
        if cache.element_size() == 1:
            largest = torch.finfo(cache.dtype).max
            values = values.clamp(-largest, largest)
        cache[page, token % page_size] = values.to(cache.dtype)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of the first dimensions, pairing dimension i with i + half (Su et al. 2021, as in Llama)."""
    half = cos.shape[1]
    cos, sin = cos[:, None].float(), sin[:, None].float()
    first, second, rest = x[..., :half].float(), x[..., half : 2 * half].float(), x[..., 2 * half :].float()
    return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], dim=-1)
