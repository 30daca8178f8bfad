"""Decoder blocks in few launches: here by the operators' references, with the same Python around them as on a GPU."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.llamas import MODELS, UNKNOWN, draw, gemma, logprobs_of, made, takes_the_weights_of_then
from tests.support.tiny import tokenizer, torch
from torch.utils._python_dispatch import TorchDispatchMode

from t2fast.sampling import Sampler
from t2fast.sampling.engine import launched, linear, prepared
from t2fast.sampling.engine.cache import Pool, Prefill, Span
from t2fast.sampling.engine.prefill import Text, forward_texts
from t2fast.sampling.engine.replica import replica


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(linear, "_faster", lambda: False)
    monkeypatch.setattr(prepared, "_launches", lambda _: True)


@pytest.fixture
def runs(monkeypatch):
    """How many tokens the blocks have computed this way."""
    seen = []
    run = launched._computed
    monkeypatch.setattr(launched, "_computed", lambda block, x, *more: seen.append(len(x)) or run(block, x, *more))
    return seen


@pytest.mark.parametrize("prefill_tokens", [16, 1024])
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_logprobs_are_the_models(name, prefill_tokens, runs):
    model = made(name)
    model.set_attn_implementation("eager")
    prompts, samples = draw(model, prefill_tokens=prefill_tokens)
    assert runs.count(8) >= 3 * 11, "the steps went another way"
    assert sum(runs) >= 3 * (70 + 8 * 12 - 1), "the prompts went another way"
    for sample in samples:
        theirs = logprobs_of(model, prompts, sample)
        torch.testing.assert_close(torch.tensor(sample.logprobs), theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_logits_are_as_exact_as_the_models(name, dtype, runs):
    """In few bits no two ways give the same numbers: ours are as near to those of fp64 as transformers' own."""
    ids = torch.randint(0, 128, (90,), generator=torch.Generator().manual_seed(2))
    rounded = made(name).to(dtype)
    exact = made(name).double()
    for one, other in zip(exact.parameters(), rounded.parameters(), strict=True):
        one.copy_(other)
    for model in (exact, rounded):
        model.set_attn_implementation("eager")
    truth, theirs = exact(input_ids=ids[None]).logits[0], rounded(input_ids=ids[None]).logits[0]
    ready = Sampler(rounded, tokenizer())._prepare()
    pool = Pool(ready.shape, 8, 16, torch.device("cpu"))
    runs.clear()
    text = Text(ids.tolist(), np.arange(16, 106), np.empty(0, np.int64), wanted=True)
    ours = torch.cat([logits for _, logits in forward_texts(ready.model, pool, [text], 40)])
    assert runs == [40] * 6 + [10] * 3
    off = [(one.double() - truth).square().mean().sqrt() for one in (ours, theirs)]
    assert off[0] <= 1.1 * off[1]
    if dtype == torch.float32:
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


class Seen(TorchDispatchMode):
    """Names of the operations that compute something."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if not function.is_view and name not in ("detach", "empty", "empty_like", "new_empty", "_to_copy"):
            self.names.append(name)
        return function(*args, **(kwargs or {}))


TOGETHER = ["rms_norm", "products", "append_kv", "mm", "rms_norm", "gated_product", "addmm_"]
APART = ["rms_norm", "mm", "mm", "mm", "append_kv", "mm", "rms_norm", "mm", "mm", "silu_mul", "addmm_"]


@pytest.mark.parametrize(("n", "launches"), [(5, TOGETHER), (200, APART)])
@torch.no_grad()
def test_a_block_is_few_launches(n, launches):
    model = replica(made("qwen 3").bfloat16(), "t2fast")
    launched.launch_few(model)
    pool = Pool(Sampler(made("qwen 3").bfloat16(), tokenizer())._prepare().shape, 13, 16, torch.device("cpu"))
    reading = Prefill(pool, torch.arange(n), [Span(0, n, torch.arange(n))])
    x = torch.randn(1, n, 96).bfloat16()
    turned = model.model.rotary_emb(x, torch.arange(n)[None])
    no = [torch.zeros(n, heads, 32).bfloat16() for heads in (4, 2, 2)]
    turn = launched.Turn(*(t[0, :, :16] for t in turned))
    reading(0, *no, scale=1.0, window=None, soft_cap=None, sinks=None, turn=turn)  # what is made once for all layers
    with Seen() as seen:
        out = model.model.layers[0](x, position_embeddings=turned, t2fast=reading)
    assert out.shape == x.shape
    assert seen.names == launches


def ready(change=torch.nn.Module.eval, name="qwen 3"):
    model = made(name)
    change(model)
    double = replica(model, "t2fast")
    launched.launch_few(double)
    return [block for block in double.model.layers if "forward" in block.__dict__]


def test_blocks_that_are_not_known_stay(runs):
    def mixed(model):
        model.model.layers[1].mlp.up_proj.bfloat16()

    assert len(ready()) == len(ready(lambda model: model.bfloat16())) == 3
    assert [len(ready(change)) for change in (*UNKNOWN, mixed)] == [2, 2, 2, 2, 2]
    assert ready(lambda model: model.model.rotary_emb.register_forward_hook(lambda *_: None)) == []
    draw(gemma())
    assert not runs


def test_blocks_in_other_circumstances_are_their_own(runs):
    model = made("llama")
    double = replica(model, None)
    launched.launch_few(double)
    assert not any("forward" in module.__dict__ for module in model.modules())
    ids = torch.arange(9)[None]
    # Without pages, for training, for several texts, under autocast.
    torch.testing.assert_close(double(ids).logits, model(ids).logits, atol=1e-4, rtol=1e-4)
    assert double(ids).logits.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(double(ids.repeat(2, 1)).logits[1:], model(ids).logits, atol=1e-4, rtol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(double(ids).logits, model(ids).logits)
            draw(model)
    assert not runs


def test_every_call_takes_the_weights_of_then():
    assert takes_the_weights_of_then()
