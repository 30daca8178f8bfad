"""The backend on GPUs: rows that decode go through ``prefix_decode``, all else through vLLM's Triton attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from vllm.platforms import current_platform
from vllm.utils.torch_utils import is_quantized_kv_cache
from vllm.v1.attention.backend import AttentionCGSupport, AttentionType, CommonAttentionMetadata
from vllm.v1.attention.backends.triton_attn import (
    TritonAttentionBackend,
    TritonAttentionImpl,
    TritonAttentionMetadata,
    TritonAttentionMetadataBuilder,
)

from t2fast_kernels.errors import KernelError
from t2fast_kernels.serving import Rows
from t2fast_kernels.vllm.batch import decoding, planner, prefilling
from t2fast_kernels.vllm.layer import SharedPrefixLayer

__all__ = ["SharedPrefixBackend"]


@dataclass
class SharedPrefixMetadata(TritonAttentionMetadata):
    """Of a whole step, and of its two parts."""

    rows: Rows | None = None
    prefill: TritonAttentionMetadata | None = None


class SharedPrefixBuilder(TritonAttentionMetadataBuilder):
    """Plans outside of graphs, into memory that graphs read."""

    _cudagraph_support: ClassVar[AttentionCGSupport] = AttentionCGSupport.UNIFORM_SINGLE_TOKEN_DECODE
    supports_draft_decode_metadata_update = False

    def __init__(self, kv_cache_spec: Any, layer_names: list[str], vllm_config: Any, device: torch.device) -> None:
        super().__init__(kv_cache_spec, layer_names, vllm_config, device)
        self.supports_draft_decode_metadata_update = False
        self._init_reorder_batch_threshold(1)
        self.planner = planner(kv_cache_spec, layer_names, vllm_config, device)

    def build(
        self, common_prefix_len: int, common_attn_metadata: CommonAttentionMetadata, fast_build: bool = False
    ) -> SharedPrefixMetadata:
        """Metadata for a step, its decode rows planned."""
        common = common_attn_metadata
        whole = super().build(common_prefix_len, common, fast_build)
        step = SharedPrefixMetadata(**vars(whole))
        n = decoding(common)
        if n:
            step.rows = self.planner.plan(common.block_table_tensor[:n], common.seq_lens[:n])
        if n == 0:
            step.prefill = whole
        elif n < common.num_reqs:
            step.prefill = super().build(common_prefix_len, prefilling(common, n), fast_build)
        return step

    def build_for_cudagraph_capture(self, common_attn_metadata: CommonAttentionMetadata) -> SharedPrefixMetadata:
        """As ``build``, of sequences of one token: nobody reads what a capture computes."""
        common_attn_metadata.seq_lens.fill_(1)
        return self.build(0, common_attn_metadata)


class SharedPrefixImpl(SharedPrefixLayer, TritonAttentionImpl):
    """A layer's attention."""

    remedy = "use another --attention-backend"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.alibi_slopes is not None:
            raise KernelError(f"ALiBi: not supported; {self.remedy}")
        if self.chunk_lookback > -1:
            raise KernelError(f"chunked attention with lookback: not supported; {self.remedy}")
        # Queries stay in 16 bits. So does the output, whatever comes after it.
        self.supports_quant_query_input = False
        self.window = self.sliding_window[0] + 1  # 0: none

    def fused_output_quant_supported(self, quant_key: Any) -> bool:  # noqa: ARG002 (vLLM's signature)
        """Whether the output may be quantised in the same kernel: no."""
        return False

    def prefill(
        self,
        layer: Any,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        kv_cache: Tensor,
        attn_metadata: SharedPrefixMetadata,
        output: Tensor,
    ) -> None:
        """Requests that are still being read, by vLLM's Triton attention."""
        TritonAttentionImpl.forward(self, layer, query, key, value, kv_cache, attn_metadata.prefill, output)

    def caches(self, kv_cache: Tensor) -> tuple[Tensor, Tensor]:
        """As on the CPU, and of their own type where they are quantised."""
        k_cache, v_cache = super().caches(kv_cache)
        if is_quantized_kv_cache(self.kv_cache_dtype):
            return k_cache.view(self.fp8_dtype), v_cache.view(self.fp8_dtype)
        return k_cache, v_cache

    def scales(self, layer: Any) -> tuple[Tensor | None, Tensor | None]:
        """Those of quantised caches."""
        return (layer._k_scale, layer._v_scale) if is_quantized_kv_cache(self.kv_cache_dtype) else (None, None)


class SharedPrefixBackend(TritonAttentionBackend):
    """What vLLM asks before it chooses this backend. Whatever is not handled is refused here, or by a layer."""

    supported_kv_cache_dtypes: ClassVar[list[Any]] = ["auto", "float16", "bfloat16", "fp8", "fp8_e4m3"]

    @staticmethod
    def get_name() -> str:
        """As users write it."""
        return "CUSTOM"

    @staticmethod
    def get_impl_cls() -> type[SharedPrefixImpl]:
        """Of layers."""
        return SharedPrefixImpl

    @staticmethod
    def get_builder_cls() -> type[SharedPrefixBuilder]:
        """Of metadata."""
        return SharedPrefixBuilder

    @classmethod
    def supports_head_size(cls, head_size: int) -> bool:
        """What both the decode kernels and vLLM's Triton attention take."""
        return 32 <= head_size <= 256

    @classmethod
    def supports_kv_cache_dtype(cls, kv_cache_dtype: Any) -> bool:
        """fp8 where it is the IEEE kind, which older AMD cards don't have."""
        if kv_cache_dtype in ("fp8", "fp8_e4m3") and current_platform.fp8_dtype() != torch.float8_e4m3fn:
            return False
        return super().supports_kv_cache_dtype(kv_cache_dtype)

    @classmethod
    def supports_combination(
        cls, head_size: int, dtype: torch.dtype, kv_cache_dtype: Any, *args: Any, **kwargs: Any
    ) -> str | None:
        """Caches of 16 bits have the model's dtype."""
        if kv_cache_dtype in ("float16", "bfloat16") and dtype != getattr(torch, kv_cache_dtype):
            return f"a {kv_cache_dtype} KV cache for a model in {dtype} is not supported"
        return super().supports_combination(head_size, dtype, kv_cache_dtype, *args, **kwargs)

    @classmethod
    def supports_attn_type(cls, attn_type: str) -> bool:
        """Decoders alone."""
        return attn_type == AttentionType.DECODER

    @classmethod
    def supports_non_causal(cls) -> bool:
        """No."""
        return False

    @classmethod
    def supports_mm_prefix(cls) -> bool:
        """No."""
        return False

    @classmethod
    def supports_rswa(cls) -> bool:
        """No."""
        return False

    @classmethod
    def supports_alibi_sqrt(cls) -> bool:
        """No."""
        return False

    @classmethod
    def supports_batch_invariance(cls) -> bool:
        """No: what is read once depends on a row's neighbours, and with it the order of sums."""
        return False

    @classmethod
    def supports_device_cpu_query_lens_mismatch(cls) -> bool:
        """No: rows are told from requests by the lengths that the CPU knows."""
        return False
