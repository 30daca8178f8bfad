"""Verifiers by name, and which one fits."""

import pytest

from t2fast.errors import MissingExtraError, T2Error
from t2fast.sampling import Prompt, judge, load_verifier
from t2fast.sampling.verify import maths, suit, usual


def asked(answer=None, choices=None):
    return Prompt("q", "?", answer=answer, choices=choices)


def test_functions_by_name(tmp_path, monkeypatch):
    (tmp_path / "checks.py").write_text("def long(prompt, text):\n    return len(text) > 3\nnumber = 3\n")
    for name in (f"{tmp_path}/checks.py:long", "checks:long"):
        monkeypatch.syspath_prepend(tmp_path)
        assert judge(load_verifier(name), asked(), "long enough").correct is True
    for name, message in [
        ("checks:short", "has no attribute 'short'"),
        ("checks:number", "number is not callable"),
        ("no_such_module:f", "No module named"),
        ("no_such.py:f", "No such file"),
        ("numerical", "there are exact, normalised, numeric, math"),
        ("regex:(", "missing )"),
        ("command:", "names no program"),
        ("command:'", "No closing quotation"),
    ]:
        with pytest.raises(T2Error, match="verifier") as error:
            load_verifier(name)
        assert message in str(error.value)
    with pytest.raises(T2Error, match="timeout = 0"):
        load_verifier("exact", timeout=0)


def test_prompts_that_cannot_be_judged_are_found_before_the_run():
    good = [asked("7", ("6", "7"))]
    for name in ("exact", "normalised", "numeric", "choice", "regex:(?P<answer>.)", "regex:x", "command:true"):
        suit(load_verifier(name), good)
    for name, prompt, message in [
        ("exact", asked(), "prompt 'q' has no answer to compare with"),
        ("numeric", asked("seven"), "its answer 'seven' holds no number"),
        ("choice", asked("C", ("x", "y")), "its answer 'C' is not one of its choices, nor the letter of one"),
        ("regex:(?P<answer>.)", asked(), "has no answer"),
    ]:
        with pytest.raises(T2Error, match=message):
            suit(load_verifier(name), [*good, prompt])


def test_the_usual_verifier():
    assert usual([asked("7"), asked("#### 8"), asked("-1,000.5")]) == "numeric"
    assert usual([asked("7"), asked("seven")]) == "normalised"
    assert usual([asked("B", ("x", "y"))]) == "choice"
    assert usual([asked(), asked()]) is None
    with pytest.raises(T2Error, match="prompt 'q' has no answer and others do"):
        usual([asked("7"), asked()])


@pytest.mark.parametrize(
    ("answers", "name"),
    [
        ([r"\frac{1}{2}", "x+1"], "math"),
        (["7", r"\frac{1}{2}"], "math"),
        ([r"\text{Evelyn}", "10", "p - q"], "math"),
        (["x+1", "2y"], "math"),
        (["(0,1]", "7"], "math"),
        (["7", "1/2"], "numeric"),
        (["Paris", "Rome"], "normalised"),
        (["Paris", "7"], "normalised"),
        (["A", "B"], "normalised"),
        (["C++", "C"], "normalised"),
    ],
)
def test_the_usual_verifier_of_formulas(answers, name):
    assert usual([asked(answer) for answer in answers]) == name


@pytest.mark.parametrize(
    "name", ["..x:y", ".:y", "os:nope", "nope.py:f", "a b:c", ":", "::", "\0:x", "x\0.py:f", "mathematics"]
)
def test_names_that_are_none(name):
    with pytest.raises(T2Error, match="there are exact, normalised, numeric, math, choice"):
        load_verifier(name)


def test_a_module_that_fails_is_refused(tmp_path):
    (tmp_path / "bad.py").write_text("raise SystemExit('no')")
    with pytest.raises(T2Error, match="SystemExit: no"):
        load_verifier(f"{tmp_path}/bad.py:f")


def test_math_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(maths.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 't2fast\[math\]'"):
        load_verifier("math")
