"""Each trial counts once: copies are left out, contradictions refused, retries settle what crashed."""

import pytest
from tests.support.logs import lines, pairs, written

from t2fast import T2Error
from t2fast.data import read_counts

IDENTITIES = ["trial", "completion_id", "sample", "epoch", "uuid", "seed", "attempt", "rollout_id", "run_id", "repeat"]


def trials(name, verdicts=(True, False), problems="ab"):
    return [
        {"task_id": p, name: f"{p}{i}" if name.endswith("id") else i, "passed": v}
        for p in problems
        for i, v in enumerate(verdicts)
    ]


@pytest.mark.parametrize("name", IDENTITIES)
@pytest.mark.parametrize("suffix", ["jsonl", "csv", "json"])
def test_copies_of_trials_count_once(tmp_path, name, suffix):
    rows = [*trials(name), *trials(name)]
    if suffix == "csv":
        text = f"task_id,{name},passed\n" + "".join(f"{r['task_id']},{r[name]},{r['passed']}\n" for r in rows)
    else:
        text = lines(rows) if suffix == "jsonl" else rows
    counts = read_counts(written(tmp_path / f"x.{suffix}", text))
    assert pairs(counts) == {"a": (2, 1), "b": (2, 1)}
    assert counts.n_duplicates.tolist() == [2, 2]
    assert any("4 copies of trials" in text for text in counts.warnings)
    assert "4 copies left out" in counts.contents(counts.groups()["", ""])


@pytest.mark.parametrize("name", IDENTITIES)
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_trial_with_another_verdict_is_refused(tmp_path, name, suffix):
    rows = [*trials(name), *trials(name, (False, False))]
    text = lines(rows)
    if suffix == "csv":
        text = f"task_id,{name},passed\n" + "".join(f"{r['task_id']},{r[name]},{r['passed']}\n" for r in rows)
    with pytest.raises(T2Error, match="problem 'a', trial .* occurs twice with different content"):
        read_counts(written(tmp_path / f"x.{suffix}", text))


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv"])
def test_names_that_hold_the_separator_stay_apart(tmp_path, suffix):
    """Identities are joined by U+001F: a name that holds one, or what stands for it, is no other name."""
    names = [("a\x1fb", "c"), ("a", "b\x1fc"), ("a", "b\x1e1c"), ("a", "b\x1ec")]
    rows = [{"task_id": problem, "trial": trial, "passed": i < 2} for i, (problem, trial) in enumerate(names)]
    if suffix == "csv":
        text = "task_id,trial,passed\n" + "".join(f"{r['task_id']},{r['trial']},{r['passed']}\n" for r in rows)
    else:
        text = lines(rows) if suffix == "jsonl" else rows
    counts = read_counts(written(tmp_path / f"x.{suffix}", text))
    assert pairs(counts) == {"a\x1fb": (1, 1), "a": (3, 1)}
    assert counts.n_duplicates is None


def test_the_line_of_a_contradiction_is_named(tmp_path):
    path = written(tmp_path / "x.jsonl", lines([*trials("trial"), {"task_id": "b", "trial": 1, "passed": True}]))
    with pytest.raises(T2Error, match=r"x\.jsonl:5: problem 'b', trial 1 occurs twice"):
        read_counts(path)


def test_another_text_is_another_trial(tmp_path):
    first = [{"task_id": "a", "trial": 0, "completion": "x", "passed": True}]
    other = [{"task_id": "a", "trial": 0, "completion": "y", "passed": True}]
    path = written(tmp_path / "x.jsonl", lines([*first, *other]))
    with pytest.raises(T2Error, match="different content"):
        read_counts(path)
    assert pairs(read_counts(path, columns={"trial": "-"})) == {"a": (2, 2)}


def test_shards_with_an_overlap_merge(tmp_path):
    whole = [{"task_id": p, "trial": i, "passed": i == 0} for p in "abc" for i in range(4)]
    files = [written(tmp_path / "0.jsonl", lines(whole[:8])), written(tmp_path / "1.csv", "")]
    rows = "".join(f"{r['task_id']},{r['trial']},{int(r['passed'])}\n" for r in whole[4:])
    written(files[1], "task_id,trial,passed\n" + rows)
    counts = read_counts(files, model="m")
    assert pairs(counts) == {"a": (4, 1), "b": (4, 1), "c": (4, 1)}
    assert counts.n_duplicates.sum() == 4
    assert counts.provenance(counts.groups()["m", ""])["files"] == [str(path) for path in files]


