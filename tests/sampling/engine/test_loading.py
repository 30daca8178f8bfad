"""Models from folders: what is loaded, and what is refused."""

from __future__ import annotations

import json
import shutil

import pytest
from tests.support.tiny import model, tokenizer, torch

from t2fast.errors import T2Error
from t2fast.sampling import Prompt, Sampler, SamplingParams

PROMPT = Prompt("x", "Question: what is 3 + 4? Answer:")
PARAMS = SamplingParams(k=3, max_new_tokens=8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    whole, sharded = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("sharded")
    model().save_pretrained(whole)
    model().save_pretrained(sharded, max_shard_size="100KB")
    for folder in (whole, sharded):
        tokenizer().save_pretrained(folder)
    return {"whole": whole, "sharded": sharded}


def copied(folders, kind, tmp_path):
    return shutil.copytree(folders[kind], tmp_path / kind)


def drawn(sampler):
    return sorted((s.sample, s.token_ids, s.text) for s in sampler.sample([PROMPT], PARAMS, seed=1))


def test_folders_draw_what_the_live_model_draws(folders):
    live = Sampler(model(), tokenizer())
    for folder in folders.values():
        one = Sampler.from_pretrained(folder, device="cpu", max_batch=2)
        assert drawn(one) == drawn(live)
        ours, theirs = one.identity(), live.identity()
        assert ours.pop("name") == str(folder)
        theirs.pop("name")
        assert ours == theirs
        assert json.dumps(ours)
    assert len(list(folders["sharded"].glob("*.safetensors"))) > 2


def test_dtype(folders):
    one = Sampler.from_pretrained(folders["whole"], dtype="bfloat16", device="cpu")
    assert one.identity()["dtype"] == "bfloat16"
    assert Sampler.from_pretrained(folders["whole"], device="cpu").shape.dtype == torch.float32
    with pytest.raises(T2Error, match="dtype = 'quick'"):
        Sampler.from_pretrained(folders["whole"], dtype="quick")


def refused(folder, message, **options):
    with pytest.raises(T2Error, match=message) as caught:
        Sampler.from_pretrained(folder, device="cpu", **options)
    assert "\n" not in str(caught.value)


def test_missing_and_damaged_files(folders, tmp_path):
    refused(tmp_path / "nowhere", "no such folder")
    refused(tmp_path, "holds no config.json")
    folder = copied(folders, "sharded", tmp_path)
    shards = sorted(folder.glob("*.safetensors"))
    content = shards[1].read_bytes()
    shards[1].unlink()
    refused(folder, f"1 of {len(shards)} weight files are missing, such as {shards[1].name}")
    shards[1].write_bytes(content[:-10])
    refused(folder, f"{shards[1].name}: is incomplete or damaged")
    shards[1].write_bytes(b"")
    refused(folder, f"{shards[1].name}: is incomplete or damaged")
    shards[1].write_bytes(content)
    index = folder / "model.safetensors.index.json"
    index.write_text("{")
    refused(folder, "index.json: not JSON")


def test_weights_of_another_model(folders, tmp_path):
    folder = copied(folders, "whole", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 5}))
    refused(folder, "weights are missing, such as model.layers.4")
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 100}))
    refused(folder, "mismatch|cannot be loaded")


def test_pickles_are_refused(folders, tmp_path):
    folder = copied(folders, "whole", tmp_path)
    (folder / "model.safetensors").unlink()
    refused(folder, "holds no safetensors")
    torch.save(model().state_dict(), folder / "pytorch_model.bin")
    refused(folder, r"holds no safetensors; pytorch_model.bin can run code")


def test_code_of_the_model_runs_only_on_request(folders, tmp_path):
    folder = copied(folders, "whole", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "unheard-of",
        "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.OwnModel"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('the code ran')\n")
    refused(folder, "cannot be loaded.*trust_remote_code")


def test_a_tokenizer_that_does_not_match(folders, tmp_path):
    folder = copied(folders, "whole", tmp_path)
    larger = type(tokenizer()).from_pretrained(folder)
    larger.add_tokens(["<|extra|>"])
    larger.save_pretrained(folder)
    one = Sampler.from_pretrained(folder, device="cpu")
    assert drawn(one) == drawn(Sampler(model(), tokenizer()))
    with pytest.raises(T2Error, match="token 320 is not among the model's 320"):
        one.sample([Prompt("x", "<|extra|>")])
    for file in folder.glob("tokenizer*"):
        file.unlink()
    refused(folder, "cannot be loaded|tokenizer")


def changed(folder, name, **settings):
    """The folder with settings changed in one of its JSON files, which may be new."""
    file = folder / name
    held = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**held, **settings}))
    return folder


