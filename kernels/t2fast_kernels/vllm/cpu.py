"""The backend on the CPU, for tests and those without a GPU: the same rows and plans, on the reference operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from vllm import _custom_ops as ops
from vllm.v1.attention.backend import AttentionType, CommonAttentionMetadata
from vllm.v1.attention.backends.cpu_attn import (
    CPUAttentionBackend,
    CPUAttentionBackendImpl,
    CPUAttentionMetadata,
    CPUAttentionMetadataBuilder,
)

from t2fast_kernels.append_kv import append_kv
from t2fast_kernels.attention import prefix_decode
from t2fast_kernels.errors import KernelError
from t2fast_kernels.serving import Rows
from t2fast_kernels.vllm.batch import decoding, planner, prefilling

__all__ = ["SharedPrefixCPUBackend"]


@dataclass
class SharedPrefixCPUMetadata:
    """The two parts of a step."""

    rows: Rows | None = None
    prefill: CPUAttentionMetadata | None = None
    pages: Tensor | None = None  #: int64: what ``prefill.block_table`` counts


class SharedPrefixCPUBuilder(CPUAttentionMetadataBuilder):
    """Plans a step."""

    def __init__(self, kv_cache_spec: Any, layer_names: list[str], vllm_config: Any, device: torch.device) -> None:
        super().__init__(kv_cache_spec, layer_names, vllm_config, device)
        self._init_reorder_batch_threshold(1)
        self.planner = planner(kv_cache_spec, layer_names, vllm_config, device)

    def build(
        self, common_prefix_len: int, common_attn_metadata: CommonAttentionMetadata, fast_build: bool = False
    ) -> Any:
        """Metadata for a step, its decode rows planned."""
        common = common_attn_metadata
        step, n = SharedPrefixCPUMetadata(), decoding(common)
        if n:
            step.rows = self.planner.plan(common.block_table_tensor[:n], common.seq_lens[:n])
        if n < common.num_reqs:
            rest = prefilling(common, n) if n else common
            page = self.kv_cache_spec.block_size
            tables = rest.block_table_tensor[: rest.num_reqs]
            used = torch.arange(tables.shape[1]) * page < rest.seq_lens[: rest.num_reqs, None]
            step.pages, of_entry = tables[used].long().unique(return_inverse=True)
            renamed = torch.zeros_like(tables)
            renamed[used] = of_entry.to(tables.dtype)
            step.prefill = super().build(common_prefix_len, rest.replace(block_table_tensor=renamed), fast_build)
        return step


class SharedPrefixCPUImpl(CPUAttentionBackendImpl):
    """A layer's attention. Keys lie as they do on GPUs; vLLM's own kernels get copies in the order they need."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for unusual, name in (
            (self.alibi_slopes is not None, "ALiBi"),
            (self.is_fp8_kv_cache, "fp8 KV caches on the CPU"),
            (self.attn_type != AttentionType.DECODER, f"attention of type {self.attn_type}"),
        ):
            if unusual:
                raise KernelError(f"{name}: not supported; unset T2FAST_VLLM_CPU to use vLLM's own attention")

    def caches(self, kv_cache: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, ``[n_blocks, block_size, n_kv_heads, head_size]``."""
        k_cache, v_cache = kv_cache.transpose(1, 2).split(self.head_size, dim=-1)
        return k_cache, v_cache

    def do_kv_cache_update(
        self,
        layer: Any,  # noqa: ARG002 (vLLM's signature)
        key: Tensor,
        value: Tensor,
        kv_cache: Tensor,
        slot_mapping: Tensor,
    ) -> None:
        """Write new tokens where the scheduler wants them; a negative slot is padding."""
        slots = slot_mapping.int()
        every_page = torch.arange(len(kv_cache), dtype=torch.int32)[None]
        n = len(slots)
        append_kv(key[:n], value[:n], *self.caches(kv_cache), every_page, torch.zeros_like(slots), slots)

    def forward(
        self,
        layer: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        kv_cache: Tensor,
        attn_metadata: Any,
        output: Tensor,
        output_scale: Tensor | None = None,
        output_block_scale: Tensor | None = None,
    ) -> Tensor:
        """Attention of a step's tokens, whose keys and values are in the cache already, into ``output``."""
        if output_scale is not None or output_block_scale is not None:
            raise KernelError("quantised outputs: not supported; unset T2FAST_VLLM_CPU")
        if attn_metadata is None:  # vLLM warms up
            return output
        rows, prefill = attn_metadata.rows, attn_metadata.prefill
        n = 0
        if rows is not None:
            n = len(rows.seq_lens)
            self.decode(query[:n], kv_cache, rows, output[:n])
        if prefill is not None:
            pages = self.packed(layer, kv_cache, attn_metadata.pages)
            super().forward(layer, query[n:], key[n:], value[n:], pages, prefill, output[n:])
        return output

    def decode(self, query: Tensor, kv_cache: Tensor, rows: Rows, output: Tensor) -> None:
        """One token of each row."""
        k_cache, v_cache = self.caches(kv_cache)
        prefix_decode(
            query,
            k_cache,
            v_cache,
            rows.block_tables,
            rows.seq_lens,
            rows.buffers,
            scale=self.scale,
            window=max(0, self.sliding_window),
            logits_soft_cap=self.logits_soft_cap or None,
            sinks=None if self.sinks is None else self.sinks.float(),
            out=output,
        )

    def packed(self, layer: Any, kv_cache: Tensor, pages: Tensor) -> Tensor:
        """Some pages of the cache as vLLM's kernels for this processor keep them."""
        taken = kv_cache[pages]
        n, heads, page, both = taken.shape
        packed = torch.empty_like(taken, memory_format=torch.contiguous_format)
        keys, values = (cache.flatten(0, 1) for cache in self.caches(taken))
        ops.cpu_attn_reshape_and_cache(
            keys, values, *packed.view(n, heads, 2 * page, both // 2).chunk(2, dim=2), torch.arange(n * page), layer.isa
        )
        return packed


class SharedPrefixCPUBackend(CPUAttentionBackend):
    """In the place of vLLM's own."""

    @staticmethod
    def get_impl_cls() -> type[SharedPrefixCPUImpl]:
        """Of layers."""
        return SharedPrefixCPUImpl

    @staticmethod
    def get_builder_cls() -> type[SharedPrefixCPUBuilder]:
        """Of metadata."""
        return SharedPrefixCPUBuilder
