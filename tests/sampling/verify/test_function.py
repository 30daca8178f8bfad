"""Functions that judge: none can raise into a run, or hold it up."""

import time

from t2fast.sampling import Prompt, judge, load_verifier


def asked(answer=None, choices=None):
    return Prompt("q", "?", answer=answer, choices=choices)


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
