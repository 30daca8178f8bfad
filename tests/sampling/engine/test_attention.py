"""Every family's logits, step by step, against transformers' own eager attention."""

from __future__ import annotations

import pytest
from tests.support.tiny import FAMILIES, model, tokenizer, torch

from t2fast.sampling import Prompt, Sampler, SamplingParams
from t2fast.sampling.engine.cache import Decode

HEADER = "The quick brown fox jumps over the lazy dog. The quick brown fox jumps over the lazy dog. "
PROMPTS = [
    Prompt("short", "Q"),
    Prompt("plain", "The answer is"),
    Prompt("header a", HEADER + "Question: what is 3 + 4?"),
    Prompt("header b", HEADER + "Question: what is 12 * 3? Answer: 36\nQuestion:"),
    Prompt("long", HEADER * 3 + "def add(a, b):"),
]


def eager(one, ids):
    before = one.config._attn_implementation
    one.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            return one(torch.tensor([ids])).logits[0]
    finally:
        one.set_attn_implementation(before)


def steps_of(sampler, prompts, params, **options):
    """The samples, and for each the logits of its steps."""
    fed, logits = {}, {}

    def hook(_module, _arguments, keywords, output):
        reading = keywords.get("t2fast")
        if isinstance(reading, Decode):
            for row, (slot, step) in enumerate(zip(reading.table.tolist(), reading.index.tolist(), strict=True)):
                fed.setdefault(slot, []).append(int(keywords["input_ids"][0, row]))
                logits.setdefault(slot, {})[step] = output.logits[0, row].clone()

    handle = sampler.model.register_forward_hook(hook, with_kwargs=True)
    samples = list(sampler.sample(prompts, params, **options))
    handle.remove()
    asked = dict(zip((p.id for p in prompts), sampler.tokenizer.encode(prompts), strict=True))
    out = []
    for sample in samples:
        begun = [int(asked[sample.prompt_id][-1]), *sample.token_ids[:-1]]
        slot = next(slot for slot, ids in fed.items() if ids == begun)
        out.append(
            (sample, asked[sample.prompt_id].tolist(), torch.stack([logits[slot][i] for i in range(len(begun))]))
        )
    return out


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_eager_attention(family):
    one = model(family)
    sampler = Sampler(one, tokenizer(), max_batch=16, page_size=8, prefill_tokens=48)
    # Without its end token, every sample has 64 steps.
    sampler.eos = ()
    params = SamplingParams(k=2, max_new_tokens=64)
    found = steps_of(sampler, PROMPTS, params, seed=3)
    assert len(found) == 10
    for sample, asked, logits in found:
        assert len(logits) == 64
        reference = eager(one, asked + list(sample.token_ids))[len(asked) - 1 : -1]
        size = reference.abs().max().item()
        assert size > 1  # or the tolerance would say nothing
        # Sums of up to 100 terms in another order, over four layers: some tens of steps of rounding of the largest.
        torch.testing.assert_close(logits, reference, rtol=0, atol=32 * torch.finfo(torch.float32).eps * size)
    # The headers' text was computed once.
    assert sampler.stats.prefilled < sum(len(asked) - 1 for _, asked, _ in found) / 2


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_text_is_that_of_generate(family):
    one = model(family)
    # transformers 5.17 leaves Gemma 2's soft cap out of its default attention without a word.
    one.set_attn_implementation("eager")
    sampler = Sampler(one, tokenizer(), page_size=4)
    for sample in sampler.sample(PROMPTS, SamplingParams(temperature=0.0, max_new_tokens=40)):
        asked = sampler.tokenizer.encode([next(p for p in PROMPTS if p.id == sample.prompt_id)])[0]
        ids = torch.from_numpy(asked).long()[None]
        out = one.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=40, pad_token_id=0)
        assert list(sample.token_ids) == out[0, len(asked) :].tolist()
