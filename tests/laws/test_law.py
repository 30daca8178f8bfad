import copy
import math
import pickle
from dataclasses import replace

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracles import laws
from tests.support.strategies import any_laws, chinchilla_laws, loss_laws, overtrained, pass_laws, powers

import t2fast as t2
from t2fast import _core

PYTHIA = t2.load_law("pythia-gsm8k")


@pytest.mark.parametrize(
    ("n", "d", "unique", "expected"),
    [(6.34e9, 242e9, 25e9, 2.2256440889984477), (8.67e9, 178e9, 25e9, 2.2269634075087867)],
)
def test_check_values_of_the_data_constrained_law(n, d, unique, expected):
    # Printed in the notebook of huggingface/datablations.
    law = t2.load_law("muennighoff-c4")
    assert law.loss(n, d, unique) == pytest.approx(expected, abs=1e-12)
    assert float(laws.loss(law, n, d, unique)) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=300, deadline=None)
@given(any_laws, powers(5, 13), powers(6, 16), powers(0, 6))
def test_values_agree_with_fifty_digits(law, n, d, k):
    expected = laws.value(law, n, d, k)
    assert abs(law.value(n, d, k) - expected) <= 1e-12 * max(1, abs(expected))


@settings(max_examples=300, deadline=None)
@given(st.floats(-100, 100), st.floats(-100, 100), powers(0, 6))
def test_pass_at_k_for_tiny_and_huge_a_and_b(ln_odds, ln_nu, k):
    # E = 0 and terms that vanish: the loss is 0, the odds and the concentration are what is drawn.
    law = t2.T2PassLaw(0.0, 1e-300, 1e-300, 1.0, 1.0, theta0=-ln_odds, theta1=1.0, theta2=1.0, theta3=ln_nu, theta4=0.0)
    got = law.value(1e10, 1e10, k)
    expected = laws.value(law, 1e10, 1e10, k)
    assert abs(got - expected) <= 1e-12
    assert abs(got - expected) <= 1e-12 * abs(expected) * max(1, abs(ln_odds) + abs(ln_nu))


@settings(max_examples=40, deadline=None)
@given(pass_laws(), st.integers(0, 2**32 - 1))
def test_surfaces_agree_with_fifty_digits(law, seed):
    draw = np.random.default_rng(seed)
    n, d = np.unique(10 ** draw.uniform(5, 13, 60)), np.unique(10 ** draw.uniform(6, 16, 60))
    k = np.unique(np.round(10 ** draw.uniform(0, 6, 40)))
    grid = t2.grid_search(law, t2.Budget(), n, d, k, surface=True)
    for i, j, m in zip(*(draw.integers(0, len(axis), 15) for axis in (n, d, k)), strict=True):
        assert abs(grid.surface[i, j, m] - laws.value(law, n[i], d[j], k[m])) <= 1e-12


@pytest.mark.parametrize("nu", [-200, -60, -5, 0, 5, 60, 200])
def test_surfaces_of_extreme_concentrations_agree_with_fifty_digits(nu):
    law = t2.T2PassLaw(
        0.0, 25817.6, 171536.0, 0.528, 0.514, theta0=-3.39, theta1=1.0, theta2=0.5506, theta3=nu, theta4=0.794
    )
    n, d, k = np.geomspace(1e5, 1e13, 50), np.geomspace(1e6, 1e16, 50), np.unique(np.round(np.geomspace(1, 1e6, 40)))
    surface = t2.grid_search(law, t2.Budget(), n, d, k, surface=True).surface
    for i, j, m in np.random.default_rng(0).integers(0, (50, 50, len(k)), (60, 3)):
        assert abs(surface[i, j, m] - laws.value(law, n[i], d[j], k[m])) <= 1e-12


@settings(max_examples=40, deadline=None)
@given(any_laws, st.one_of(st.none(), powers(8, 12)))
def test_small_surfaces_are_the_law_point_by_point(law, unique):
    n, d, k = np.geomspace(1e6, 1e10, 3), np.geomspace(1e8, 1e13, 4), np.array([1.0, 7.0, 300.0])
    surface = t2.grid_search(law, t2.Budget(unique_tokens=unique), n, d, k, surface=True).surface
    for place in np.ndindex(surface.shape):
        expected = laws.value(law, n[place[0]], d[place[1]], k[place[2]], unique)
        assert abs(surface[place] - expected) <= 1e-12 * max(1, abs(expected))


