"""A step of vLLM's scheduler, split into rows that decode one token and requests that are still being read."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from vllm.config import VllmConfig
from vllm.v1.attention.backend import CommonAttentionMetadata
from vllm.v1.attention.backends.utils import get_num_attention_heads_from_layers, split_decodes_and_prefills
from vllm.v1.kv_cache_interface import AttentionSpec

from t2fast_kernels.errors import KernelError
from t2fast_kernels.serving import RowPlanner

__all__ = ["decoding", "planner", "prefilling"]

#: Fields with one entry per request, and per token.
_REQUESTS = (
    "seq_lens",
    "block_table_tensor",
    "encoder_seq_lens",
    "encoder_seq_lens_cpu",
    "is_prefilling",
    "seq_lens_cpu_upper_bound",
    "req_idx",
    "rswa_prefix_lens",
)
_TOKENS = ("slot_mapping", "positions")
_CACHES = ("_num_computed_tokens_cache", "_token_to_req_indices_cache")


def planner(spec: AttentionSpec, layers: list[str], config: VllmConfig, device: torch.device) -> RowPlanner:
    """For one group of layers; ``spec`` with the kernels' block size, as builders get it."""
    if spec.head_size_v != spec.head_size:
        raise KernelError(
            f"keys have {spec.head_size} dimensions, values {spec.head_size_v}: "
            "they must be alike; use another --attention-backend"
        )
    heads = get_num_attention_heads_from_layers(config, layers)
    sizes = config.compilation_config.cudagraph_capture_sizes or []
    return RowPlanner(
        max(config.scheduler_config.max_num_seqs, *sizes, 1),  # graphs pad the rows
        heads or config.model_config.get_num_attention_heads(config.parallel_config),
        spec.num_kv_heads,
        spec.head_size,
        page_size=spec.block_size,
        device=device,
        itemsize=spec.dtype.itemsize,
    )


def decoding(common: CommonAttentionMetadata) -> int:
    """How many requests at the front decode one token each, with nothing unusual about what they see."""
    if common.causal is not True or common.mm_req_doc_ranges is not None or common.rswa_prefix_lens is not None:
        return 0
    n, n_others, _, _ = split_decodes_and_prefills(common)
    starts = common.query_start_loc_cpu
    n_tokens = int(starts[n])
    # Behind the last request there may be padding without tokens. Otherwise each must have one, or rows of queries and
    # of tables would be different ones; and where a graph reads the plan already, there is no way back.
    if bool((starts[1 : n_tokens + 1] - starts[:n_tokens] != 1).any()) or (n_others and n_tokens < n):
        lengths = (starts[1:] - starts[:-1]).tolist()
        raise KernelError(f"decoding requests with {lengths[:n]} new tokens: must be 1 each, padding (0) at the end")
    return n


def prefilling(common: CommonAttentionMetadata, first: int) -> CommonAttentionMetadata:
    """The requests from ``first`` on, in whose place each one before had one token."""
    changes: dict[str, Any] = {
        "query_start_loc": common.query_start_loc[first:] - first,
        "query_start_loc_cpu": common.query_start_loc_cpu[first:] - first,
        "num_reqs": common.num_reqs - first,
        "num_actual_tokens": common.num_actual_tokens - first,
    }
    known = {field.name for field in fields(common)}
    for name in (*_REQUESTS, *_TOKENS):
        if name in known and (value := getattr(common, name)) is not None:
            changes[name] = value[first:]
    changes |= {name: None for name in _CACHES if name in known}
    return common.replace(**changes)
