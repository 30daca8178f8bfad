"""Shared-prefix decode attention: our operator and its peers, each as calls over the same inputs.

A method takes :class:`Inputs` and returns one call per pair of caches and a note on how it is set up. Copies of the caches in
a peer's own layout are made beforehand and never timed, nor is planning.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Literal

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from bench.kernels.inputs import Inputs
from t2fast_kernels import DecodeBuffers, Plan, plan, prefix_decode
from t2fast_kernels.timing import Call

Method = Callable[[Inputs], tuple[list[Call], str]]


class Missing(Exception):  # noqa: N818
    """The method cannot run here; the message says why."""


def ours(
    inputs: Inputs, method: Literal["auto", "shared", "split", "plain"] = "auto", block_m: int | None = None
) -> tuple[list[Call], str]:
    """``prefix_decode`` with the planner's choice and tiles, or with those given."""
    shape, heads = inputs.shape, inputs.shape.heads
    if block_m and (inputs.device.type == "cpu" or shape.samples * heads.group < block_m):
        raise Missing(f"tiles of {block_m}: for GPUs, and for prompts with that many rows x query heads per KV head")
    buffers = DecodeBuffers(
        shape.rows,
        heads.query,
        heads.kv,
        heads.dim,
        max_segments=shape.prompts,
        device=inputs.device,
        itemsize=inputs.dtype.itemsize,
        block_m=block_m,
    )
    prompt = np.arange(shape.prompts)
    segments = np.stack([prompt, 0 * prompt, 0 * prompt + shape.prefix, 0 * prompt], axis=1)
    chosen = plan(
        buffers,
        segments,
        np.repeat(prompt, shape.samples)[:, None],
        shape.prompts + np.arange(shape.rows),
        0,
        shape.prefix,
        method=method,
    )
    lens = torch.full((shape.rows,), shape.suffix, dtype=torch.int32, device=inputs.device)

    def on(k: torch.Tensor, v: torch.Tensor) -> Call:
        # NaN shows whatever a first run leaves unwritten.
        out = torch.full_like(inputs.q, torch.nan)
        return lambda: prefix_decode(inputs.q, k, v, inputs.tables, lens, buffers, out=out)

    return [on(k, v) for k, v in inputs.caches], f"{_predicted(inputs, buffers, chosen)}; {chosen}"


def _predicted(inputs: Inputs, buffers: DecodeBuffers, chosen: Plan) -> str:
    """What the planner's cost model says of the whole step, to be held against the measurement beside it."""
    shape, heads = inputs.shape, inputs.shape.heads
    model = {"n_kv_heads": heads.kv, "group": heads.group, "head_dim": heads.dim, "itemsize": inputs.dtype.itemsize}
    found = buffers.costs.estimate(
        np.full(shape.prompts, shape.prefix),
        np.full(shape.prompts, shape.samples),
        block_m=buffers.block_m,
        split_sizes=(chosen.split_size,) if chosen.split_size else (),
        **model,
    )
    ways = {"shared": found.shared, "plain": found.plain, "split": min(found.split.values(), default=found.shared)}
    seconds = ways[chosen.method] + buffers.costs.suffix_seconds(shape.rows, shape.suffix, **model)
    return f"predicted {seconds * 1e6:.1f} us on a GPU"


def sdpa_expanded(inputs: Inputs) -> tuple[list[Call], str]:
    """PyTorch's attention over each row's own copy of its whole sequence.

    The query heads of a KV head go in as one sequence of queries: nothing is masked, so each key is read once for all.
    """
    heads, rows = inputs.shape.heads, inputs.shape.rows
    q = inputs.q.view(rows, heads.kv, heads.group, heads.dim)

    def on(k: torch.Tensor, v: torch.Tensor) -> Call:
        k, v = (inputs.whole(cache).transpose(1, 2) for cache in (k, v))
        return lambda: scaled_dot_product_attention(q, k, v).view_as(inputs.q)

    return [on(k, v) for k, v in inputs.caches], "dense copies, GQA folded into queries"


