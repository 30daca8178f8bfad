"""The laws of a laboratory, and what they propose."""

import dataclasses

import pytest
from tests.support import laboratory

from t2fast.errors import T2Error
from t2fast.lab.fits import optima, propose


def test_the_fits_find_the_truth(found):
    point = optima([found.fits.counts.law], found.preset)[0]
    truth = optima([laboratory.PASS], found.preset)[0]
    assert point == pytest.approx(truth, rel=0.5)
    assert found.fits.loss.law.value(2e4, 1e6) == pytest.approx(laboratory.LOSS.value(2e4, 1e6), rel=0.02)


def test_the_planned_design_lies_within_the_data_and_spends_the_budget(found):
    planned, rival, whole = propose(found.fits, found.preset)
    sizes = [one.n_params for one in found.lab.grid]
    assert min(sizes) <= planned.n_params <= max(sizes)
    for design in (planned, rival):
        assert 6 * design.n_params * design.n_tokens == pytest.approx(found.preset.duel.train_flops, rel=1e-6)
    assert planned.tokens_per_param > rival.tokens_per_param
    assert whole == found.plan


def test_a_budget_below_the_data_is_refused(found):
    preset = dataclasses.replace(found.preset, duel=dataclasses.replace(found.preset.duel, train_flops=1e6))
    with pytest.raises(T2Error, match="train_flops = 1e6: pays for no design within the data"):
        propose(found.fits, preset)
