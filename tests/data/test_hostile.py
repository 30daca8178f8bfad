"""Damaged and hostile logs, kind by kind for every format: a count, or one line that says what is wrong."""

import gzip
import io
import itertools
import json

import pytest
from tests.support.logs import lines, written

from t2fast import T2Error
from t2fast.data import read_counts

TRIALS = [{"base_status": "pass", "plus_status": "pass"}, {"base_status": "fail", "plus_status": "fail"}]
RUNS = [{"id": f"a{i}", "task_id": "a", "trial": i, "reward_info": {"reward": float(i)}} for i in range(2)]
INFO = {"agent_info": {"llm": "m"}, "environment_info": {"domain_name": "d"}}

#: A document of each format that is one, as its tool writes it: two trials at least, one of them right.
DOCUMENTS = {
    "evalplus": {"date": "", "hash": "", "eval": {"t": TRIALS}},
    "code_eval": {"0": [[i, {"task_id": 0, "passed": i == 0, "result": "", "completion_id": i}] for i in range(2)]},
    "MultiPL-E": {
        "name": "p", "language": "lua", "temperature": 0.2,
        "results": [{"status": "OK", "exit_code": 0}, {"status": "Exception", "exit_code": 1}],
    },
    "SWE-bench": {"resolved_ids": ["a"], "unresolved_ids": ["b"], "empty_patch_ids": [], "error_ids": []},
    "SWE-bench of one instance": {"x__y-1": {"resolved": True}, "x__y-2": {"resolved": False}},
    "tau-bench": [{"task_id": 0, "trial": i, "reward": float(i), "info": {}, "traj": []} for i in range(2)],
    "tau2-bench": {"info": INFO, "simulations": RUNS},
    "tau2-bench's index": {
        "info": INFO, "tasks": [],
        "simulation_index": [{"id": f"a{i}", "task_id": "a", "trial": i, "reward": float(i)} for i in range(2)],
    },
    "inspect": {
        "version": 2, "status": "success", "eval": {"model": "m", "task": "t", "run_id": "r"},
        "samples": [{"id": 1, "epoch": i + 1, "scores": {"match": {"value": "CI"[i]}}} for i in range(2)],
    },
    "LiveCodeBench": [{"question_id": "q", "graded_list": [True, False], "pass@1": 0.5}],
    "Large Language Monkeys": [{"question": "q", "orig_dset_idx": 3, "samples": ["x", "y"], "is_corrects": [True, False]}],
    "matrix": [[1, 0, 1], [0, 0, 1]],
    "records": [{"task_id": "a", "passed": True}, {"task_id": "a", "passed": False}],
    "counts": [{"problem_id": "a", "n_samples": 10, "n_correct": 3}],
}  # fmt: skip
#: The same for logs of a record per line.
RECORDS = {
    "human-eval": [{"task_id": "a", "completion": "x", "result": "passed", "passed": i == 0} for i in range(2)],
    "lm-evaluation-harness": [
        {"doc_id": 0, "filter": "none", "doc_hash": "h", "metrics": ["exact_match"], "exact_match": 1.0, "resps": [["7"]]}
    ],
    "NeMo-Skills": [{"problem": "q", "predicted_answer": "1", "symbolic_correct": i == 0} for i in range(2)],
    "verl": [{"input": "q", "output": "x", "gts": "1", "score": float(i), "step": 1} for i in range(2)],
    "lists": [{"problem_id": "a", "is_correct": [True, False]}],
    "counts by line": [{"problem_id": "a", "n": 10, "c": 3}],
}  # fmt: skip
#: What stands where something else should.
VALUES = (None, [], {}, "", "x", 1e19, 10**30, -1, True, float("nan"), [[]], [None], {"": None}, "\ud800", "9" * 5000)


