"""Cutting the reasoning part before judging."""

import pickle

import pytest

from t2fast.errors import T2Error
from t2fast.sampling import Prompt, load_verifier
from t2fast.sampling.verify import AfterReasoning, Exact, suit

PARIS = Prompt("q", "?", answer="Paris")


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("<think>Rome?</think>Paris", True),
        ("Rome?</think>\n\nParis\n", True),
        ("<think>Paris</think>Rome", False),
        ("<think>Paris", False),
        ("Paris", False),
        ("</think>Rome</think>Paris", True),
    ],
)
def test_what_follows_is_judged(text, right):
    assert load_verifier("exact", reasoning_end="</think>")(PARIS, text) is right


def test_any_verifier_and_any_mark():
    verifier = load_verifier(lambda _, text: len(text), reasoning_end="[/THINK]")
    assert verifier(PARIS, "so long[/THINK]short") == 5
    assert pickle.loads(pickle.dumps(AfterReasoning(Exact()))) == AfterReasoning(Exact())
    with pytest.raises(T2Error, match="reasoning_end = ''"):
        load_verifier("exact", reasoning_end="")
    with pytest.raises(T2Error, match="prompt 'q' has no answer"):
        suit(load_verifier("exact", reasoning_end="</think>"), [Prompt("q", "?")])
