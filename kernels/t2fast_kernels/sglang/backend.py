"""SGLang's Triton attention, whose decode kernel gives way to ``prefix_decode`` where that does the same."""

from __future__ import annotations

from typing import Any

import torch
from sglang.srt.layers.attention.triton_backend import TritonAttnBackend
from torch import Tensor

from t2fast_kernels.attention import prefix_decode
from t2fast_kernels.errors import KernelError
from t2fast_kernels.serving import RowPlanner, Rows

__all__ = ["SharedPrefixBackend"]

#: Larger batches are SGLang's.
MOST_ROWS = 1024


class SharedPrefixBackend(TritonAttnBackend):
    """Decode steps are planned outside of graphs from the table of requests, into memory that graphs read.

    SGLang's radix tree has given requests with a common prefix the same slots. Writing to the cache, prompts, windows,
    drafts and everything unusual stay with the base.
    """

    decode_attention_fwd: Any

    def __init__(self, model_runner: Any, **options: Any) -> None:
        super().__init__(model_runner, **options)
        for unusual, name in (
            (self.use_mla, "multi-head latent attention"),
            (self.dcp_size > 1, "decode context parallelism"),
            (self.kv_index_translator.is_translating, "a unified memory pool"),
            (self.enable_deterministic, "deterministic inference"),
            (self.dllm_attention is not None, "diffusion models"),
        ):
            if unusual:
                raise KernelError(f"{name}: not supported; use --attention-backend triton")
        self.planner = RowPlanner(
            min(self.req_to_token_pool.size, MOST_ROWS),
            self.num_head,
            self.num_kv_head,
            self.v_head_dim,
            page_size=self.page_size,
            device=self.device,
            itemsize=self.token_to_kv_pool.dtype.itemsize,
        )
        #: Of the step under way; None: it is the base's.
        self.rows: Rows | None = None
        self._for_graphs: tuple[Tensor, Tensor] | None = None
        self._their_decode: Any = self.decode_attention_fwd
        self.decode_attention_fwd = torch.compiler.disable(self._decode)

    def init_cuda_graph_state(self, max_bs: int, *options: Any, **named: Any) -> None:
        """As the base's, and room for the block tables of graphs."""
        super().init_cuda_graph_state(max_bs, *options, **named)
        n = min(max_bs, self.planner.buffers.max_rows)
        width = -(-self.req_to_token.shape[1] // self.page_size)
        self._for_graphs = (
            torch.zeros(n, width, dtype=torch.int32, device=self.device),
            torch.zeros(n, dtype=torch.int32, device=self.device),
        )

    def init_forward_metadata(self, forward_batch: Any) -> None:
        """Of a step without a graph."""
        super().init_forward_metadata(forward_batch)
        self.rows = None
        if n := self._rows_of(forward_batch):
            width = -(-self.req_to_token.shape[1] // self.page_size)
            tables = torch.empty(n, width, dtype=torch.int32, device=self.device)
            self._plan(forward_batch, tables, torch.empty(n, dtype=torch.int32, device=self.device))

    def init_forward_metadata_out_graph(self, forward_batch: Any, in_capture: bool = False) -> None:
        """Of a step with a graph, before it is captured or replayed."""
        super().init_forward_metadata_out_graph(forward_batch, in_capture)
        self.rows = None
        n = self._rows_of(forward_batch)
        if n and self._for_graphs is not None and n <= len(self._for_graphs[1]):
            tables, lens = self._for_graphs
            self._plan(forward_batch, tables[:n], lens[:n])

    def _rows_of(self, forward_batch: Any) -> int:
        """How many rows decode one token each; 0: none, or they are the base's."""
        if not forward_batch.forward_mode.is_decode() or forward_batch.spec_info is not None:
            return 0
        n = int(forward_batch.batch_size)
        return n if n <= self.planner.buffers.max_rows else 0

    def _plan(self, forward_batch: Any, tables: Tensor, lens: Tensor) -> None:
        n = len(lens)
        slots = self.req_to_token[:, :: self.page_size].index_select(0, forward_batch.req_pool_indices[:n])
        torch.div(slots, self.page_size, rounding_mode="floor", out=tables)
        lens.copy_(forward_batch.seq_lens[:n])
        self.rows = self.planner.plan(tables, lens)

    def _decode(
        self,
        q: Tensor,
        k_buffer: Tensor,
        v_buffer: Tensor,
        o: Tensor,
        kv_indptr: Tensor,
        kv_indices: Tensor,
        attn_logits: Tensor,
        attn_lse: Tensor,
        num_kv_splits: Tensor,
        max_kv_splits: int,
        sm_scale: float,
        k_scale: float,
        v_scale: float,
        **options: Any,
    ) -> None:
        """In the place of SGLang's ``decode_attention_fwd``."""
        theirs = (kv_indptr, kv_indices, attn_logits, attn_lse, num_kv_splits, max_kv_splits, sm_scale)
        if (
            self.rows is None
            or kv_indptr is not self.forward_metadata.kv_indptr  # a layer with a window
            or k_buffer.dim() != 3
            or q.shape[1:] != (self.planner.buffers.n_q_heads, self.planner.buffers.head_dim)
            or options.get("score_mod") is not None
            or options.get("xai_temperature_len", -1) > 0
        ):
            self._their_decode(q, k_buffer, v_buffer, o, *theirs, k_scale, v_scale, **options)
            return
        sinks = options.get("sinks")
        prefix_decode(
            q,
            self._paged(k_buffer),
            self._paged(v_buffer),
            self.rows.block_tables,
            self.rows.seq_lens,
            self.rows.buffers,
            scale=sm_scale,
            logits_soft_cap=options.get("logit_cap") or None,
            sinks=None if sinks is None else sinks.float(),
            k_scale=k_scale,
            v_scale=v_scale,
            out=o,
        )

    def _paged(self, buffer: Tensor) -> Tensor:
        """``[n_slots, n_kv_heads, head_dim]`` as pages."""
        return buffer[: len(buffer) // self.page_size * self.page_size].unflatten(0, (-1, self.page_size))
