"""What a verifier may answer."""

import numpy as np
import pytest

from t2fast.sampling import Prompt, Verdict, judge, load_verifier


def asked(answer=None, choices=None):
    return Prompt("q", "?", answer=answer, choices=choices)


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
