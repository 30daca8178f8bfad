"""The likeliest tokens of every step, and the log-probabilities of prompts, are those of the model."""

from __future__ import annotations

import pytest
from tests.support.tiny import model, tokenizer, torch

from t2fast.errors import T2Error
from t2fast.sampling import GenerateSampler, Prompt, Sampler, SamplingParams, read_samples, sample_to_file

HEADER = "The quick brown fox jumps over the lazy dog. The quick brown fox jumps over the lazy dog. "
PROMPTS = [
    Prompt("one", HEADER + "Question: what is 3 + 4? Answer:"),
    Prompt("two", HEADER + "Question: what is 12 * 3? Answer:"),
    Prompt("three", HEADER),
    Prompt("four", HEADER),
    Prompt("five", "Q"),
]


def likely(ids):
    """Log-probabilities of what follows each token, by the model itself."""
    with torch.no_grad():
        return model()(torch.tensor([ids])).logits[0].double()


def check_prompts(found):
    for prompt in PROMPTS:
        ids = tokenizer()(prompt.text)["input_ids"]
        expected = likely(ids).log_softmax(-1)[:-1].gather(1, torch.tensor(ids)[1:, None])[:, 0]
        assert found[prompt.id, 0].prompt_logprobs == pytest.approx(expected.tolist(), abs=1e-4)
        assert found[prompt.id, 1].prompt_logprobs is None


@pytest.mark.parametrize("options", [{}, {"prefill_tokens": 7}, {"max_batch": 2}])
def test_prompts_have_the_models_log_probabilities(options):
    params = SamplingParams(k=2, max_new_tokens=3, temperature=0.5, prompt_logprobs=True)
    one = Sampler(model(), tokenizer(), **options)
    check_prompts({(s.prompt_id, s.sample): s for s in one.sample(PROMPTS, params)})


def test_the_slow_path_gives_the_same():
    params = SamplingParams(k=2, max_new_tokens=3, temperature=0.5, prompt_logprobs=True, top_logprobs=4)
    ours, theirs = (
        {(s.prompt_id, s.sample): s for s in kind(model(), tokenizer()).sample(PROMPTS, params)}
        for kind in (Sampler, GenerateSampler)
    )
    check_prompts(theirs)
    for key, sample in ours.items():
        assert sample.top_token_ids == theirs[key].top_token_ids
        for a, b in zip(sample.top_logprobs, theirs[key].top_logprobs, strict=True):
            assert a == pytest.approx(b, abs=1e-4)


def test_the_likeliest_tokens():
    # Few pages: samples are paused, and what they had goes on with them.
    prompts = [
        PROMPTS[0],
        Prompt("few", PROMPTS[1].text, overrides={"top_logprobs": 2, "allowed_token_ids": [5]}),
        Prompt("none", "Q", overrides={"top_logprobs": 0}),
    ]
    one = Sampler(model(), tokenizer(), kv_memory=60 * Sampler(model(), tokenizer()).shape.page_bytes(2), page_size=2)
    params = SamplingParams(k=4, max_new_tokens=12, temperature=0.7, top_logprobs=5)
    found = list(one.sample(prompts, params))
    assert one.stats.preemptions > 0
    for sample in found:
        if sample.prompt_id == "none":
            assert sample.top_token_ids is sample.top_logprobs is None
            assert sample.logprobs is not None  # the run keeps them
        elif sample.prompt_id == "few":
            assert sample.top_token_ids == ((5,),) * 12
            assert sample.top_logprobs == ((0.0,),) * 12
        else:
            ids = tokenizer()(prompts[0].text)["input_ids"]
            logits = likely(ids + list(sample.token_ids))[len(ids) - 1 : -1]
            values, tokens = (logits / 0.7).log_softmax(-1).topk(5)
            assert sample.top_token_ids == tuple(map(tuple, tokens.tolist()))
            for mine, theirs in zip(sample.top_logprobs, values.tolist(), strict=True):
                assert mine == pytest.approx(theirs, abs=1e-4)


def test_they_are_stored_and_resumed(tmp_path):
    one, out = Sampler(model(), tokenizer()), tmp_path / "samples.jsonl"
    params = SamplingParams(k=3, max_new_tokens=4, top_logprobs=2, prompt_logprobs=True)
    sample_to_file(one, PROMPTS, params, out)
    whole = sorted(out.read_text().splitlines())
    assert {(s.prompt_id, s.sample): s for s in read_samples(out)} == {
        (s.prompt_id, s.sample): s for s in one.sample(PROMPTS, params)
    }
    # Those of sample 0 are drawn again, with what they carry.
    out.write_text("\n".join(line for line in whole if '"sample":0' not in line) + "\n")
    sample_to_file(one, PROMPTS, params, out, resume=True)
    assert sorted(out.read_text().splitlines()) == whole
    # More samples of the file, later.
    sample_to_file(one, PROMPTS, params.override({"k": 5}), out, resume=True)
    assert set(whole) < set(out.read_text().splitlines())
    assert len(out.read_text().splitlines()) == 25


def test_more_than_there_are():
    with pytest.raises(T2Error, match="top_logprobs = 129: must be"):
        SamplingParams(top_logprobs=129)
    assert SamplingParams(top_logprobs=1).logprobs