@settings(max_examples=200, deadline=None)
@given(any_laws, powers(6, 11), powers(8, 13), powers(0, 4))
def test_gradients_match_finite_differences(law, n, d, k):
    gradient = law.gradient(n, d, k)
    assert gradient.value == pytest.approx(law.value(n, d, k), rel=1e-12, abs=1e-14)
    with mp.workdps(60):
        step = mp.mpf(10) ** -20
        for name, point in (("n_params", 0), ("n_tokens", 1), ("k", 2)):
            at = [mp.mpf(n), mp.mpf(d), mp.mpf(k)]
            at[point] *= 1 + step
            above = laws.value(law, *at)
            at[point] *= (1 - step) / (1 + step)
            slope = (above - laws.value(law, *at)) / (2 * step)
            # By the logarithm, so that one scale fits N, D and k.
            assert abs(getattr(gradient, name) * (n, d, k)[point] - slope) <= 1e-10 * abs(slope) + 1e-13


@settings(max_examples=100, deadline=None)
@given(any_laws, powers(6, 11), powers(8, 13), powers(8, 12))
def test_repeated_tokens_are_discounted(law, n, d, unique):
    assert law.loss(n, d, unique) == pytest.approx(float(laws.loss(law, n, d, unique)), rel=1e-13)
    assert law.loss(n, d, unique) >= law.loss(n, d) * (1 - 1e-15)


@settings(max_examples=200, deadline=None)
@given(overtrained(chinchilla_laws), powers(6, 11), st.one_of(st.none(), powers(8, 13)))
def test_tokens_help_until_they_harm(law, n, unique):
    most = law.most_useful_tokens(n, unique)
    assert replace(law, F=0.0).most_useful_tokens(n, unique) == math.inf
    with mp.workdps(40):
        at, step = mp.mpf(most), mp.mpf(10) ** -12
        below, there, above = (laws.loss(law, n, at * (1 + s), unique) for s in (-step, 0, step))
        # The second difference says how far the minimum is from where the first one vanishes.
        assert abs((above - below) / 2 / (above - 2 * there + below) * step) < 1e-10


@settings(max_examples=100, deadline=None)
@given(overtrained(chinchilla_laws), powers(8, 12), st.floats(1, 20))
def test_parameters_warranted_by_unique_tokens_with_overtraining(law, unique, r_star):
    law = replace(law, r_star_params=r_star)
    n = float(10 * laws.warranted_params(law, mp.mpf(unique)))
    assert law.loss(n, unique, unique) == pytest.approx(float(laws.loss(law, n, unique, unique)), rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.one_of(loss_laws, pass_laws()), powers(6, 11), powers(8, 13), powers(0, 5), st.floats(1.001, 100))
def test_more_samples_never_hurt(law, n, d, k, more):
    sign = 1 if law.predicts_pass else -1
    assert sign * (law.value(n, d, k * more) - law.value(n, d, k)) >= -1e-13


def test_values_broadcast_and_accept_lists_integers_strides_and_read_only():
    n = np.array([[10**7], [10**9]])
    d = np.array([10**10, 10**11, 10**12])
    d.setflags(write=False)
    table = PYTHIA.value(n, d, 5)
    assert table.shape == (2, 3)
    assert table[1, 2] == PYTHIA.value(1e9, 1e12, 5)
    assert np.array_equal(PYTHIA.value([10**7, 10**9], 1e10, [5, 5]), table[:, 0])
    assert np.array_equal(PYTHIA.value(np.repeat(n, 3, 1)[::-1, ::2], 1e10, 5), table[::-1, [0, 0]])
    assert isinstance(PYTHIA.value(1e9, 1e12), float)
    assert PYTHIA.value(np.empty(0), 1e9).shape == (0,)


@pytest.mark.parametrize(
    ("name", "arguments"), [("n_params", (0, 1e9, 1)), ("n_tokens", (1e9, math.nan, 1)), ("k", (1e9, 1e9, 0.5))]
)
def test_a_point_out_of_range_is_named(name, arguments):
    for call in (PYTHIA.value, PYTHIA.gradient):
        with pytest.raises(t2.T2Error, match=f"{name} = .*must"):
            call(*arguments)


@pytest.mark.parametrize(
    ("name", "arguments"), [("n_params", ("big", 1e9, 1)), ("n_tokens", (1e9, [None], 1)), ("k", (1e9, 1e9, {}))]
)
def test_a_point_that_is_no_number_is_named(name, arguments):
    with pytest.raises(t2.T2Error, match=name):
        PYTHIA.value(*arguments)


