"""A budget of thinking ends it by force, once, and where it was not spent changes nothing."""

from __future__ import annotations

import pytest
from tests.support.tiny import model, tokenizer

from t2fast.errors import T2Error
from t2fast.sampling import GenerateSampler, Prompt, Sampler, SamplingParams

PROMPTS = [
    Prompt("one", "Question: what is 3 + 4? Answer:"),
    Prompt("two", "def add(a, b):"),
    Prompt("free", "Q", overrides={"max_thinking_tokens": None}),
    Prompt("closed", "The answer is 42. jumps over the lazy"),
]
#: Several tokens; a text that the model also finds by itself, now and then.
END = " over the lazy"
PARAMS = SamplingParams(k=6, max_new_tokens=24, logprobs=True, top_logprobs=2, thinking_end=END, max_thinking_tokens=9)


def drawn(one, params=PARAMS):
    return {(s.prompt_id, s.sample): s for s in one.sample(PROMPTS, params, seed=5)}


@pytest.fixture(scope="module")
def free():
    return drawn(Sampler(model(), tokenizer()), PARAMS.override({"max_thinking_tokens": None}))


def check(found, free, budget):
    end = tuple(tokenizer()(END, add_special_tokens=False)["input_ids"])
    assert len(end) > 1
    n_forced = 0
    for (name, j), sample in found.items():
        before = free[name, j]
        early = len(before.token_ids) <= budget or END in tokenizer().decode(before.token_ids[:budget])
        if name in ("free", "closed") or early:
            assert (sample.token_ids, sample.text, sample.forced) == (before.token_ids, before.text, None)
            continue
        n_forced += 1
        assert sample.forced == (budget, budget + len(end))
        # What came before is what would have come; what is forced was certain; the rest follows from it.
        assert sample.token_ids[:budget] == before.token_ids[:budget]
        assert sample.token_ids[budget : budget + len(end)] == end
        assert sample.logprobs[budget : budget + len(end)] == (0.0,) * len(end)
        assert sample.top_token_ids[budget] == (end[0],)
        assert all(value < 0 for value in sample.logprobs[budget + len(end) :])
        assert sample.text.count(END) >= 1
    assert n_forced > 6


@pytest.mark.parametrize("budget", [0, 9])
@pytest.mark.parametrize("options", [{}, {"max_batch": 5, "ahead": 1}])
def test_thinking_ends_at_its_budget(free, budget, options):
    one = Sampler(model(), tokenizer(), **options)
    check(drawn(one, PARAMS.override({"max_thinking_tokens": budget})), free, budget)


def test_paused_samples_stay_forced(free):
    size = Sampler(model(), tokenizer()).shape.page_bytes(2)
    one = Sampler(model(), tokenizer(), kv_memory=40 * size, page_size=2)
    check(drawn(one), free, 9)
    assert one.stats.preemptions > 0


def test_the_slow_path_forces_the_same():
    ours, theirs = drawn(Sampler(model(), tokenizer())), drawn(GenerateSampler(model(), tokenizer()))
    for key, sample in ours.items():
        assert (sample.token_ids, sample.forced) == (theirs[key].token_ids, theirs[key].forced)


def test_an_end_that_comes_in_time_is_left_alone(free):
    """Take as the end what a sample says by itself within the budget."""
    sample = next(s for s in free.values() if s.prompt_id == "one" and len(s.token_ids) == 24)
    end = tokenizer().decode(sample.token_ids[3:6])
    again = drawn(Sampler(model(), tokenizer()), PARAMS.override({"thinking_end": end}))
    assert again["one", sample.sample] == sample


@pytest.mark.parametrize("value", [-1, 1.5, "many"])
def test_bad_budgets(value):
    with pytest.raises(T2Error, match="max_thinking_tokens"):
        SamplingParams(max_thinking_tokens=value)
