"""A call that prompts join while it runs: what they get is what they would get alone."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("torch", reason="needs the extra 'sample'")

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import tiny

from t2fast import T2Error
from t2fast.sampling import Prompt, Sampler, SamplingParams
from t2fast.sampling.engine.live import Live
from t2fast.sampling.engine.live_schedule import LiveSchedule
from t2fast.sampling.engine.schedule import Job


class Kept:
    """Keeps what it is told."""

    def __init__(self, follows=False):
        self.follows, self.samples, self.heard, self.message, self.top = follows, {}, {}, None, None

    def tokens(self, sample, tokens, logprobs, top):  # noqa: ARG002
        assert tokens[:-1].tolist() == self.heard.get(sample, [])
        self.heard[sample] = tokens.tolist()

    def finished(self, sample, prompt_top):
        assert sample.sample not in self.samples
        self.samples[sample.sample] = sample
        self.top = prompt_top if prompt_top is not None else self.top

    def failed(self, message):
        self.message = message


def sampler(**options):
    return Sampler(tiny.model(), tiny.tokenizer(), **options)


def tokens(text):
    return tuple(tiny.tokenizer()(text)["input_ids"])


SETTINGS = [
    {},
    {"temperature": 0.0},
    {"top_k": 5, "temperature": 0.7},
    {"top_p": 0.8},
    {"stop": ("e",)},
    {"stop": ("42", "\n"), "logprobs": True},
    {"repetition_penalty": 1.3},
    {"presence_penalty": 0.5, "frequency_penalty": 0.2},
    {"logit_bias": {5: 4.0}},
    {"bad_words": ("the",), "min_new_tokens": 4},
    {"top_logprobs": 3},
    {"prompt_logprobs": True, "top_logprobs": 2},
]
TEXTS = [
    "The quick brown fox jumps over the lazy dog. The answer is 42. Question: what is 3 + 4?",
    "The quick brown fox jumps over the lazy dog. The answer is 42. Question: what is 12 * 3?",
    "The quick brown fox jumps over the lazy cat",
    "def add(a, b):",
    "x",
]


def alone(prompt, params, seed, one=None):
    """What the sampler draws for it."""
    found = {sample.sample: sample for sample in (one or sampler()).sample([prompt], params, seed=seed)}
    assert len(found) == params.k
    return found


def same(mine, theirs):
    assert mine.keys() == theirs.keys()
    for j, sample in mine.items():
        other = theirs[j]
        assert (sample.token_ids, sample.text, sample.finish_reason) == (
            other.token_ids,
            other.text,
            other.finish_reason,
        )
        for name in ("logprobs", "prompt_logprobs"):
            a, b = getattr(sample, name), getattr(other, name)
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(a, b, atol=2e-4)
        assert sample.top_token_ids == other.top_token_ids


@pytest.mark.parametrize("memory", [None, 16])
def test_prompts_come_and_go_and_get_what_they_would_alone(memory):
    """With every control there is, joined at random steps, some leaving early; with much memory and with little."""
    one = sampler(max_batch=6)
    if memory is not None:
        one = sampler(max_batch=6, kv_memory=memory * one.shape.page_bytes(16))
    live = Live(one._prepare(), most_context=256)
    chance, cases, gone, longest = random.Random(7), [], [], 30 if memory is None else 70
    for i in range(24 if memory is None else 13):
        settings = dict(SETTINGS[i % len(SETTINGS)])
        prompt = Prompt(f"q{i}", token_ids=tokens(chance.choice(TEXTS)))
        cases.append(
            (prompt, SamplingParams(k=chance.randint(1, 4), max_new_tokens=chance.randint(1, longest), **settings))
        )
    listeners = []
    for i, (prompt, params) in enumerate(cases):
        listeners.append(Kept(follows=i % 2 == 0))
        handle = live.join(prompt, params, 1000 + i, listeners[-1])
        if i % 5 == 4:
            gone.append((i, handle))
        for _ in range(chance.randint(0, 6)):
            live.step()
        if gone and gone[-1][0] == i:
            if len(listeners[i].samples) < params.k:
                live.leave(handle)
            else:
                gone.pop()
        assert live.schedule.check() == []
    while live.step():
        pass
    assert live.schedule.check() == []
    assert live.n_prompts == 0
    assert not live.runner.asked._jobs
    assert live.schedule.pages.taken == live.schedule.idle_pages
    live.schedule.free()
    assert live.schedule.pages.taken == 0
    assert live.schedule._below == {None: []}
    left = {i for i, _ in gone}
    assert left
    assert memory is None or live.stats.preemptions
    reference = sampler()
    for i, (prompt, params) in enumerate(cases):
        if i in left:
            assert len(listeners[i].samples) < params.k
            continue
        theirs = alone(prompt, params, 1000 + i, reference)
        same(listeners[i].samples, theirs)
        for j, heard in listeners[i].heard.items():
            assert tuple(heard) == theirs[j].token_ids[:-1]
        if params.prompt_logprobs and len(prompt.token_ids) > 1:
            ids, values = listeners[i].top
            chosen = np.array(theirs[0].prompt_logprobs)
            assert ids.shape == (len(prompt.token_ids) - 1, params.top_logprobs)
            assert (values[:, 0] >= chosen - 1e-4).all()
            at = np.array(prompt.token_ids[1:])
            np.testing.assert_allclose(values[ids == at[:, None]], chosen[(ids == at[:, None]).any(1)], atol=2e-4)


def test_a_prompt_is_computed_once_whoever_asks_for_it():
    live = Live(sampler()._prepare(), most_context=512)
    text = TEXTS[0] * 4
    ids = tokens(text)
    for i in range(4):
        live.join(Prompt("p", token_ids=ids), SamplingParams(k=16, max_new_tokens=5), i, Kept())
        live.step()
    while live.step():
        pass
    assert live.stats.prefilled == len(ids) - 1
    # Another with the same beginning: what it shares, in whole pages, is not computed again, though all ended before.
    other = (*ids[:70], 7, 8, 9, 10)
    live.join(Prompt("p", token_ids=other), SamplingParams(max_new_tokens=2), 0, Kept())
    while live.step():
        pass
    assert live.stats.prefilled == len(ids) - 1 + len(other) - 1 - 64
    assert live.schedule.check() == []


def test_what_cannot_be_drawn_is_refused_and_leaves_nothing_behind():
    live = Live(sampler()._prepare(), most_context=64)
    for ids, chosen in (
        (tuple(range(1, 65)), {}),
        ((1, 2), {"stop_token_ids": (100_000,)}),
        ((1, 2), {"logit_bias": {100_000: 1.0}}),
        ((1, 2), {"allowed_token_ids": (0,), "min_new_tokens": 2}),
    ):
        with pytest.raises(T2Error):
            live.join(Prompt("p", token_ids=ids), SamplingParams(**chosen), 0, Kept())
        assert live.n_prompts == 0
    kept = Kept()
    live.join(Prompt("p", token_ids=(1, 2)), SamplingParams(max_new_tokens=100), 0, kept)
    while live.step():
        pass
    [sample] = kept.samples.values()
    assert len(sample.token_ids) == 62 or sample.finish_reason == "stop"


def test_a_small_request_does_not_wait_for_a_large_one():
    live = Live(sampler(max_batch=4)._prepare(), most_context=128)
    large, small = Kept(), Kept()
    live.join(Prompt("a", token_ids=(1, 2)), SamplingParams(k=100, max_new_tokens=5, ignore_eos=True), 0, large)
    live.step()
    live.join(Prompt("b", token_ids=(3, 4)), SamplingParams(k=1, max_new_tokens=5, ignore_eos=True), 0, small)
    while not small.samples:
        live.step()
    assert len(large.samples) < 12


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 1), min_size=1, max_size=40), st.integers(1, 3), st.booleans()), max_size=12
    ),
    st.integers(2, 4),
    st.integers(14, 60),
    st.randoms(use_true_random=False),
)
def test_the_account_of_pages_and_nodes_holds(prompts, levels, n_pages, chance):
    """Jobs of few tokens join, run and stop at random: no page is lost, every node says what its prompts say there."""
    slots, page = 3, 2
    schedule = LiveSchedule(
        n_pages=n_pages + 20,
        page_size=page,
        slots=slots,
        node_tables=slots * levels + 4,
        n_top=0,
        width=64,
        levels=levels,
    )
    jobs = []

    def checked():
        assert schedule.check() == []
        for job in jobs:
            chain = job.chain()
            assert len(chain) <= levels
            if not job.over:
                assert [t for node in chain for t in node.tokens.tolist()] == job.tokens[:-1].tolist()

    for i, (ids, k, stops) in enumerate(prompts):
        job = Job(i, np.array(ids, np.int32), k, 4)
        schedule.join(job, alone=chance.random() < 0.2)
        jobs.append(job)
        for _ in range(chance.randint(0, 4)):
            schedule.admit()
            schedule.grow()
            for row in list(schedule.running.values()):
                schedule.count[row.slot] += 1
                if schedule.count[row.slot] >= row.job.limit:
                    schedule.finish(row)
            checked()
        if stops and not jobs[i // 2].over:
            schedule.stop(jobs[i // 2], 0)
            checked()
    for _ in range(200):
        schedule.admit()
        if not schedule.running:
            break
        schedule.grow()
        for row in list(schedule.running.values()):
            schedule.count[row.slot] += 1
            if schedule.count[row.slot] >= row.job.limit:
                schedule.finish(row)
        checked()
    assert all(job.over for job in jobs)
    schedule.free()
    assert schedule.pages.taken == 0
    assert schedule._below == {None: []}
