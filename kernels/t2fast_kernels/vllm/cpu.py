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
from t2fast_kernels.errors import KernelError
from t2fast_kernels.serving import Rows
from t2fast_kernels.vllm.batch import decoding, planner, prefilling
from t2fast_kernels.vllm.layer import SharedPrefixLayer

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


class SharedPrefixCPUImpl(SharedPrefixLayer, CPUAttentionBackendImpl):
    """A layer's attention. Keys lie as they do on GPUs; vLLM's own kernels get copies in the order they need."""

    remedy = "unset T2FAST_VLLM_CPU to use vLLM's own attention"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.window = max(0, self.sliding_window)
        for unusual, name in (
            (self.alibi_slopes is not None, "ALiBi"),
            (self.is_fp8_kv_cache, "fp8 KV caches on the CPU"),
            (self.attn_type != AttentionType.DECODER, f"attention of type {self.attn_type}"),
        ):
            if unusual:
                raise KernelError(f"{name}: not supported; {self.remedy}")

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
        """Requests that are still being read, by vLLM's own attention, over copies of their pages."""
        pages = self.packed(layer, kv_cache, attn_metadata.pages)
        CPUAttentionBackendImpl.forward(self, layer, query, key, value, pages, attn_metadata.prefill, output)

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
