"""Measuring a model: right samples counted, and tallies of all answers kept."""

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.support import tiny

from t2fast.data import read_counts, read_trials
from t2fast.lab.answers import VOTES
from t2fast.lab.measure import measure


def test_tallies_of_answers_are_kept(tmp_path):
    tiny.model("llama").save_pretrained(tmp_path / "model")
    tiny.tokenizer().save_pretrained(tmp_path / "model")
    problems = tmp_path / "problems.jsonl"
    lines = [{"id": f"q{i}", "prompt": f"{i} and", "answer": answer} for i, answer in enumerate(("a", "b", "and"))]
    problems.write_text("".join(json.dumps(line) + "\n" for line in lines))
    nll, right = measure(tmp_path, problems, 20, seed=1)
    assert len(nll) == len(right) == 3
    trials = read_trials(tmp_path / VOTES)
    assert trials.counts.problem_id == ("q0", "q1", "q2")
    assert trials.counts.n_samples.tolist() == [20, 20, 20]
    assert trials.counts.n_correct.tolist() == right
    assert trials.tallies().n_samples.tolist() == [20, 20, 20]
    assert read_counts(tmp_path / VOTES).n_correct.tolist() == right
    assert not (tmp_path / "samples.jsonl").exists()
