"""The rule by which answers will be chosen, on the command line."""

import json

import pytest

import t2fast as t2

PLAN = ("plan", "--law", "lab-tiny", "--train-flops", "3e11", "--inference-flops", "2e6")


def test_a_plan_by_a_rule_says_what_the_rule_makes(run, tmp_path):
    _, printed, _ = run(*PLAN, "--select", "verifier", "--false-positive", "0.05", "--recall", "0.9", "--json")
    data = json.loads(printed)
    assert data["rule"]["kind"] == "verifier"
    assert data["result"] < data["pass_at_k"]
    t2.Majority(t2.Tail.uniform(30)).save(tmp_path / "votes.json")
    _, votes, _ = run(*PLAN, "--select", "majority", "--answers", str(tmp_path / "votes.json"))
    assert "plurality vote; wrong answers uniform over 30" in votes
    assert "pass@k" in votes
    _, same, _ = run(*PLAN, "--rule", str(tmp_path / "votes.json"))
    assert same == votes


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--select", "vote"), "--select vote"),
        (("--select", "verifier"), "needs --false-positive"),
        (("--select", "majority"), "votes without answers"),
        (("--select", "best-of"), "needs --d-prime"),
        (("--false-positive", "0.1"), "needs --select"),
        (("--select", "best-of", "--d-prime", "1", "--recall", "1"), "--recall is not of --select best-of"),
        (("--select", "verifier", "--false-positive", "1.5"), "false_positive = 1.5: must be between 0 and 1"),
        (("--select", "verifier", "--false-positive", "0.1", "--recall", "0"), "recall = 0"),
        (("--select", "verifier", "--false-positive", "0.1", "--wrong-cost", "-1"), "wrong_cost = -1"),
        (("--rule", "nowhere.json"), "no such file"),
        (("--rule", "a.json", "--select", "verifier"), "says all of a rule"),
    ],
)
def test_what_makes_no_rule_is_one_line(run, options, says):
    code, printed, error = run(*PLAN, *options)
    assert (code, printed) == (2, "")
    assert says in error
    assert error.count("\n") == 1
