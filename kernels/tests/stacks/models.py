"""Tiny models of random weights, with a tokenizer of as many words as the model knows tokens."""

from __future__ import annotations

from pathlib import Path

VOCABULARY = 512
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "initializer_range": 0.3,  # so that what follows depends on all that went before
}


def write(kind: str, folder: Path) -> None:
    """``llama``; or ``gemma``, with windows of 64 in every second layer and capped scores."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    if kind == "llama":
        model = LlamaForCausalLM(LlamaConfig(num_hidden_layers=3, **_SIZES))
    else:
        own = {"head_dim": 32, "sliding_window": 64, "query_pre_attn_scalar": 32, "attn_logit_softcapping": 5.0}
        model = Gemma2ForCausalLM(Gemma2Config(num_hidden_layers=4, **own, **_SIZES))
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0", eos_token="w1").save_pretrained(folder)
