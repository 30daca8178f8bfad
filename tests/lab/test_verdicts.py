"""Verdicts on laboratories whose truth is known, and the report made of them."""

import dataclasses
import json

import numpy as np
import pytest
from tests.support import laboratory

from t2fast.costs import Budget
from t2fast.errors import T2Error
from t2fast.lab import verdicts
from t2fast.planning import plan


@pytest.fixture(scope="module")
def found():
    return verdicts.find(laboratory.make(), laboratory.preset())


def test_the_shift_of_the_optimum_covers_the_truth(found):
    duel = found.preset.duel
    one = plan(laboratory.PASS, Budget(train_flops=duel.train_flops, max_k=1)).design
    both = plan(laboratory.PASS, Budget(train_flops=duel.train_flops, inference_flops=duel.inference_flops)).design
    truth = both.tokens_per_param / one.tokens_per_param
    shift = found.verdicts[0]
    assert shift.low < truth < shift.high
    assert shift.holds
    measured = found.verdicts[1]
    assert measured.low <= measured.value <= measured.high
    assert measured.holds


def test_a_law_that_holds_predicts_what_was_held_out(found):
    by_law = {one.law: one for one in found.held_out}
    likelihood = by_law["counts likelihood"]
    truth = laboratory.PASS.value(likelihood.n_params, likelihood.n_tokens, found.preset.predicted_k)
    assert np.abs(likelihood.predicted / truth - 1).mean() < 0.05
    assert (likelihood.n_tokens / likelihood.n_params > 100).all()
    first = by_law["Approach 1"]
    for n, d, value in zip(first.n_params, first.n_tokens, first.observed, strict=True):
        (one,) = (one for one in found.lab.grid if (one.n_params, one.n_tokens) == (n, d))
        p = one.probability
        assert value == pytest.approx(-np.log(1 - (1 - p) ** found.preset.predicted_k).mean(), rel=1e-6)


def test_the_duel_is_what_both_designs_solve_for_the_same_money(found):
    for one in found.duels:
        assert one.k == (90, 25)  # 2e6 / (2 * 1.1e4) and / (2 * 4e4)
        truth = [laboratory.PASS.value(n, d, k) for n, d, k in zip(one.n_params, one.n_tokens, one.k, strict=True)]
        gain, low, high = one.gain
        assert low < gain < high
        assert low < truth[0] - truth[1] < high
        assert one.pass_at_1[0] < one.pass_at_k[0]


def test_samples_that_contradict_the_likelihood_are_noticed(found):
    assert found.verdicts[-1].holds
    odd = verdicts.find(laboratory.make(excess=0.97), laboratory.preset()).verdicts[-1]
    assert odd.holds is False
    assert odd.value == pytest.approx(0.97, abs=0.01)


def test_a_verdict_is_open_when_its_interval_lies_on_both_sides():
    random = np.random.default_rng(0)
    held = verdicts.HeldOut("law", "pass@16", *np.ones((2, 4)), np.ones(4), np.array([1.0, 1.1, 1.0, 1.1]))
    preset = laboratory.preset()
    assert verdicts._prediction(held, laboratory.make(), preset, random).holds is None
    exact = dataclasses.replace(held, predicted=np.full(4, 1.01))
    assert verdicts._prediction(exact, laboratory.make(), preset, random).holds is True
    wrong = dataclasses.replace(held, predicted=np.full(4, 1.5))
    assert verdicts._prediction(wrong, laboratory.make(), preset, random).holds is False


def test_an_inference_budget_without_samples_is_refused():
    preset = laboratory.preset()
    poor = dataclasses.replace(preset, duel=dataclasses.replace(preset.duel, inference_flops=1e3))
    with pytest.raises(T2Error, match="inference_flops = 1000: pays for 0 samples"):
        verdicts.judge_duel(laboratory.make(), poor, False, np.random.default_rng(0))


def test_a_table_survives_its_file(tmp_path):
    lab = laboratory.make()
    lab.write(tmp_path / "table.json")
    assert type(lab).read(tmp_path / "table.json").to_dict() == lab.to_dict()


def test_summary_and_json(found):
    assert max(map(len, found.summary().splitlines())) <= 80
    data = json.loads(json.dumps(found.to_dict()))
    assert len(data["verdicts"]) == len(found.verdicts) == 8
    assert data["laws"]["counts"]["law"]["name"] == "lab-tiny"


def test_the_report_is_one_page_and_its_figures(found, tmp_path):
    pytest.importorskip("matplotlib")
    from t2fast.lab.report import write_report

    page = write_report(found, tmp_path / "report").read_text()
    assert page.count("data:image/png;base64,") == 6
    assert 'src="http' not in page
    figures = {path.stem for path in (tmp_path / "report").glob("*.png")}
    assert figures == {"grid", "isoflop", "curves", "extrapolation", "optima", "duel"}
    for one in found.verdicts:
        assert one.unit in page


def test_without_a_duel_its_verdicts_are_left_out():
    lab = laboratory.make()
    grid = dataclasses.replace(lab, checkpoints=lab.grid)
    found = verdicts.find(grid, laboratory.preset())
    assert found.duels == ()
    assert len(found.verdicts) == 6
