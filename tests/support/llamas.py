"""Small random models of the Llama kind, whose blocks are known word for word."""

from __future__ import annotations

from tests.support.tiny import tokenizer, torch
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from t2fast.sampling import Prompt, Sampler, SamplingParams

SIZES = {
    "vocab_size": 128, "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 256, "eos_token_id": None, "bos_token_id": None,
}  # fmt: skip
LAYERS = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
MODELS = {
    "llama": (LlamaForCausalLM, LlamaConfig, {}),
    "llama with biases": (LlamaForCausalLM, LlamaConfig, {"attention_bias": True, "mlp_bias": True}),
    "mistral with a window": (MistralForCausalLM, MistralConfig, {"sliding_window": 24}),
    "qwen 2": (Qwen2ForCausalLM, Qwen2Config, LAYERS | {"sliding_window": 20, "use_sliding_window": True}),
    "qwen 3": (Qwen3ForCausalLM, Qwen3Config, LAYERS | {"sliding_window": 20, "use_sliding_window": True}),
}


def made(name):
    """A model of ``MODELS``, in fp32."""
    kind, config, more = MODELS[name]
    torch.manual_seed(0)
    model = kind(config(**SIZES, **more)).eval()
    with torch.no_grad():
        for weight in model.parameters():  # also biases and norms' weights, which begin as zeros and ones
            weight.add_(torch.randn_like(weight) * 0.15)
    return model


def draw(model, **settings):
    """Two prompts, one of them long, and four samples of each with their log-probabilities."""
    sampler = Sampler(model, tokenizer(), max_batch=8, **settings)
    prompts = [
        Prompt("long", token_ids=torch.randint(0, 128, (70,), generator=torch.Generator().manual_seed(1)).tolist()),
        Prompt("short", token_ids=[5, 6, 7]),
    ]
    params = SamplingParams(k=4, max_new_tokens=12, logprobs=True, ignore_eos=True)
    return prompts, list(sampler.sample(prompts, params))


def logprobs_of(model, prompts, sample):
    """What the model itself says of a sample's tokens."""
    begin = next(prompt.token_ids for prompt in prompts if prompt.id == sample.prompt_id)
    ids = torch.tensor([[*begin, *sample.token_ids]])
    logits = model(input_ids=ids).logits[0, len(begin) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(sample.token_ids)[:, None])[:, 0]


def gemma():
    """A model whose norms multiply by 1 + weight, and so are a class of their own."""
    return GemmaForCausalLM(GemmaConfig(**SIZES))


def _hook(model):
    model.model.layers[1].mlp.register_forward_hook(lambda *_: None)


def _gate(model):
    model.model.layers[0].mlp.act_fn = torch.nn.GELU()


def _layer(model):
    model.model.layers[2].self_attn.q_proj = torch.nn.Sequential(model.model.layers[2].self_attn.q_proj)


def _norm(model):
    norm = model.model.layers[0].input_layernorm
    norm.forward = type(norm).forward.__get__(norm)


#: Each changes one block so that it is no longer known.
UNKNOWN = (_hook, _gate, _layer, _norm)


def takes_the_weights_of_then():
    """Whether draws after a change of a model's weights are those of a new model with these."""
    model = made("llama")
    before = draw(model)[1]
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight.mul_(3)
        model.model.layers[0].input_layernorm.weight.mul_(0.5)
        model.model.norm.weight.mul_(0.5)
    after = {sample.logprobs for sample in draw(model)[1]}
    fresh = made("llama")
    fresh.load_state_dict(model.state_dict())
    return after.isdisjoint({sample.logprobs for sample in before}) and after == {s.logprobs for s in draw(fresh)[1]}