def split_kv(inputs: Inputs) -> tuple[list[Call], str]:
    """Our own split-KV paged decode kernel without sharing, tuned for the shape."""
    if inputs.device.type == "cpu":
        from t2fast_kernels.backend import runs_triton

        if not runs_triton(inputs.q):
            raise Missing("Triton kernel: needs a GPU")
    elif importlib.util.find_spec("triton") is None:
        raise Missing("Triton is not installed")
    from bench.kernels.split_kv import tuned

    return tuned(inputs)


def hydragen(inputs: Inputs, *, flash: bool) -> tuple[list[Call], str]:
    """Hydragen's decomposition (Juravsky et al. 2024): prefixes with all their rows' queries at once, suffixes, a merge.

    With matrix products and softmax, or with PyTorch's flash attention for both halves.
    """
    shape, heads = inputs.shape, inputs.shape.heads
    if flash and inputs.device.type == "cuda" and inputs.dtype == torch.float32:
        raise Missing("PyTorch's flash attention on a GPU takes fp16 and bf16 only")
    attend = _flash if flash else _matmul

    def on(k: torch.Tensor, v: torch.Tensor) -> Call:
        k_prefix, v_prefix = (inputs.prefixes(cache).transpose(1, 2) for cache in (k, v))
        k_suffix, v_suffix = (inputs.suffixes(cache).transpose(1, 2) for cache in (k, v))

        def call() -> torch.Tensor:
            q = inputs.q.view(shape.prompts, shape.samples, heads.kv, heads.group, heads.dim)
            together = q.transpose(1, 2).flatten(2, 3)  # [prompts, kv heads, samples x group, dim]
            out_prefix, lse_prefix = attend(together, k_prefix, v_prefix)
            out_suffix, lse_suffix = attend(q.flatten(0, 1), k_suffix, v_suffix)
            back = (shape.prompts, heads.kv, shape.samples, heads.group)
            out_prefix = out_prefix.view(*back, heads.dim).transpose(1, 2).flatten(0, 1)
            lse_prefix = lse_prefix.view(back).transpose(1, 2).flatten(0, 1)
            weight = torch.sigmoid(lse_prefix - lse_suffix).unsqueeze(-1)
            return torch.lerp(out_suffix.float(), out_prefix.float(), weight).to(inputs.dtype).view_as(inputs.q)

        return call

    return [on(k, v) for k, v in inputs.caches], "dense caches, fp32 merge"


def _matmul(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scores = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).float()
    lse = scores.logsumexp(-1)
    return (scores - lse.unsqueeze(-1)).exp().to(q.dtype) @ v, lse


def _flash(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if q.is_cuda:
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v)[:2]
    else:
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v)
    return out, lse[..., : q.shape[2]]


