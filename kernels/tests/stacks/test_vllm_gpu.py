"""The backend for GPUs, as far as it goes without one: metadata, views of the cache, and what it refuses."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from kit import oracle
from t2fast_kernels import KernelError

pytest.importorskip("vllm.v1.attention.backends.registry", reason="vLLM is not installed")

from vllm.platforms.interface import DeviceCapability
from vllm.v1.attention.backend import AttentionCGSupport, CommonAttentionMetadata
from vllm.v1.attention.backends import triton_attn
from vllm.v1.attention.backends.registry import AttentionBackendEnum
from vllm.v1.kv_cache_interface import FullAttentionSpec

from t2fast_kernels.vllm import gpu, register

HEADS, KV_HEADS, DIM, PAGE = 8, 2, 32, 16
N_PAGES = 200


def builder(max_num_seqs: int = 16, sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 24)) -> gpu.SharedPrefixBuilder:
    config = SimpleNamespace(
        model_config=SimpleNamespace(
            get_num_attention_heads=lambda _: HEADS,
            get_num_kv_heads=lambda _: KV_HEADS,
            get_head_size=lambda: DIM,
            rswa_window=None,
        ),
        parallel_config=SimpleNamespace(decode_context_parallel_size=1),
        compilation_config=SimpleNamespace(
            cudagraph_mode=None, cudagraph_capture_sizes=list(sizes), static_forward_context={}
        ),
        scheduler_config=SimpleNamespace(max_num_seqs=max_num_seqs),
        speculative_config=None,
    )
    spec = FullAttentionSpec(block_size=PAGE, num_kv_heads=KV_HEADS, head_size=DIM, dtype=torch.float32)
    return gpu.SharedPrefixBuilder(spec, [], config, torch.device("cpu"))


def step(query_lens: list[int], seq_lens: list[int], tables: torch.Tensor, **other) -> CommonAttentionMetadata:
    starts = torch.tensor([0, *query_lens]).cumsum(0).int()
    lens = torch.tensor(seq_lens, dtype=torch.int32)
    n = int(starts[-1])
    return CommonAttentionMetadata(
        query_start_loc=starts,
        query_start_loc_cpu=starts,
        seq_lens=lens,
        seq_lens_cpu_upper_bound=lens,
        num_reqs=len(query_lens),
        num_actual_tokens=n,
        max_query_len=max(query_lens),
        max_seq_len=max(seq_lens),
        block_table_tensor=tables,
        slot_mapping=torch.arange(n),
        **other,
    )


def tables_of(n_rows: int, shared: int, own: int = 4) -> torch.Tensor:
    """Rows that share their first pages, each with some of its own behind."""
    rows = [[*range(shared), *range(shared + row * own, shared + (row + 1) * own)] for row in range(n_rows)]
    return torch.tensor(rows, dtype=torch.int32)


def impl(**changes) -> gpu.SharedPrefixImpl:
    arguments = {
        "num_heads": HEADS,
        "head_size": DIM,
        "scale": 0.2,
        "num_kv_heads": KV_HEADS,
        "alibi_slopes": None,
        "sliding_window": None,
        "kv_cache_dtype": "auto",
    }
    return gpu.SharedPrefixImpl(**(arguments | changes))


def test_registered_as_custom():
    register()
    assert AttentionBackendEnum.CUSTOM.get_class() is gpu.SharedPrefixBackend
    AttentionBackendEnum.CUSTOM.clear_override()


def test_graphs_are_declared_and_decodes_come_first():
    made = builder()
    assert made.get_cudagraph_support(None, None) is AttentionCGSupport.UNIFORM_SINGLE_TOKEN_DECODE
    assert made.reorder_batch_threshold == 1
    assert not made.supports_draft_decode_metadata_update
    assert made.planner.buffers.max_rows == 24  # the largest graph, which pads


def test_decodes_are_planned_and_the_rest_is_vllms():
    made = builder()
    tables = tables_of(5, shared=20)
    common = step([1, 1, 1, 7, 40], [330, 321, 340, 327, 40], tables)
    built = made.build(0, common)
    assert len(built.rows.seq_lens) == 3
    counts, items = built.rows.buffers.planned.counts, built.rows.buffers.planned.items
    assert int((items[: counts[0], 4] - items[: counts[0], 3]).sum()) == 320
    assert built.prefill.query_start_loc.tolist() == [0, 7, 47]
    assert built.prefill.num_actual_tokens == 47
    assert built.prefill.seq_lens.tolist() == [327, 40]
    assert torch.equal(built.prefill.block_table, tables[3:])
    assert built.prefill.slot_mapping.tolist() == list(range(3, 50))
    assert built.num_actual_tokens == 50  # what others read stays the whole step's
    assert made.build(0, step([40], [40], tables[:1])).rows is None
    assert made.build(0, step([1, 1], [330, 330], tables[:2])).prefill is None


def test_steps_that_are_unusual_are_left_to_vllm():
    made = builder()
    tables = tables_of(3, shared=20)
    for other in ({"causal": False}, {"mm_req_doc_ranges": {0: [(0, 3)]}}):
        built = made.build(0, step([1, 1], [330, 330], tables[:2], **other))
        assert built.rows is None
        assert built.prefill.num_actual_tokens == 2
    # Drafts that are verified: four tokens for each row.
    assert made.build(0, step([4, 4], [330, 330], tables[:2])).rows is None


def test_padding_is_idle_and_nothing_moves():
    """What graphs captured stays where it is, whatever step is planned."""
    made = builder()
    tables = tables_of(4, shared=20)
    first = made.build_for_cudagraph_capture(step([1, 1, 1, 1], [330] * 4, tables))
    addresses = [tensor.data_ptr() for tensor in first.rows.buffers.planned]
    assert first.seq_lens.tolist() == [1] * 4
    common = step([1, 1, 1, 0], [330, 321, 340, 0], tables)
    common.num_actual_tokens = 4  # padded
    built = made.build(0, common)
    assert [tensor.data_ptr() for tensor in built.rows.buffers.planned] == addresses
    assert built.rows.buffers.planned.rows[:4, 0].tolist() == [0, 1, 2, -1]
    with pytest.raises(KernelError, match=r"with \[1, 0, 1\] new tokens: must be 1 each"):
        made.build(0, step([1, 0, 1], [330, 0, 340], tables[:3]))


@pytest.mark.parametrize("order", ["NHD", "HND"])
@pytest.mark.parametrize(
    "changes", [{}, {"sliding_window": 100}, {"logits_soft_cap": 3.0}, {"sinks": torch.linspace(-1, 2, HEADS)}]
)
def test_decode_rows_against_the_oracle(order, changes, monkeypatch):
    torch.manual_seed(0)
    asked = []
    monkeypatch.setattr(
        triton_attn.TritonAttentionImpl, "forward", lambda _, *given: asked.append((given[1].shape, given[5]))
    )
    lens = [330, 321, 340, 60]
    built = builder().build(0, step([1, 1, 1, 20], lens, tables := tables_of(4, shared=20)))
    kv_cache = torch.randn(N_PAGES, KV_HEADS, PAGE, 2 * DIM)
    if order == "NHD":
        kv_cache = kv_cache.transpose(1, 2).contiguous().transpose(1, 2)
    query, key = torch.randn(23, HEADS, DIM), torch.randn(23, KV_HEADS, DIM)
    output = torch.full_like(query, torch.nan)
    impl(**changes).forward(None, query, key, key, kv_cache, built, output)
    assert asked == [((20, HEADS, DIM), built.prefill)]
    assert output[3:].isnan().all()  # vLLM's part
    k_cache, v_cache = kv_cache.transpose(1, 2).split(DIM, -1)
    expected, _ = oracle.decode(
        query[:3],
        k_cache,
        v_cache,
        tables,
        built.rows.seq_lens,
        segments=[],
        row_segments=[[]] * 3,
        row_table=[0, 1, 2],
        row_begin=[0] * 3,
        row_position=[0] * 3,
        scale=0.2,
        window=changes.get("sliding_window"),
        logits_soft_cap=changes.get("logits_soft_cap"),
        sinks=changes.get("sinks"),
    )
    assert torch.allclose(output[:3].double(), expected, atol=2e-5)


def test_fp8_caches_are_read_with_their_scales():
    torch.manual_seed(0)
    built = builder().build(0, step([1, 1], [330, 321], tables_of(2, shared=20)))
    raw = torch.randn(N_PAGES, KV_HEADS, PAGE, 2 * DIM)
    stored = raw.to(torch.float8_e4m3fn)
    layer = SimpleNamespace(_k_scale=torch.tensor([0.5]), _v_scale=torch.tensor([2.0]))
    query = torch.randn(2, HEADS, DIM)
    output, expected = torch.empty_like(query), torch.empty_like(query)
    impl(kv_cache_dtype="fp8").forward(layer, query, None, None, stored.view(torch.uint8), built, output)
    scaled = torch.cat([stored[..., :DIM].float() * 0.5, stored[..., DIM:].float() * 2], -1)
    impl().forward(None, query, None, None, scaled, built, expected)
    assert torch.allclose(output, expected, atol=2e-5)


def asked_of_vllm(**changes) -> list[str]:
    """The reasons that vLLM gives for refusing this backend."""
    asked = {
        "head_size": 128,
        "dtype": torch.bfloat16,
        "kv_cache_dtype": "auto",
        "block_size": 16,
        "use_mla": False,
        "has_sink": False,
        "use_sparse": False,
        "use_mm_prefix": False,
        "use_per_head_quant_scales": False,
        "device_capability": DeviceCapability(9, 0),
        "attn_type": "decoder",
    }
    return gpu.SharedPrefixBackend.validate_configuration(**(asked | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"has_sink": True},
        {"has_sliding_window": True},
        {"kv_cache_dtype": "fp8"},
        {"kv_cache_dtype": "bfloat16"},
        {"dtype": torch.float16},
        {"head_size": 256},
        {"block_size": 64},
    ],
)
def test_what_vllm_may_ask_for(changes):
    assert asked_of_vllm(**changes) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"head_size": 512},
        {"head_size": 16},
        {"kv_cache_dtype": "fp8_e5m2"},
        {"kv_cache_dtype": "int8_per_token_head"},
        {"kv_cache_dtype": "float16"},
        {"use_mla": True},
        {"use_sparse": True},
        {"use_mm_prefix": True},
        {"use_per_head_quant_scales": True},
        {"attn_type": "encoder_only"},
        {"use_non_causal": True},
        {"use_batch_invariant": True},
        {"use_pcp": True},
        {"use_dcp": True},
        {"use_rswa": True},
        {"use_adaptive_verification": True},
        {"block_size": 8},
    ],
)
def test_what_vllm_is_refused(changes):
    assert len(asked_of_vllm(**changes)) == 1


def test_what_a_layer_refuses():
    with pytest.raises(KernelError, match=r"ALiBi: not supported; use another --attention-backend"):
        impl(alibi_slopes=[0.5] * HEADS)
    with pytest.raises(KernelError, match="lookback"):
        impl(chunk_lookback=1)
    with pytest.raises(KernelError, match="quantised outputs"):
        impl().forward(None, *[torch.zeros(1)] * 4, None, torch.zeros(1), torch.ones(1))
    assert not impl().fused_output_quant_supported(None)
    assert not impl().supports_quant_query_input
