"""Runs of NeMo-Skills with several seeds, and rollouts of TRL and verl."""

import pytest
from tests.support.logs import lines, pairs, written

from t2fast.data import read_counts


def nemo(folder, seed):
    right = {"q0": seed == 0, "q1": False}
    rows = [{"problem": q, "expected_answer": "1", "predicted_answer": "1", "symbolic_correct": v}
            for q, v in right.items()]  # fmt: skip
    return written(folder / f"output-rs{seed}.jsonl", lines(rows))


def test_nemo_skills_seeds_are_runs_of_one_model(tmp_path):
    files = [nemo(tmp_path / "my-model", seed) for seed in range(3)]
    for given in (files, tmp_path / "my-model"):
        counts = read_counts(given)
        assert pairs(counts) == {"q0": (3, 1), "q1": (3, 0)}
        assert set(counts.model) == {"my-model"}
        assert "3 files are counted as runs of my-model" in counts.warnings
    # One that was judged otherwise is chosen by its column.
    assert pairs(read_counts(files[0], columns={"verdict": "symbolic_correct"})) == {"q0": (1, 1), "q1": (1, 0)}


def test_trl_completions(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    # GRPOTrainer's log_completions: a column for each reward function, by its name.
    rows = {"step": [5] * 4, "prompt": ["a", "a", "b", "b"], "completion": list("wxyz"),
            "accuracy_reward": [1.0, 0.0, 0.0, 0.0], "format_reward": [1.0] * 4, "advantage": [1.0, -1.0, 0, 0]}  # fmt: skip
    path = tmp_path / "completions_00005.parquet"
    parquet.write_table(pa.table(rows), path)
    assert pairs(read_counts(path, metric="accuracy_reward")) == {"a": (2, 1), "b": (2, 0)}


def test_verl_rollouts(tmp_path):
    rows = [{"input": q, "output": "x", "gts": "1", "score": s, "step": 1} for q, s in (("a", 1), ("a", 0), ("b", 0))]
    path = written(tmp_path / "1.jsonl", lines(rows))
    assert pairs(read_counts(path)) == {"a": (2, 1), "b": (1, 0)}
    # What a reward function says beside its score: a truth value is surer than a number.
    more = [one | {"acc": bool(one["score"]), "score": 2.0 * one["score"] - 1, "pred": "1"} for one in rows]
    assert pairs(read_counts(written(tmp_path / "10.jsonl", lines(more)))) == {"a": (2, 1), "b": (1, 0)}
    # A problem's own name comes first.
    named = [one | {"uid": f"u{i}"} for i, one in enumerate(rows)]
    assert len(pairs(read_counts(written(tmp_path / "2.jsonl", lines(named))))) == 3
