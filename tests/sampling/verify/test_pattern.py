"""Patterns: found, compared, and bounded in time."""

import time

import pytest

from t2fast.errors import T2Error
from t2fast.sampling import Prompt
from t2fast.sampling.verify import judge, load_verifier

pytest.importorskip("regex")


def asked(answer=None, choices=None):
    return Prompt("q", "?", answer=answer, choices=choices)


def test_regex():
    assert load_verifier("regex:^x+$")(asked(), "xx")
    assert not load_verifier("regex:^x+$")(asked(), "xy")
    named = load_verifier(r"regex:answer is (?P<answer>\d+)")
    assert named(asked("7"), "answer is 5, no, answer is 7")
    assert not named(asked("5"), "answer is 5, no, answer is 7")
    assert not named(asked("5"), "5")


def test_a_pattern_that_takes_for_ever_ends():
    slow = load_verifier("regex:^(a|aa)+$", timeout=0.2)
    begun = time.monotonic()
    verdict = judge(slow, asked(), "a" * 100 + "b")
    assert time.monotonic() - begun < 10
    assert verdict.correct is None
    assert "TimeoutError" in verdict.error


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "missing )"), ("(" * 5000, "recursion"), ("x" * 10_001, "has 10001 characters; must have at most 10000")],
)
def test_patterns_that_cannot_be_compiled(pattern, message):
    with pytest.raises(T2Error, match="verifier regex:") as error:
        load_verifier(f"regex:{pattern}")
    assert message in str(error.value)
    assert len(str(error.value)) < 200


def test_compiling_is_bounded(monkeypatch):
    import regex

    monkeypatch.setattr(regex, "compile", lambda _: time.sleep(5))
    with pytest.raises(T2Error, match=r"compiling takes more than 0.1 s"):
        load_verifier("regex:x", timeout=0.1)
