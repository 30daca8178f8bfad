"""Graphs and device memory serve all calls of a sampler, and nothing stale is ever replayed. No GPU: graphs are faked."""

from __future__ import annotations

import copy

import pytest
from tests.support.tiny import model, tokenizer, torch

from t2fast.sampling import Prompt, Sampler, SamplingParams
from t2fast.sampling.engine import linear
from t2fast.sampling.engine import runner as runners
from t2fast.sampling.engine.memory import Memory, state_of
from t2fast.sampling.engine.prepared import Prepared
from t2fast.sampling.engine.replica import replica
from t2fast.sampling.engine.runner import launch_size

PROMPTS = [Prompt(str(i), "The quick brown fox. " + "What is 3 + 4? " * i) for i in range(4)]
PARAMS = SamplingParams(k=5, max_new_tokens=12)


@pytest.fixture
def captures(monkeypatch):
    """As on a GPU, steps are captured; a faked graph runs what it captured once more, over the same memory."""
    made = []

    def capture(run, pool):
        assert pool == "pool"
        made.append(run)
        return run

    monkeypatch.setattr(Prepared, "graphs", property(lambda self: "none" if self.config.graphs == "none" else "cuda"))
    monkeypatch.setattr(runners, "capture", capture)
    # On the CPU each call copies weights into a layout of its own, which no GPU does.
    monkeypatch.setattr(linear, "_faster", lambda: False)
    monkeypatch.setattr(runners, "graph_memory", lambda: "pool")
    return made


def drawn(one, params=PARAMS, prompts=PROMPTS, **options):
    return {(s.prompt_id, s.sample): s.token_ids for s in one.sample(prompts, params, **options)}


def sampler(family="llama", **options):
    return Sampler(copy.deepcopy(model(family)), tokenizer(), max_batch=20, **options)


def test_the_next_call_captures_nothing(captures):
    one, eager = sampler(), sampler(graphs="none")
    assert drawn(one, seed=1) == drawn(eager, seed=1)
    n, memory = len(captures), one._kept
    assert n > 0
    for seed, prompts in ((1, PROMPTS), (2, PROMPTS), (3, PROMPTS[:2])):
        assert drawn(one, prompts=prompts, seed=seed) == drawn(eager, prompts=prompts, seed=seed)
    assert one._kept is memory
    assert len(captures) <= n + 2  # sizes that had occurred once were captured the second time
    before = len(captures)
    drawn(one, seed=9)
    assert len(captures) == before


def test_new_weights_in_place_are_read_and_others_captured_anew(captures):
    one, eager = sampler(), sampler(graphs="none")
    drawn(one), drawn(one)
    n = len(captures)
    with torch.no_grad():
        for mine, theirs in zip(one.model.parameters(), eager.model.parameters(), strict=True):
            mine.mul_(1.5), theirs.mul_(1.5)
    assert drawn(one) == drawn(eager)
    assert len(captures) == n
    with torch.no_grad():
        for mine, theirs in zip(one.model.parameters(), eager.model.parameters(), strict=True):
            mine.data = mine * 0.5
            theirs.data = theirs * 0.5
    assert drawn(one) == drawn(eager)
    assert len(captures) > n


@pytest.mark.usefixtures("captures")
@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.5},
        {"top_k": 3},
        {"top_p": 0.7, "repetition_penalty": 1.3},
        {"min_new_tokens": 4},
        {"max_new_tokens": 40},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_settings_are_drawn_by_their_own_graphs(change):
    one, eager = sampler(), sampler(graphs="none")
    assert drawn(one) == drawn(eager)
    other = SamplingParams(**{"k": 5, "max_new_tokens": 12} | change)
    for params in (other, PARAMS, other):
        assert drawn(one, params) == drawn(eager, params)


@pytest.mark.usefixtures("captures")
def test_larger_calls_get_larger_memory():
    one, eager = sampler(), sampler(graphs="none")
    few = [Prompt("a", "Hello")]
    assert drawn(one, prompts=few) == drawn(eager, prompts=few)
    small = one._kept
    assert drawn(one) == drawn(eager)
    assert one._kept is not small
    assert not hasattr(small, "pool")
    large = one._kept
    assert drawn(one, prompts=few) == drawn(eager, prompts=few)
    assert one._kept is large


@pytest.mark.usefixtures("captures")
def test_two_calls_at_once_do_not_share_memory():
    one, eager = sampler(), sampler(graphs="none")
    drawn(one)
    first, second = one.sample(PROMPTS, PARAMS, seed=1), one.sample(PROMPTS, PARAMS, seed=2)
    found = [{}, {}]
    while len(found[0]) < 20 or len(found[1]) < 20:
        for which, samples in enumerate((first, second)):
            for s in samples:
                found[which][s.prompt_id, s.sample] = s.token_ids
                break
    assert found == [drawn(eager, seed=1), drawn(eager, seed=2)]


@pytest.mark.usefixtures("captures")
def test_an_abandoned_call_leaves_its_memory():
    one, eager = sampler(), sampler(graphs="none")
    samples = one.sample(PROMPTS, PARAMS)
    next(samples)
    samples.close()
    assert isinstance(one._kept, Memory)
    assert drawn(one) == drawn(eager)


def test_warmup_captures_every_size(captures):
    one, eager = sampler(), sampler(graphs="none")
    said = one.warmup(PROMPTS, PARAMS)
    assert said.startswith("captured steps of 1, 2, 4, 8, 16, 20 rows in ")
    assert len(captures) == len({min(launch_size(n), 20) for n in range(1, 21)}) == 6
    assert drawn(one) == drawn(eager)
    assert len(captures) == 6
    one.release()
    assert one._kept is None
    assert drawn(one) == drawn(eager)
    assert len(captures) > 6
    assert "each call captures its own" in one.warmup(PROMPTS, SamplingParams(k=2, min_new_tokens=3))


def test_warmup_on_the_cpu_says_that_there_is_nothing_to_do():
    one = sampler()
    assert one.warmup(PROMPTS, PARAMS) == "nothing to warm up: with graphs = 'none' on cpu no step is captured"
    drawn(one)
    assert one._kept is None
    one.release()


def test_whatever_steers_a_model_is_part_of_its_state():
    one = copy.deepcopy(model("llama"))
    before = state_of(replica(one, None))
    assert state_of(replica(one, None)) == before
    module = one.model.layers[0].mlp

    def changed():
        return state_of(replica(one, None)) != before

    module.scaling = {"adapter": 0.5}
    with_scaling = state_of(replica(one, None))
    assert changed()
    module.scaling["adapter"] = 0.25
    assert state_of(replica(one, None)) != with_scaling
    del module.scaling
    assert not changed()
    hook = module.register_forward_hook(lambda *_: None)
    assert changed()
    hook.remove()
    one.config.rms_norm_eps = 1e-3
    assert changed()
