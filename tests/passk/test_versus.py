"""Two models by any metric, in pairs."""

import numpy as np
import pytest

from t2fast import T2Error, passk
from t2fast.data import Counts
from t2fast.errors import DataError


def counts(model, c, names=None):
    found = Counts.of(20, c, model=model)
    if names is None:
        return found
    return Counts(found.model, found.benchmark, tuple(names), found.n_samples, found.n_correct)


def test_agrees_with_compare_on_shared_problems():
    one, other = [2, 5, 9, 12, 20], [1, 5, 7, 14, 18]
    plain = passk.compare((20, one), (20, other), [1, 5])
    # The second model's problems stand in another order, and one is its own.
    found = passk.versus(
        counts("a", one, "vwxyz"), counts("b", [*other[::-1], 3], [*"vwxyz"[::-1], "u"]), "pass", [1, 5]
    )
    assert found.comparisons[0] == plain
    assert found.warnings == ("1 problems that only b has were left out",)


def test_permutation_is_exact_where_all_orders_can_be_counted():
    one, other = np.asarray([10, 12, 14, 11, 15, 13]), np.asarray([8, 11, 10, 11, 9, 14])
    found = passk.versus(counts("a", one), counts("b", other), "avg", method="permutation", n_resamples=20_000)
    difference = (one - other) / 20
    signs = np.asarray(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1)
    exact = np.mean(np.abs(signs.T @ difference) >= abs(difference.sum()) - 1e-12)
    assert found.comparisons[0].p_value[0] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))


def test_permutation_rejects_seldom_where_there_is_nothing():
    rng = np.random.default_rng(5)
    low = 0
    for _ in range(200):
        p = rng.beta(1, 1, 40)
        pair = (counts("a", rng.binomial(20, p)), counts("b", rng.binomial(20, p)))
        low += (
            passk.versus(*pair, "pass-hat", [2], method="permutation", n_resamples=400).comparisons[0].p_value[0] < 0.1
        )
    assert 8 <= low <= 34


def test_intervals_of_all_methods_are_alike():
    rng = np.random.default_rng(6)
    p = rng.beta(1, 1, 200)
    pair = (counts("a", rng.binomial(20, p)), counts("b", rng.binomial(20, p**1.2)))
    ends = [
        passk.versus(*pair, "pass", [4], method=method).comparisons[0].difference_interval[0]
        for method in ("analytic", "bootstrap", "permutation")
    ]
    for other in ends[1:]:
        np.testing.assert_allclose(other, ends[0], atol=0.1 * (ends[0][1] - ends[0][0]))


def test_refusals():
    with pytest.raises(DataError, match="a and b share 0 problems"):
        passk.versus(counts("a", [1, 2], "vw"), counts("b", [1, 2], "xy"))
    mixed = counts("a", [1, 2])
    mixed = Counts(("a", "c"), mixed.benchmark, mixed.problem_id, mixed.n_samples, mixed.n_correct)
    with pytest.raises(DataError, match="first holds 2 models, a, c"):
        passk.versus(mixed, counts("b", [1, 2]))
    with pytest.raises(T2Error, match="method"):
        passk.versus(counts("a", [1, 2]), counts("b", [1, 2]), method="guess")
