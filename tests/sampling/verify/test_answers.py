"""Where final answers stand; and the table of how models write them, with known verdicts."""

import importlib.util
from pathlib import Path

import pytest

from t2fast.sampling import Prompt, judge, load_verifier
from t2fast.sampling.verify.answers import after_reasoning, before_run_on, boxed, final_answer, marked

CHOICES = ("red", "green", "blue", "no colour")


def pairs():
    out = []
    lines = (Path(__file__).parent / "pairs.txt").read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#"):
            kind, right, answer, text = line.split("\t")
            out.append(pytest.param(kind, right == "yes", answer, text.replace("⏎", "\n"), id=f"{kind}-line{number}"))
    return out


def test_the_table_has_both_verdicts_of_each_kind():
    found = [one.values[:2] for one in pairs()]
    assert len(found) >= 300
    for kind in ("math", "numeric", "choice", "normalised"):
        assert {right for k, right in found if k == kind} == {True, False}


@pytest.mark.parametrize(("kind", "right", "answer", "text"), pairs())
def test_verdicts(kind, right, answer, text):
    if kind == "math" and importlib.util.find_spec("math_verify") is None:
        pytest.skip("needs math-verify")
    prompt = Prompt("q", "?", answer=answer, choices=CHOICES if kind == "choice" else None)
    verdict = judge(load_verifier(kind), prompt, text)
    assert verdict.error is None
    assert verdict.correct is right


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{1}", "1"), (r"\boxed{\frac{1}{2}} or so", r"\frac{1}{2}"), (r"\boxed 5", "5"), (r"\boxed{a\}b}", r"a\}b"),
        (r"\boxed{1}, not \boxed{2}", "2"), (r"\boxed{1}, \boxed{2}", "1, 2"), (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{1", None), ("none", None), (r"\boxed{1} then \boxed{2", "1"), (r"\fbox{4}", "4"),
    ],
)  # fmt: skip
def test_boxes(text, content):
    assert boxed(text) == content


def test_marks():
    assert marked("#### 7\nmore") == "7"
    assert marked("<answer> 7 </answer>") == "7"
    assert marked("7") is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("5\n\nQuestion: 6?", "5\n\n"), ("5\nQ: 6?", "5\n"), ("5\n**Problem 2:** x", "5\n"), ("5<|im_end|>6", "5"),
        ("5\nHuman: 6", "5\n"), ("5\n### Instruction\n6", "5\n"), ("Question: 5?\n5", "Question: 5?\n5"),
        ("the question: is it 5", "the question: is it 5"), ("5</s>6", "5"),
    ],
)  # fmt: skip
def test_what_a_model_asks_itself_is_cut(text, kept):
    assert before_run_on(text) == kept


def test_reasoning_is_cut():
    assert after_reasoning("a</think>b</think>c") == "c"
    assert after_reasoning("abc") == "abc"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 5.", "5"), ("The answer is 3.14.", "3.14"), ("**Final answer:** $x$ and $y$", "x, y"),
        ("so\n$$x = 5$$", "x = 5"), ("line\n5", "5"), ("", ""), ("The answer is:\n\n5", "5"),
        ("answer is 1.\nThe correct answer is 2 because of x. Bye.", "2 because of x"),
    ],
)  # fmt: skip
def test_final_answers(text, answer):
    assert final_answer(text) == answer
