"""The table that comes with t2fast, and the loop from it to a plan."""

import copy
import pickle

import numpy as np
import pytest

import t2fast as t2
from t2fast.datasets import Lab, load_lab
from t2fast.errors import DataError
from t2fast.lab.preset import Preset, load_preset


@pytest.fixture(scope="module")
def lab() -> Lab:
    return load_lab()


def test_the_suite_is_what_it_says(lab):
    preset = Preset.from_dict(lab.manifest["preset"])
    assert preset == load_preset("tiny")
    assert len(lab.grid) >= 24
    rates = [one.n_correct.mean() / lab.n_samples for one in lab.grid]
    assert min(rates) <= 0.01
    assert max(rates) >= 0.6
    assert lab.manifest["text"]["leaks"] == 0
    for one in lab.checkpoints:
        assert len(one.n_correct) == len(one.answer_nll) == len(lab.problem_ids)
        assert 0 <= one.n_correct.min() <= one.n_correct.max() <= lab.n_samples
    flops = np.array([6.0 * one.n_params * one.n_tokens for one in lab.grid])
    assert np.abs(np.log(flops[:, None] / np.array(preset.train_flops))).min(axis=1).max() < 0.03


def test_samples_agree_with_likelihoods(lab):
    """Checkpoint by checkpoint: right samples are binomial with the likelihood of the right answer."""
    for one in lab.checkpoints:
        p = one.probability
        deviation = one.n_correct.sum() - lab.n_samples * p.sum()
        # 46 models: five standard errors are beyond luck; likelihoods are stored to a thousandth of a nat.
        assert abs(deviation) < 5 * np.sqrt(lab.n_samples * (p * (1 - p)).sum()) + 1e-3 * lab.n_samples * p.sum()


def test_from_the_table_to_a_plan(lab):
    """End to end: the preset law is the fit to this table, and a plan comes out of it."""
    fit = t2.fitting.fit_table(lab.counts, "t2-pass")
    preset = t2.load_law("lab-tiny")
    for name, value in fit.law.coefficients.items():
        assert value == pytest.approx(getattr(preset, name), rel=1e-4), name
        low, high = preset.uncertainty["intervals"][name]
        assert low <= preset.coefficients[name] <= high or low == high
    best = t2.plan(preset, t2.Budget(train_flops=3.2e11, inference_flops=2e6))
    assert best.design.tokens_per_param > best.chinchilla.tokens_per_param
    loss = t2.fitting.fit_table(lab.losses, "chinchilla")
    assert loss.success


def test_a_file_that_is_no_table_is_refused(tmp_path):
    path = tmp_path / "table.json"
    with pytest.raises(DataError, match="no such file"):
        Lab.read(path)
    path.write_text("{}")
    with pytest.raises(DataError, match="not the table of a laboratory"):
        Lab.read(path)
    path.write_text('{"schema": "t2fast.lab/9"}')
    with pytest.raises(DataError, match=r"schema = 't2fast.lab/9': this version reads"):
        Lab.read(path)


def test_a_table_survives_its_file(lab, tmp_path):
    """The one that comes with t2fast has the names of old; what is written has today's."""
    lab.write(tmp_path / "table.json")
    again = Lab.read(tmp_path / "table.json")
    assert again == lab
    text = (tmp_path / "table.json").read_text()
    assert '"schema":"t2fast.lab/2"' in text
    assert '"n_correct":' in text
    assert '"correct":' not in text


def test_a_lab_is_a_result(lab):
    assert copy.deepcopy(lab) == pickle.loads(pickle.dumps(lab)) == lab
    assert lab.checkpoints[0] != lab.checkpoints[1]
    assert len(repr(lab)) < 200
    rows = lab.rows()
    assert len(rows) == len(lab.checkpoints)
    assert rows[0]["pass_at_1"] == pytest.approx(lab.checkpoints[0].n_correct.mean() / lab.n_samples)


def test_the_preset_of_approach_1_is_the_fit_to_this_tables_likelihoods(lab):
    fit = t2.fitting.fit_table(lab.counts, "t2-loss", k=2.0 ** np.arange(9))
    preset = t2.load_law("lab-tiny-loss")
    assert preset.coefficients == pytest.approx(fit.law.coefficients, rel=1e-4, abs=1e-6)
    assert any("lack of fit" in warning for warning in preset.warnings)
    assert t2.plan(preset, t2.Budget(train_flops=3.2e11, inference_flops=2e6)).design.k > 1


def test_suites_are_loaded_by_name(lab):
    assert load_lab("tiny") == lab
    with pytest.raises(t2.T2Error, match="name = 'none'"):
        load_lab("none")
