"""The command ``t2fast choose``, as a user types it."""

import json

import pytest
from tests.support.commands import t2fast

import t2fast as t2
from t2fast.choosing import read_models


@pytest.fixture
def folder(tmp_path):
    for name, correct in (("small", (0, 3, 9, 14)), ("large", (2, 8, 15, 20))):
        rows = "".join(f"q{i},20,{c}\n" for i, c in enumerate(correct))
        (tmp_path / f"{name}.csv").write_text("problem_id,n,c\n" + rows)
    (tmp_path / "prices.csv").write_text("model,input_dollars,output_dollars\nsmall,0.1,0.4\nlarge,1,4\n")
    return tmp_path


FILES = ("small.csv", "large.csv", "--prices", "prices.csv", "--input-tokens", "400", "--output-tokens", "250")


def test_a_budget_and_a_target(folder):
    done = t2fast("choose", *FILES, "--dollars-per-question", "0.001", "--json", "--n-resamples", "50", cwd=folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["model"], found["k"]) == ("small", 7)
    assert found["dollars_per_question"] == pytest.approx(7 * (400 * 0.1 + 250 * 0.4) / 1e6)
    done = t2fast("choose", *FILES, "--target", "0.6", "--csv", "models.csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "asked: a result of at least 0.6" in done.stdout
    assert (folder / "models.csv").read_text().startswith("model,k,result")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*FILES,), "budget and target: give one of them"),
        (("small.csv", "--dollars-per-question", "1"), "give a price list; without one"),
        ((*FILES, "--dollars-per-question", "1e-9"), "pays for no sample of any model"),
        ((*FILES, "--flops-per-question", "1e9"), "the prices are in dollars"),
        (("none.csv", *FILES, "--target", "0.5"), "none.csv"),
        ((*FILES, "--target", "0.6", "--select", "verifier"), "needs --false-positive"),
        ((*FILES, "--target", "0.6", "--select", "any_correct"), "--select any_correct: did you mean"),
        ((*FILES, "--target", "0.6", "--select", "majority"), "holds counts of samples, not the samples"),
        ((*FILES, "--target", "0.6", "--select", "best-of", "--d-prime", "1", "--stop-on-success"), "accepts none"),
        ((*FILES, "--target", "0.6", "--plot", "nowhere/x.png"), "the folder 'nowhere' does not exist"),
    ],
)
def test_bad_input_gets_one_line(arguments, message, folder):
    done = t2fast("choose", *arguments, cwd=folder)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_it_chooses_by_the_rule_that_will_be_deployed(folder, run, monkeypatch):
    """Each rule from its own options, as ``plan`` has them; what it makes, and pass@k beside."""
    monkeypatch.chdir(folder)
    t2.Majority(t2.Tail.uniform(5)).save("votes.json")
    asked = ("choose", *FILES, "--dollars-per-question", "0.002", "--n-resamples", "20")
    rules = {
        ("--select", "verifier", "--false-positive", ".01", "--recall", ".9", "--fallback", "abstain", "--wrong-cost", "1"):
            {"rule": t2.Verifier(0.01, 0.9, "abstain"), "wrong_cost": 1.0},
        ("--select", "verifier", "--false-positive", ".01", "--slope", ".8", "--stop-on-success"):
            {"rule": t2.Verifier(0.01, slope=0.8), "stop_on_success": True},
        ("--select", "best-of", "--d-prime", "1.2"): {"rule": t2.BestOf(1.2)},
        ("--select", "majority", "--answers", "votes.json"): {"rule": t2.Majority(t2.Tail.uniform(5))},
        ("--rule", "votes.json"): {"rule": t2.Majority(t2.Tail.uniform(5))},
        ("--select", "any-correct"): {},
    }  # fmt: skip
    counts = read_models(["small.csv", "large.csv"])
    prices = t2.read_prices("prices.csv", input_tokens=400, output_tokens=250)
    for options, more in rules.items():
        code, out, err = run(*asked, *options, "--json")
        assert code == 0, err
        found = json.loads(out)
        assert found == json.loads(json.dumps(t2.choose(counts, prices, 0.002, n_resamples=20, **more).to_dict()))
        assert found["rule"]["kind"] == more.get("rule", t2.AnyCorrect()).kind
        assert found["result"] <= found["pass_at_k"]
    code, out, err = run(*asked, "--select", "best-of", "--d-prime", "0.1", "--wrong-cost", "8", "--plot", "x.png")
    assert code == 0, err
    assert out.startswith("silence: no model is worth its wrong answers")
    assert (folder / "x.png").stat().st_size > 1000


def test_votes_find_answers_in_texts(run, tmp_path):
    for name, right in (("a", 3), ("b", 1)):
        lines = [
            json.dumps({"problem_id": p, "completion": f"So it is {4 if s < right else 5 + s}.", "correct": s < right})
            for p in "xyz"
            for s in range(4)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    (tmp_path / "prices.csv").write_text("model,dollars_per_sample\na,0.001\nb,0.001\n")
    asked = ("choose", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--prices", tmp_path / "prices.csv",
             "--dollars-per-question", "0.003", "--n-resamples", 20)  # fmt: skip
    code, out, err = run(*asked, "--select", "majority")
    assert code == 2
    assert "say how to find the answer in a text with --extract" in err
    code, out, err = run(*asked, "--select", "majority", "--extract", "numeric", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["model"], found["rule"]["kind"], found["result"]) == ("a", "majority", 1.0)
    code, out, err = run(*asked, "--extract", "numeric")
    assert code == 2
    assert "--extract: has no effect here: it needs --select majority" in err
