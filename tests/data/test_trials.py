"""Single trials with answers, scores and second verdicts from the formats that hold them."""

import json
import zipfile

import numpy as np
import pytest

from t2fast.data import Tallies, read_counts, read_trials
from t2fast.errors import DataError


def written(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def sample(problem, number, correct, text, **more):
    return {"problem_id": problem, "sample": number, "correct": correct, "text": text, **more}


def test_texts_are_read_with_an_extractor(tmp_path):
    lines = [sample("a", 0, True, "it is 4"), sample("a", 1, False, "it is 5"), sample("a", 2, False, "no idea")]
    path = written(tmp_path / "s.jsonl", lines)
    trials = read_trials(path, extract=lambda text: text.split()[-1] if "is" in text else None)
    assert trials.labels == (("4", "5"),)
    assert trials.answers.tolist() == [0, 1, -1]
    assert trials.counts.n_correct.tolist() == [1]
    with pytest.raises(DataError, match="holds texts, not answers"):
        read_trials(path)


def test_copies_count_once(tmp_path):
    line = sample("a", 0, True, "4", answer="4")
    path = written(tmp_path / "s.jsonl", [line, line, sample("a", 1, False, "5", answer="5")])
    trials = read_trials(path)
    assert trials.correct.tolist() == [True, False]
    assert read_counts(path).n_samples.tolist() == [2]


def test_lists_of_verdicts_bring_lists_of_answers(tmp_path):
    path = written(tmp_path / "s.jsonl", [{"problem": "a", "is_corrects": [True, False], "prediction": ["4", "5"]}])
    assert read_trials(path).labels == (("4", "5"),)
    path = written(tmp_path / "t.jsonl", [{"problem": "a", "is_corrects": [True, False], "prediction": ["4"]}])
    with pytest.raises(DataError, match="2 verdicts and 1 answers"):
        read_trials(path)


def test_reference_answers_are_refused(tmp_path):
    rows = "".join(f"{p},{p},{c}\n" for p in "ab" for c in (0, 1))
    (tmp_path / "r.csv").write_text("problem,answer,correct\n" + rows)
    with pytest.raises(DataError, match="this is the reference answer"):
        read_trials(tmp_path / "r.csv")


def test_tallies_of_answers_come_back(tmp_path):
    rows = "a,4,1\na,4.0,1\na,5,0\na,5,0\na,,0\nb,7,0\n"
    (tmp_path / "r.csv").write_text("problem,answer,correct\n" + rows)
    trials = read_trials(tmp_path / "r.csv")
    trials.write_votes(tmp_path / "votes.csv")
    again = read_trials(tmp_path / "votes.csv")
    for one in (trials, again):
        tallies = one.tallies()
        assert tallies.right.tolist() == [2, 0]
        assert sorted(tallies.wrong.tolist()[:2]) == [1, 2]
        assert tallies.starts.tolist() == [0, 2, 3]
        assert tallies.n_samples.tolist() == [5, 1]
    # Rows of a tally are as many samples as they say, for counts too.
    assert read_counts(tmp_path / "votes.csv").n_samples.tolist() == [5, 1]
    (tmp_path / "votes.csv").write_text("problem,answer,correct,votes\na,4,1,0\n")
    with pytest.raises(DataError, match="votes = 0: must be at least 1"):
        read_trials(tmp_path / "votes.csv")


def test_scores(tmp_path):
    lines = [sample("a", 0, True, "4", score=0.5), sample("a", 1, False, "5", score=[1.0, 2.0])]
    trials = read_trials(written(tmp_path / "s.jsonl", lines), ["scores", "verdicts"])
    assert trials.scores.tolist() == [0.5, 1.5]
    plain = written(tmp_path / "p.jsonl", [{"problem": "a", "reward": 0.3}, {"problem": "a", "reward": 0.6}])
    assert read_trials(plain, ["scores"]).scores.tolist() == [0.3, 0.6]
    both = read_trials(plain, ["scores", "verdicts"], threshold=0.5)
    assert both.correct.tolist() == [False, True]
    for value, message in ((None, "has no score"), ("x", "must be a number"), (float("nan"), "NaN")):
        bad = written(tmp_path / "b.jsonl", [sample("a", 0, True, "4", score=value)])
        with pytest.raises(DataError, match=message):
            read_trials(bad, ["scores", "verdicts"])
    with pytest.raises(DataError, match="no column of scores"):
        read_trials(written(tmp_path / "n.jsonl", [sample("a", 0, True, "4")]), ["scores", "verdicts"])


def test_second_verdicts(tmp_path):
    lines = [{"problem": "a", "base": True, "passed": False}, {"problem": "a", "base": True, "passed": True}]
    path = written(tmp_path / "s.jsonl", lines)
    assert read_trials(path, ["cheap"], columns={"cheap": "base"}).cheap.tolist() == [True, True]
    with pytest.raises(DataError, match="no column of cheap verdicts"):
        read_trials(path, ["cheap"])
    with pytest.raises(DataError, match="both the cheap and the trusted verdict"):
        read_trials(path, ["cheap"], columns={"cheap": "passed"}, metric="passed")
    evalplus = {
        "eval": {"t": [{"base_status": "pass", "plus_status": "fail"}, {"base_status": "fail", "plus_status": "pass"}]}
    }
    (tmp_path / "eval_results.json").write_text(json.dumps(evalplus))
    trials = read_trials(tmp_path / "eval_results.json", ["cheap"])
    assert trials.cheap.tolist() == [True, False]
    assert trials.correct.tolist() == [False, False]


def test_counts_are_no_trials(tmp_path):
    (tmp_path / "c.csv").write_text("problem,n,c\na,3,1\n")
    with pytest.raises(DataError, match="holds counts of samples, not the samples"):
        read_trials(tmp_path / "c.csv")


def lm_eval(doc, resps, filtered, **more):
    return {"doc_id": doc, "target": "4", "resps": resps, "filtered_resps": filtered, "filter": "strict", **more}


def test_lm_eval(tmp_path):
    name = tmp_path / "m" / "samples_gsm8k_2025-01-01T00-00-00.000000.jsonl"
    runs = [lm_eval(0, [["so 4"]], ["4"], metrics=["exact_match"], exact_match=1.0),
            lm_eval(1, [["so 5"]], ["5"], metrics=["exact_match"], exact_match=0.0)]  # fmt: skip
    trials = read_trials(written(name, runs))
    assert trials.labels == (("4",), ("5",))
    assert trials.correct.tolist() == [True, False]
    # Averages over repeats: the target says which samples were right, and the average confirms it.
    many = [lm_eval(0, [["so 4", "or 5", "or 6"]], [["4", "5", "6"]], metrics=["pass@1"], **{"pass@1": 1 / 3})]
    trials = read_trials(written(name, many))
    assert trials.correct.tolist() == [True, False, False]
    assert trials.tallies().wrong.tolist() == [1, 1]
    many[0]["pass@1"] = 2 / 3
    with pytest.raises(DataError, match="does not say which were right"):
        read_trials(written(name, many))
    # So does the mean of any metric, where the filter kept all repeats (lm-eval 0.4.13).
    mean = [lm_eval(0, [["so 4", "or 5"]], [["4", "5"]], metrics=["exact_match"], exact_match=0.5),
            lm_eval(1, [["so 5", "or 5"]], [["5", "5"]], metrics=["exact_match"], exact_match=0.0)]  # fmt: skip
    assert read_trials(written(name, mean)).correct.tolist() == [True, False, False, False]
    counts = read_counts(written(name, mean))
    assert counts.n_samples.tolist() == [2, 2]
    assert counts.n_correct.tolist() == [1, 0]
    # One verdict for several repeats is of the one that the filter kept.
    kept = [lm_eval(0, [["so 4", "or 5"]], ["4"], metrics=["exact_match"], exact_match=1.0)]
    assert read_trials(written(name, kept)).correct.tolist() == [True]
    choices = [lm_eval(0, [[["-1.5", "False"]], [["-0.5", "True"]]], [["-1.5", "False"], ["-0.5", "True"]],
                       metrics=["acc"], acc=1.0)]  # fmt: skip
    assert read_trials(written(name, choices)).labels == (("1",),)


def inspect_sample(number, epoch, answer, value):
    return {
        "id": number, "epoch": epoch, "uuid": f"{number}-{epoch}",
        "output": {"completion": f"The answer is {answer}"},
        "scores": {"match": {"value": value, "answer": answer}, "judge": {"value": 0.7}},
    }  # fmt: skip


def test_inspect(tmp_path):
    samples = [inspect_sample("q", 1, "4", "C"), inspect_sample("q", 2, "5", "I")]
    spec = {"model": "m", "task": "t", "task_id": "x"}
    (tmp_path / "log.json").write_text(json.dumps({"status": "success", "eval": spec, "samples": samples}))
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as archive:
        archive.writestr("header.json", json.dumps({"eval": spec}))
        for one in samples:
            archive.writestr(f"samples/{one['id']}_epoch_{one['epoch']}.json", json.dumps(one))
    for name in ("log.json", "log.eval"):
        trials = read_trials(tmp_path / name, metric="match")
        assert trials.labels == (("4", "5"),)
        assert trials.correct.tolist() == [True, False]
        scored = read_trials(tmp_path / name, ["scores", "verdicts"], metric="match", columns={"score": "judge"})
        assert scored.scores.tolist() == [0.7, 0.7]
        with pytest.raises(DataError, match="say which gives the scores"):
            read_trials(tmp_path / name, ["scores", "verdicts"], metric="match")
        said = read_trials(tmp_path / name, metric="match", extract=lambda text: text.split()[-1] + "!")
        assert said.labels == (("4!", "5!"),)


def test_crashed_trials(tmp_path):
    path = written(
        tmp_path / "s.jsonl", [sample("a", 0, None, None, answer="4"), sample("a", 1, True, "4", answer="4")]
    )
    with pytest.raises(DataError, match="has no verdict"):
        read_trials(path)
    assert read_trials(path, missing="drop").correct.tolist() == [True]
    failed = read_trials(path, missing="fail")
    assert sorted(failed.correct.tolist()) == [False, True]
    assert sorted(failed.answers.tolist()) == [-1, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filter": "x"}, "filter='x': has no effect"),
        ({"metric": "nonsense"}, "metric='nonsense': there is no such column"),
        ({"threshold": 0.5}, "threshold=0.5: has no effect"),
        ({"columns": {"answer": "text"}}, "answer has no effect"),
    ],
)
def test_options_without_effect_are_refused(tmp_path, options, message):
    path = written(tmp_path / "s.jsonl", [{"problem": "a", "correct": True, "text": "4"}])
    with pytest.raises(DataError, match=message):
        read_counts(path, **options)


def test_a_matrix_has_no_columns_and_one_verdict(tmp_path):
    (tmp_path / "m.csv").write_text("1,0\n0,1\n")
    for options in ({"metric": "x"}, {"columns": {"problem": "x"}}):
        with pytest.raises(DataError, match="no effect"):
            read_counts(tmp_path / "m.csv", **options)


def test_tallies_are_checked():
    with pytest.raises(DataError, match="lengths 1 and 2"):
        Tallies.of([1], [[1], [2]])
    with pytest.raises(DataError, match="below 0"):
        Tallies.of([1], [[-1]])
    with pytest.raises(DataError, match="problem 1 has no sample"):
        Tallies.of([1, 0], [[], []])
    assert np.array_equal(Tallies.of([3, 0], [[2, 1], [4]]).n_samples, [6, 4])
