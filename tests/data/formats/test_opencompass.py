"""OpenCompass."""

import pytest
from tests.support.logs import pairs, written

from t2fast import T2Error
from t2fast.data import read_counts


def test_results_of_one_run(tmp_path):
    details = {"0": {"pred": "1", "answer": "1", "correct": True}, "1": {"pred": "2", "answer": "1", "correct": False}}
    path = tmp_path / "results" / "my-model" / "gsm8k.json"
    for given in (details | {"type": "GEN"}, list(details.values())):
        counts = read_counts(written(path, {"accuracy": 50.0, "details": given}))
        assert pairs(counts) == {"0": (1, 1), "1": (1, 0)}
        assert (set(counts.model), set(counts.benchmark), counts.formats) == (
            {"my-model"}, {"gsm8k"}, ("OpenCompass",)
        )  # fmt: skip


def test_results_of_several_runs(tmp_path):
    details = [
        {"example_abbr": "m_0", "pred": ["1"] * 3, "correct": [True, False, True], "G-Pass@2_0.5": 1.0},
        {"example_abbr": "m_1", "pred": ["1"] * 3, "correct": [False, False, False], "G-Pass@2_0.5": 0.0},
    ]
    path = written(tmp_path / "aime.json", {"accuracy (3 runs average)": 33.3, "details": details})
    assert pairs(read_counts(path)) == {"m_0": (3, 2), "m_1": (3, 0)}


def test_files_without_verdicts_say_where_they_are(tmp_path):
    path = written(tmp_path / "p.json", {"0": {"origin_prompt": "q", "prediction": "1", "gold": "1"}})
    with pytest.raises(T2Error, match="under results/, made with --dump-eval-details"):
        read_counts(path)
    path = written(path, {"details": [{"pred": "1", "correct": True}, {"pred": "2", "answer": "1"}]})
    with pytest.raises(T2Error, match="1 of 2 examples of OpenCompass have none of correct"):
        read_counts(path)
