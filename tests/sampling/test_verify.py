"""Verifiers: what each accepts, and that none can hang, raise into a run, or be handed prompts that it cannot judge."""

import json
import os
import sys
import time

import numpy as np
import pytest

from t2fast.errors import T2Error
from t2fast.sampling import Prompt, Verdict, judge, load_verifier
from t2fast.sampling.verify import Choice, Exact, Normalised, Numeric, suit, usual


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


@pytest.mark.parametrize(
    ("text", "answer", "same"),
    [
        ("so 3 + 4 = 7, the answer is 72.", "40+32=72\n#### 72", True),
        ("#### 72\nNext question: 5", "72", True),
        ("$1,234.50", "1234.5", True),
        ("it is \u22125", "-5", True),
        ("10-3", "3", True),
        ("- 5 apples", "5", True),
        ("12,34", "34", True),
        ("1e3", "1000", True),
        (".5", "0.5", True),
        ("72.0", "72", True),
        ("72.1", "72", False),
        ("no number", "72", False),
        ("", "0", False),
        ("1e99999999999999999999", "1", False),
        ("9" * 100_000, "9", False),
    ],
)
def test_numeric(text, answer, same):
    assert Numeric()(asked(answer), text) is same


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


PROGRAM = """
import json, os, sys, time
asked = json.load(sys.stdin)
text = asked["text"]
if text in ("hang", "answer and child"):
    ready, write = os.pipe()
    if os.fork() == 0:
        open("child", "w").write(str(os.getpid()))
        os.write(write, b"!")
        time.sleep(1000)
    os.read(ready, 1)
    if text == "answer and child":
        print("true")
    else:
        time.sleep(1000)
elif text == "crash":
    sys.exit("no idea")
elif text == "flood":
    while True:
        print("x" * 1000)
elif text == "score":
    print(0.25)
else:
    print(json.dumps(text == asked["prompt"]["answer"]) if text != "prose" else "yes")
"""


def test_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "judge it.py").write_text(PROGRAM)
    ask = load_verifier(f"command:{sys.executable} 'judge it.py'", timeout=5)
    prompt = asked("caf\u00e9 \ud800")
    assert judge(ask, prompt, "caf\u00e9 \ud800") == Verdict(correct=True)
    assert judge(ask, prompt, "x" * 1_000_000) == Verdict(correct=False)
    assert judge(ask, prompt, "score") == Verdict(score=0.25)
    assert judge(ask, prompt, "crash").error.endswith("ended with exit code 1: no idea")
    assert "printed b'yes\\n': must be true, false or a finite number" in judge(ask, prompt, "prose").error
    assert "printed more than 1048576 bytes" in judge(ask, prompt, "flood").error


@pytest.mark.parametrize("how", ["hang", "answer and child"])
def test_what_a_command_started_ends_with_its_verdict(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "judge.py").write_text(PROGRAM)
    ask = load_verifier(f"command:{sys.executable} judge.py", timeout=2)
    verdict = judge(ask, asked("1"), how)
    if how == "answer and child":
        assert verdict == Verdict(correct=True)
    else:
        assert verdict.error.endswith("gave no verdict within 2 s")
    deadline = time.monotonic() + 10
    while _alive(int((tmp_path / "child").read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_command_cannot_hold_us_up(tmp_path):
    """Not by pipes left open, nor by numbers that are none."""
    begun = time.monotonic()
    ask = load_verifier("command:sh -c 'setsid sleep 3 & echo true'", timeout=2)
    assert judge(ask, asked(), "x") == Verdict(correct=True)
    assert time.monotonic() - begun < 2
    for printed in ("1" + "0" * 400, "9" * 5000, "NaN", "[" * 100_000):
        (tmp_path / "printed").write_text(printed)
        error = judge(load_verifier(f"command:cat {tmp_path}/printed"), asked(), "x").error
        assert "must be true, false or a finite number" in error
    assert "cannot be started: embedded null byte" in judge(load_verifier("command:ec\0ho true"), asked(), "x").error


def _alive(process):
    try:
        os.kill(process, 0)
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_program_that_is_not_there():
    error = judge(load_verifier("command:/no/such/program -x"), asked(), "x").error
    assert error == "T2Error: /no/such/program: cannot be started: No such file or directory"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (True, Verdict(correct=True)),
        (np.bool_(False), Verdict(correct=False)),
        (1, Verdict(score=1.0)),
        (np.float32(0.5), Verdict(score=0.5)),
        (None, Verdict(error="the verifier answered None: must be true, false or a finite number")),
        (float("nan"), Verdict(error="the verifier answered nan: must be true, false or a finite number")),
        ("yes", Verdict(error="the verifier answered 'yes': must be true, false or a finite number")),
    ],
)
def test_answers_of_a_callable(answer, verdict):
    assert judge(load_verifier(lambda *_: answer), asked(), "x") == verdict


def test_callables_that_raise_or_hang():
    def bad(_, text):
        if text == "exit":
            raise SystemExit(3)
        if text == "raise":
            raise KeyError("k")
        time.sleep(2)

    verifier = load_verifier(bad, timeout=0.05)
    assert judge(verifier, asked(), "raise").error == "RuntimeError: KeyError: 'k'"
    assert judge(verifier, asked(), "exit").error == "RuntimeError: SystemExit: 3"
    assert judge(verifier, asked(), "").error == "TimeoutError: the verifier gave no verdict within 0.05 s"
    for _ in range(31):
        judge(verifier, asked(), "")
    assert judge(verifier, asked(), "").error == "TimeoutError: not asked: 32 calls of the verifier hang"


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
        ("numerical", "there are exact, normalised, numeric"),
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
        ("choice", asked("C", ("x", "y")), "its answer 'C' is none of its choices, nor the letter of one"),
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


def test_what_a_command_reads(tmp_path):
    (tmp_path / "keep.py").write_text("import sys; open(sys.argv[1], 'w').write(sys.stdin.read()); print('true')")
    prompt = Prompt("q", "?", answer="7", metadata={"level": 3})
    assert load_verifier(f"command:{sys.executable} {tmp_path}/keep.py {tmp_path}/seen")(prompt, "x") is True
    seen = json.loads((tmp_path / "seen").read_text())
    assert seen == {"prompt": {"id": "q", "text": "?", "answer": "7", "level": 3}, "text": "x"}
