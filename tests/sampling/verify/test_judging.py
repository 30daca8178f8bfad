"""Asking the verifier while the model goes on."""

import threading

from t2fast.sampling import Prompt, Sample
from t2fast.sampling.verify.judging import Judging


def made(text):
    return Sample("q", 0, text, (1,), "stop", 3)


def collect(judging):
    out = []
    while judging.outstanding:
        out += judging.ready(wait=True)
    return out


def test_without_a_verifier_samples_pass():
    judging = Judging(None)
    judging.ask(3, Prompt("q", "?"), made("x"))
    assert collect(judging) == [(3, made("x"))]


def test_verdicts_come_when_they_are_ready():
    gate = threading.Event()

    def slow(_, text):
        if text == "slow":
            gate.wait(10)
        return text == "right"

    judging = Judging(slow)
    for index, text in enumerate(("slow", "right", "wrong")):
        judging.ask(index, Prompt("q", "?"), made(text))
    first = []
    while len(first) < 2:
        first += judging.ready(wait=True)
    assert {(index, sample.correct) for index, sample in first} == {(1, True), (2, False)}
    assert judging.outstanding == 1
    gate.set()
    assert [(index, sample.correct) for index, sample in collect(judging)] == [(0, False)]
    judging.close()
