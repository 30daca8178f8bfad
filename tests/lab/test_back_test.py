"""Predictions of runs that the laws have not seen, on a laboratory whose law is known."""

import dataclasses

import numpy as np
import pytest
from tests.support import laboratory

from t2fast.lab.back_test import back_test


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


def test_too_few_runs_are_not_tested():
    lab, preset = laboratory.make(), laboratory.preset()
    assert back_test(lab, dataclasses.replace(preset, holdout="n_params > 0")) == ()
    assert back_test(lab, dataclasses.replace(preset, holdout="n_params < 0")) == ()
