"""Claims about laboratories whose truth is known."""

import dataclasses

import numpy as np
import pytest
from tests.support import laboratory

from t2fast.costs import Budget
from t2fast.lab import claims
from t2fast.lab.back_test import HeldOut
from t2fast.planning import plan


def test_the_shift_of_the_optimum_covers_the_truth(found):
    duel = found.preset.duel
    one = plan(laboratory.PASS, Budget(train_flops=duel.train_flops, max_k=1)).design
    both = plan(laboratory.PASS, Budget(train_flops=duel.train_flops, inference_flops=duel.inference_flops)).design
    truth = both.tokens_per_param / one.tokens_per_param
    shift = found.claims[0]
    assert shift.low < truth < shift.high
    assert shift.holds
    measured = found.claims[1]
    assert measured.low <= measured.value <= measured.high
    assert measured.holds


def test_samples_that_contradict_the_likelihood_are_noticed(found):
    assert found.claims[-1].holds
    odd = claims.agreement(laboratory.make(excess=0.97))
    assert odd.holds is False
    assert odd.value == pytest.approx(0.97, abs=0.01)


def test_a_claim_is_open_when_its_interval_lies_on_both_sides():
    random = np.random.default_rng(0)
    held = HeldOut("law", "pass@16", *np.ones((2, 4)), np.ones(4), np.array([1.0, 1.1, 1.0, 1.1]))
    preset = laboratory.preset()
    assert claims.prediction(held, laboratory.make(), preset, random).holds is None
    exact = dataclasses.replace(held, predicted=np.full(4, 1.01))
    assert claims.prediction(exact, laboratory.make(), preset, random).holds is True
    wrong = dataclasses.replace(held, predicted=np.full(4, 1.5))
    assert claims.prediction(wrong, laboratory.make(), preset, random).holds is False
