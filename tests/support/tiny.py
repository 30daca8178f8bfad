"""Small random models of many families, and a small tokenizer, made on the spot."""

from __future__ import annotations

import functools

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'sample'")
transformers = pytest.importorskip("transformers", reason="needs the extra 'sample'")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402

CORPUS = [
    "The quick brown fox jumps over the lazy dog. The answer is 42.\n\n",
    "Question: what is 3 + 4? Answer: 7\nQuestion: what is 12 * 3? Answer: 36\n",
    "def add(a, b):\n    return a + b  # naïve, über, 東京, 🙂\n",
]
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"


@functools.cache
def tokenizer(vocab: int = 320):
    """Byte-level BPE: tokens may hold a part of a character, a word or several."""
    one = Tokenizer(models.BPE())
    one.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    one.decoder = decoders.ByteLevel()
    special = ["<eos>", "<|user|>", "<|assistant|>", "<|system|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    one.train_from_iterator(CORPUS * 20, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=one, eos_token="<eos>", chat_template=TEMPLATE)


SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 320,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "initializer_range": 0.15,
    "eos_token_id": 0,
    "bos_token_id": None,
    "pad_token_id": 0,
}
MIXED = {"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 13}

#: Name: class stem, settings.
FAMILIES = {
    "llama": ("Llama", {}),
    "llama-mha": ("Llama", {"num_key_value_heads": 8}),
    "llama-mqa": ("Llama", {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "qwen2": ("Qwen2", {}),
    "qwen2-window": ("Qwen2", {"use_sliding_window": True, **MIXED}),
    "qwen3": ("Qwen3", {}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "mistral-window": ("Mistral", {"sliding_window": 11}),
    "gemma2": (
        "Gemma2",
        {"query_pre_attn_scalar": 16, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0, **MIXED},
    ),
    "gemma3": ("Gemma3ForCausalLM/Gemma3Text", {"query_pre_attn_scalar": 16, **MIXED}),
    "olmo2": ("Olmo2", {}),
    "olmo3": ("Olmo3", {**MIXED}),
    "phi3": ("Phi3", {}),
    "phi3-window": ("Phi3", {"sliding_window": 17}),
    "smollm3": ("SmolLM3", {"no_rope_layers": [1, 1, 1, 0]}),
    "gpt-oss": ("GptOss", {"num_local_experts": 4, "num_experts_per_tok": 2, "initializer_range": 0.1, **MIXED}),
}


@functools.cache
def model(family: str = "llama", seed: int = 0, **changes):
    """A random model in evaluation mode; the same object for the same arguments."""
    stem, settings = FAMILIES[family]
    name, _, config = stem.partition("/")
    config_class = getattr(transformers, (config or stem) + "Config")
    model_class = getattr(transformers, name if config else stem + "ForCausalLM")
    torch.manual_seed(seed)
    made = model_class(config_class(**{**SMALL, **settings, **changes})).eval()
    with torch.no_grad():
        for key, value in made.named_parameters():
            if key.endswith("sinks"):
                value.normal_()
    return made
