"""lm-evaluation-harness: repeats, metrics that are averages, runs and copies of them."""

import pytest
from tests.support.logs import lines, pairs, written

from t2fast import T2Error
from t2fast.data import read_counts

NAME = "samples_humaneval_8_2026-01-01T00-00-00.000000.jsonl"


def document(i, n=8, **metrics):
    return {
        "doc_id": i, "resps": [[f"{i}"] * n], "filtered_resps": ["x"] * n, "filter": "create_test", "doc_hash": f"h{i}",
        "metrics": list(metrics), **metrics,
    }  # fmt: skip


def passk(**more):
    return lines(document(i, **{"pass@1": p, "pass@8": 1.0}, **more) for i, p in enumerate((0.25, 0.5, 0.125, 0.5)))


@pytest.mark.parametrize("metric", [None, "pass@1", "pass@8"])
def test_pass_at_k_gives_the_counts_behind_it(tmp_path, metric):
    counts = read_counts(written(tmp_path / "org__m" / NAME, passk()), metric=metric)
    assert pairs(counts) == {"0": (8, 2), "1": (8, 4), "2": (8, 1), "3": (8, 4)}
    assert set(counts.model) == {"org/m"}
    assert set(counts.benchmark) == {"humaneval_8"}


def test_pass_at_k_without_pass_at_1(tmp_path):
    path = written(tmp_path / "m" / NAME, lines([document(0, **{"pass@2": 0.25, "pass@8": 1.0})]))
    assert pairs(read_counts(path)) == {"0": (8, 1)}
    path.write_text(lines([document(0, **{"pass@2": 1.0})]))
    with pytest.raises(T2Error, match="7 to 8 correct samples of 8 give it"):
        read_counts(path)


def test_lists_that_judge_parts_are_no_trials(tmp_path):
    path = written(tmp_path / "m" / NAME, lines([document(0, 1, inst_level_strict_acc=[True, False, True])]))
    with pytest.raises(T2Error, match="3 values for 1 samples"):
        read_counts(path)


def test_runs_add_up_and_copies_do_not(tmp_path):
    first = written(tmp_path / "m" / NAME, lines([document(0, 1, exact_match=1.0)]))
    second = written(tmp_path / "m" / NAME.replace("01T", "02T"), lines([document(0, 1, exact_match=0.0)]))
    copy = written(tmp_path / "backup" / "m" / NAME, first.read_text())
    assert pairs(read_counts([first, second])) == {"0": (2, 1)}
    assert pairs(read_counts([first, second, copy])) == {"0": (2, 1)}
    twice = written(tmp_path / "twice" / "m" / NAME, passk() + passk())
    assert pairs(read_counts(twice))["0"] == (8, 2)


def test_one_number_for_two_documents(tmp_path):
    path = written(tmp_path / "m" / NAME, lines([document(0, 1, acc=1.0), document(0, 1, acc=1.0) | {"doc_hash": "z"}]))
    with pytest.raises(T2Error, match="document 0 occurs twice with different content"):
        read_counts(path)
