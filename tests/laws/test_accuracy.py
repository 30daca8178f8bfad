import json
import pickle

import numpy as np
import pytest

import t2fast as t2
from t2fast.laws import AccuracyLaw, ChinchillaLaw

LOSS = ChinchillaLaw(0.4, 800.0, 800.0, 0.41, 0.34)
LAW = AccuracyLaw(LOSS, floor=0.25, middle=0.9, slope=4.0)


def test_values_are_a_sigmoid_of_the_loss():
    n, d = np.array([1e8, 1e9, 7e10]), np.array([2e9, 5e10, 3e12])
    loss = 0.4 + 800 * n**-0.41 + 800 * d**-0.34
    np.testing.assert_allclose(LAW.value(n, d), 0.25 + 0.75 / (1 + np.exp(4 * (loss - 0.9))), rtol=1e-12)
    assert AccuracyLaw(LOSS, 0.0, 0.9, 500.0).value(1.0, 1.0) == 0.0  # no overflow


def test_it_speaks_of_one_answer():
    with pytest.raises(t2.LawError, match="k = 8: an accuracy is of one answer"):
        LAW.value(1e9, 1e10, [1, 8])


def test_it_travels():
    for law in (LAW, t2.load_law("olmo-piqa-val-accuracy")):
        assert t2.Law.from_dict(json.loads(json.dumps(law.to_dict()))) == law
        assert pickle.loads(pickle.dumps(law)) == law


def test_coefficients_change_together():
    changed = LAW.with_coefficients({"E": 0.5, "floor": 0.1})
    assert (changed.loss.E, changed.floor, changed.middle) == (0.5, 0.1, 0.9)
    assert changed.loss.A == LOSS.A


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"floor": 1.0}, r"floor = 1: must lie in \[0, 1\)"),
        ({"slope": 0.0}, "slope = 0: must be positive"),
        ({"middle": np.nan}, "middle = nan"),
        ({"floor": "low"}, "floor = 'low': must be a number"),
        ({"loss": t2.load_law("pythia-gsm8k")}, "must be a ChinchillaLaw"),
        ({"loss": ChinchillaLaw(0.4, 8.0, 8.0, 0.4, 0.3, F=0.1, delta=0.5)}, "without a term of overtraining"),
    ],
)
def test_what_is_refused(change, message):
    given = {"loss": LOSS, "floor": 0.25, "middle": 0.9, "slope": 4.0} | change
    with pytest.raises(t2.LawError, match=message):
        AccuracyLaw(**given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"middle": None}, "middle is missing"),
        ({"loss": 3}, "loss must be an object"),
        ({"loss": {"coefficients": {"E": 1}}}, "coefficients.A is missing"),
        ({"slope": "steep"}, "slope = 'steep'"),
    ],
)
def test_files_are_checked(change, message):
    data = {name: value for name, value in (LAW.to_dict() | change).items() if value is not None}
    with pytest.raises(t2.LawError, match=message):
        t2.Law.from_dict(data)


def test_it_plans_for_one_answer():
    """Accuracy rises as the loss falls: the best design is the loss's own, to the lattice."""
    budget = t2.Budget(train_flops=1e21, max_k=1)
    found, best = t2.plan(LAW, budget).unlimited, t2.plan(LOSS, t2.Budget(train_flops=1e21)).design
    assert found.k == 1
    assert LAW.value(found.n_params, found.n_tokens) == pytest.approx(LAW.value(best.n_params, best.n_tokens), rel=1e-4)
