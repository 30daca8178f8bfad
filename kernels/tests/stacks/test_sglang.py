"""SGLang's own Triton backend beside ours, on its real pools and metadata, both in Triton's interpreter."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import models
import pytest
import torch

from conftest import INTERPRETED
from t2fast_kernels import KernelError

pytest.importorskip("sglang.srt.layers", reason="SGLang is not installed")
if not INTERPRETED:
    pytest.skip("SGLang's kernels need TRITON_INTERPRET=1 here", allow_module_level=True)

from sglang.srt.arg_groups.choices import ATTENTION_BACKEND_CHOICES
from sglang.srt.layers.attention import attention_registry, triton_backend
from sglang.srt.mem_cache import kv_index_translator
from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool
from sglang.srt.model_executor.forward_batch_info import ForwardMode
from transformers import LlamaConfig

from t2fast_kernels.sglang import backend as plug_in
from t2fast_kernels.sglang import register

HEADS, KV_HEADS, DIM, CONTEXT = 4, 2, 32, 512


@pytest.fixture
def configured(monkeypatch):
    """What SGLang reads off its command line."""
    kernel = {"enable_lean_attention": False, "triton_attention_num_kv_splits": 4}
    kernel |= {"triton_attention_split_tile_size": None}
    execution = SimpleNamespace(
        kernel=SimpleNamespace(**kernel),
        dllm=SimpleNamespace(dllm_algorithm=None),
        deterministic=SimpleNamespace(enable_deterministic_inference=False),
    )
    parallel = SimpleNamespace(attn_dcp_size=1, attn_dcp_rank=0, attn_tp_size=1, dcp_enabled=False)
    drafts = ("speculative_num_draft_tokens", "speculative_num_steps", "speculative_eagle_topk")
    monkeypatch.setattr(kv_index_translator, "get_parallel", lambda: parallel)
    for name, value in {
        "get_exec": execution,
        "get_parallel": parallel,
        "get_spec": SimpleNamespace(**dict.fromkeys(drafts)),
        "get_schedule": SimpleNamespace(chunked_prefill_size=8192),
    }.items():
        monkeypatch.setattr(triton_backend, name, lambda value=value: value)
    monkeypatch.setattr(triton_backend, "cuda_graph_fully_disabled", lambda: True)
    monkeypatch.setattr(triton_backend, "get_device_core_count", lambda *_: 8)
    return execution


def runner(page: int = 1, **changes) -> SimpleNamespace:
    """What of SGLang's model runner the backend reads, with real pools."""
    requests = ReqToTokenPool(8, CONTEXT, "cpu", False)
    cache = MHATokenToKVPool(
        size=4096,
        page_size=page,
        dtype=torch.float32,
        head_num=KV_HEADS,
        head_dim=DIM,
        layer_num=1,
        device="cpu",
        enable_memory_saver=False,
    )
    torch.manual_seed(0)
    cache.k_buffer[0].normal_()
    cache.v_buffer[0].normal_()
    translator = kv_index_translator.KVIndexTranslator(
        req_to_token=requests.req_to_token,
        token_to_kv_pool_allocator=None,
        token_to_kv_pool=cache,
        page_size=page,
        device="cpu",
    )
    model = SimpleNamespace(
        attention_arch=triton_backend.AttentionArch.MHA,
        hf_config=LlamaConfig(architectures=["LlamaForCausalLM"]),
        get_max_num_attention_heads=lambda: HEADS,
        get_num_kv_heads=lambda *_: KV_HEADS,
        linear_attn_registry_result=None,
        v_head_dim=DIM,
        swa_v_head_dim=DIM,
        head_dim=DIM,
        context_len=CONTEXT,
        is_encoder_decoder=False,
    )
    known = {
        "req_to_token_pool": requests,
        "token_to_kv_pool": cache,
        "token_to_kv_pool_allocator": None,
        "kv_index_translator": translator,
        "sliding_window_size": None,
        "page_size": page,
        "model_config": model,
        "device": "cpu",
        "gpu_id": 0,
        "is_draft_worker": False,
        "spec_algorithm": None,
        "decode_num_tokens_per_req": lambda: 1,
    }
    return SimpleNamespace(**(known | changes))


