"""The same on a GPU: captured steps draw what eager ones draw, while rows come, go and are paused."""

from __future__ import annotations

import copy

import pytest
from tests.support.tiny import model, tokenizer, torch

from t2fast.sampling import Prompt, Sampler, SamplingParams

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

HEADER = "The quick brown fox jumps over the lazy dog. The quick brown fox jumps over the lazy dog. "
PROMPTS = [Prompt(str(i), HEADER + "Question: what is 3 + 4? " * i) for i in range(6)] + [Prompt("q", "Q")]


def drawn(one, params, **options):
    return {(s.prompt_id, s.sample): s.token_ids for s in one.sample(PROMPTS, params, **options)}


@pytest.fixture(scope="module", params=["llama", "gemma2", "mistral-window"])
def on_gpu(request):
    return copy.deepcopy(model(request.param)).to("cuda")


@pytest.mark.parametrize("change", [{}, {"top_p": 0.9, "repetition_penalty": 1.2}, {"stop": ("e",)}])
def test_captured_steps(on_gpu, change):
    params = SamplingParams(k=9, max_new_tokens=40, **change)
    eager = Sampler(on_gpu, tokenizer(), graphs="none", max_batch=16)
    graphs = Sampler(on_gpu, tokenizer(), graphs="cuda", max_batch=16)
    assert drawn(graphs, params, seed=3) == drawn(eager, params, seed=3)
    page = graphs.shape.page_bytes(16)
    tight = Sampler(on_gpu, tokenizer(), graphs="cuda", max_batch=16, kv_memory=40 * page)
    assert drawn(tight, params, seed=3) == drawn(eager, params, seed=3)


def test_the_first_success_with_steps_in_flight(on_gpu):
    params = SamplingParams(k=9, max_new_tokens=20, stop_on_success=True)

    def lucky(_prompt, text):
        return sum(map(ord, text)) % 3 == 0

    found = [
        [
            sorted((s.prompt_id, s.sample, s.token_ids) for s in one.sample(PROMPTS, params, seed=3, verifier=lucky))
            for one in (Sampler(on_gpu, tokenizer(), graphs=graphs, max_batch=8),)
        ]
        for graphs in ("none", "cuda")
    ]
    assert found[0] == found[1]


def test_torch_compile(on_gpu):
    params = SamplingParams(k=2, max_new_tokens=8)
    compiled = Sampler(on_gpu, tokenizer(), graphs="compile", max_batch=16)
    eager = Sampler(on_gpu, tokenizer(), graphs="none", max_batch=16)
    assert drawn(compiled, params, seed=3) == drawn(eager, params, seed=3)
