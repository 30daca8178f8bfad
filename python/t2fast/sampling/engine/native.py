"""The operators on CPU tensors by the compiled core: same arguments, same results, several times as fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t2fast import _core
from t2fast_kernels.backend import native, use_native
from t2fast_kernels.calls import AppendCall, DecodeCall, SampleCall
from t2fast_kernels.reference import sample as reference
from t2fast_kernels.sample import SETTINGS

__all__ = ["Compiled", "Rows", "install", "read_texts"]

#: What the core computes with; everything else is the reference's.
_KINDS = (torch.float32, torch.bfloat16)
#: Narrower registers gain nothing.
_LANES = 4
#: What the core says of a row whose token rounding may decide.
_CLOSE = -2
_OFF = [off for off, _, _ in SETTINGS.values()]


class Compiled:
    """Implements :class:`t2fast_kernels.backend.Native`."""

    def prefix_decode(self, call: DecodeCall) -> bool:
        """Attention of a decode step, unless a type, a scale of the cache or a stride is not the core's."""
        q, k, v, out, counts = call.q, call.k_cache, call.v_cache, call.out, call.planned[0]
        plain = (
            q.dtype in _KINDS
            and k.dtype == q.dtype
            and call.k_scale is None
            and call.v_scale is None
            and call.out_scale == 1
            and k.is_contiguous()
            and v.is_contiguous()
            and out.is_contiguous()
            and call.block_tables.is_contiguous()
            and int(counts[1]) <= len(q)
        )
        if not plain:
            return False
        sums = q.new_empty(q.shape[:2], dtype=torch.float32) if call.lse is None else call.lse
        _core.decode_step(
            _array(q.contiguous()),
            _array(k),
            _array(v),
            call.block_tables.numpy(),
            call.seq_lens.contiguous().numpy(),
            tuple([part.numpy() for part in call.planned]),
            None if call.sinks is None else call.sinks.detach().contiguous().numpy(),
            _array(out),
            sums.numpy(),
            call.scale,
            call.window,
            call.logits_soft_cap,
            torch.get_num_threads(),
        )
        return True

    def append_kv(self, call: AppendCall) -> bool:
        """New keys and values as they are: neither normalised nor turned nor scaled nor in another type."""
        k, cache = call.k, call.k_cache
        plain = (
            k.dtype in _KINDS
            and cache.dtype == k.dtype
            and call.cos is None
            and call.q is None
            and call.k_norm is None
            and call.k_scale is None
            and call.v_scale is None
            and cache.is_contiguous()
            and call.v_cache.is_contiguous()
            and call.block_tables.is_contiguous()
        )
        if plain:
            _core.append_tokens(
                _array(k.contiguous()),
                _array(call.v.contiguous()),
                _array(cache),
                _array(call.v_cache),
                call.block_tables.numpy(),
                call.row_table.numpy(),
                call.token_index.numpy(),
            )
        return plain

    def sample(self, call: SampleCall) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """The reference's tokens: the few rows where rounding may decide are drawn by it."""
        rows = len(call.logits)
        if call.n_logprobs or not rows:
            return None
        temperature, top_k, top_p, min_p, repetition, presence, frequency = (
            value if row is None else row.reshape(-1, 1) for value, row in zip(call.settings, call.per_row, strict=True)
        )
        x = reference.processed(
            call.logits, repetition, presence, frequency, call.counts, call.logit_bias, call.allowed
        ).contiguous()
        least = None
        if any(row is not None for row in call.per_row[1:4]) or list(call.settings[1:4]) != _OFF[1:4]:
            y = reference.heated(x, temperature)
            least = reference.threshold(y, top_k, top_p, min_p, call.top_k_first)[:, 0].contiguous()
        heat = torch.as_tensor(temperature, dtype=torch.float32).reshape(-1)
        tokens, logprobs = torch.empty(rows, dtype=torch.int64), torch.empty(rows, dtype=torch.float32)
        seed, prompt, sample, step = (
            key.long().expand(rows).contiguous().numpy() for key in (call.seed, call.prompt, call.sample, call.step)
        )
        _core.draw_tokens(
            x.detach().numpy(),
            seed,
            prompt,
            sample,
            step,
            heat.expand(rows).contiguous().numpy(),
            None if least is None else least.numpy(),
            tokens.numpy(),
            logprobs.numpy(),
        )
        close = (tokens == _CLOSE).nonzero()[:, 0]
        if len(close):
            tokens[close], logprobs[close], _, _ = reference.sample(_of_rows(call, close))
        return tokens, logprobs, tokens.new_empty(rows, 0), logprobs.new_empty(rows, 0)


