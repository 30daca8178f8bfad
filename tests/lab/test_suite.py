"""The suite: folders that are kept, and others refused."""

import dataclasses
import json
import shutil

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")


from t2fast.errors import T2Error
from t2fast.lab import suite
from t2fast.lab.jobs import grid_jobs


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
    jobs = grid_jobs(preset)[:1]
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
