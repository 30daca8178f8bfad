"""The suite: which models, what is refused before any is trained, and folders that are kept."""

import dataclasses
import json
import shutil

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.support import nano_lab

from t2fast.errors import T2Error
from t2fast.lab import suite
from t2fast.lab.preset import load_preset, preset_names


@pytest.fixture(scope="module")
def preset():
    return nano_lab.preset()


@pytest.fixture(scope="module")
def folder(preset, tmp_path_factory):
    place = tmp_path_factory.mktemp("lab") / "lab"
    suite.prepare(preset, place)
    return place


def test_the_presets_that_come_with_t2fast_can_work():
    for name in preset_names():
        preset = load_preset(name)
        jobs = suite.grid_jobs(preset)
        suite.check(preset, jobs)
        assert len(jobs) >= {"tiny": 24, "small": 70, "h100": 60}[name]
    with pytest.raises(T2Error, match="corpus_tokens = 300000: a run of"):
        suite.grid_jobs(dataclasses.replace(load_preset("tiny"), corpus_tokens=300_000))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"duel": {"inference_flops": 1e3}}, "duel: inference_flops = 1000: pays for 0 to 0 samples"),
        ({"duel": {"inference_flops": 1e8}}, "must pay for 1 to n_samples = 32 of one of them"),
        ({"duel": {"train_flops": 1e14}}, r"duel: train_flops = 1e\+14: pays for no design within the grid's sizes"),
        ({"widths": (8,)}, "the grid has 4 runs: needs at least 10"),
        ({"widths": (8, 12), "seeds": 3}, "the grid has 2 sizes: needs at least 3; give more widths"),
        ({"holdout": "tokens_per_parma > 20"}, "tokens_per_parma"),
        ({"held_out": 4000}, "held_out = 4000: at most a quarter"),
    ],
)
def test_what_cannot_work_is_refused_before_training(preset, changes, message):
    changes = {
        name: dataclasses.replace(preset.duel, **value) if name == "duel" else value for name, value in changes.items()
    }
    wrong = dataclasses.replace(preset, **changes)
    with pytest.raises(T2Error, match=message):
        suite.check(wrong, suite.grid_jobs(wrong))


def test_the_grid_spends_its_budgets_within_the_ratios(preset):
    jobs = suite.grid_jobs(preset)
    assert len({job.name for job in jobs}) == len(jobs)
    assert len({job.recipe.seed for job in jobs}) == len(jobs)
    for job in jobs:
        nominal = min(preset.train_flops, key=lambda flops: abs(flops - job.flops))
        # D is whole steps.
        assert abs(job.flops - nominal) <= 6 * job.n_params * job.recipe.batch_tokens
        assert 1.9 < job.recipe.n_tokens / job.n_params < 610


def test_a_folder_of_another_laboratory_is_refused(preset, folder, tmp_path):
    with pytest.raises(T2Error, match="holds a laboratory with another n_samples"):
        suite.prepare(dataclasses.replace(preset, n_samples=8), folder)
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(T2Error, match="holds other files"):
        suite.prepare(preset, tmp_path)


def test_a_folder_with_the_names_of_old_is_continued(preset, folder, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    text = (old / "preset.json").read_text()
    for new, name in (("n_samples", "samples"), ("n_resamples", "bootstrap"), ("max_learning_rate", "most_rate")):
        text = text.replace(f'"{new}"', f'"{name}"')
    (old / "preset.json").write_text(text)
    (old / "problems.jsonl").rename(old / "questions.jsonl")
    suite.prepare(preset, old)
    jobs = suite.grid_jobs(preset)[:1]
    place = old / "runs" / jobs[0].name
    place.mkdir(parents=True)
    done = {
        "run": jobs[0].name, "stage": "grid", "tuned": False, "n_params": 5, "n_tokens": 9, "seed": 0, "loss": 1.0,
        "answer_nll": [0.5] * 32, "correct": [3] * 32,
    }  # fmt: skip
    (place / "result.json").write_text(json.dumps(done))
    said = []
    suite.run_jobs(jobs, old, "cpu", 1, said.append)
    assert said[-1].done == said[-1].total
    assert said[-1].note == "1 of 1 runs were done before"
    table = suite.table(preset, old, jobs, "cpu")
    assert table.checkpoints[0].n_correct.tolist() == [3] * 32
    assert len(table.problem_ids) == 32
