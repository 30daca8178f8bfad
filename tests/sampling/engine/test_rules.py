"""Biases, allowed and forbidden tokens, no end before its time; and a model's own settings."""

from __future__ import annotations

import copy

import pytest
from tests.support.tiny import model, tokenizer, transformers

from t2fast.errors import T2Error
from t2fast.sampling import Prompt, Sampler, SamplingParams

PROMPTS = [Prompt("one", "The answer is"), Prompt("two", "def add(a, b):", overrides={"k": 3})]


def drawn(one=None, **settings):
    one = one or Sampler(model(), tokenizer(), max_batch=7)
    return list(one.sample(PROMPTS, SamplingParams(**{"k": 12, "max_new_tokens": 30, **settings}), seed=5))


def test_no_end_before_its_time():
    lengths = [len(s.token_ids) for s in drawn(logit_bias={0: 3.0}, k=30)]
    assert min(lengths) <= 8
    late = drawn(logit_bias={0: 3.0}, min_new_tokens=8)
    assert all(len(s.token_ids) > 8 for s in late)
    assert any(s.finish_reason == "stop" for s in late)
    stopped = drawn(stop_token_ids=[7], logit_bias={7: 9.0}, min_new_tokens=8)
    assert {len(s.token_ids) for s in stopped if s.finish_reason == "stop"} <= set(range(9, 31))


def test_ignore_eos():
    samples = drawn(logit_bias={0: 3.0}, ignore_eos=True)
    assert all(len(s.token_ids) == 30 for s in samples)
    assert any(0 in s.token_ids for s in samples)


def test_allowed_and_forbidden_tokens():
    assert {t for s in drawn(allowed_token_ids=[5, 6, 9]) for t in s.token_ids} == {5, 6, 9}
    free = [t for s in drawn(temperature=1.5) for t in s.token_ids]
    common = max(set(free), key=free.count)
    assert common not in {t for s in drawn(temperature=1.5, bad_token_ids=[[common]]) for t in s.token_ids}
    pushed = drawn(logit_bias={5: 40.0})
    assert all(set(s.token_ids) == {5} for s in pushed)


@pytest.mark.parametrize("options", [{}, {"page_size": 2, "pages": 40}])
def test_forbidden_sequences(options):
    """The last token is not drawn after those before it, and is elsewhere; also when samples are paused."""
    pages = options.pop("pages", None)
    one = Sampler(model(), tokenizer(), max_batch=8, **options)
    if pages:
        one = Sampler(model(), tokenizer(), max_batch=8, kv_memory=pages * one.shape.page_bytes(2), **options)
    allowed = [5, 6, 9]
    free = drawn(one, allowed_token_ids=allowed)
    assert any((5, 6) in zip(s.token_ids, s.token_ids[1:], strict=False) for s in free)
    for samples in (drawn(one, allowed_token_ids=allowed, bad_token_ids=[[5, 6], [9, 9, 6]]),):
        for s in samples:
            assert (5, 6) not in list(zip(s.token_ids, s.token_ids[1:], strict=False))
            assert (9, 9, 6) not in list(zip(s.token_ids, s.token_ids[1:], s.token_ids[2:], strict=False))
        assert any((9, 6) in zip(s.token_ids, s.token_ids[1:], strict=False) for s in samples)
    assert (one.stats.preemptions > 0) == bool(pages)


def test_bad_words():
    free = "".join(s.text for s in drawn(temperature=0.7, k=30))
    assert " " in free
    word = max(("The", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "Answer", "what", "is"), key=free.count)
    assert free.count(word)
    assert all(word not in s.text.split() for s in drawn(temperature=0.7, k=30, bad_words=[word]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"logit_bias": {999: 1.0}}, "logit_bias: token 999 is not among the model's 320"),
        ({"allowed_token_ids": [999]}, "allowed_token_ids: token 999"),
        ({"allowed_token_ids": [0], "min_new_tokens": 1}, "leave no token to draw"),
    ],
)
def test_what_cannot_be(settings, message):
    with pytest.raises(T2Error, match=message):
        drawn(**settings)


def test_a_models_own_settings():
    live = transformers.LlamaForCausalLM(copy.deepcopy(model().config))
    live.load_state_dict(model().state_dict())
    one = Sampler(live, tokenizer())
    chosen = live.generation_config
    chosen.do_sample, chosen.top_k, chosen.suppress_tokens = True, 1, list(range(300))
    params = one.with_defaults(SamplingParams(k=4, max_new_tokens=12))
    assert (params.k, params.top_k) == (4, 1)
    assert all(t >= 300 for s in one.sample(PROMPTS, params) for t in s.token_ids)
    # What is given wins, and by default none of them has an effect.
    assert one.with_defaults(SamplingParams(top_k=7)).top_k == 7
    assert any(t < 300 for s in one.sample(PROMPTS, SamplingParams(k=4)) for t in s.token_ids)
    chosen.no_repeat_ngram_size = 3
    with pytest.raises(T2Error, match="no_repeat_ngram_size = 3, which t2fast lacks"):
        one.with_defaults(params)