def batch(pools: SimpleNamespace, lens: list[int], shared: int) -> SimpleNamespace:
    """Requests 1, 2, ... whose first slots are the same, as the radix tree leaves them; the rest are their own."""
    n = len(lens)
    table = pools.req_to_token_pool.req_to_token
    for row in range(n):
        table[row + 1, :shared] = torch.arange(16, 16 + shared)
        table[row + 1, shared:] = torch.arange(512 * (row + 1), 512 * (row + 1) + CONTEXT - shared)
    seq_lens, slots = torch.tensor(lens), torch.tensor([int(table[row + 1, lens[row] - 1]) for row in range(n)])
    return SimpleNamespace(
        forward_mode=ForwardMode.DECODE,
        batch_size=n,
        spec_info=None,
        seq_lens=seq_lens,
        seq_lens_sum=sum(lens),
        req_pool_indices=torch.arange(1, n + 1),
        kv_loc_plan=None,
        out_cache_loc=slots,
        out_cache_loc_is_physical=False,
        encoder_lens=None,
        positions=seq_lens - 1,
    )


def layer(**changes) -> SimpleNamespace:
    known = {
        "tp_q_head_num": HEADS,
        "tp_k_head_num": KV_HEADS,
        "qk_head_dim": DIM,
        "head_dim": DIM,
        "v_head_dim": DIM,
        "layer_id": 0,
        "scaling": 0.2,
        "logit_cap": 0.0,
        "logit_capping_method": "tanh",
        "sliding_window_size": -1,
        "k_scale": None,
        "v_scale": None,
        "xai_temperature_len": -1,
    }
    return SimpleNamespace(**(known | changes))


@pytest.fixture
def ours(configured):  # noqa: ARG001
    register()
    return lambda pools: attention_registry.ATTENTION_BACKENDS["t2fast"](pools)


@pytest.fixture
def calls(monkeypatch):
    """Calls of our operator."""
    seen = []
    operator = plug_in.prefix_decode
    monkeypatch.setattr(plug_in, "prefix_decode", lambda *given, **named: seen.append(operator(*given, **named)))
    return seen


def test_registered():
    assert "t2fast_kernels.sglang:register" in [point.value for point in entry_points(group="sglang.srt.plugins")]
    register()
    register()  # in every process, and harmless twice
    assert ATTENTION_BACKEND_CHOICES.count("t2fast") == 1
    assert "t2fast" in attention_registry.ATTENTION_BACKENDS


