"""inspect: retries, epochs, scores of several parts."""

import json
import zipfile

import pytest
from tests.support.logs import pairs, written

from t2fast import T2Error
from t2fast.data import read_counts


def sample(problem, epoch, value, uuid=None, **more):
    scores = {} if value is None else {"scores": {"match": {"value": value}}}
    return {"id": problem, "epoch": epoch, "uuid": uuid or f"{problem}{epoch}", **scores, **more}


def log(*samples, task_id="T", **more):
    return {
        "version": 2,
        "status": "success",
        "eval": {"task": "t", "task_id": task_id, "model": "m"},
        "samples": samples,
        **more,
    }


def test_a_retry_copies_what_was_done(tmp_path):
    done = [sample("q0", 1, "I"), sample("q1", 1, "I")]
    crashed = sample("q0", 2, None, "other", error={"message": "boom"})
    files = [
        written(tmp_path / "1.json", log(*done, crashed)),
        written(tmp_path / "2.json", log(*done, sample("q0", 2, "C"), sample("q1", 2, "C"))),
    ]
    for order in (files, files[::-1]):
        counts = read_counts(order)
        assert pairs(counts) == {"q0": (2, 1), "q1": (2, 1)}
        assert counts.n_duplicates.sum() == 2
        assert any("run again" in text for text in counts.warnings)


def test_another_run_adds_up_and_a_contradiction_does_not(tmp_path):
    first = written(tmp_path / "1.json", log(sample("q", 1, "C")))
    again = written(tmp_path / "2.json", log(sample("q", 1, "I", "z"), task_id="U"))
    assert pairs(read_counts([first, again])) == {"q": (2, 1)}
    written(again, log(sample("q", 1, "C", "z")))
    with pytest.raises(T2Error, match="occurs twice with different content"):
        read_counts([first, again])


def test_a_log_beside_its_archive_counts_once(tmp_path):
    samples = [sample("q", i, "C") for i in range(3)]
    path = written(tmp_path / "log.json", log(*samples))
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as archive:
        archive.writestr("header.json", json.dumps({"eval": log()["eval"]}))
        for one in samples:
            archive.writestr(f"samples/q_epoch_{one['epoch']}.json", json.dumps(one))
    assert pairs(read_counts([path, tmp_path / "log.eval"])) == {"q": (3, 3)}


def test_scores_of_several_parts_are_asked_about(tmp_path):
    path = written(tmp_path / "log.json", log(sample("q", 1, {"strict": 1, "loose": 0})))
    with pytest.raises(T2Error, match="scorer match gives strict, loose: choose one with metric=match/strict"):
        read_counts(path)
    assert pairs(read_counts(path, metric="match/strict")) == {"q": (1, 1)}
    assert pairs(read_counts(path, metric="loose")) == {"q": (1, 0)}
    written(path, log(sample("q", 1, "P")))
    with pytest.raises(T2Error, match="threshold="):
        read_counts(path)


def test_logs_without_samples_are_refused(tmp_path):
    path = written(tmp_path / "log.json", log(reductions=[{"scorer": "match", "samples": []}]))
    with pytest.raises(T2Error, match="reduced scores but no samples"):
        read_counts(path)
