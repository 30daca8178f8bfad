"""What the page is told, beside what the package says."""

import numpy as np
import pytest

import t2fast as t2
from t2fast.app import answers
from t2fast.app.question import Question
from t2fast.datasets import load_lab

ASKED = {"law": "lab-tiny", "train-flops": "3e11", "inference-flops": "2e6"}


def test_the_curve_goes_through_the_unlimited_optimum():
    curve = answers.curve_answer(Question(ASKED))["curve"]
    plan = t2.plan("lab-tiny", t2.Budget(train_flops=3e11, inference_flops=2e6))
    results = [one["result"] for one in curve]
    assert max(results) <= plan.continuous.pass_at_k + 1e-12
    assert max(results) == pytest.approx(plan.continuous.pass_at_k, abs=2e-3)
    best = curve[int(np.argmax(results))]
    assert best["n_params"] == pytest.approx(plan.continuous.n_params, rel=0.1)
    assert all(low <= high for low, high in (one["interval"] for one in curve if one["interval"]))


def test_the_frontier_sweeps_the_training_budget():
    told = answers.frontier_answer(Question(ASKED), "1e11", "1e12", "3")
    budgets = t2.Budget(inference_flops=2e6).sweep(train_flops=np.geomspace(1e11, 1e12, 3))
    found = t2.frontier("lab-tiny", budgets)
    assert [row["n_params"] for row in told["rows"]] == [plan.n_params for plan in found.plans]
    assert "--train-flops 1e11:1e12:3" in told["command"]
    with pytest.raises(t2.T2Error, match="at most 200"):
        answers.frontier_answer(Question(ASKED), "1e11", "1e12", "1000")
    with pytest.raises(t2.T2Error, match="no budget to sweep"):
        answers.frontier_answer(Question({"law": "hoffmann"}), "1", "2", "3")


def test_designs_are_compared():
    told = answers.compare_answer(Question(ASKED), "20k:1M:k=8, 60k:2M:k=4")
    assert [one["n_params"] for one in told["designs"]] == [2e4, 6e4]
    assert told["command"] == "t2fast compare 20k:1M:k=8 60k:2M:k=4 --law lab-tiny"
    with pytest.raises(t2.T2Error, match="give at least one"):
        answers.compare_answer(Question(ASKED), " ")


def test_a_choice_among_models(tmp_path):
    rng = np.random.default_rng(0)
    for name, mean in (("small", 0.2), ("large", 0.5)):
        rates = rng.beta(mean, 1 - mean, 60)
        lines = [f"{name},{place},32,{rng.binomial(32, p)}" for place, p in enumerate(rates)]
        (tmp_path / f"{name}.csv").write_text("model,problem_id,n_samples,n_correct\n" + "\n".join(lines))
    prices = tmp_path / "prices.csv"
    prices.write_text(
        "model,input_dollars,output_dollars,input_tokens,output_tokens\nsmall,0.1,0.4,500,300\nlarge,1,4,500,300\n"
    )
    told = answers.choice_answer([tmp_path / "small.csv", tmp_path / "large.csv"], prices, "0.002")
    assert "small, k" in told["summary"]
    assert told["command"] == "t2fast choose small.csv large.csv --prices prices.csv --dollars-per-question 0.002"


def test_regret_of_a_table(tmp_path):
    lab = load_lab()
    path = tmp_path / "counts.csv"
    lines = ["run,n_params,n_tokens,problem_id,n_samples,n_correct"]
    for one in lab.grid:
        lines += [
            f"{one.run},{one.n_params},{one.n_tokens},{name},{lab.n_samples},{correct}"
            for name, correct in zip(lab.problem_ids, one.n_correct, strict=True)
        ]
    path.write_text("\n".join(lines))
    told = answers.regret_answer(path, ["n_params=1"])
    assert "20 tokens per parameter" in told["summary"]
    assert told["command"] == "t2fast regret counts.csv --unit n_params=1"


def test_laws_come_with_the_reach_of_their_data():
    laws = {law["name"]: law for law in answers.laws_answer()}
    assert set(laws) == set(t2.presets())
    assert laws["pythia-gsm8k"]["predicts_pass"]
    assert laws["pythia-gsm8k"]["data"]["n_params"][0] == 1.4e7


def test_a_law_file_that_changes_is_read_again(tmp_path):
    import os

    path = tmp_path / "law.json"
    t2.load_law("hoffmann").save(path)
    first = answers.plan_answer(Question({"law": str(path), "train-flops": "1e21"}))
    t2.load_law("besiroglu").save(path)
    os.utime(path, (1, 1))
    second = answers.plan_answer(Question({"law": str(path), "train-flops": "1e21"}))
    assert first["plan"]["loss"] != second["plan"]["loss"]