def test_shapes_that_do_not_broadcast_are_refused():
    with pytest.raises(t2.T2Error, match="shape"):
        PYTHIA.value([1e7, 1e8], [1e9, 1e10, 1e11])


LOSS = t2.T2LossLaw(1.8, 480, 2100, 0.35, 0.37, G=1.0, gamma=0.3)


@pytest.mark.parametrize("law", [t2.load_law("hoffmann"), LOSS, PYTHIA], ids=lambda law: law.kind)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 0.0, "1.5", None])
def test_every_coefficient_out_of_range_is_named(law, value):
    for name in (*law.coefficient_names, "F", "delta"):
        free = name in ("theta0", "theta3", "theta4") and value in (0.0, -1.0)
        if free or (name in ("E", "F") and value == 0.0):
            continue
        with pytest.raises(t2.T2Error, match=rf"{name} = .*must"):
            replace(law, **{name: value})


def test_theta2_above_one_is_refused():
    with pytest.raises(t2.T2Error, match=r"theta2 = 1\.01: must lie in \(0, 1\]"):
        replace(PYTHIA, theta2=1.01)


@settings(max_examples=50, deadline=None)
@given(chinchilla_laws)
def test_a_law_from_the_core_checks_shapes(law):
    with pytest.raises(t2.T2Error, match="lengths 1, 2"):
        law._handle.values(np.ones(1), np.ones(2), np.ones(1))
    with pytest.raises(t2.T2Error, match="out has shape"):
        _core.surface(law._handle, np.ones(1), np.ones(1), np.ones(1), np.ones((1, 2, 1)))


ALL = [
    LOSS,
    replace(LOSS, F=0.2, delta=0.5),
    replace(LOSS, data_range=t2.DataRange((1e6, 1e9), (1e9, 1e12))),
    *t2.presets().values(),
]


@pytest.mark.parametrize("law", ALL, ids=lambda law: law.name or law.kind)
def test_laws_pickle_copy_and_hash(law):
    law.value(1e9, 1e10)  # fills what is cached
    k = 1 if law.kind == "accuracy" else 3
    for again in (pickle.loads(pickle.dumps(law)), copy.deepcopy(law), copy.copy(law)):
        assert again == law
        assert hash(again) == hash(law)
        assert again.value(1e9, 1e10, k) == law.value(1e9, 1e10, k)
    assert law in {law: 1}


def test_core_laws_pickle_and_copy():
    for law in (LOSS, replace(PYTHIA, F=0.2, delta=0.5, r_star_params=5.3), t2.load_law("hoffmann")):
        for again in (pickle.loads(pickle.dumps(law._handle)), copy.deepcopy(law._handle)):
            assert again.gradient(1e9, 1e12, 3) == law._handle.gradient(1e9, 1e12, 3)
            assert again.loss(1e9, 1e12, 1e9) == law._handle.loss(1e9, 1e12, 1e9)


def test_a_law_cannot_be_changed_through_its_uncertainty():
    given = {"draws": {"A": [1.0, 2.0]}}
    law = replace(LOSS, uncertainty=given)
    given["draws"]["A"][0] = 5.0
    assert law.uncertainty["draws"]["A"] == (1.0, 2.0)
    for again in (law, copy.deepcopy(law), pickle.loads(pickle.dumps(law))):
        with pytest.raises(TypeError):
            again.uncertainty["draws"]["B"] = []
    assert [one.A for one in law.resampled()] == [1.0, 2.0]


def test_the_base_of_all_laws_names_its_kinds():
    with pytest.raises(t2.LawError, match="Law is a base of laws: make one of .*a ChinchillaLaw"):
        t2.Law(1.8, 480, 2100, 0.35, 0.37)


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        (None, "carries no bootstrap draws"),
        ({"alpha": [0.3, "x"]}, "draws.alpha = 'x': must be a number"),
        ({"alpha": [0.3], "beta": [0.3, 0.4]}, "as many draws"),
        ({"gamma": [0.3]}, "must be an object of lists, named as E, A"),
        ([1], "must be an object of lists"),
    ],
)
def test_malformed_draws_are_refused(draws, message):
    uncertainty = {} if draws is None else {"draws": draws}
    law = t2.ChinchillaLaw(1.7, 450, 1800, 0.34, 0.36, uncertainty=uncertainty)
    with pytest.raises(t2.LawError, match=message):
        list(law.resampled())
