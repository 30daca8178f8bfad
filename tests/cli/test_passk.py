"""The command as a user meets it."""

import csv
import json

import pytest
from tests.support.commands import t2fast


@pytest.fixture
def counts(tmp_path):
    rows = "".join(f"{m},code,{i},10,{(i * j) % 11}\n" for j, m in enumerate(("one", "two"), 1) for i in range(30))
    (tmp_path / "counts.csv").write_text("model,benchmark,problem_id,n,c\n" + rows)
    return tmp_path


def test_table(counts):
    done = t2fast("passk", "counts.csv", "-k", "1,5,20", cwd=counts)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "one on code: 30 problems, 10 samples each" in done.stdout
    assert "k = 20 exceeds n = 10" in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_json_figure_and_counts(counts):
    done = t2fast(
        "passk",
        "counts.csv",
        "--json",
        "--plot",
        "p.png",
        "--out",
        "o.csv",
        "--extrapolate",
        "auto",
        "-k",
        "1,100",
        cwd=counts,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert [r["model"] for r in results] == ["one", "two"]
    assert results[0]["extrapolation"]["k"] == [100]
    assert results[0]["extrapolation"]["backtest"]["best"] == results[0]["extrapolation"]["method"]
    assert (counts / "p.png").read_bytes()[:4] == b"\x89PNG"
    with (counts / "o.csv").open() as written, (counts / "counts.csv").open() as given:
        old = {"n": "n_samples", "c": "n_correct"}
        renamed = [{old.get(name, name): value for name, value in row.items()} for row in csv.DictReader(given)]
        assert list(csv.DictReader(written)) == renamed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.csv",), "none.csv: no such file"),
        (("counts.csv", "-k", "x"), "k = 'x'"),
        (("counts.csv", "-k", "0"), "k = 0: must be at least 1"),
        (("counts.csv", "--confidence-level", "95"), "confidence_level = 95"),
        (("counts.csv", "--scope", "world"), "world"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(counts, arguments, message):
    done = t2fast("passk", *arguments, cwd=counts)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.fixture
def samples(tmp_path):
    for model, shift in (("one", 0), ("two", 2)):
        with (tmp_path / f"{model}.jsonl").open("w") as file:
            for problem in range(12):
                for sample in range(8):
                    right = (problem + sample) % 12 < 5 + shift
                    answer = problem if right else problem + 1 + sample % 2
                    line = {"problem_id": problem, "sample": sample, "correct": right, "text": f"It is {answer}."}
                    file.write(json.dumps(line | {"score": right + 0.1 * sample}) + "\n")
    return tmp_path


def test_all_metrics_in_one_call(samples):
    names = "pass,pass-hat,g-pass,maj,best-of,max,avg"
    done = t2fast(
        "passk", "one.jsonl", "two.jsonl", "--metric", names, "--tau", "0.5", "--extract", "numeric", "-k", "1,4",
        "--plot", "all.png", "--json", cwd=samples,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert [one["metric"] for one in results] == 2 * names.split(",")
    for one in results:
        assert one["lower"][0] <= one["value"][0] <= one["upper"][0]
    assert (samples / "all.png").read_bytes()[:4] == b"\x89PNG"


def test_two_models_in_pairs(samples):
    done = t2fast(
        "passk", "one.jsonl", "--versus", "two.jsonl", "--metric", "maj,pass", "--extract", "numeric", "-k", "1,4",
        "--permutation", "--plot", "v.png", cwd=samples,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "maj@k\n12 problems, paired" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_metrics_as_markdown(samples):
    done = t2fast("passk", "one.jsonl", "--metric", "avg", "--markdown", cwd=samples)
    assert "| avg@n | 8 |" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--metric", "nonsense"), "--metric 'nonsense': known: pass, pass-hat"),
        (("--metric", "plus"), "for a log's own metric, scorer or column of that name write --verdict plus"),
        (("--verdict", "nonsense"), "--verdict nonsense: there is no such column"),
        (("--metric", "maj"), "say how to find the answer in a text with --extract"),
        (("--metric", "maj", "--extract", "numerical"), "did you mean numeric"),
        (("--metric", "g-pass"), "needs tau"),
        (("--tau", "0.5"), "has no effect"),
        (("--ties", "win"), "--ties: has no effect here: it needs --metric maj"),
        (("--metric", "avg", "-k", "1"), "-k: has no effect"),
        (("--metric", "maj", "--extract", "numeric", "--extrapolate", "auto"), "--extrapolate: has no effect"),
        (("--seed", "1"), "--seed: has no effect"),
        (("--permutation",), "--permutation: has no effect here: it needs --versus"),
        (("--versus", "two.jsonl", "--scope", "samples"), "--scope: has no effect"),
        (("--n-params", "7B"), "--n-params: has no effect"),
        (("--filter", "strict"), "--filter strict: has no effect"),
        (("--json", "--markdown"), "exclude each other"),
    ],
)
def test_unknown_and_unused_options_are_errors(samples, arguments, message):
    done = t2fast("passk", "one.jsonl", *arguments, cwd=samples)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
