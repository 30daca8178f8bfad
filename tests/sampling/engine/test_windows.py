"""Where every layer has a sliding window, what lies outside of it gives back its pages, and nothing else changes."""

from __future__ import annotations

import pytest
from tests.support.tiny import model, tokenizer, torch

from t2fast.sampling import Prompt, Sampler, SamplingParams
from t2fast.sampling.engine.pages import pages_for

LONG = "The quick brown fox jumps over the lazy dog. " * 3
PROMPTS = [Prompt("one", LONG + "Q: 3 + 4?"), Prompt("two", LONG + "Q: 12 * 3?"), Prompt("three", "Q")]
PARAMS = SamplingParams(k=4, max_new_tokens=60, logprobs=True, ignore_eos=True)
WINDOW = 11


def check(family, found):
    """Tokens have the log-probabilities that the model itself gives them."""
    assert len(found) == 12
    for sample in found:
        ids = tokenizer()(next(p.text for p in PROMPTS if p.id == sample.prompt_id))["input_ids"]
        with torch.no_grad():
            logits = model(family)(torch.tensor([ids + list(sample.token_ids)])).logits[0, len(ids) - 1 : -1]
        expected = logits.log_softmax(-1).gather(1, torch.tensor(sample.token_ids)[:, None])[:, 0]
        assert sample.logprobs == pytest.approx(expected.tolist(), abs=1e-4)


@pytest.mark.parametrize("page_size", [2, 8])
def test_pages_outside_the_windows_are_free(page_size):
    one = Sampler(model("mistral-window"), tokenizer(), page_size=page_size)
    used = []
    prompt = [PROMPTS[2]]
    for _ in one.sample(prompt, PARAMS, on_tokens=lambda _, __, ids: used.append((len(ids), one.stats.pages_used))):
        pass
    most = 4 * (pages_for(WINDOW, page_size) + 1)
    assert max(pages for _, pages in used) <= most
    assert one.stats.pages <= most < 4 * pages_for(60, page_size)
    # The pool is no larger than that takes, but for a page more each, and holds one sample whole.
    assert one.stats.pages_total <= max(most + 4, pages_for(61, page_size) + 1)
    assert one.stats.pages_used == 0
    assert one.stats.preemptions == 0


@pytest.mark.parametrize("options", [{}, {"page_size": 2}, {"page_size": 2, "max_batch": 3, "ahead": 1}])
def test_samples_are_those_of_the_model(options):
    one = Sampler(model("mistral-window"), tokenizer(), **options)
    check("mistral-window", list(one.sample(PROMPTS, PARAMS)))


def test_prefixes_behind_the_window_make_room():
    """Too few pages for what all read at first: later rows begin when earlier ones have left the prefixes behind."""
    size = Sampler(model("mistral-window"), tokenizer()).shape.page_bytes(2)
    one = Sampler(model("mistral-window"), tokenizer(), page_size=2, kv_memory=100 * size)
    check("mistral-window", list(one.sample(PROMPTS, PARAMS)))
    assert one.stats.pages <= 100


def test_layers_without_a_window_keep_all():
    one = Sampler(model("qwen2-window"), tokenizer(), page_size=2)
    assert (one.shape.window, one.shape.reach) == (13, 0)
    found = list(one.sample(PROMPTS, PARAMS))
    check("qwen2-window", found)
    assert one.stats.pages >= 12 * 30
