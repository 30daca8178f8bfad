"""Programs that judge: what they read and print, and that whatever they start ends with the verdict."""

import json
import os
import sys
import time

import pytest

from t2fast.sampling import Prompt, Verdict, judge, load_verifier

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


def asked(answer=None, choices=None):
    return Prompt("q", "?", answer=answer, choices=choices)


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


def _alive(process):
    try:
        os.kill(process, 0)
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


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


def test_a_program_that_is_not_there():
    error = judge(load_verifier("command:/no/such/program -x"), asked(), "x").error
    assert error == "T2Error: /no/such/program: cannot be started: No such file or directory"


def test_what_a_command_reads(tmp_path):
    (tmp_path / "keep.py").write_text("import sys; open(sys.argv[1], 'w').write(sys.stdin.read()); print('true')")
    prompt = Prompt("q", "?", answer="7", metadata={"level": 3})
    assert load_verifier(f"command:{sys.executable} {tmp_path}/keep.py {tmp_path}/seen")(prompt, "x") is True
    seen = json.loads((tmp_path / "seen").read_text())
    assert seen == {"prompt": {"id": "q", "text": "?", "answer": "7", "level": 3}, "text": "x"}