def read_texts(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    spans: Sequence[Sequence[int]],
    places: Sequence[Tensor],
    sinks: Tensor | None,
    out: Tensor,
    scale: float,
    window: int | None,
    soft_cap: float | None,
) -> bool:
    """Attention of texts read for the first time, keys and values in the cache already; False: not the core's.

    Parameters
    ----------
    q, out
        ``[tokens, heads, head_dim]``.
    k_cache, v_cache
        ``[pages, page_size, n_kv_heads, head_dim]``.
    spans, places
        First and last token, exclusive, of each span of new tokens; and where its text lies, from its start to the
        span's end: token numbers over all pages.
    sinks, scale, window, soft_cap
        As for ``prefix_decode``.
    """
    ours = isinstance(native(q), Compiled)
    if not (ours and q.dtype in _KINDS and k_cache.dtype == q.dtype and k_cache.is_contiguous()):
        return False
    _core.read_texts(
        _array(q.contiguous()),
        _array(k_cache),
        _array(v_cache),
        np.array(spans, np.int64),
        [one.contiguous().numpy() for one in places],
        None if sinks is None else sinks.detach().float().contiguous().numpy(),
        _array(out),
        scale,
        window or 0,
        soft_cap or 0.0,
        torch.get_num_threads(),
    )
    return True


class Rows:
    """Rows of decode steps whose tables, lengths and plan stay where they are: the core's own reading, layer by layer.

    The operators would look every layer at what is the same in all of them.

    Parameters
    ----------
    tables, table, index, lens, planned
        As for ``append_kv`` and ``prefix_decode``, on the CPU.
    """

    def __init__(self, tables: Tensor, table: Tensor, index: Tensor, lens: Tensor, planned: Sequence[Tensor]) -> None:
        self._tables, self._table, self._index, self._lens = (t.numpy() for t in (tables, table, index, lens))
        self._planned = tuple([part.numpy() for part in planned])
        self._plain = all(part.flags.c_contiguous for part in (self._tables, self._lens))
        self._sums = np.empty((0, 0), np.float32)

    def read(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        k_cache: Tensor,
        v_cache: Tensor,
        sinks: Tensor | None,
        scale: float,
        window: int | None,
        soft_cap: float | None,
    ) -> Tensor | None:
        """Store keys and values of new tokens and give the attention's output; None: not the core's.

        Parameters
        ----------
        q, k, v
            ``[rows, heads, head_dim]``.
        k_cache, v_cache
            ``[pages, page_size, n_kv_heads, head_dim]``.
        sinks, scale, window, soft_cap
            As for ``prefix_decode``.
        """
        plain = (
            self._plain
            and type(native(q)) is Compiled
            and q.dtype in _KINDS
            and q.dtype == k.dtype == v.dtype == k_cache.dtype == v_cache.dtype
            and k_cache.is_contiguous()
            and v_cache.is_contiguous()
            and len(q) == len(self._lens)
            and self._planned[0][1] <= len(q)
        )
        if not plain:
            return None
        q = q.contiguous()
        keys, values = _array(k_cache), _array(v_cache)
        _core.append_tokens(
            _array(k.contiguous()), _array(v.contiguous()), keys, values, self._tables, self._table, self._index
        )  # fmt: skip
        out = torch.empty_like(q)
        if self._sums.shape != q.shape[:2]:
            self._sums = np.empty(q.shape[:2], np.float32)
        _core.decode_step(
            _array(q),
            keys,
            values,
            self._tables,
            self._lens,
            self._planned,
            None if sinks is None else sinks.detach().float().contiguous().numpy(),
            _array(out),
            self._sums,
            scale,
            window or 0,
            soft_cap or 0.0,
            torch.get_num_threads(),
        )
        return out


def _of_rows(call: SampleCall, rows: Tensor) -> SampleCall:
    """The same call for some of its rows."""
    n = len(call.logits)

    def taken(part: Tensor) -> Tensor:
        return part.expand(n)[rows]

    def tables(part: Tensor | None) -> Tensor | None:
        return part if part is None or part.dim() == 1 else part[rows]

    per_row: Sequence[Tensor | None] = [None if row is None else taken(row) for row in call.per_row]
    return call._replace(
        logits=call.logits[rows],
        seed=taken(call.seed),
        prompt=taken(call.prompt),
        sample=taken(call.sample),
        step=taken(call.step),
        per_row=per_row,
        counts=tables(call.counts),
        logit_bias=tables(call.logit_bias),
        allowed=tables(call.allowed),
    )


def _array(tensor: Tensor) -> Any:
    """A tensor as an array in place; bfloat16, which NumPy lacks, as bits."""
    tensor = tensor.detach()
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def install() -> None:
    """Let operators on CPU tensors run the core, where its registers are wide enough to gain."""
    if _core.vector_lanes() >= _LANES:
        use_native(Compiled())
