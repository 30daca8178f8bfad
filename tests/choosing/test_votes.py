"""Majority votes from logs, against plain enumeration."""

import itertools
import json
from collections import Counter

import pytest

from t2fast.choosing import Price, choose, majority_tables, read_models
from t2fast.errors import DataError
from t2fast.rules import Majority


def write(path, rows, **more):
    path.write_text("".join(json.dumps({"problem_id": p, "answer": a, "correct": c} | more) + "\n" for p, a, c in rows))
    return path


ROWS = [("x", "1/2", True), ("x", "0.5", True), ("x", "3", False), ("x", " 3.", False), ("x", "4", False),
        ("y", "7", False), ("y", "7", False), ("y", "8", True), ("y", "9", False), ("y", "8", True)]  # fmt: skip


def by_hand(rows, problem, k):
    """Every way to draw k of the samples; ties at random."""
    votes = ["right" if c else a.strip(" .") for p, a, c in rows if p == problem]
    total = []
    for drawn in itertools.combinations(votes, k):
        tally = Counter(drawn)
        top = [answer for answer, n in tally.items() if n == max(tally.values())]
        total.append(("right" in top) / len(top))
    return sum(total) / len(total)


def test_votes_are_those_of_enumeration(tmp_path):
    file = write(tmp_path / "m.jsonl", ROWS)
    table = majority_tables([file], read_models([file]))["m"]
    assert table.shape == (2, 5)
    for i, problem in enumerate("xy"):
        for k in range(1, 6):
            assert table[i, k - 1] == pytest.approx(by_hand(ROWS, problem, k), abs=1e-12)


def test_it_is_a_rule_of_choose(tmp_path):
    good = write(tmp_path / "good.jsonl", ROWS)
    bad = write(tmp_path / "bad.jsonl", [(p, a, False) for p, a, _ in ROWS])
    counts = read_models([bad, good])
    tables = majority_tables([bad, good], counts, max_k=3)
    assert tables["bad"].max() == 0
    found = choose(
        counts, {"good": Price(0, 1.0), "bad": Price(0, 1.0)}, 5.0, rule=Majority(), votes=tables, n_resamples=20
    )
    assert (found.model, found.rule) == ("good", Majority())
    assert found.k <= 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"problem_id": "x", "correct": false}\n{"problem_id": "x", "correct": true}',
            "a sample has no answer to vote with",
        ),
        ('{"problem_id": "x", "answer": "1", "correct": 0.5}', "0.5"),
        ('{"problem_id": "x", "answer": "1", "correct": true}', "has no answer to problem 'y'"),
        ("", "m.jsonl: "),
    ],
)
def test_what_is_no_such_log(tmp_path, text, message):
    good = write(tmp_path / "m.jsonl", ROWS)
    counts = read_models([good])
    good.write_text(text)
    with pytest.raises(DataError, match=message):
        majority_tables([good], counts)


def test_a_file_may_hold_several_models_and_benchmarks(tmp_path):
    both = tmp_path / "both.jsonl"
    with both.open("w") as file:
        for model, rows in (("one", ROWS), ("two", [(p, a, not c) for p, a, c in ROWS])):
            for benchmark in ("easy", "hard"):
                for p, a, c in rows:
                    record = {"model": model, "benchmark": benchmark, "problem_id": p, "answer": a, "correct": c}
                    file.write(json.dumps(record) + "\n")
    tables = majority_tables([both], read_models([both]))
    assert {name: table.shape for name, table in tables.items()} == {"one": (4, 5), "two": (4, 5)}
    assert tables["one"][2, 4] == pytest.approx(by_hand(ROWS, "x", 5))


def test_answers_are_found_in_texts_and_named_columns(tmp_path):
    lines = [("x", "So the answer is 3.", False), ("x", "3", False), ("x", "It is 4.", True)]
    file = tmp_path / "m.jsonl"
    file.write_text("".join(json.dumps({"problem": p, "text": t, "correct": c}) + "\n"
                            for p, t, c in lines))  # fmt: skip
    counts = read_models([file])
    with pytest.raises(DataError, match="say how to find the answer in a text with extract="):
        majority_tables([file], counts)
    assert majority_tables([file], counts, extract=lambda text: text.strip(".")[-1])["m"][0, 2] == 0
    assert majority_tables([file], counts, columns={"answer": "text"})["m"][0, 2] == pytest.approx(1 / 3)
