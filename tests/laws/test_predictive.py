"""Predictive draws: resampled laws, moved by the scatter of checkpoints."""

from dataclasses import replace

import numpy as np
import pytest

import t2fast as t2
from t2fast.laws import Checkpoints, DataRange, Law

PYTHIA = t2.load_law("pythia-gsm8k")
DRAWS = {"A": [2e4, 2.6e4, 3e4], "alpha": [0.52, 0.53, 0.525]}


def test_draws_are_the_resampled_laws_values():
    law = replace(PYTHIA, uncertainty={"draws": DRAWS})
    found = law.predictive([1e8, 1e9], 1e11, [[1], [10]])
    assert found.shape == (3, 2, 2)
    for one, values in zip(law.resampled(), found, strict=True):
        np.testing.assert_allclose(values, one.value([1e8, 1e9], 1e11, [[1], [10]]), rtol=1e-12)


@pytest.mark.parametrize("law", [PYTHIA, t2.load_law("hoffmann")], ids=lambda law: law.kind)
def test_scatter_moves_logits_or_logarithms(law):
    draws = {"A": [law.A] * 4}
    still, moved = (
        replace(law, uncertainty={"draws": draws} | more).predictive(1e8, 1e11, 10)
        for more in ({}, {"scatter": [0.3, -0.1]})
    )
    place = (lambda p: np.log(p / (1 - p))) if law.predicts_pass else np.log
    np.testing.assert_allclose(place(moved) - place(still), [0.3, -0.1, 0.3, -0.1], atol=1e-12)


def test_repeated_tokens_are_discounted():
    law = replace(PYTHIA, uncertainty={"draws": {"A": [PYTHIA.A]}})
    plain, repeated = law.predictive(1e8, 1e12, 10)[0], law.predictive(1e8, 1e12, 10, unique_tokens=1e10)[0]
    assert repeated < plain
    assert law.predictive(1e8, 1e9, 10, unique_tokens=1e10)[0] == pytest.approx(law.value(1e8, 1e9, 10))


def test_without_draws_there_is_nothing_to_draw():
    with pytest.raises(t2.LawError, match="no bootstrap draws"):
        replace(PYTHIA, uncertainty={}).predictive(1e8, 1e11)


def test_checkpoints_travel_with_a_law():
    table = Checkpoints(
        (1e8, 1e9), (1e10, 1e11), (1.0, 2.0, 4.0), ((0.1, 0.2, None), (0.2, 0.3, 0.4)),
        ((0.05, 0.1, None), (0.1, 0.2, 0.3)), ((0.15, 0.3, None), (0.3, 0.4, 0.5)),
    )  # fmt: skip
    law = replace(PYTHIA, checkpoints=table, data_range=DataRange((1e7, 1e9), (1e9, 1e11), (1, 4), (10, 100)))
    assert Law.from_dict(law.to_dict()) == law
    assert len(table) == 2
    assert table.at(0, 4) is None
    assert table.at(1, 2) == (0.3, 0.2, 0.4)
    assert table.at(1, 2**1.5).observed == pytest.approx(0.35)


def test_malformed_checkpoints_are_named():
    data = PYTHIA.to_dict() | {"checkpoints": {"n_params": [1.0]}}
    with pytest.raises(t2.LawError, match="checkpoints must be an object with n_params"):
        Law.from_dict(data)
