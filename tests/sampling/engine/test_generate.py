"""The slow path draws what the engine draws, and models that the engine refuses."""

from __future__ import annotations

import pytest
from tests.support.tiny import model, tokenizer, transformers

from t2fast.errors import T2Error
from t2fast.sampling import GenerateSampler, Prompt, Sampler, SamplingParams, sample_to_file

PROMPTS = [Prompt("one", "Question: what is 3 + 4? Answer:", answer="e"), Prompt("two", "def add(a, b):", answer="e")]


def drawn(sampler, params, **options):
    return {(s.prompt_id, s.sample): s for s in sampler.sample(PROMPTS, params, seed=3, **options)}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"temperature": 0.7, "top_k": 20, "top_p": 0.9, "min_p": 0.01, "stop": ["e"]},
        {"repetition_penalty": 1.3, "presence_penalty": 0.2, "frequency_penalty": 0.1, "stop_token_ids": [7]},
        {"min_new_tokens": 20, "logit_bias": {0: 8.0}, "bad_words": ["The"]},
        {"temperature": 0.0},
    ],
)
def test_the_same_samples_as_the_engine(changes):
    params = SamplingParams(k=5, max_new_tokens=24, logprobs=True).override(changes)
    ours, theirs = drawn(Sampler(model(), tokenizer()), params), drawn(GenerateSampler(model(), tokenizer()), params)
    assert ours.keys() == theirs.keys()
    for key, sample in ours.items():
        other = theirs[key]
        assert (sample.token_ids, sample.text, sample.finish_reason) == (
            other.token_ids, other.text, other.finish_reason,
        )  # fmt: skip
        assert sample.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_a_model_without_attention(tmp_path):
    config = transformers.MambaConfig(
        hidden_size=16, num_hidden_layers=2, vocab_size=320, state_size=4, eos_token_id=0, pad_token_id=0
    )
    mamba = transformers.MambaForCausalLM(config)
    with pytest.raises(T2Error, match="MambaForCausalLM does not take .* \\(--engine generate can\\)"):
        Sampler(mamba, tokenizer())
    sampler = GenerateSampler(mamba, tokenizer(), max_batch=3)
    params = SamplingParams(k=8, max_new_tokens=6)
    run = sample_to_file(sampler, PROMPTS, params, tmp_path / "s.jsonl", verifier="regex:[aeiou]")
    assert run.n_samples == 16
    assert "transformers' own generation" in run.warnings[0]
    assert sampler.identity()["engine"] == "generate"
    whole = sorted((tmp_path / "s.jsonl").read_bytes().splitlines())
    (tmp_path / "s.jsonl").write_bytes(b"\n".join(whole[:7]) + b"\n")
    sample_to_file(sampler, PROMPTS, params, tmp_path / "s.jsonl", verifier="regex:[aeiou]", resume=True)
    assert sorted((tmp_path / "s.jsonl").read_bytes().splitlines()) == whole


def test_a_prompt_ends_with_its_first_success():
    params = SamplingParams(k=9, max_new_tokens=6, stop_on_success=True)
    sampler = GenerateSampler(model(), tokenizer(), max_batch=4)
    every = drawn(sampler, params.override({"stop_on_success": False}))
    kept = drawn(sampler, params, verifier=lambda _, text: "e" in text)
    for prompt in PROMPTS:
        right = ["e" in every[prompt.id, j].text for j in range(9)]
        end = right.index(True) + 1 if True in right else 9
        assert [key for key in kept if key[0] == prompt.id] == [(prompt.id, j) for j in range(end)]


def test_what_cannot_be():
    sampler = GenerateSampler(model(), tokenizer())
    with pytest.raises(T2Error, match="context of 512"):
        sampler.sample([Prompt("x", token_ids=[5] * 512)])
    with pytest.raises(T2Error, match="needs a verifier"):
        sampler.sample(PROMPTS, SamplingParams(stop_on_success=True))
