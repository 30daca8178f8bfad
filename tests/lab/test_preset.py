"""Presets: read, compared, and refused where they cannot work."""

import dataclasses
import json

import pytest

from t2fast.errors import DataError, T2Error
from t2fast.lab.preset import Preset, load_preset, preset_names


def test_presets_read_and_say_what_is_wrong(tmp_path):
    for name in preset_names():
        preset = load_preset(name)
        assert Preset.from_dict(preset.to_dict()) == preset
    with pytest.raises(DataError, match=r"preset = 'none': must be h100, small, tiny or a JSON file"):
        load_preset("none")
    with pytest.raises(DataError, match="unknown key 'smaples'"):
        Preset.from_dict(load_preset("tiny").to_dict() | {"smaples": 3})
    (tmp_path / "mine.json").write_text(json.dumps(load_preset("tiny").to_dict() | {"predicted_k": 1000}))
    with pytest.raises(DataError, match=r"mine.json: predicted_k = 1000: must be a whole number, between 1 and 256"):
        load_preset(tmp_path / "mine.json")


def test_presets_with_the_names_of_old_are_read():
    data = load_preset("tiny").to_dict()
    old = {"n_samples": "samples", "n_resamples": "bootstrap", "max_learning_rate": "most_rate"}
    data = {old.get(key, key): value for key, value in data.items()}
    data["duel"]["finetune_questions"] = data["duel"].pop("finetune_problems")
    assert Preset.from_dict(data) == load_preset("tiny")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_samples": 0}, "n_samples = 0: must be a whole number, at least 1"),
        ({"n_samples": 8}, "predicted_k = 16: must be a whole number, between 1 and 8"),
        ({"n_resamples": 1}, "n_resamples = 1"),
        ({"widths": ()}, "widths and train_flops: must have at least one value each"),
        ({"widths": (40, 50)}, "widths = 50: must be even, and a multiple of head_dim = 16 above it"),
        ({"tokens_per_param": (20, 2)}, r"tokens_per_param = \(20, 2\)"),
        ({"corpus_tokens": 5000}, "corpus_tokens = 5000: nothing to train on is left"),
        ({"learning_rate": -1.0}, "learning_rate = -1"),
        ({"train_flops": (0.0,)}, "train_flops = 0"),
    ],
)
def test_impossible_presets_are_refused(changes, message):
    with pytest.raises(T2Error, match=message):
        dataclasses.replace(load_preset("tiny"), **changes)
