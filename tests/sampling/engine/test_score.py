"""Negative log-likelihoods against a forward pass of transformers for each answer alone."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.support.tiny import model, tokenizer, torch

from t2fast.errors import T2Error
from t2fast.sampling import Prompt, Sampler

HEADER = "Question: what is 3 + 4? Answer: 7\nQuestion: what is 12 * 3? Answer: 36\n"


def alone(one, prompt, answer):
    """-ln p of the answer, in double precision from eager logits."""
    ids, asked = tokenizer()(prompt + answer)["input_ids"], tokenizer()(prompt)["input_ids"]
    n = len(asked)
    if ids[:n] != asked:  # the T and he of "The"
        ids = asked + tokenizer()(answer)["input_ids"]
    before = one.config._attn_implementation
    one.set_attn_implementation("eager")
    with torch.no_grad():
        logits = one(torch.tensor([ids])).logits[0].double()
    one.set_attn_implementation(before)
    picked = logits[n - 1 : -1].log_softmax(-1).gather(1, torch.tensor(ids[n:])[:, None])
    return -float(picked.sum()), len(ids) - n, bool((logits[n - 1 : -1].argmax(-1) == torch.tensor(ids[n:])).all())


PROMPTS = [
    Prompt("a", HEADER + "Question: what is 5? Answer:", choices=(" 7", " 36 and more of it", " 42"), answer=" 42"),
    Prompt("b", HEADER + "Question:", choices=(" what is 3 + 4?", " def add(a, b):")),
    Prompt("c", "The answer is", answer=" 42."),
    Prompt("d", "The answer is", answer=" the lazy dog" * 12),
    Prompt("e", "T", answer="he"),
]


@pytest.mark.parametrize("family", ["llama", "gemma2", "mistral-window"])
@pytest.mark.parametrize("options", [{}, {"prefill_tokens": 7}, {"kv_memory": 40_000}, {"page_size": 1}])
def test_scores_are_those_of_each_answer_alone(family, options):
    one = model(family)
    sampler = Sampler(one, tokenizer(), **options)
    if "kv_memory" in options:
        sampler.config = replace(sampler.config, kv_memory=13 * sampler.shape.page_bytes(16))
    scores = {(s.prompt_id, s.choice): s for s in sampler.score(PROMPTS)}
    assert set(scores) == {("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1), ("c", None), ("d", None), ("e", None)}
    for (name, _), score in scores.items():
        prompt = next(p for p in PROMPTS if p.id == name)
        nll, n, greedy = alone(one, prompt.text, score.text)
        assert score.nll == pytest.approx(nll, rel=1e-5)
        assert (score.n_answer_tokens, score.greedy) == (n, greedy)
    assert [scores["a", i].correct for i in range(3)] == [False, False, True]
    assert [scores["b", i].correct for i in range(2)] == [False, False]
    assert scores["c", None].correct


def test_probabilities_of_all_single_tokens_sum_to_one():
    one = model()
    words = [tokenizer().decode([i]) for i in range(320)]
    # Those that are a text of one token, so that each is an answer of its own.
    choices = tuple(w for i, w in enumerate(words) if tokenizer()(w)["input_ids"] == [i])
    # Given as tokens, the prompt merges with none of them.
    prompt = Prompt("all", token_ids=tuple(tokenizer()("Question:")["input_ids"]), choices=choices)
    total = sum(math.exp(-s.nll) for s in Sampler(one, tokenizer()).score([prompt]))
    with torch.no_grad():
        logits = one(torch.tensor([prompt.token_ids])).logits[0, -1].softmax(-1)
    ids = [tokenizer()(w)["input_ids"][0] for w in choices]
    assert total == pytest.approx(float(logits[ids].sum()), rel=1e-5)
    assert len(choices) > 150


def test_a_greedy_answer_is_found():
    one = model("qwen3")
    sampler = Sampler(one, tokenizer())
    ids = one.generate(
        torch.tensor([[5, 6, 7]]), attention_mask=torch.ones(1, 3), do_sample=False, max_new_tokens=1, pad_token_id=0
    )
    text = tokenizer().decode(ids[0, 3:])
    [score] = sampler.score([Prompt("x", token_ids=(5, 6, 7), answer=text)])
    assert score.greedy == (tokenizer()(text)["input_ids"] == ids[0, 3:].tolist())


def test_what_cannot_be_scored():
    sampler = Sampler(model(), tokenizer())
    with pytest.raises(T2Error, match="neither answer nor choices"):
        sampler.score([Prompt("x", "T")])
    with pytest.raises(T2Error, match="context is 512"):
        sampler.score([Prompt("x", "T" * 500, answer="n" * 40)])
    sampler.config = replace(sampler.config, kv_memory=sampler.shape.page_bytes(16))
    with pytest.raises(T2Error, match="kv_memory"):
        list(sampler.score([Prompt("x", "T" * 50, answer="n")]))
