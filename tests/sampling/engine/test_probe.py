"""Models whose attention is used in another way are refused, whatever the way."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.support.tiny import MIXED, SMALL, model, tokenizer, transformers

from t2fast.errors import T2Error
from t2fast.sampling import Prompt, Sampler, SamplingParams
from t2fast.sampling.engine import selftest

LlamaAttention = transformers.models.llama.modeling_llama.LlamaAttention


def llama():
    live = transformers.LlamaForCausalLM(copy.deepcopy(model().config))
    live.load_state_dict(model().state_dict())
    return live.eval()


def patched(change):
    """A Llama whose attention layers call the attention function with something changed."""
    live = llama()

    class Changed(LlamaAttention):
        def forward(self, hidden_states, position_embeddings=None, attention_mask=None, **more):
            hidden_states, attention_mask, more = change(self, hidden_states, attention_mask, more)
            return super().forward(hidden_states, position_embeddings, attention_mask, **more)

    for layer in live.model.layers:
        layer.self_attn.__class__ = Changed
    return live


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("DiffLlama", {}, "calls attention more than once in layer 0"),
        ("Bert/BertLMHeadModel", {}, "has attention that is not causal in layer 0"),
        ("Gemma3Text/Gemma3ForCausalLM", {**MIXED, "use_bidirectional_attention": True}, "not causal in layer 0"),
        ("Llama4Text/Llama4ForCausalLM", {}, "has chunked_attention layers"),
        ("Mamba", {}, "does not take another attention function"),
    ],
)
def test_families(name, changes, message):
    config, _, stem = name.partition("/")
    settings = {**SMALL, **changes}
    made = getattr(transformers, stem or f"{config}ForCausalLM")(getattr(transformers, f"{config}Config")(**settings))
    with pytest.raises(T2Error, match=message) as error:
        Sampler(made, tokenizer())
    assert "--engine generate can" in str(error.value)


def _dropping(_layer, hidden, mask, more):
    return hidden, mask, more | {"head_mask": torch.ones(8)}


def _biased(_layer, hidden, _mask, more):
    n = hidden.shape[1]
    return hidden, torch.linspace(-3, 0, n).expand(1, 1, n, n), more


def _backwards(_layer, hidden, _mask, more):
    n = hidden.shape[1]
    return hidden, torch.ones(1, 1, n, n, dtype=torch.bool), more


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_dropping, "gives its attention head_mask, which t2fast does not know"),
        (_biased, "masks or biases attention in layer 0"),
        (_backwards, "masks or biases attention in layer 0"),
    ],
)
def test_changed_calls(change, message):
    with pytest.raises(T2Error, match=message):
        Sampler(patched(change), tokenizer())


def test_a_window_that_is_only_in_the_mask(monkeypatch):
    """As of a model that leaves it to transformers' masks: no test as short as this one's texts would see it."""
    make = transformers.masking_utils.create_sliding_window_causal_mask
    monkeypatch.setattr(transformers.models.llama.modeling_llama, "create_causal_mask", make)
    live = llama()
    live.config.sliding_window = 5000
    with pytest.raises(T2Error, match="has a mask in layer 0 beyond causality, .* that its attention is not told of"):
        Sampler(live, tokenizer())


def test_not_causal():
    live = llama()
    live.model.layers[2].self_attn.is_causal = False
    with pytest.raises(T2Error, match="not causal in layer 2"):
        Sampler(live, tokenizer())
    with pytest.raises(T2Error, match="gives no logits"):
        Sampler(llama().model, tokenizer())


class Sharper(LlamaAttention):
    """Asks its own attention for something that it does not tell others: no rule can know."""

    def forward(self, *arguments, **more):
        self.scaling = self.head_dim**-0.5 * (1 if self.config._attn_implementation == "t2fast" else 1.5)
        return super().forward(*arguments, **more)


def test_what_no_rule_foresees():
    live = llama()
    for layer in live.model.layers:
        layer.self_attn.__class__ = Sharper
    with pytest.raises(T2Error, match="log-probabilities differ from those of its own by .* nats .*--trust"):
        Sampler(live, tokenizer())
    one = Sampler(live, tokenizer(), trust=True)
    assert "differ from those of its own" in one.warnings[0]
    assert len(list(one.sample([Prompt("x", "a")], SamplingParams(max_new_tokens=2)))) == 1


def test_the_outcome_is_kept(monkeypatch):
    calls = []
    compare = selftest._compare
    monkeypatch.setattr(selftest, "_compare", lambda *a: calls.append(a) or compare(*a))
    live = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL | {"intermediate_size": 100}))
    one = Sampler(live, tokenizer())
    assert len(calls) == 1
    list(one.sample([Prompt("x", "a")], SamplingParams(max_new_tokens=2)))
    Sampler(live, tokenizer(), page_size=4)
    assert len(calls) == 1
    # Another configuration is another matter; so are weights that say nothing.
    live.config.rms_norm_eps *= 2
    Sampler(live, tokenizer())
    assert len(calls) == 2