SETTINGS = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json")
DAMAGED = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "cut": b"{",
    "deep": b"[" * 100_000,
    "digits": b"9" * 5_000,
    "bytes": b"\xff",
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_settings_are_one_line(folders, tmp_path, name, damage):
    folder = copied(folders, "whole", tmp_path)
    (folder / name).write_bytes(DAMAGED[damage])
    refused(folder, rf"{name}: (not JSON|must hold a JSON object|cannot be read)")


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"weight_map": 5}, "weight_map must be an object of file names"),
        ({"weight_map": [1]}, "weight_map must be an object of file names"),
        ({"weight_map": {"a": 5, "b": "x"}}, "weight_map must be an object of file names"),
        ({"weight_map": {"a": None}}, "weight_map must be an object of file names"),
        ({"weight_map": {"a": "../../etc/passwd"}}, "names '../../etc/passwd', which is not a file of this folder"),
        ({"weight_map": {"a": "/etc/passwd"}}, "names '/etc/passwd', which is not a file of this folder"),
        ({"weight_map": {"a": "x.safetensors"}}, "1 of 1 weight files are missing, such as x.safetensors"),
        ({}, "weight_map must be an object of file names"),
    ],
)
def test_an_index_of_weights_that_cannot_be(folders, tmp_path, held, message):
    folder = copied(folders, "whole", tmp_path)
    (folder / "model.safetensors.index.json").write_text(json.dumps(held))
    refused(folder, message)


# What is raised within transformers differs from version to version; that it is one line of ours does not.
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("hidden_size", "num_attention_heads", "head_dim") for value in (0, "x", 10**30)),
        *(("num_key_value_heads", value) for value in (0, 3)),
        *(("vocab_size", value) for value in (0, -5, 5, 10**12, 10**30)),
        *(("hidden_act", value) for value in ("eval", None)),
        *(("rope_parameters", value) for value in (5, {"rope_type": "other"})),
        *(("dtype", value) for value in (5, "other")),
        *(("model_type", value) for value in (5, None, "bert", "t5")),
        *(("eos_token_id", value) for value in ("x", [[1]])),
        ("quantization_config", 5),
        ("rms_norm_eps", "x"),
        ("id2label", 5),
    ],
)
def test_impossible_settings_are_one_line(folders, tmp_path, name, value):
    refused(changed(copied(folders, "whole", tmp_path), "config.json", **{name: value}), "cannot be loaded|are missing")


def test_nothing_absurd_is_built_from_a_count(folders, tmp_path):
    folder = copied(folders, "whole", tmp_path)
    before = (folder / "config.json").read_text()
    for name, value, message in (
        ("num_hidden_layers", 10**9, "num_hidden_layers = 1000000000: the weights hold only 39 tensors"),
        ("num_labels", 10**9, "num_labels = 1000000000: more labels than any model has"),
        ("num_hidden_layers", 0, "has no attention layer"),
        ("num_hidden_layers", -1, "has no attention layer"),
    ):
        refused(changed(folder, "config.json", **{name: value}), message)
        (folder / "config.json").write_text(before)


@pytest.mark.parametrize("ids", ["x", [1, "x"], [[1]], 1.5])
def test_end_tokens_that_are_no_tokens(folders, tmp_path, ids):
    folder = changed(copied(folders, "whole", tmp_path), "generation_config.json", eos_token_id=ids)
    with pytest.raises(T2Error) as caught:
        Sampler.from_pretrained(folder, device="cpu").sample([PROMPT], PARAMS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation", "experts_implementation"])
@pytest.mark.parametrize("named", ["kernels-community/flash-attn", "evil/evil", "flash_attention_2", "paged|evil/evil"])
def test_no_kernel_is_fetched_because_a_configuration_names_it(folders, tmp_path, monkeypatch, name, named):
    def fetch(*_, **__):
        raise AssertionError("something was fetched")

    import transformers.integrations.hub_kernels as kernels

    for hook in ("get_kernel", "load_and_register_attn_kernel", "lazy_load_kernel"):
        monkeypatch.setattr(kernels, hook, fetch, raising=False)
        monkeypatch.setattr(f"transformers.modeling_utils.{hook}", fetch, raising=False)
    folder = changed(copied(folders, "whole", tmp_path), "config.json", **{name: named})
    assert drawn(Sampler.from_pretrained(folder, device="cpu")) == drawn(Sampler(model(), tokenizer()))
