"""All answers of a laboratory: gathered, chosen by run, written small and read back."""

import numpy as np
import pytest

from t2fast.data import Tallies
from t2fast.errors import DataError
from t2fast.lab.answers import VOTES, Answers, chosen


@pytest.fixture
def answers(tmp_path) -> Answers:
    head = "model,benchmark,problem_id,answer,correct,votes\n"
    lines = {
        "one": ",,a,so,1,3\n,,a,not so,0,2\n,,a,no,0,5\n,,b,no,0,9\n,,b,never,0,1\n",
        "two": ",,a,so,1,10\n,,b,yes,1,1\n,,b,no,0,1\n,,b,never,0,8\n",
    }
    for run, text in lines.items():
        (tmp_path / run).mkdir()
        (tmp_path / run / VOTES).write_text(head + text)
    return Answers.of_runs(tmp_path, ["one", "two"], ["a", "b"])


def test_answers_are_gathered_by_run_and_problem(answers):
    assert answers.tallies.right.tolist() == [3, 0, 10, 1]
    assert [answers.tallies.votes(i).tolist() for i in range(4)] == [[3, 5, 2], [0, 9, 1], [10], [1, 8, 1]]
    assert answers.labels == ("no", "not so", "no", "never", "never", "no")
    two = answers.of(["two", "one"])
    assert two.right.tolist() == [10, 1, 3, 0]
    assert two.votes(2).tolist() == [3, 5, 2]
    with pytest.raises(DataError, match="run 'three'"):
        answers.of(["three"])


def test_a_file_keeps_every_count_and_the_texts_of_common_answers(answers, tmp_path):
    answers.write(tmp_path / "all.npz")
    again = Answers.read(tmp_path / "all.npz")
    assert again.labels == answers.labels
    answers.write(tmp_path / "some.npz", named=3)
    some = Answers.read(tmp_path / "some.npz")
    assert some.labels == ("no", "", "no", "", "never", "")
    for one in (again, some):
        assert (one.runs, one.problem_ids) == (answers.runs, answers.problem_ids)
        for mine, theirs in zip(one.tallies, answers.tallies, strict=True):
            assert np.array_equal(mine, theirs)


@pytest.mark.usefixtures("answers")
def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match="the run kept no answers"):
        Answers.of_runs(tmp_path, ["none"], ["a", "b"])
    with pytest.raises(DataError, match="unknown problem 'b'"):
        Answers.of_runs(tmp_path, ["one"], ["a"])
    with pytest.raises(DataError, match="no such file"):
        Answers.read(tmp_path / "none.npz")
    (tmp_path / "odd.npz").write_text("odd")
    with pytest.raises(DataError, match="not the answers of a laboratory"):
        Answers.read(tmp_path / "odd.npz")


def test_rows_are_chosen_in_the_order_asked():
    tallies = Tallies.of([1, 2, 4], [[2], [], [3, 1]])
    found = chosen(tallies, np.array([2, 1, 0, 2]))
    assert [found.votes(i).tolist() for i in range(4)] == [[4, 3, 1], [2], [1, 2], [4, 3, 1]]
