"""Every causal family of transformers, made small: right, or refused with a reason; never wrong.

``pytest -m slow`` runs it, in some minutes. ``python -m tests.sampling.engine.test_families`` prints what becomes of each,
which the table in docs/sample-engine.md counts.
"""

from __future__ import annotations

from collections import Counter

import pytest
from tests.support.tiny import tokenizer, torch, transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as FAMILIES

from t2fast.errors import T2Error
from t2fast.sampling import Prompt, Sampler, SamplingParams

#: Sizes by the names that families give them; each takes those it knows.
SMALL = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "word_embed_proj_dim"), 64),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "d_ff", "decoder_ffn_dim"), 96),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), 4),
    **dict.fromkeys(
        ("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads", "decoder_attention_heads"), 8
    ),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "num_experts_per_tok"), 2),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len"), 512),
    **dict.fromkeys(("initializer_range", "init_std"), 0.15),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "first_k_dense_replace"), 1),
    **dict.fromkeys(("head_dim", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"), 16),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "kv_lora_rank", "q_lora_rank"), 32),
    **dict.fromkeys(("hidden_dropout", "attention_dropout", "layerdrop"), 0.0),
    "vocab_size": 320, "eos_token_id": 0, "bos_token_id": None, "pad_token_id": 0, "rotary_dim": 8, "d_kv": 8,
    "sliding_window": 13,
}  # fmt: skip
HEADER = "The quick brown fox jumps over the lazy dog. " * 2
PROMPTS = [Prompt("short", "Q"), Prompt("a", HEADER + "what is 3 + 4?"), Prompt("b", HEADER + "Answer: 36\nQ:")]


def small(key):
    """A small random model of a family; skips those that have none."""
    name = FAMILIES[key]
    model_class = getattr(transformers, name[0] if isinstance(name, list | tuple) else name)
    config_class = getattr(model_class, "config_class", None) or transformers.CONFIG_MAPPING[key]
    try:
        base = config_class()
        known = set(base.to_dict()) | set(dir(base))
        settings = {k: v for k, v in SMALL.items() if k in known and k not in config_class.attribute_map}
        if getattr(base, "sliding_window", 0) is None:
            settings.pop("sliding_window", None)
        torch.manual_seed(0)
        with torch.device("meta"):
            size = sum(p.numel() for p in model_class(config_class(**settings)).parameters())
        if size > 40_000_000:
            pytest.skip(f"{size / 1e6:.0f}M parameters where it is smallest")
        made = model_class(config_class(**settings)).eval()
    except Exception as error:  # configurations refuse sizes in many ways
        pytest.skip(f"no small configuration: {' '.join(str(error).split())[:100]}")
    with torch.no_grad():
        for key_, value in made.named_parameters():
            if value.dim() > 1 and value.std() < 0.1:
                value.normal_(0, 0.12)
            elif key_.endswith("bias"):
                value.normal_(0, 0.1)
    return made


def outcome(key):
    """What becomes of a family: right, wrong, refused or not tried; and why."""
    try:
        made = small(key)
    except pytest.skip.Exception as error:
        return "not tried", str(error)
    try:
        sampler = Sampler(made, tokenizer(), max_batch=16, page_size=8, prefill_tokens=48)
    except T2Error as error:
        return "refused", str(error)  # in words that the tests of the probe look at
    sampler.eos = ()
    made.set_attn_implementation("eager")
    off = [torch.zeros(())]
    for sample in sampler.sample(PROMPTS, SamplingParams(k=2, max_new_tokens=24, logprobs=True), seed=3):
        asked = sampler.tokenizer.encode([p for p in PROMPTS if p.id == sample.prompt_id])[0].tolist()
        with torch.no_grad():
            logits = made(torch.tensor([[*asked, *sample.token_ids]]), use_cache=False).logits[0, len(asked) - 1 : -1]
        chosen = logits.float().log_softmax(-1).gather(1, torch.tensor(sample.token_ids)[:, None])[:, 0]
        off.append((torch.tensor(sample.logprobs) - chosen).abs().max())
    worst = float(torch.stack(off).max())  # NaN is the greatest
    return "right" if worst < 1e-3 else "wrong", f"log-probabilities off by {worst:.1g} nats at most"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", FAMILIES)
def test_right_or_refused(key):
    found, reason = outcome(key)
    if found == "not tried":
        pytest.skip(reason)
    assert found in ("right", "refused"), reason


if __name__ == "__main__":
    counted = Counter()
    for family in FAMILIES:
        try:
            found, why = outcome(family)
        except Exception as error:
            found, why = "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        counted[found] += 1
        print(f"{family}\t{found}\t{why}", flush=True)
    print(dict(counted))
