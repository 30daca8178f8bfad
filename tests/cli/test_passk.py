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