def test_a_file_named_twice_is_read_once(tmp_path):
    path = written(tmp_path / "p.jsonl", lines([{"task_id": "a", "passed": True}]))
    counts = read_counts([path, path])
    assert pairs(counts) == {"a": (1, 1)}
    assert counts.model == ("",)
    assert any("named twice" in text for text in counts.warnings)


def test_models_that_files_do_not_name_are_named_by_file(tmp_path):
    good, bad = ([{"task_id": f"HumanEval/{i}", "passed": v} for i in range(3)] for v in (True, False))
    files = [written(tmp_path / f"{m}.jsonl_results.jsonl", lines(r)) for m, r in (("gpt", good), ("llama", bad))]
    counts = read_counts(files)
    assert [counts.n_correct[rows].sum() for rows in counts.groups().values()] == [3, 0]
    assert list(counts.groups()) == [("gpt", ""), ("llama", "")]
    assert any("2 files name no model" in text for text in counts.warnings)
    same = [written(tmp_path / m / "results.jsonl", lines(r)) for m, r in (("gpt", good), ("llama", bad))]
    assert list(read_counts(same).groups()) == [("gpt/results", ""), ("llama/results", "")]


def test_a_retry_settles_trials_without_a_verdict(tmp_path):
    path = written(tmp_path / "x.jsonl", lines([
        {"task_id": "a", "trial": 0, "passed": None}, {"task_id": "a", "trial": 1, "passed": False},
        {"task_id": "a", "trial": 0, "passed": True},
    ]))  # fmt: skip
    counts = read_counts(path)
    assert pairs(counts) == {"a": (2, 1)}
    assert any("run again" in text for text in counts.warnings)
    path.write_text(lines([{"task_id": "a", "trial": 0, "passed": None}, {"task_id": "a", "trial": 1, "passed": True}]))
    with pytest.raises(T2Error, match=r"x\.jsonl:1: a trial has no verdict"):
        read_counts(path)
    assert pairs(read_counts(path, missing="fail")) == {"a": (2, 1)}
    assert pairs(read_counts(path, missing="drop")) == {"a": (1, 1)}


def test_leaving_lines_out_never_touches_missing_verdicts(tmp_path):
    rows = [("a", True), ("a", None), ("b", True), ("b", False)]
    path = written(tmp_path / "miss.jsonl", lines({"task_id": p, "passed": v} for p, v in rows))
    for malformed in ("error", "skip"):
        with pytest.raises(T2Error, match="a trial has no verdict") as caught:
            read_counts(path, malformed=malformed)
        assert "skip" not in str(caught.value)
    counts = read_counts(path, malformed="skip", missing="fail")
    assert pairs(counts) == {"a": (2, 1), "b": (2, 1)}
    assert counts.skipped == 0
    assert counts.warnings == ("1 trials without a verdict were counted as incorrect",)


def test_remedies_are_offered_where_they_apply(tmp_path):
    path = written(tmp_path / "x.csv", "id,score\na,0.5\n")
    with pytest.raises(T2Error, match="give threshold=") as caught:
        read_counts(path)
    assert "skip" not in str(caught.value)
    path.write_text("id,score\na,x\n")
    with pytest.raises(T2Error, match="malformed='skip' leaves such lines out"):
        read_counts(path)


def test_conditions_that_differ_are_kept_apart(tmp_path):
    rows = "".join(f"m,{p},{t},{int(t == 0)}\n" for p in "ab" for t in (0, 0.8))
    path = written(tmp_path / "x.csv", "model,task_id,temperature,passed\n" + rows)
    assert list(read_counts(path).groups()) == [("m", "temperature=0"), ("m", "temperature=0.8")]
    path.write_text("model,task_id,temperature,passed\n" + "".join(f"m,{p},0.8,1\n" for p in "ab"))
    assert list(read_counts(path).groups()) == [("m", "")]
