"""The tables that come with t2fast, and the loop from them to a plan."""

import copy
import pickle

import numpy as np
import pytest

import t2fast as t2
from t2fast.datasets import Lab, lab_names, load_lab
from t2fast.errors import DataError
from t2fast.lab.answers import load_answers
from t2fast.lab.preset import Preset, load_preset


@pytest.fixture(scope="module", params=["tiny", "small"])
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def lab(name) -> Lab:
    return load_lab(name)


def test_the_suite_is_what_it_says(lab, name):
    preset = Preset.from_dict(lab.manifest["preset"])
    assert preset == load_preset(name)
    assert len(lab.grid) == {"tiny": 42, "small": 77}[name]
    assert len(lab.tuned) == (0 if preset.lessons is None else len(lab.grid))
    rates = [one.n_correct.mean() / lab.n_samples for one in lab.grid]
    assert min(rates) <= 0.01
    assert max(rates) >= 0.6
    assert lab.manifest["text"]["leaks"] == 0
    for one in lab.checkpoints:
        asked = int(lab.lesson.sum()) if one.stage == "tuned" else len(lab.problem_ids)
        assert len(one.n_correct) == len(one.answer_nll) == asked
        assert 0 <= one.n_correct.min() <= one.n_correct.max() <= lab.n_samples
    # Some stand beside the grid, to learn from.
    flops = np.array([6.0 * one.n_params * one.n_tokens for one in lab.grid if not one.run.startswith("larger")])
    assert len(flops) == len(lab.grid) - sum(count for _, _, count in preset.larger)
    assert np.abs(np.log(flops[:, None] / np.array(preset.train_flops))).min(axis=1).max() < 0.03


def test_samples_agree_with_likelihoods(lab):
    """Checkpoint by checkpoint: right samples are binomial with the likelihood of the right answer."""
    for one in lab.checkpoints:
        p = one.probability
        deviation = one.n_correct.sum() - lab.n_samples * p.sum()
        # At most 172 models: five standard errors are beyond luck; likelihoods are stored to a thousandth of a nat.
        assert abs(deviation) < 5 * np.sqrt(lab.n_samples * (p * (1 - p)).sum()) + 1e-3 * lab.n_samples * p.sum()


def test_from_the_table_to_a_plan(lab, name):
    """End to end: the preset law is the fit to this table, and a plan comes out of it."""
    fit = t2.fitting.fit_table(lab.counts, "t2-pass")
    preset = t2.load_law(f"lab-{name}")
    for coefficient, value in fit.law.coefficients.items():
        assert value == pytest.approx(getattr(preset, coefficient), rel=1e-4), coefficient
        low, high = preset.uncertainty["intervals"][coefficient]
        assert low <= preset.coefficients[coefficient] <= high or low == high
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


def test_the_preset_of_approach_1_is_the_fit_to_this_tables_likelihoods(lab, name):
    fit = t2.fitting.fit_table(lab.counts, "t2-loss", k=2.0 ** np.arange(9))
    preset = t2.load_law(f"lab-{name}-loss")
    assert preset.coefficients == pytest.approx(fit.law.coefficients, rel=1e-4, abs=1e-6)
    assert any("lack of fit" in warning for warning in preset.warnings)
    assert t2.plan(preset, t2.Budget(train_flops=3.2e11, inference_flops=2e6)).design.k > 1


def test_suites_are_loaded_by_name():
    assert lab_names() == ["small", "tiny"]
    assert load_lab() == load_lab("tiny") != load_lab("small")
    with pytest.raises(t2.T2Error, match="name = 'none'"):
        load_lab("none")


def test_the_answers_of_the_second_study_are_those_of_its_table():
    lab, answers = load_lab("small"), load_answers("small")
    assert load_answers("tiny") is None
    asked = {one.run: one for one in lab.checkpoints if one.stage != "tuned"}
    assert sorted(answers.runs) == sorted(asked)
    assert answers.problem_ids == lab.problem_ids
    right = answers.tallies.right.reshape(len(answers.runs), -1)
    for run, correct in zip(answers.runs, right, strict=True):
        assert np.array_equal(correct, asked[run].n_correct)
    votes = np.concatenate([[0], np.cumsum(answers.tallies.wrong)])[answers.tallies.starts]
    assert np.all(np.diff(votes) + answers.tallies.right == lab.n_samples)
    # What was said is kept where a dozen samples said it; one answer to a problem is to say nothing.
    named, often = np.array([bool(label) for label in answers.labels]), answers.tallies.wrong >= 12
    assert not np.any(named & ~often)
    problem = np.repeat(np.arange(len(right.ravel())), np.diff(answers.tallies.starts))
    assert np.bincount(problem[often & ~named]).max() == 1
