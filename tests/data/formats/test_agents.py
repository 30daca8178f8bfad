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


def tau2_folder(folder):
    """A run that tau2-bench saved as a folder: metadata with an index, and a file for each simulation."""
    runs = [
        {"id": f"{t}{i}", "task_id": t, "trial": i, "reward_info": {"reward": float(t == "a" or i)}, "messages": []}
        for t in "ab"
        for i in range(2)
    ]
    for one in runs:
        written(folder / "simulations" / f"{one['id']}.json", one)
    index = [{key: one[key] for key in ("id", "task_id", "trial")} | one["reward_info"] for one in runs]
    info = {"agent_info": {"llm": "m"}, "environment_info": {"domain_name": "voice"}}
    written(folder / "results.json", {"info": info, "tasks": [], "simulation_index": index})
    return folder


def test_tau2_folders(tmp_path):
    folder = tau2_folder(tmp_path / "run")
    both = read_counts(folder)
    for counts in (both, read_counts(folder / "results.json"), read_counts(folder / "simulations")):
        assert pairs(counts) == {"a": (2, 2), "b": (2, 1)}
        assert (set(counts.model), set(counts.benchmark)) == ({"m"}, {"voice"})
    # Each simulation stands in the index and in its file.
    assert "4 copies of trials that were counted already were left out" in both.warnings
    (folder / "results.json").unlink()
    assert pairs(read_counts(folder / "simulations", model="m")) == {"a": (2, 2), "b": (2, 1)}
