"""Live models: threads, training beside, other types and sizes, wrappers; the model itself is never changed."""

from __future__ import annotations

import copy
import functools
import threading
from types import MethodType

import pytest
from tests.support.tiny import model, tokenizer, torch, transformers

from t2fast.errors import T2Error
from t2fast.sampling import Prompt, Sampler, SamplingParams
from t2fast.sampling.engine.replica import replica, unwrapped

PROMPTS = [Prompt("a", "The answer is"), Prompt("b", "Question: what is 3 + 4? Answer:")]
PARAMS = SamplingParams(k=4, max_new_tokens=16, temperature=0.7, logprobs=True)


def fresh():
    live = transformers.LlamaForCausalLM(copy.deepcopy(model().config))
    live.load_state_dict(model().state_dict())
    return live.eval()


def drawn(sampler, params=PARAMS):
    return {(s.prompt_id, s.sample): s.token_ids for s in sampler.sample(PROMPTS, params)}


@pytest.fixture(scope="module")
def reference():
    return drawn(Sampler(model(), tokenizer()))


def check_logprobs(live, sampler, atol):
    """The samples' log-probabilities are those of the model's own forward pass."""
    for sample in sampler.sample(PROMPTS, PARAMS.override({"temperature": 1.0})):
        asked = sampler.tokenizer.encode([p for p in PROMPTS if p.id == sample.prompt_id])[0].tolist()
        with torch.no_grad():
            logits = live(torch.tensor([[*asked, *sample.token_ids]])).logits[0, len(asked) - 1 : -1].float()
        chosen = logits.log_softmax(-1).gather(1, torch.tensor(sample.token_ids)[:, None])[:, 0]
        assert sample.logprobs == pytest.approx(chosen.tolist(), abs=atol)


