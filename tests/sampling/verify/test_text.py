"""Comparing texts."""

import pytest

from t2fast.sampling import Prompt
from t2fast.sampling.verify import Exact, Normalised


def asked(answer=None, choices=None):
    return Prompt("q", "?", answer=answer, choices=choices)


@pytest.mark.parametrize(
    ("text", "answer", "same"),
    [(" Paris\n", "Paris", True), ("paris", "Paris", False), ("Paris.", "Paris", False), ("", "", True)],
)
def test_exact(text, answer, same):
    assert Exact()(asked(answer), text) is same


@pytest.mark.parametrize(
    ("text", "answer", "same"),
    [
        ("The Eiffel  tower.", "eiffel tower", True),
        ("ﬁve", "five", True),
        ("-5", "5", False),
        ("3.5", "35", False),
        ("A", "the", False),
        ("a", "A", True),
        ("+", "-", False),
        ("\u22125", "-5", True),
        ("Paris, France", "Paris", False),
    ],
)
def test_normalised(text, answer, same):
    assert Normalised()(asked(answer), text) is same


def test_a_flood_of_punctuation_is_no_answer():
    assert not Normalised()(asked("a b"), "a b" + "." * 5_000_000)
