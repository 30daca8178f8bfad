"""Benchmarks of agents."""

import pytest
from tests.support.logs import pairs, written

from t2fast import T2Error
from t2fast.data import read_counts


def test_tau_bench_copies(tmp_path):
    rows = [{"task_id": t, "trial": i, "reward": float(t == i == 0)} for t in range(2) for i in range(2)]
    assert pairs(read_counts(written(tmp_path / "retail.json", rows + rows))) == {"0": (2, 1), "1": (2, 0)}


def test_tau2_simulations(tmp_path):
    runs = [
        {"id": f"{t}{i}", "task_id": t, "trial": i, "reward_info": {"reward": float(i)}} for t in "ab" for i in range(2)
    ]
    document = {
        "info": {"agent_info": {"llm": "m"}, "environment_info": {"domain_name": "d"}},
        "simulations": runs + runs[:1],
    }
    path = written(tmp_path / "x.json", document)
    assert pairs(read_counts(path)) == {"a": (2, 1), "b": (2, 1)}
    runs[0]["reward_info"] = None
    with pytest.raises(T2Error, match="simulation 0.*has no verdict"):
        read_counts(written(path, document | {"simulations": runs}))


def test_swe_bench_reports(tmp_path):
    report = {
        "total_instances": 4,
        "resolved_ids": ["a"],
        "unresolved_ids": ["b"],
        "empty_patch_ids": ["c"],
        "error_ids": ["d"],
    }
    files = [written(tmp_path / f"org__m.run{i}.json", report) for i in range(2)]
    written(files[1], report | {"resolved_ids": ["a", "b"], "unresolved_ids": []})
    with pytest.raises(T2Error, match="instance d: a trial has no verdict"):
        read_counts(files)
    counts = read_counts(files, missing="fail")
    assert pairs(counts) == {"a": (2, 2), "b": (2, 1), "c": (2, 0), "d": (2, 0)}
    assert set(counts.model) == {"org/m"}
