"""A cancelled prompt leaves before the next step; what holds for every sampler is in ../test_cancel.py."""

from __future__ import annotations

import pytest
from tests.support.tiny import model, tokenizer

from t2fast.sampling import Prompt, Sampler, SamplingParams

PROMPTS = [Prompt(name, "The quick brown fox jumps over the lazy dog. " * 2 + name) for name in ("a", "b", "c")]
PARAMS = SamplingParams(k=6, max_new_tokens=20, ignore_eos=True)


def tokens(samples):
    return {(s.prompt_id, s.sample): s.token_ids for s in samples}


@pytest.fixture(scope="module")
def whole():
    return tokens(Sampler(model(), tokenizer()).sample(PROMPTS, PARAMS))


@pytest.mark.parametrize("batch", [4, 18])
def test_cancelling_from_a_callback(whole, batch):
    one = Sampler(model(), tokenizer(), max_batch=batch, page_size=4)
    used = []

    def seen(prompt, _, ids):
        if prompt.id == "a" and len(ids) == 10 and not one.cancelled:
            assert one.cancel("a")
        used.append((one.stats.steps, one.stats.pages_used, one.stats.cancelled))

    found = tokens(one.sample(PROMPTS, PARAMS, on_tokens=seen))
    assert found == {key: value for key, value in whole.items() if key[0] != "a"}
    assert one.stats.cancelled == 6
    assert one.stats.samples == one.stats.total == 12
    assert set(one.cancelled) == {"a"}
    # Its pages are free before the next step.
    before = max(pages for step, pages, dropped in used if not dropped)
    after = next(pages for step, pages, dropped in used if dropped)
    assert after < before
    assert one.stats.pages_used == 0
    assert not one.cancel("b")  # nothing is under way
