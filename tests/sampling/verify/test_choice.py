"""Which choice a text names."""

import pytest

from t2fast.errors import T2Error
from t2fast.sampling import Prompt
from t2fast.sampling.verify import Choice


def asked(answer=None, choices=None):
    return Prompt("q", "?", answer=answer, choices=choices)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("B", 1),
        ("(b) or not: The answer is (C).", 2),
        ("**Answer:** A", 0),
        ("Answer: **D**", 3),
        ("\\boxed{C}", 2),
        ("B. green\nbecause", 1),
        ("Green!", 1),
        ("I think (A) is wrong, so (D)", 3),
        ("A good question", None),
        ("I don't know", None),
        ("Z", None),
    ],
)
def test_choice(text, place):
    choices = ("red", "green", "blue", "no colour")
    for i, choice in enumerate(choices):
        assert Choice()(asked(choice, choices), text) is (i == place)
        assert Choice()(asked("ABCD"[i], choices), text) is (i == place)


def test_choices_that_begin_with_a_blank():
    assert Choice()(asked("red", (" green", " red")), " red")


def test_choices_that_are_letters():
    assert Choice()(asked("B", ("B", "A")), "B")
    assert not Choice()(asked("B", ("B", "A")), "A")


def test_an_answer_that_is_no_choice_is_refused():
    with pytest.raises(T2Error, match="its answer 'C' is not one of its choices, nor the letter of one"):
        Choice()(asked("C", ("x", "y")), "A")
