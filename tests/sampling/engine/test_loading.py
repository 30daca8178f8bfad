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
    refused(folder, "index.json: is damaged")


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
