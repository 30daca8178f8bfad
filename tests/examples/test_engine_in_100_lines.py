"""The engine in 100 lines gives the tokens of transformers' generate, and samples of its own from one prompt."""

from __future__ import annotations

import pytest
from tests.support.examples import FOLDER, load
from tests.support.tiny import model, tokenizer, torch

engine = load("engine_in_100_lines")
PROMPT = tokenizer()("The quick brown fox jumps over the lazy dog. The answer is")["input_ids"]


@pytest.mark.parametrize("family", ["llama", "llama-mqa"])
def test_greedy_tokens_are_generates(family):
    live = model(family)
    expected = live.generate(
        torch.tensor([PROMPT]), max_new_tokens=20, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    found = engine.Engine(live, 3, 64).samples(PROMPT, 20, temperature=0)
    assert found == [expected[0, len(PROMPT) :].tolist()] * 3


def test_an_end_token_ends_a_sample_and_the_others_go_on():
    one = engine.Engine(model(), 6, 64)
    whole = one.samples(PROMPT, 12, seed=3)
    assert len({tuple(tokens) for tokens in whole}) == 6
    end = whole[0][4]
    cut = [tokens[: tokens.index(end) + 1] if end in tokens else tokens for tokens in whole]
    assert cut != whole
    assert one.samples(PROMPT, 12, seed=3, eos=(end,)) == cut


def test_samples_follow_the_model(monkeypatch):
    """The logits of every draw are those of a plain forward pass over the sample so far."""
    seen = []

    def watched(logits, *arguments, **settings):
        seen.append(logits.clone())
        return original(logits, *arguments, **settings)

    original = engine.sample
    monkeypatch.setattr(engine, "sample", watched)
    found = engine.Engine(model(), 4, 64).samples(PROMPT, 10, temperature=1.2, top_p=0.9)
    for j, tokens in enumerate(found):
        with torch.no_grad():
            logits = model()(torch.tensor([PROMPT + tokens])).logits[0, len(PROMPT) - 1 : -1]
        torch.testing.assert_close(torch.stack([step[j] for step in seen]), logits, atol=2e-4, rtol=1e-4)


def test_it_has_100_lines_at_most():
    assert len((FOLDER / "engine_in_100_lines.py").read_text(encoding="utf-8").splitlines()) <= 100
