"""Training, measuring and resuming, on models of a few thousand parameters."""

import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from t2fast.errors import DataError, T2Error
from t2fast.lab import run, suite, train
from t2fast.lab.corpus import make_tokenizer, open_corpus
from t2fast.lab.preset import Preset, load_preset, preset_names


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def preset() -> Preset:
    duel = {"train_flops": 8e9, "inference_flops": 2e5, "repeats": 2, "finetune_questions": 256}
    return Preset.from_dict(
        load_preset("tiny").to_dict()
        | {
            "name": "nano", "corpus_tokens": 300_000, "held_out": 8, "validation_rows": 32, "widths": [8, 12, 16],
            "train_flops": [1e9, 2e9, 4e9, 8e9], "tokens_per_param": [2, 600], "samples": 32, "predicted_k": 4,
            "bootstrap": 20, "holdout": "tokens_per_param > 20", "duel": duel,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(preset, tmp_path_factory):
    place = tmp_path_factory.mktemp("lab") / "lab"
    suite.prepare(preset, place)
    return place


def test_presets_read_and_say_what_is_wrong():
    for name in preset_names():
        preset = load_preset(name)
        assert Preset.from_dict(preset.to_dict()) == preset
        assert len(suite.grid_jobs(preset)) >= {"tiny": 24, "h100": 60}[name]
    with pytest.raises(DataError, match=r"preset = 'none': must be h100 or tiny"):
        load_preset("none")
    with pytest.raises(DataError, match="unknown key 'smaples'"):
        Preset.from_dict(load_preset("tiny").to_dict() | {"smaples": 3})
    with pytest.raises(T2Error, match="corpus_tokens = 300000: a run of"):
        suite.grid_jobs(dataclasses.replace(load_preset("tiny"), corpus_tokens=300_000))


def test_the_grid_spends_its_budgets_within_the_ratios(preset):
    jobs = suite.grid_jobs(preset)
    assert len({job.name for job in jobs}) == len(jobs)
    assert len({job.recipe.seed for job in jobs}) == len(jobs)
    for job in jobs:
        nominal = min(preset.train_flops, key=lambda flops: abs(flops - job.flops))
        # D is whole steps.
        assert abs(job.flops - nominal) <= 6 * suite.count_params(job.recipe) * job.recipe.batch_tokens
        assert 1.9 < job.recipe.n_tokens / suite.count_params(job.recipe) < 610


def test_counted_parameters_are_those_of_the_model(preset):
    recipe = suite.grid_jobs(preset)[0].recipe
    assert train.count_params(recipe) == train.build(recipe).num_parameters()


def test_an_interrupted_run_ends_as_an_uninterrupted_one(preset, folder, tmp_path):
    recipe = suite.grid_jobs(preset)[-1].recipe
    corpus, tokenizer = open_corpus(folder / "text.bin"), make_tokenizer(suite.world_of(preset))
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    whole.mkdir()
    torn.mkdir()
    straight = train.pretrain(recipe, corpus, tokenizer, whole)

    def stop(tokens: int) -> None:
        if tokens > recipe.n_tokens / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.pretrain(recipe, corpus, tokenizer, torn, checkpoint_seconds=0, beat=stop)
    assert (torn / "checkpoint.pt").is_file()
    steps = []
    again = train.pretrain(recipe, corpus, tokenizer, torn, beat=steps.append)
    assert steps[0] > recipe.n_tokens / 3, "it went on rather than begin again"
    for a, b in zip(straight.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert (whole / "loss.json").read_text() == (torn / "loss.json").read_text()
    assert not (torn / "checkpoint.pt").exists()


def test_training_learns(preset, folder, tmp_path):
    recipe = max((job.recipe for job in suite.grid_jobs(preset)), key=lambda recipe: recipe.n_tokens)
    corpus = open_corpus(folder / "text.bin")
    model = train.pretrain(recipe, corpus, make_tokenizer(suite.world_of(preset)), tmp_path)
    untrained = train.build(recipe)
    before, after = (train.evaluate(one, corpus, 32, preset.context, "cpu") for one in (untrained, model))
    assert before > 5 > 2.5 > after


def test_finetuning_counts_answers_only():
    prompts, answers = np.array([[5, 6, -1], [5, 6, 7]], np.int32), np.array([[8, 9], [8, -1]], np.int32)
    inputs, targets = train._questions(prompts, answers)
    assert inputs.tolist() == [[0, 5, 6, 8, 9], [0, 5, 6, 7, 8]]
    assert targets.tolist() == [[-100, -100, 8, 9, 0], [-100, -100, -100, 8, 0]]


def test_a_folder_of_another_laboratory_is_refused(preset, folder, tmp_path):
    with pytest.raises(T2Error, match="made with another samples"):
        suite.prepare(dataclasses.replace(preset, samples=8), folder)
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(T2Error, match="holds other files"):
        suite.prepare(preset, tmp_path)


@pytest.mark.slow
def test_a_laboratory_from_text_to_report(preset, tmp_path):
    """Twice from the same seed: the same table; and the report is whole."""
    path = tmp_path / "nano.json"
    path.write_text(json.dumps(preset.to_dict()))
    lines = []
    found = run.run(path, tmp_path / "a", tmp_path / "report", workers=2, progress=lambda *said: lines.append(said[-1]))
    run.run(path, tmp_path / "b", tmp_path / "again", workers=1)
    first, second = ((tmp_path / name / "table.json").read_bytes() for name in "ab")
    assert first == second
    assert len(found.lab.side("planned")) == len(found.lab.side("chinchilla", tuned=True)) == 2
    assert any("planned-0" in line for line in lines)
    agreement = found.verdicts[-1]
    assert agreement.low < 1.1
    assert agreement.high > 0.9
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count("<img") == 6
    assert "http" not in page.replace("http://www.w3.org", "")
    resumed = run.run(path, tmp_path / "a", tmp_path / "report", workers=2)
    assert resumed.to_dict() == found.to_dict()