def test_samplers_in_threads_and_a_training_step_beside(reference):
    live, found, losses = fresh(), {}, []
    attention = live.config._attn_implementation
    ids = torch.tensor([[5, 6, 7, 8]])
    expected = live(ids, labels=ids).loss.item()
    live.train()
    over = threading.Event()

    def train():
        while not over.is_set():
            losses.append(live(ids, labels=ids).loss)
            losses[-1].backward()

    def run(i):
        found[i] = drawn(Sampler(live, tokenizer(), max_batch=1 + i))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    beside = threading.Thread(target=train)
    for thread in (beside, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    beside.join()
    assert [found[i] for i in range(4)] == [reference] * 4
    assert losses
    assert all(loss.item() == pytest.approx(expected, abs=1e-5) for loss in losses)
    assert (live.config._attn_implementation, live.training) == (attention, True)


@pytest.mark.parametrize("inside", [False, True])
def test_autocast(inside):
    live = fresh()
    one = None if inside else Sampler(live, tokenizer())
    with torch.autocast("cpu", torch.bfloat16):
        one = one or Sampler(live, tokenizer())
        # Steps of bfloat16, of 1/256, at the size of logits around 5, over four layers.
        check_logprobs(live, one, 0.25)
        samples = one.sample(PROMPTS, PARAMS)
        first = next(samples)
    # Whoever leaves autocast in the middle of a call changes nothing for it.
    rest = {(s.prompt_id, s.sample): s.token_ids for s in [first, *samples]}
    with torch.autocast("cpu", torch.bfloat16):
        assert drawn(one) == rest
    check_logprobs(live, one, 1e-4)


def test_what_changes_between_calls(reference):
    live = fresh()
    one = Sampler(live, tokenizer())
    assert drawn(one) == reference
    live.to(torch.bfloat16)
    assert len(drawn(one)) == 8
    assert one.shape.dtype == torch.bfloat16
    live.to(torch.float32)
    live.load_state_dict(model().state_dict())
    live.resize_token_embeddings(400)
    with torch.no_grad():
        live.lm_head.weight[320:] = 5 * live.lm_head.weight[:80]
    check_logprobs(live, one, 1e-4)
    assert one.shape.vocab == 400
    assert any(t >= 320 for ids in drawn(one).values() for t in ids)
    live.resize_token_embeddings(300)
    assert all(t < 300 for ids in drawn(one).values() for t in ids)


def test_hooks_and_patched_methods_come_along(reference):
    live, seen = fresh(), []
    live.model.layers[0].register_forward_hook(lambda *_: seen.append(1))
    plain = live.forward.__func__

    def twice(self, *arguments, **keywords):
        out = plain(self, *arguments, **keywords)
        out.logits = out.logits * 2
        return out

    live.forward = MethodType(twice, live)
    one = Sampler(live, tokenizer())
    check_logprobs(live, one, 1e-4)
    assert seen
    assert drawn(one) != reference
    del live.forward
    live.forward = functools.partial(plain, live)
    assert drawn(one) == reference
    live.forward = lambda *arguments, **keywords: plain(live, *arguments, **keywords)
    with pytest.raises(T2Error, match="forward method of LlamaForCausalLM was replaced by a function"):
        drawn(one)


def test_a_patch_that_calls_the_method_before_it_comes_along(reference):
    """As trainers do that fuse the loss into the forward pass: one patch over another, held by closures."""
    live, bare = fresh(), {}

    def patch(number):
        before = live.forward

        @functools.wraps(type(live).forward)
        def patched(self, *arguments, bonus=number, **keywords):
            bare[number] = self
            out = before(*arguments, **keywords)
            out.logits = out.logits * bonus
            return out

        live.forward = MethodType(patched, live)

    patch(2)
    patch(3)
    sampler = Sampler(live, tokenizer())
    assert bare[2] is bare[3]
    assert bare[2] is not live
    check_logprobs(live, sampler, 2e-4)
    assert live.config._attn_implementation != "t2fast"
    del live.forward
    assert drawn(sampler) == reference


def test_wrappers(reference):
    live = fresh()
    wrapped = torch.nn.DataParallel(live)
    assert drawn(Sampler(wrapped, tokenizer())) == reference
    assert unwrapped(torch.compile(wrapped)) is live

    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = live

    with pytest.raises(T2Error, match=r"Odd is not a model of transformers: .* give its \.inner"):
        Sampler(Odd(), tokenizer())
    with pytest.raises(T2Error, match="model = str"):
        Sampler("my-model", tokenizer())
    with pytest.raises(T2Error, match="tokenizer = NoneType"):
        Sampler(live, None)


def test_accelerate():
    accelerate = pytest.importorskip("accelerate")
    live = fresh()
    # One state serves a process, and others' tests have theirs.
    accelerate.state.AcceleratorState._reset_state(True)
    try:
        prepared = accelerate.Accelerator(cpu=True, mixed_precision="bf16").prepare(live)
        sampler = Sampler(prepared, tokenizer())
        assert sampler.shape.dtype == torch.bfloat16
        check_logprobs(prepared, sampler, 0.25)
    finally:
        accelerate.state.AcceleratorState._reset_state(True)


def test_peft(tmp_path):
    peft = pytest.importorskip("peft")
    fresh().save_pretrained(tmp_path / "base")
    tokenizer().save_pretrained(tmp_path / "base")
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    settings = peft.LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    live = peft.get_peft_model(base, settings).eval()
    one = Sampler(live, tokenizer())
    check_logprobs(live, one, 1e-4)
    adapted = drawn(one)
    live.save_pretrained(tmp_path / "adapter")
    loaded = Sampler.from_pretrained(tmp_path / "adapter", device="cpu")
    assert drawn(loaded) == adapted
    with live.disable_adapter():
        assert drawn(one) != adapted
    tuning = peft.PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM")
    with pytest.raises(T2Error, match="has 9 keys for a text of 5 tokens"):
        Sampler(peft.get_peft_model(fresh(), tuning), tokenizer())


def test_a_double_shares_weights_and_nothing_else():
    live = fresh().train()
    double = replica(live, "t2fast")
    assert {id(p) for p in double.parameters()} == {id(p) for p in live.parameters()}
    assert not {id(m) for m in double.modules()} & {id(m) for m in live.modules()}
    assert not any(m.training for m in double.modules())
    assert double.model.config is double.config is double.model.layers[0].self_attn.config
    assert double.config._attn_implementation == "t2fast" != live.config._attn_implementation