def flex(inputs: Inputs) -> tuple[list[Call], str]:
    """FlexAttention over one packed sequence of all prefixes and suffixes; a block mask lets each row see its own two."""
    if inputs.device.type == "cpu":
        raise Missing("FlexAttention is compiled for GPUs only here")
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    shape = inputs.shape
    prefixes, samples, prefix, suffix = shape.prompts * shape.prefix, shape.samples, shape.prefix, shape.suffix

    def own(batch: torch.Tensor, head: torch.Tensor, row: torch.Tensor, token: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
        return torch.where(token < prefixes, token // prefix == row // samples, (token - prefixes) // suffix == row)

    mask = create_block_mask(own, None, None, shape.rows, prefixes + shape.rows * suffix, device=inputs.device)
    torch._dynamo.reset()  # each shape compiles anew, without counting towards the limit of recompilations
    attend = torch.compile(flex_attention, dynamic=False)
    q = inputs.q.transpose(0, 1).unsqueeze(0)

    def on(k: torch.Tensor, v: torch.Tensor) -> Call:
        k, v = (
            torch.cat([inputs.prefixes(cache).flatten(0, 1), inputs.suffixes(cache).flatten(0, 1)])
            .transpose(0, 1)
            .unsqueeze(0)
            for cache in (k, v)
        )
        return lambda: attend(q, k, v, block_mask=mask, enable_gqa=True)[0].transpose(0, 1)

    return [on(k, v) for k, v in inputs.caches], "packed, block mask, compiled per shape"


def load_flashinfer(device: torch.device) -> ModuleType:
    """The library, if it can run here."""
    if device.type == "cpu":
        raise Missing("FlashInfer needs a GPU")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("flashinfer")
    except ImportError as reason:
        raise Missing(f"FlashInfer: {reason}") from None


def _indptr(n: int, step: int) -> torch.Tensor:
    return torch.arange(n + 1, dtype=torch.int32, device="cuda") * step


def flashinfer_cascade(inputs: Inputs) -> tuple[list[Call], str]:
    """FlashInfer's multi-level cascade: prefixes with all their rows, suffixes, merged."""
    library, shape, heads = load_flashinfer(inputs.device), inputs.shape, inputs.shape.heads
    workspace = torch.zeros(256 * 2**20, dtype=torch.uint8, device=inputs.device)
    wrapper = library.MultiLevelCascadeAttentionWrapper(2, workspace, "NHD")
    last = (shape.suffix - 1) % inputs.page_size + 1
    wrapper.plan(
        [_indptr(shape.prompts, shape.samples), _indptr(shape.rows, 1)],
        [_indptr(shape.prompts, inputs.prefix_pages.shape[1]), _indptr(shape.rows, inputs.suffix_pages.shape[1])],
        [inputs.prefix_pages.flatten(), inputs.suffix_pages.flatten()],
        [
            torch.full((shape.prompts,), inputs.page_size, dtype=torch.int32, device=inputs.device),
            torch.full((shape.rows,), last, dtype=torch.int32, device=inputs.device),
        ],
        heads.query,
        heads.kv,
        heads.dim,
        inputs.page_size,
        q_data_type=inputs.dtype,
    )
    return [partial(wrapper.run, inputs.q, pair) for pair in inputs.caches], f"FlashInfer {library.__version__}"


def flashinfer_decode(inputs: Inputs) -> tuple[list[Call], str]:
    """FlashInfer's batch decode over block tables of whole sequences: shared storage, reads not shared."""
    library, shape, heads = load_flashinfer(inputs.device), inputs.shape, inputs.shape.heads
    workspace = torch.zeros(256 * 2**20, dtype=torch.uint8, device=inputs.device)
    # As its documentation advises: tensor cores where several query heads share a KV head.
    tensor_cores = heads.group >= 4
    wrapper = library.BatchDecodeWithPagedKVCacheWrapper(workspace, "NHD", use_tensor_cores=tensor_cores)
    last = (shape.suffix - 1) % inputs.page_size + 1
    wrapper.plan(
        _indptr(shape.rows, inputs.sequences.shape[1]),
        inputs.sequences.flatten(),
        torch.full((shape.rows,), last, dtype=torch.int32, device=inputs.device),
        heads.query,
        heads.kv,
        heads.dim,
        inputs.page_size,
        q_data_type=inputs.dtype,
        kv_data_type=inputs.dtype,
    )
    note = f"FlashInfer {library.__version__}, tensor cores {'on' if tensor_cores else 'off'}"
    return [partial(wrapper.run, inputs.q, pair) for pair in inputs.caches], note


OURS = "t2fast"
#: Cheap set-ups first: what a shape's share of the time cannot hold is skipped from the end.
METHODS: dict[str, Method] = {
    OURS: ours,
    **{f"{OURS} {method}": partial(ours, method=method) for method in ("shared", "split", "plain")},
    f"{OURS}, tiles of 128": partial(ours, block_m=128),
    "split-KV, not shared": split_kv,
    "SDPA, expanded KV": sdpa_expanded,
    "Hydragen, flash": partial(hydragen, flash=True),
    "Hydragen, matmul": partial(hydragen, flash=False),
    "FlashInfer cascade": flashinfer_cascade,
    "FlashInfer decode": flashinfer_decode,
    "FlexAttention": flex,
}
