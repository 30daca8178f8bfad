"""Benchmarks of code, by their own rules."""

import pytest
from tests.support.logs import pairs, written

from t2fast import T2Error
from t2fast.data import read_counts

TRIALS = [("pass", "pass"), ("pass", "timeout"), ("fail", "pass"), ("fail", "fail")]
EVALPLUS = {"date": "", "hash": "", "eval": {"t": [{"base_status": b, "plus_status": p} for b, p in TRIALS]}}


def test_evalplus_plus_takes_both_verdicts(tmp_path):
    path = written(tmp_path / "eval_results.json", EVALPLUS)
    assert pairs(read_counts(path)) == {"t": (4, 2)}
    assert pairs(read_counts(path, metric="plus")) == {"t": (4, 1)}
    with pytest.raises(T2Error, match="evalplus has base and plus"):
        read_counts(path, metric="passed")
    written(path, {"eval": {"t": [{"base_status": "pass", "plus_status": None}]}})
    assert pairs(read_counts(path)) == {"t": (1, 1)}
    with pytest.raises(T2Error, match="only the base tests were run"):
        read_counts(path, metric="plus")


def test_problems_without_trials_are_not_passed_over(tmp_path):
    path = written(tmp_path / "x.json", {"eval": {"a": [{"base_status": "pass"}], "b": []}})
    with pytest.raises(T2Error, match="problem 'b' has an empty list of verdicts"):
        read_counts(path)
    counts = read_counts(path, missing="drop")
    assert pairs(counts) == {"a": (1, 1)}
    assert any("1 problems without any verdict were left out" in text for text in counts.warnings)


def test_code_eval(tmp_path):
    trials = [[i, {"task_id": 0, "passed": i == 0, "result": "", "completion_id": i}] for i in range(3)]
    assert pairs(read_counts(written(tmp_path / "x.json", {"0": trials}))) == {"0": (3, 1)}


def test_multipl_e(tmp_path):
    for i in range(2):
        results = [
            {"status": "OK", "exit_code": 0},
            {"status": "Exception", "exit_code": 1},
            {"status": "Timeout", "exit_code": -1},
        ]
        written(
            tmp_path / "humaneval-lua-m-0.2" / f"p{i}.results.json",
            {"name": f"p{i}", "language": "lua", "results": results},
        )
    counts = read_counts(tmp_path / "humaneval-lua-m-0.2")
    assert pairs(counts) == {"p0": (3, 1), "p1": (3, 1)}
    assert set(counts.model) == {"humaneval-lua-m-0.2"}