def test_sglangs_command_line_takes_it(tmp_path):
    """In a process of its own, where SGLang loads its plug-ins as its launcher does."""
    models.write("llama", tmp_path)
    program = """
import sys
from sglang.srt.plugins import load_plugins
load_plugins()
from sglang.srt.server_args import prepare_server_args
print(prepare_server_args(sys.argv[1:]).attention_backend)
"""
    options = ["--model-path", tmp_path, "--device", "cpu", "--attention-backend", "t2fast"]
    done = subprocess.run([sys.executable, "-c", program, *options], capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines()[-1:] == ["t2fast"], done.stderr[-2000:]


@pytest.mark.parametrize("page", [1, 16])
@pytest.mark.parametrize("changes", [{}, {"logit_cap": 3.0}])
def test_decode_steps_are_sglangs(ours, calls, page, changes):
    """Keys and values are written, the shared prefix is found, and the output is that of SGLang's own kernel."""
    lens, shared = [330, 305, 321, 400], 304
    outputs, caches = [], []
    q, k, v = torch.randn(4, HEADS * DIM), torch.randn(4, KV_HEADS, DIM), torch.randn(4, KV_HEADS, DIM)
    for make in (triton_backend.TritonAttnBackend, ours):
        pools = runner(page)
        backend = make(pools)
        step = batch(pools, lens, shared)
        backend.init_forward_metadata(step)
        outputs.append(backend.forward_decode(q, k, v, layer(**changes), step))
        caches.append(pools.token_to_kv_pool.k_buffer[0].clone())
    assert torch.allclose(*outputs, atol=1e-5)
    assert torch.equal(*caches)
    assert len(calls) == 1
    counts, items = backend.rows.buffers.planned.counts, backend.rows.buffers.planned.items
    assert int((items[: counts[0], 4] - items[: counts[0], 3]).sum()) == shared
    assert backend.rows.buffers.planned.rows[:4, 1].tolist() == [shared] * 4


def test_graphs_read_what_is_planned_before_them(ours):
    """A capture for four rows, then a step of three: its addresses hold, and its padding reads one slot."""
    pools = runner()
    backend = ours(pools)
    backend.init_cuda_graph_state(4, 4)
    captured = batch(pools, [1, 1, 1, 1], 304)
    backend.init_forward_metadata_out_graph(captured, in_capture=True)
    addresses = [t.data_ptr() for t in (*backend.rows.buffers.planned, *backend.rows[:2])]
    q = torch.randn(4, HEADS * DIM)
    step = batch(pools, [330, 305, 321, 1], 304)
    step.req_pool_indices[3] = 0
    backend.init_forward_metadata_out_graph(step)
    assert [t.data_ptr() for t in (*backend.rows.buffers.planned, *backend.rows[:2])] == addresses
    out = backend.forward_decode(q, None, None, layer(), step, save_kv_cache=False)
    eager = triton_backend.TritonAttnBackend(pools)
    eager.init_forward_metadata(step)
    assert torch.allclose(out, eager.forward_decode(q, None, None, layer(), step, save_kv_cache=False), atol=1e-5)


def test_what_is_left_to_sglang(ours, monkeypatch):
    """Drafts, prompts and batches beyond the plan's room: no rows of ours, and SGLang's kernel is called."""
    pools = runner()
    backend = ours(pools)
    step = batch(pools, [330, 305], 304)
    backend.init_forward_metadata(step)
    assert backend.rows is not None
    called = []
    monkeypatch.setattr(backend, "_their_decode", lambda *_, **__: called.append(True))
    q = torch.randn(2, HEADS * DIM)
    backend.forward_decode(q, None, None, layer(xai_temperature_len=5), step, save_kv_cache=False)
    backend.forward_decode(q, None, None, layer(), step, save_kv_cache=False, score_mod=max)
    assert called == [True, True]
    assert backend._rows_of(SimpleNamespace(forward_mode=ForwardMode.EXTEND, spec_info=None)) == 0
    assert backend._rows_of(SimpleNamespace(forward_mode=ForwardMode.DECODE, spec_info=object())) == 0
    assert backend._rows_of(SimpleNamespace(forward_mode=ForwardMode.DECODE, spec_info=None, batch_size=9)) == 0


def test_windows_are_left_to_sglang(ours, calls):
    pools = runner(sliding_window_size=64)
    outputs = []
    for make in (triton_backend.TritonAttnBackend, ours):
        backend = make(pools)
        step = batch(pools, [330, 305, 321], 304)
        backend.init_forward_metadata(step)
        torch.manual_seed(1)
        q = torch.randn(3, HEADS * DIM)
        outputs.append(
            [
                backend.forward_decode(q, None, None, layer(sliding_window_size=size), step, save_kv_cache=False)
                for size in (64, -1)
            ]
        )
    assert len(calls) == 1  # the layer without one
    for theirs, got in zip(*outputs, strict=True):
        assert torch.allclose(theirs, got, atol=1e-5)


def test_what_is_refused(ours, configured):
    configured.deterministic.enable_deterministic_inference = True
    with pytest.raises(KernelError, match=r"deterministic inference: not supported; use --attention-backend triton"):
        ours(runner())


@pytest.mark.slow
def test_the_engine_answers_the_same(tmp_path):
    """SGLang's scheduler, radix tree and sampler over prompts with 400 tokens in common, beside its PyTorch backend."""
    models.write("llama", tmp_path)
    draw = random.Random(1)
    prompt = [draw.randrange(5, models.VOCABULARY) for _ in range(400)]
    prompts = [[*prompt, *draw.sample(range(5, 500), 3 + i)] for i in range(4)]
    params = {"temperature": 0, "max_new_tokens": 6, "ignore_eos": True}

    def run(backend: str, interpret: bool, **environment: str) -> list[dict]:
        environment |= {"TRITON_INTERPRET": str(int(interpret)), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name("sglang_engine.py")],
            input=json.dumps({"model": str(tmp_path), "backend": backend, "prompts": prompts, "params": params}),
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout)

    theirs = run("torch_native", False)
    ours = run("t2fast", True, SEEN=str(tmp_path / "seen"))
    for a, b in zip(theirs, ours, strict=True):
        assert a["tokens"] == b["tokens"]
        assert a["logprobs"] == pytest.approx(b["logprobs"], abs=1e-4)
    plans = [json.loads(line) for line in (tmp_path / "seen").read_text().splitlines()]
    assert [plan["rows"] for plan in plans] == [4] * 5  # the first token comes from the prefill
    assert [plan["shared"] for plan in plans] == [400] * 5
    assert [plan["all"] for plan in plans] == [4 * 400 + 3 + 4 + 5 + 6 + 4 * step for step in range(1, 6)]
