"""Questions of the page: the same as a command, and as Python."""

import json
import shlex

import pytest

import t2fast as t2
from t2fast.app.answers import plan_answer
from t2fast.app.question import OPTIONS, Question
from t2fast.cli import main

QUESTIONS = {
    "flops": {"law": "pythia-gsm8k", "train-flops": "1e22", "inference-flops": "1.4e11"},
    "loss": {"law": "hoffmann", "train-flops": "1e21", "unique-tokens": "1B"},
    "rule": {
        "law": "lab-tiny", "train-flops": "3e11", "inference-flops": "2e6", "select": "verifier",
        "false-positive": "0.01", "recall": "0.9", "fallback": "abstain", "wrong-cost": "0.5",
    },
    "stop": {
        "law": "lab-tiny", "train-flops": "3e11", "inference-flops": "2e6", "select": "verifier",
        "false-positive": "0.01", "stop-on-success": "on",
    },
    "dollars": {
        "law": "pythia-gsm8k", "train-dollars": "10k", "dollars-per-question": "1e-4", "gpu": "h100", "price": "2.5",
        "prompt-tokens": "1000", "answer-tokens": "150",
    },
    "attention": {
        "law": "pythia-gsm8k", "train-flops": "1e20", "inference-flops": "1e13", "prompt-tokens": "500",
        "attention": "on", "aspect-ratio": "64",
    },
}  # fmt: skip


@pytest.mark.parametrize("given", QUESTIONS.values(), ids=QUESTIONS)
def test_command_python_and_page_say_the_same(given, capsys, monkeypatch):
    question = Question(given)
    answer = plan_answer(question)
    capsys.readouterr()
    exec(compile(question.python, "page", "exec"), {})
    assert capsys.readouterr().out == answer["summary"] + "\n"
    words = shlex.split(question.command)
    assert words[0] == "t2fast"
    monkeypatch.setattr("sys.argv", [*words, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    told = json.loads(capsys.readouterr().out)
    told.pop("uncertainty")
    assert told == json.loads(json.dumps(answer["plan"]))


def test_the_rule_of_a_file_is_named_by_its_file(tmp_path):
    t2.Majority(t2.Tail.zipf(1.0, 30)).save(tmp_path / "votes.json")
    given = QUESTIONS["rule"] | {"select": "majority", "answers": str(tmp_path / "votes.json")}
    for name in ("false-positive", "recall", "fallback"):
        given.pop(name)
    question = Question(given)
    assert isinstance(question.rule["rule"], t2.Majority)
    assert f"rule='{tmp_path / 'votes.json'}'" in question.python


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train-flop": "1e22"}, "train-flop: .*train-flops"),
        ({"train-flops": "much"}, "--train-flops"),
        ({"train-flops": "-1"}, "train_flops = -1"),
        ({"train-flops": "1e22", "select": "verifier"}, "needs --false-positive"),
        ({"train-flops": "1e22", "aspect-ratio": "64"}, "--aspect-ratio: has no effect"),
        ({"law": "no-such-law", "train-flops": "1e22"}, "no-such-law"),
        ({"law": "hoffmann"}, "train_flops"),
    ],
)
def test_what_is_wrong_is_said(given, message):
    with pytest.raises(t2.T2Error, match=message):
        plan_answer(Question(given))


def test_every_option_of_the_command_is_one_of_the_page():
    assert {"law", "train-flops", "gpu", "select", "rule", "stop-on-success", "attention"} <= set(OPTIONS)
    assert len(set(OPTIONS)) == len(OPTIONS)
