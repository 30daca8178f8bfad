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


@pytest.mark.parametrize(
    ("held", "says"),
    [
        ({"kind": "majority"}, "holds no tail of wrong answers: fit one from answers"),
        ({"kind": "majority", "tail": {"shares": []}}, "shares is empty: give the shares of the wrong answers"),
        ({"kind": "majority", "tail": {"shares": [[0.5, 0.3]]}}, "shares sum to 0.8"),
        ({"kind": "verifier", "false_positive": 0.1}, "holds a rule of kind verifier, not a majority"),
    ],
)
def test_a_file_without_a_tail_is_named(run, tmp_path, held, says):
    path = tmp_path / "votes.json"
    path.write_text(json.dumps({"schema": "t2fast.rule/1"} | held))
    code, printed, error = run(*PLAN, "--select", "majority", "--answers", str(path))
    assert (code, printed, error.count("\n")) == (2, "", 1)
    assert str(path) in error
    assert says in error


def test_samples_are_not_taken_for_a_rule(run, tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_text('{"problem_id": "a", "passed": true}\n' * 2)
    code, _, error = run(*PLAN, "--select", "majority", "--answers", str(path))
    assert code == 2
    assert f"t2fast fit {path} --rule NAME" in error


def test_designs_under_a_rule_fit_the_terminal(run, tmp_path):
    t2.Majority(t2.Tail.zipf(1.0, 30)).save(tmp_path / "votes.json")
    designs = ("410M:200B:k=64", "160M:60B:k=200", "--law", "pythia-gsm8k")
    _, narrow, _ = run("compare", *designs, "--rule", str(tmp_path / "votes.json"))
    _, plain, _ = run("compare", *designs)
    for printed in (narrow, plain):
        assert max(map(len, printed.splitlines())) <= 80
        assert all(word in printed for word in ("pass@k", "90% interval", "train", "infer", "below 37.7B"))
    code, _, error = run("compare", "410M:200B:k=64", "160M:60B:k=-3", "--law", "pythia-gsm8k")
    assert (code, "design 2, k = -3: must be finite and at least 1" in error) == (2, True)
