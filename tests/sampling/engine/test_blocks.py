"""Decoder blocks by the compiled core: the model's own numbers, and only where nothing stands in the way."""

from __future__ import annotations

import pytest
from tests.support.llamas import MODELS, UNKNOWN, draw, gemma, logprobs_of, made, takes_the_weights_of_then
from tests.support.tiny import torch

from t2fast.sampling.engine import blocks, linear
from t2fast.sampling.engine.replica import replica

pytestmark = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise") or not torch.backends.mkldnn.is_available(),
    reason="PyTorch without oneDNN",
)


@pytest.fixture(autouse=True)
def anywhere(monkeypatch):
    """The numbers are right on every processor, also where they are not faster."""
    monkeypatch.setattr(linear, "_faster", lambda: True)


@pytest.fixture
def runs(monkeypatch):
    """How many tokens the core's blocks have computed."""
    seen = []
    run = blocks._Fused.__call__
    monkeypatch.setattr(blocks._Fused, "__call__", lambda self, x, *more: seen.append(len(x)) or run(self, x, *more))
    return seen


@pytest.mark.parametrize("prefill_tokens", [16, 1024])
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_logprobs_are_the_models(name, prefill_tokens, runs):
    model = made(name)
    model.set_attn_implementation("eager")
    prompts, samples = draw(model, prefill_tokens=prefill_tokens)
    assert runs.count(8) >= 3 * 11, "the steps went another way"
    for sample in samples:
        theirs = logprobs_of(model, prompts, sample)
        torch.testing.assert_close(torch.tensor(sample.logprobs), theirs, atol=2e-4, rtol=2e-4)


def doubled(model):
    double = replica(model, None)
    linear.quicken(double)
    return double


def test_blocks_that_are_not_known_stay(runs):
    def known(change=torch.nn.Module.eval):
        model = made("qwen 3")
        change(model)
        return [block for block in doubled(model).modules() if blocks._known(block)]

    assert len(known()) == 3
    assert [len(known(change)) for change in UNKNOWN] == [2, 2, 2, 2]
    assert known(lambda model: model.bfloat16()) == []
    assert not any(map(blocks._known, doubled(gemma()).modules()))
    draw(gemma())
    assert not runs


def test_a_block_in_other_circumstances_is_its_own(runs):
    model = made("llama")
    double = doubled(model)
    linear.pack(double, 1 << 40, blocks.fuse)
    assert all("fused" in block.__dict__ for block in double.model.layers)
    assert not any("fused" in module.__dict__ or "forward" in module.__dict__ for module in model.modules())
    ids = torch.arange(9)[None]
    # Without pages, for training, for several texts.
    torch.testing.assert_close(double(ids).logits, model(ids).logits, atol=1e-4, rtol=1e-4)
    assert double(ids).logits.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(double(ids.repeat(2, 1)).logits[1:], model(ids).logits, atol=1e-4, rtol=1e-4)
    assert not runs


def test_every_call_takes_the_weights_of_then():
    assert takes_the_weights_of_then()


def test_threads_change_nothing():
    model, before, found = made("qwen 3"), torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            found.append({(s.prompt_id, s.sample, s.token_ids) for s in draw(model)[1]})
        finally:
            torch.set_num_threads(before)
    assert found[0] == found[1]
