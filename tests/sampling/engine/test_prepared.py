"""Everything a sampler does happens on its model's device, whatever device is current."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import replace

import pytest
from tests.support.tiny import model, tokenizer, torch

from t2fast.sampling import Prompt, Sampler, SamplingParams
from t2fast.sampling.engine import runner
from t2fast.sampling.engine.prepared import Prepared


def test_the_second_gpu_is_made_current_for_its_model(monkeypatch):
    entered = []

    @contextmanager
    def device(which):
        entered.append(which)
        yield
        entered.append(None)

    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    prepared = Sampler(model("llama"), tokenizer())._prepare()
    with prepared.running():
        assert entered == []
    second = torch.device("cuda", 1)
    with replace(prepared, device=second).running():
        assert entered == [second]
    assert entered == [second, None]


def test_whatever_touches_the_device_runs_there(monkeypatch):
    inside = []
    before = Prepared.running

    @contextmanager
    def running(self):
        with before(self):
            inside.append(True)
            yield
            inside.pop()

    monkeypatch.setattr(Prepared, "running", running)
    seen = []
    for name in ("__init__", "begin", "upload", "step"):
        function = getattr(runner.Runner, name)

        def watched(*arguments, _function=function, _name=name, **options):
            seen.append((_name, bool(inside)))
            return _function(*arguments, **options)

        monkeypatch.setattr(runner.Runner, name, watched)
    list(Sampler(model("llama"), tokenizer()).sample([Prompt("a", "Hello")], SamplingParams(k=2, max_new_tokens=3)))
    assert {name for name, _ in seen} == {"__init__", "begin", "upload", "step"}
    assert all(within for _, within in seen)


@pytest.mark.skipif(not torch.cuda.is_available() or torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_a_model_on_the_second_gpu():
    import copy

    one = copy.deepcopy(model("llama")).to("cuda:1")
    prompts, params = [Prompt("a", "Hello")], SamplingParams(k=4, max_new_tokens=8)
    drawn = [[s.token_ids for s in Sampler(m, tokenizer()).sample(prompts, params, seed=1)] for m in (one, one.to("cuda:0"))]  # fmt: skip
    assert sorted(drawn[0]) == sorted(drawn[1])
