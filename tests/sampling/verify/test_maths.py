"""Answers as mathematics, and that none can hold up or bring down the run."""

import os
import pickle
import signal
import threading
import time

import pytest

pytest.importorskip("math_verify")

from t2fast.sampling import Prompt, judge, load_verifier
from t2fast.sampling.verify import Math, maths


def asked(answer):
    return Prompt("q", "?", answer=answer)


def test_values_count_and_words_are_words():
    verifier = load_verifier("math")
    assert verifier(asked(r"\frac{1}{2}"), r"so \boxed{0.5}")
    assert verifier(asked("x+1"), "the answer is $1 + x$")
    assert not verifier(asked("x+1"), "the answer is $x - 1$")
    # As products of variables they would be equal.
    assert not verifier(asked("dog"), r"\boxed{god}")
    assert pickle.loads(pickle.dumps(verifier)) == verifier


def test_a_formula_that_takes_for_ever_ends_with_its_process():
    verifier = load_verifier("math", timeout=1)
    assert verifier(asked("x+1"), r"\boxed{1+x}")
    begun = time.monotonic()
    verdict = judge(verifier, asked(r"10^{10^{10^{10}}}+x"), r"\boxed{x + 10^{10^{10^{9}}}}")
    assert verdict.correct is None
    assert time.monotonic() - begun < 30
    assert verifier(asked("x+1"), r"\boxed{1+x}"), "the next is answered by a new process"


def test_many_threads_may_ask():
    verifier, said = load_verifier("math"), []

    def ask(number):
        said.append(verifier(asked(f"x+{number}"), rf"\boxed{{{number}+x}}"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == [True] * 16
    assert len(maths._WORKERS._all) <= 4


@pytest.mark.skipif(not hasattr(os, "kill"), reason="needs signals")
def test_a_killed_process_is_one_verdict_lost():
    verifier = Math()
    assert verifier(asked("x+1"), r"\boxed{1+x}")
    for worker in maths._WORKERS._all:
        os.kill(worker._process.pid, signal.SIGKILL)
    errors = [judge(verifier, asked("x+1"), r"\boxed{1+x}").error for _ in range(6)]
    assert errors[-1] is None


@pytest.mark.parametrize("answer", ["x" * 2000, r"\boxed{" * 1000, "$" * 10_000, "{" * 100_000, r"\frac" * 200])
def test_nonsense_is_wrong(answer):
    assert judge(load_verifier("math", timeout=20), asked("x+1"), rf"\boxed{{{answer}}}").correct is not True
