"""lighteval's details in Parquet."""

import pytest
from tests.support.logs import pairs

from t2fast import T2Error
from t2fast.data import read_counts

pa = pytest.importorskip("pyarrow")


def details(path, rows):
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


def row(i, answers, **metric):
    doc = {"id": str(i), "task_name": "aime24", "query": "q", "choices": [""], "gold_index": 0}
    return {"doc": doc, "metric": metric, "model_response": {"text": ["x"] * answers}}


def test_one_sample_of_each_document(tmp_path):
    path = details(tmp_path / "d.parquet", [row(0, 1, extractive_match=1.0), row(1, 1, extractive_match=0.0)])
    counts = read_counts(path)
    assert pairs(counts) == {"0": (1, 1), "1": (1, 0)}
    assert (set(counts.benchmark), counts.formats) == ({"aime24"}, ("lighteval",))


def test_pass_at_1_over_samples_gives_counts(tmp_path):
    name = "pass@k:k=1&n=4"
    rows = [row(0, 4, **{name: 0.75}), row(1, 4, **{name: 0.0})]
    assert pairs(read_counts(details(tmp_path / "d.parquet", rows))) == {"0": (4, 3), "1": (4, 0)}


def test_several_metrics_are_asked_about(tmp_path):
    path = details(tmp_path / "d.parquet", [row(0, 1, a=1.0, b=0.0)])
    with pytest.raises(T2Error, match="metrics are a, b: choose one with metric="):
        read_counts(path)
    assert pairs(read_counts(path, metric="b")) == {"0": (1, 0)}


def test_a_mean_over_samples_is_no_verdict(tmp_path):
    path = details(tmp_path / "d.parquet", [row(0, 4, em=1.0)])
    with pytest.raises(T2Error, match="metric em is one number for 4 samples"):
        read_counts(path)


def test_the_model_is_that_of_the_folders(tmp_path):
    folder = tmp_path / "details" / "org" / "m" / "2026-01-01T00-00-00.0"
    folder.mkdir(parents=True)
    for task in ("aime24", "gsm8k"):
        rows = [row(i, 1, em=float(i)) for i in range(2)]
        for one in rows:
            one["doc"]["task_name"] = f"{task}|0"
        details(folder / f"details_{task}|0_2026-01-01T00-00-00.0.parquet", rows)
    for given in (tmp_path, folder, sorted(folder.iterdir())):
        counts = read_counts(given)
        assert set(counts.model) == {"org/m"}
        assert set(counts.benchmark) == {"aime24|0", "gsm8k|0"}
    details(tmp_path / "d.parquet", [row(0, 1, em=1.0)])
    assert read_counts(tmp_path / "d.parquet").model == ("",)
