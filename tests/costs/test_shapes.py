import json
import pickle
from pathlib import Path

import pytest

import t2fast as t2
from t2fast import costs


@pytest.mark.parametrize("name", list(costs.architectures()))
def test_shipped_models_are_sound(name):
    found = costs.load_architecture(name)
    assert 0 < found.multiplying_params <= found.n_params
    assert pickle.loads(pickle.dumps(found)) == found


#: Width of the feed-forward layers in the published configurations.
INNER = {
    "llama-2-13b": 13824, "llama-3.2-1b": 8192, "llama-3.2-3b": 8192, "mistral-7b": 14336, "mixtral-8x7b": 14336,
    "qwen2.5-0.5b": 4864, "qwen2.5-1.5b": 8960, "qwen2.5-3b": 11008, "qwen2.5-7b": 18944, "qwen2.5-32b": 27648,
    "qwen2.5-72b": 29568, "qwen3-0.6b": 3072, "qwen3-8b": 12288, "qwen3-32b": 25600, "gpt-oss-20b": 2880,
    "gpt-oss-120b": 2880,
}  # fmt: skip


def counted(model, inner):
    """All parameters of a published model, and those that work on a token, matrix by matrix."""
    d, q, kv = model.d_model, model.heads * model.head_dim, model.kv_heads * model.head_dim
    embeddings = model.vocab * d * (1 if model.tied else 2)
    if model.name.startswith("pythia"):
        # Biases everywhere, two norms with bias in a layer and one at the end.
        return embeddings + model.layers * (12 * d * d + 13 * d) + 2 * d, None
    attention = 2 * d * q + 2 * d * kv
    if model.name.startswith("qwen2.5"):
        attention += q + 2 * kv
    if model.name.startswith("qwen3"):
        attention += 2 * model.head_dim
    one, experts = 3 * d * inner, model.experts or 0
    router = d * experts
    if model.name.startswith("gpt-oss"):
        attention += q + 2 * kv + d + model.heads
        one, router = one + 2 * inner + d, router + experts
    total = embeddings + model.layers * (attention + one * max(experts, 1) + router + 2 * d) + d
    return total, total - model.layers * (experts - model.experts_per_token) * one if experts else None


@pytest.mark.parametrize("name", [*INNER, *(name for name in costs.architectures() if name.startswith("pythia"))])
def test_parameters_follow_from_the_shape_to_the_last_one(name):
    model = costs.load_architecture(name)
    assert counted(model, INNER.get(name)) == (model.n_params, model.active_params)


def test_every_model_and_card_names_its_source():
    folder = Path(costs.__file__).parent
    for file, part in (("models.json", "models"), ("cards.json", "cards")):
        for name, entry in json.loads((folder / file).read_text())[part].items():
            assert len(entry["source"]) > 20, name


@pytest.mark.parametrize("family", ["pythia", "llama", "qwen"])
def test_a_family_is_near_its_members(family):
    for name, model in costs.architectures().items():
        if not name.startswith({"pythia": "pythia", "llama": "llama-3", "qwen": "qwen"}[family]):
            continue
        shape = costs.load_architecture(model.n_params, family)
        assert 0.4 < shape.layers * shape.d_model**2 / (model.layers * model.d_model**2) < 2.5, name


def test_the_input_embedding_is_a_look_up():
    # Pythia 14M: 6.4M of its parameters are a table.
    small, large = costs.load_architecture("pythia-14m"), costs.load_architecture("pythia-6.9b")
    assert small.multiplying_params / small.n_params == pytest.approx(0.542, abs=0.001)
    assert large.multiplying_params / large.n_params == pytest.approx(0.970, abs=0.001)


LLAMA = {
    "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "intermediate_size": 14336, "vocab_size": 128256, "hidden_act": "silu", "tie_word_embeddings": False,
}  # fmt: skip


def test_a_hugging_face_configuration_is_counted(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA))
    found = costs.load_architecture(path)
    assert found.n_params == pytest.approx(8.03e9, rel=1e-3)
    assert (found.layers, found.kv_heads, found.head_dim) == (32, 8, 128)


def test_a_mixtures_configuration_is_counted(tmp_path):
    path = tmp_path / "config.json"
    mixture = LLAMA | {"vocab_size": 32000, "num_local_experts": 8, "num_experts_per_tok": 2}
    path.write_text(json.dumps(mixture))
    found = costs.load_architecture(path)
    known = costs.load_architecture("mixtral-8x7b")
    assert found.n_params == pytest.approx(known.n_params, rel=1e-3)
    assert found.active_params == pytest.approx(known.active_params, rel=1e-3)


def test_an_architecture_goes_through_its_file(tmp_path):
    path = tmp_path / "gpt-oss.json"
    known = costs.load_architecture("gpt-oss-120b")
    path.write_text(json.dumps(known.to_dict()))
    assert costs.load_architecture(path) == known


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "must hold a JSON object"),
        ("{}", "hidden_size: missing"),
        ('{"layers": 2, "d_model": 8}', "heads, vocab, n_params|n_params, heads, vocab"),
        (json.dumps(LLAMA | {"num_attention_heads": 0}), "num_attention_heads = 0"),
        (json.dumps(LLAMA | {"vocab_size": "many"}), "vocab_size = 'many'"),
    ],
)
def test_a_file_that_is_no_architecture_is_refused(tmp_path, text, message):
    path = tmp_path / "arch.json"
    path.write_text(text)
    with pytest.raises(t2.T2Error, match=message):
        costs.load_architecture(path)


def test_a_mixture_needs_all_its_numbers():
    with pytest.raises(t2.T2Error, match="experts_per_token and active_params together"):
        costs.Architecture(1e9, 16, 2048, 16, 16, 128, 32000, experts=8)
    with pytest.raises(t2.T2Error, match="active_params"):
        costs.Architecture(1e9, 16, 2048, 16, 16, 128, 32000, experts=8, experts_per_token=2, active_params=2e9)
