"""Brute force over axes."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracles import laws, planning
from tests.support.plans import PAIR, PYTHIA, close, exact, meets, value
from tests.support.strategies import any_laws, budgets, chinchilla_laws, loss_laws, pass_laws, powers

import t2fast as t2
from t2fast.results import Progress


@st.composite
def axes(draw, sizes=12):
    def axis(low, high):
        return np.array(sorted(set(draw(st.lists(powers(low, high), min_size=1, max_size=sizes)))))

    k = np.array(sorted(set(draw(st.lists(st.integers(1, 10_000), min_size=1, max_size=sizes)))), dtype=float)
    return axis(4, 10), axis(6, 13), k


@settings(max_examples=200, deadline=None)
@given(any_laws, budgets(), axes(), st.integers(1, 10))
def test_grid_search_finds_what_looking_at_every_point_finds(law, budget, axes, top):
    expected = planning.grid(law, budget, *axes)
    if not expected:
        with pytest.raises(t2.InfeasibleError):
            t2.grid_search(law, budget, *axes, top=top)
        return
    grid = t2.grid_search(law, budget, *axes, top=top)
    assert len(grid.top) == min(top, len(expected))
    for place, design, (best, *_) in zip(grid.index, grid.top, expected, strict=False):
        # The oracle of whole grids subtracts logarithms of gamma functions.
        assert close(value(design), best, 1e-8)
        assert [axis[i] for axis, i in zip(axes, place, strict=True)] == [design.n_params, design.n_tokens, design.k]
        assert meets(budget, design)
        assert close(value(design), exact(law, design, budget.unique_tokens), 1e-12)
    assert len({tuple(place) for place in grid.index}) == len(grid.top)


@settings(max_examples=200, deadline=None)
@given(chinchilla_laws, st.integers(30, 60), st.integers(4, 40), st.integers(1, 12), st.booleans(), st.data())
def test_ties_go_to_the_smaller_cost_then_to_the_earlier_place(law, train, inference, top, shared, data):
    # Powers of two: every cost is exact, and many are equal. A law without k makes whole columns tie in value.
    def axis(high):
        return 2.0 ** np.array(sorted(set(data.draw(st.lists(st.integers(0, high), min_size=1, max_size=8)))))

    n, d, k = axis(40), axis(40), axis(20)
    if shared:
        budget = t2.Budget(total_flops=2.0**train)
    else:
        budget = t2.Budget(train_flops=6 * 2.0**train, inference_flops=2.0**inference)

    def flat(_law, n, d, k, _unique):
        return np.vectorize(lambda n, d: law.value(n, d))(n, d) + 0 * k

    expected = planning.grid(law, budget, n, d, k, flat)
    if expected:
        grid = t2.grid_search(law, budget, n, d, k, top=top)
        assert grid.index.tolist() == [[int(i) for i in row[2:]] for row in expected[:top]]


def test_ties_of_a_saturated_pass_law_go_to_the_smaller_cost():
    # Everything is solved: pass@k is 1 to the last digit almost everywhere.
    law = t2.T2PassLaw(0.0, 1.0, 1.0, 0.5, 0.5, theta0=30, theta1=2, theta2=1, theta3=8, theta4=0.1)
    n, d, k = 2.0 ** np.arange(10, 30), 2.0 ** np.arange(10, 40), 2.0 ** np.arange(0, 12)
    assert law.value(n[0], d[0], 2) == 1.0
    best = t2.grid_search(law, t2.Budget(total_flops=1e18), n, d, k).best
    everything = laws.values(law, *np.meshgrid(n, d, k, indexing="ij"))
    solved = np.argwhere(everything == 1.0)
    assert best.pass_at_k == 1.0
    cheapest = min(t2.train_flops(n[i], d[j]) + t2.inference_flops(n[i], k[m]) for i, j, m in solved)
    assert best.total_flops <= cheapest


@settings(max_examples=60, deadline=None)
@given(st.one_of(pass_laws(), loss_laws), budgets(), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_results_do_not_depend_on_threads(law, budget, top, seed):
    draw = np.random.default_rng(seed)
    n = np.unique(10 ** draw.uniform(4, 10, 60))
    d = np.unique(10 ** draw.uniform(6, 13, 70))
    k = np.unique(draw.integers(1, 5000, 50)).astype(float)
    try:
        one = t2.grid_search(law, budget, n, d, k, top=top, threads=1, surface=True)
    except t2.InfeasibleError:
        return
    for threads in (2, 3, 4, None):
        other = t2.grid_search(law, budget, n, d, k, top=top, threads=threads, surface=True)
        assert other.index.tolist() == one.index.tolist()
        assert other.top == one.top
        assert np.array_equal(other.surface, one.surface)


def test_saturated_results_do_not_depend_on_threads():
    law = t2.T2PassLaw(0.0, 1.0, 1.0, 0.5, 0.5, theta0=6, theta1=2, theta2=1, theta3=3, theta4=0.1)
    n, d, k = np.geomspace(1e4, 1e8, 150), np.geomspace(1e6, 1e10, 120), np.arange(1.0, 60.0)
    budget = t2.Budget(total_flops=1e18)
    one = t2.grid_search(law, budget, n, d, k, top=50, threads=1)
    for _ in range(20):
        assert t2.grid_search(law, budget, n, d, k, top=50, threads=4).index.tolist() == one.index.tolist()


def test_axes_may_be_lists_integers_strided_or_read_only():
    n, d, k = [10**7, 10**8, 10**9], np.array([10**9, 10**10, 10**11]), range(1, 50)
    expected = t2.grid_search(PYTHIA, PAIR, n, d, k, surface=True)
    strided = np.repeat(np.array(n, dtype=float), 2)[::2]
    frozen = np.array(d)
    frozen.setflags(write=False)
    other = t2.grid_search(PYTHIA, PAIR, strided, frozen, np.arange(49, 0, -1)[::-1], surface=True)
    assert other.top == expected.top
    assert np.array_equal(other.surface, expected.surface)


def test_a_grid_as_data():
    grid = t2.grid_search(PYTHIA, PAIR, [1e7, 1e8], [1e9, 1e10], [1, 10], top=3)
    data = json.loads(json.dumps(grid.to_dict(), allow_nan=False))
    assert data["points"] == 8
    assert data["best"] == data["top"][0]
    assert len(data["top"]) == len(data["index"]) == 3
    assert grid.surface is None
    assert all(len(line) <= 80 for line in str(grid).splitlines())
    assert any("last value of n_params" in line for line in grid.warnings) == (grid.index[0, 0] == 1)


def test_progress_ends_at_the_total():
    seen = []
    t2.grid_search(PYTHIA, PAIR, [1e7, 1e8], [1e9], [1], surface=True, progress=seen.append)
    assert seen[-1] == Progress(4, 4, "sizes")
    assert all(at.done <= at.total == 4 for at in seen)


def test_an_exception_in_progress_stops_the_work():
    class StopError(Exception):
        pass

    def stop(*_):
        raise StopError

    n, d, k = np.geomspace(1e6, 1e9, 900), np.geomspace(1e9, 1e12, 900), np.arange(1.0, 1000.0)
    with pytest.raises(StopError):
        t2.grid_search(PYTHIA, t2.Budget(total_flops=1e23), n, d, k, top=200, progress=stop)


AXES = {"n_params": [1e7, 1e8], "n_tokens": [1e9, 1e10], "k": [1, 10]}


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ([], "is empty"),
        ([20.0, 10.0], "sort the axis"),
        ([10.0, 10.0], "drop repeats"),
        ([0.0, 1.0], "0: must be positive"),
        ([-5.0, 1.0], "-5: must be positive"),
        ([1.0, math.nan], "NaN: must be positive"),
        ([1.0, math.inf], "inf: must be positive and finite"),
        ([[1.0, 2.0]], "2 dimensions"),
        (["many"], "numbers"),
        ([1.0, None], "None: must be a number"),
        ([[1.0], [1.0, 2.0]], "numbers of one shape"),
        ([1 + 2j], "numbers"),
    ],
)
def test_a_bad_axis_is_named(name, axis, message):
    with pytest.raises(t2.T2Error) as error:
        t2.grid_search(PYTHIA, **(AXES | {name: axis}), budget=PAIR)
    assert name in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_k_below_one_is_refused():
    with pytest.raises(t2.T2Error, match=r"k = 0\.5: must be at least 1"):
        t2.grid_search(PYTHIA, PAIR, [1e7], [1e9], [0.5, 1])


@pytest.mark.parametrize(
    ("budget", "name"),
    [
        (t2.Budget(train_flops=1e10), "train_flops = 1e10"),
        (t2.Budget(inference_flops=1e3), "inference_flops = 1000"),
        (t2.Budget(total_flops=1e10), "total_flops = 1e10"),
    ],
)
def test_a_grid_without_a_feasible_point_says_what_it_would_take(budget, name):
    with pytest.raises(t2.InfeasibleError) as error:
        t2.grid_search(PYTHIA, **AXES, budget=budget)
    assert name in str(error.value)
    assert "needs" in str(error.value)
    assert "raise the budget" in str(error.value)


def test_a_grid_outside_the_bounds_says_so():
    with pytest.raises(t2.InfeasibleError, match="widen"):
        t2.grid_search(PYTHIA, **AXES, budget=t2.Budget(max_params=1e6))


@pytest.mark.parametrize("threads", [0, -1, 1.5, "4"])
def test_a_bad_number_of_threads_is_named(threads):
    with pytest.raises(t2.T2Error, match="threads = "):
        t2.grid_search(PYTHIA, **AXES, budget=PAIR, threads=threads)


@pytest.mark.parametrize("top", [0, -1, 1.5, "4", 10**30])
def test_a_bad_number_of_designs_is_named(top):
    with pytest.raises(t2.T2Error, match="top = "):
        t2.grid_search(PYTHIA, **AXES, budget=PAIR, top=top)


def test_more_designs_than_points_are_all_of_them():
    assert len(t2.grid_search(PYTHIA, PAIR, [1e7], [1e9], [1, 2], top=10**9).top) == 2


def test_a_search_that_would_take_hours_is_refused_at_once():
    axis = np.geomspace(1e7, 1e12, 20_000)
    with pytest.raises(t2.T2Error, match=r"are 4e\+12 designs: at most 1e\+11 are searched; take shorter axes"):
        t2.grid_search("pythia-gsm8k", t2.Budget(train_flops=1e22), axis, axis, np.arange(1.0, 10_001.0))