def places(value, path=()):
    """Every place in a document."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in children:
        yield from places(one, (*path, name))


def replaced(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def read_or_told(path, **options):
    """Counts, or None where one line tells what is wrong with the file."""
    try:
        return read_counts(path, **options)
    except T2Error as error:
        told = str(error)
    assert "\n" not in told
    assert len(told) < 2_000
    return None


@pytest.mark.parametrize("name", [*DOCUMENTS, *RECORDS])
def test_samples_are_read(tmp_path, name):
    content = json.dumps(DOCUMENTS[name]) if name in DOCUMENTS else lines(RECORDS[name])
    counts = read_counts(written(tmp_path / "m.run.json", content))
    assert 0 < counts.n_correct.sum() < counts.n_samples.sum() or name == "lm-evaluation-harness"


@pytest.mark.parametrize("name", [*DOCUMENTS, *RECORDS])
def test_any_value_in_any_place_is_read_or_told(tmp_path, name):
    whole = DOCUMENTS.get(name) or RECORDS[name]
    for index, (place, value) in enumerate(itertools.product(list(places(whole)), VALUES)):
        changed = replaced(whole, place, value)
        if name in RECORDS and not isinstance(changed, list):
            continue
        content = json.dumps(changed) if name in DOCUMENTS else lines(changed)
        path = written(tmp_path / f"{index}.json", content)
        for options in ({}, {"missing": "fail", "malformed": "skip"}):
            counts = read_or_told(path, **options)
            if counts is not None:
                assert (counts.n_samples >= counts.n_correct).all(), (place, value)
                assert (counts.n_correct >= 0).all(), (place, value)
        path.unlink()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_cut_short_are_told(tmp_path, name):
    content = json.dumps(DOCUMENTS[name])
    for end in range(1, len(content), 7):
        with pytest.raises(T2Error):
            read_counts(written(tmp_path / "m.run.json", content[:end]))


@pytest.mark.parametrize("name", RECORDS)
def test_a_line_cut_short_is_told(tmp_path, name):
    content = lines(RECORDS[name] + RECORDS[name][:1]).rstrip("\n")
    for cut in range(1, 20, 3):
        with pytest.raises(T2Error, match="x:"):
            read_counts(written(tmp_path / "x", content[:-cut]))


@pytest.mark.parametrize("name", [*DOCUMENTS, *RECORDS])
def test_compressed_logs_with_a_damaged_byte_are_read_or_told(tmp_path, name):
    content = json.dumps(DOCUMENTS[name]) if name in DOCUMENTS else lines(RECORDS[name])
    packed = gzip.compress(content.encode())
    for place in range(0, len(packed), 5):
        damaged = bytearray(packed)
        damaged[place] ^= 0x41
        read_or_told(written(tmp_path / "x.gz", bytes(damaged)))


#: Where each format that lists verdicts holds a problem's: emptied, the problem must not vanish.
LISTS = {
    "evalplus": ("eval", "t"), "code_eval": ("0",), "MultiPL-E": ("results",), "LiveCodeBench": (0, "graded_list"),
    "Large Language Monkeys": (0, "is_corrects"), "lists": (0, "is_correct"),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_problems_without_verdicts_never_vanish(tmp_path, name):
    whole = DOCUMENTS.get(name) or RECORDS[name]
    empty = replaced(whole, LISTS[name], [])
    other = tmp_path / "other.json"
    if isinstance(empty, list):
        # Beside a problem that has some.
        empty = [*empty, {**whole[0], **{key: "b" for key in ("question_id", "question", "orig_dset_idx", "problem_id")
                                         if key in whole[0]}}]  # fmt: skip
    content = json.dumps(empty) if name in DOCUMENTS else lines(empty)
    with pytest.raises(T2Error):
        read_counts(written(other, content))
    if isinstance(empty, list):
        counts = read_counts(other, missing="drop")
        assert len(counts.problem_id) == 1
        assert any("1 problems without any verdict were left out" in one for one in counts.warnings)


def test_damaged_parquet_is_told(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(pa.table({"task_id": ["a"] * 50, "passed": [True, False] * 25}), file)
    content = file.getvalue()
    for end in range(4, len(content) - 1, 40):
        with pytest.raises(T2Error, match=r"x\.parquet: "):
            read_counts(written(tmp_path / "x.parquet", content[:end]))
    for place in range(4, len(content), 11):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        read_or_told(written(tmp_path / "x.parquet", bytes(damaged)))
