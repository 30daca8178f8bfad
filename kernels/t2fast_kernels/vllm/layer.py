"""A layer's attention in a step's two parts, for both backends: rows that decode, and what is still being read."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from t2fast_kernels.attention import prefix_decode
from t2fast_kernels.errors import KernelError
from t2fast_kernels.serving import Rows

__all__ = ["SharedPrefixLayer"]


class SharedPrefixLayer:
    """In front of the class of vLLM that does ``prefill``; a backend says what else is its own."""

    #: What to do instead where something is not supported.
    remedy: ClassVar[str]
    #: How many tokens a row sees, 0: all. The rest is vLLM's.
    window: int
    head_size: int
    scale: float
    logits_soft_cap: float | None
    sinks: Tensor | None

    def forward(
        self,
        layer: Any,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        kv_cache: Tensor,
        attn_metadata: Any,
        output: Tensor,
        output_scale: Tensor | None = None,
        output_block_scale: Tensor | None = None,
    ) -> Tensor:
        """Attention of a step's tokens, whose keys and values are in the cache already, into ``output``."""
        if output_scale is not None or output_block_scale is not None:
            raise KernelError(f"quantised outputs: not supported; {self.remedy}")
        if attn_metadata is None:  # vLLM warms up, or measures memory
            return output.fill_(0)
        rows, n = attn_metadata.rows, 0
        if rows is not None:
            n = len(rows.seq_lens)
            self.decode(layer, query[:n], kv_cache, rows, output[:n])
        if attn_metadata.prefill is not None:
            k, v = (None if tensor is None else tensor[n:] for tensor in (key, value))
            self.prefill(layer, query[n:], k, v, kv_cache, attn_metadata, output[n:])
        return output

    def prefill(
        self,
        layer: Any,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        kv_cache: Tensor,
        attn_metadata: Any,
        output: Tensor,
    ) -> None:
        """Requests that are still being read, by vLLM's own attention."""
        raise NotImplementedError

    def caches(self, kv_cache: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, ``[n_blocks, block_size, n_kv_heads, head_size]``.

        vLLM keeps them side by side, ``[n_blocks, n_kv_heads, block_size, 2 * head_size]``, in any order.
        """
        k_cache, v_cache = kv_cache.transpose(1, 2).split(self.head_size, dim=-1)
        return k_cache, v_cache

    def scales(self, layer: Any) -> tuple[Tensor | None, Tensor | None]:  # noqa: ARG002 (where caches have none)
        """What the cache's keys and values are multiplied by."""
        return None, None

    def decode(self, layer: Any, query: Tensor, kv_cache: Tensor, rows: Rows, output: Tensor) -> None:
        """One token of each row."""
        k_cache, v_cache = self.caches(kv_cache)
        k_scale, v_scale = self.scales(layer)
        prefix_decode(
            query,
            k_cache,
            v_cache,
            rows.block_tables,
            rows.seq_lens,
            rows.buffers,
            scale=self.scale,
            window=self.window,
            logits_soft_cap=self.logits_soft_cap or None,
            sinks=None if self.sinks is None else self.sinks.float(),
            k_scale=k_scale,
            v_scale=v_scale,
            out=output,
        )
