import copy
import json
import pickle

import numpy as np
import pytest
from scipy.special import expit, logit

import t2fast
from t2fast.laws import BetaAbilityLaw, ItemResponseLaw, Law, LawAverage

ABILITY = (0.3, 0.6, 0.5, -0.02, 0.01, -0.08)
CENTER = (3e8, 4e10)
ITEMS = ItemResponseLaw(ABILITY, CENTER, (-1.5, 0.2, 3.0))
BETA = BetaAbilityLaw(ABILITY, CENTER, (0.4, 0.3))
PYTHIA = t2fast.load_law("pythia-gsm8k")
MEAN = LawAverage((PYTHIA, ITEMS, BETA), (2.0, 1.0, 1.0), name="mean", warnings=("a",))
POINTS = np.array([1e8, 1e9, 7e9]), np.array([2e9, 5e10, 3e11]), np.array([1.0, 8.0, 3.0])


def test_an_average_is_the_mean_of_log_odds():
    n, d, k = POINTS
    parts = [logit(law.value(n, d, k)) for law in (PYTHIA, ITEMS, BETA)]
    np.testing.assert_allclose(MEAN.value(n, d, k), expit(np.average(parts, axis=0, weights=(2, 1, 1))), rtol=1e-12)
    assert isinstance(MEAN.value(1e9, 1e11, 4), float)


@pytest.mark.parametrize("law", [ITEMS, BETA, MEAN], ids=lambda law: law.kind)
def test_they_travel_pickle_copy_and_compare(law, tmp_path):
    assert Law.from_dict(json.loads(json.dumps(law.to_dict()))) == law
    law.save(tmp_path / "law.json")
    assert t2fast.load_law(tmp_path / "law.json") == law
    assert pickle.loads(pickle.dumps(law)) == law
    assert copy.deepcopy(law) == law
    assert hash(law) == hash(copy.copy(law))


def test_draws_of_the_laws_are_drawn_together():
    laws = []
    for law in (ITEMS, BETA):
        draws = {"ability0": [0.1, 0.2, 0.3], "ability1": [0.5, 0.6, 0.7]}
        laws.append(type(law)(*(getattr(law, key) for key in law.own_keys), uncertainty={"draws": draws}))
    drawn = list(LawAverage(tuple(laws)).resampled())
    assert [law.laws[0].ability[0] for law in drawn] == [0.1, 0.2, 0.3]
    assert [law.laws[1].ability[1] for law in drawn] == [0.5, 0.6, 0.7]
    with pytest.raises(t2fast.LawError, match="carries no bootstrap draws"):
        list(LawAverage((ITEMS, BETA)).resampled())


@pytest.mark.parametrize("name", ["pythia-gsm8k-average", "pythia-math-average"])
def test_draws_worked_out_together_are_those_worked_out_one_by_one(name):
    law = t2fast.load_law(name).with_fewer_draws(20)
    data = law.data_range
    draw = np.random.default_rng(3)
    axes = (data.n_params, data.n_tokens, (1.0, 1e4))
    n, d, k = (np.exp(draw.uniform(*np.log(ends), 30)) for ends in axes)
    one_by_one = np.stack([one.value(n, d, k) for one in law.resampled()])
    assert one_by_one.shape == (20, 30)
    np.testing.assert_allclose(law._predict(n, d, k, None), one_by_one, rtol=1e-12)
    for part in law.laws:
        one_by_one = np.stack([one.value(n, d, k) for one in part.resampled()])
        np.testing.assert_allclose(part._predict(n, d, k, None), one_by_one, rtol=1e-12)


def test_an_average_of_averages_draws_as_its_parts():
    law = t2fast.load_law("pythia-gsm8k-average").with_fewer_draws(5)
    nested = LawAverage((law, law.laws[0]))
    one_by_one = np.stack([one.value(*POINTS) for one in LawAverage(law.laws).resampled()])
    np.testing.assert_allclose(law._predict(*POINTS, None), one_by_one, rtol=1e-12)
    drawn = LawAverage._values_of([nested, nested], *POINTS)
    np.testing.assert_allclose(drawn, np.stack([nested.value(*POINTS)] * 2), rtol=1e-12)


@pytest.mark.parametrize(
    ("laws", "weights", "message"),
    [
        ((ITEMS,), (), "two or more"),
        ((ITEMS, t2fast.load_law("hoffmann")), (), "laws of pass@k"),
        ((ITEMS, BETA), (1.0,), "one positive number for each of 2 laws"),
        ((ITEMS, BETA), (1.0, -1.0), "one positive number"),
    ],
)
def test_what_cannot_be_averaged(laws, weights, message):
    with pytest.raises(t2fast.LawError, match=message):
        LawAverage(laws, weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"laws": []}, "laws must be a list"),
        ({"weights": [1.0]}, "weights must be a list of 3 numbers"),
        (
            {"laws": [{"schema": "t2fast.law/2", "kind": "item-response", "ability": [1.0]}]},
            "ability must be a list of 6",
        ),
        ({"theta": 1}, "unknown key 'theta'"),
    ],
)
def test_malformed_files_name_the_key(change, message):
    with pytest.raises(t2fast.LawError, match=message):
        Law.from_dict(MEAN.to_dict() | change)
