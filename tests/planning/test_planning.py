import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.oracles import laws, planning
from tests.support.strategies import any_laws, budgets, chinchilla_laws, loss_laws, pass_laws, powers

import t2fast as t2
from t2fast.results import Progress

PYTHIA = t2.load_law("pythia-gsm8k")
PAIR = t2.Budget(train_flops=1e20, inference_flops=1.4e11)


def value(design):
    return design.loss if design.pass_at_k is None else design.pass_at_k


def exact(law, design, unique=None):
    return float(laws.value(law, design.n_params, design.n_tokens, design.k, unique))


def close(a, b, scale=1e-11):
    return abs(a - b) <= scale * max(1.0, abs(b))


def meets(budget, design):
    return bool(planning.affordable(budget, np.float64(design.n_params), design.n_tokens, design.k))


def better_by(law, a, b):
    """How much better a is than b."""
    return planning.sign(law) * (b - a)


# What is published, and what the method's authors and we found before.


def test_the_optimum_of_a_law_with_known_answers():
    # A latent-loss fit to the same counts as the preset, by SciPy and rounded, whose optimum was found independently.
    scales = {"A": 0.457 * 1e9**0.528, "B": 0.3805 * 1e11**0.514}
    theta = {"theta0": -3.39, "theta1": 1.0, "theta2": 0.5506, "theta3": 3.243, "theta4": 0.794}
    best = t2.plan(t2.T2PassLaw(E=0.0, alpha=0.528, beta=0.514, **scales, **theta), PAIR)
    assert best.n_params == pytest.approx(8.0e7, rel=0.01)
    assert best.tokens_per_param == pytest.approx(2.6e3, rel=0.02)
    assert best.k == pytest.approx(875, abs=10)
    assert best.pass_at_k == pytest.approx(0.48, abs=0.005)
    assert best.chinchilla.pass_at_k == pytest.approx(0.32, abs=0.005)
    assert 65 <= best.chinchilla.tokens_per_param <= 71
    assert best.success


def test_the_unlimited_optimum_is_beyond_the_data_and_says_so():
    plan = t2.plan(PYTHIA, t2.Budget(train_flops=1e22, inference_flops=1.4e11))
    assert plan.unlimited.n_tokens == pytest.approx(1.6e13, rel=0.05)
    assert plan.unlimited.extrapolation(PYTHIA).n_tokens == pytest.approx(plan.unlimited.n_tokens / 300e9)
    assert any("D = 15.7T is 52 times the largest in the data (300B)" in line for line in plan.warnings)
    assert plan.extrapolation.inside
    assert plan.inside_data.extrapolation(PYTHIA).inside
    assert plan.inside_data.n_tokens <= 300e9 * (1 + 1e-9)


def test_chinchillas_closed_form():
    law = t2.load_law("chinchilla-240")
    best = t2.plan(law, t2.Budget(train_flops=5.76e23))
    # Hoffmann et al. 2022, equation 4.
    power = law.beta / (law.alpha + law.beta)
    g = (law.alpha * law.A / (law.beta * law.B)) ** (1 / (law.alpha + law.beta))
    assert best.n_params == pytest.approx(g * (5.76e23 / 6) ** power, rel=1e-6)
    assert best.k == 1


# The exact optimum.


@settings(max_examples=60, deadline=None)
@given(any_laws, budgets())
def test_no_dense_scan_finds_a_better_optimum(law, budget):
    plan = t2.plan(law, budget)
    mine = plan.continuous
    assert meets(budget, mine)
    assert plan.success, plan.message
    assert close(value(mine), exact(law, mine, budget.unique_tokens), 1e-12)
    _, n, d, k = planning.optimum(law, budget, 40)
    other = float(laws.value(law, n, d, max(k, 1.0), budget.unique_tokens))
    assert better_by(law, value(mine), other) >= -1e-9 * max(1.0, abs(other))


@settings(max_examples=200, deadline=None)
@given(any_laws, budgets(), st.data())
def test_exact_beats_or_equals_every_grid(law, budget, data):
    axis = lambda low, high: sorted(set(data.draw(st.lists(powers(low, high), min_size=1, max_size=12))))  # noqa: E731
    n, d = axis(4, 11), axis(6, 13)
    k = sorted({1, *data.draw(st.lists(st.integers(1, 20_000), min_size=1, max_size=12))})
    plan = t2.plan(law, budget)
    assert meets(budget, plan.design)
    assert float(plan.design.k).is_integer()
    tolerance = 1e-9 * max(1.0, abs(value(plan.continuous)))
    assert better_by(law, value(plan.continuous), value(plan.design)) >= -tolerance
    for other in (plan.chinchilla, plan.inside_data):
        if other is not None:
            assert meets(budget, other)
            assert better_by(law, value(plan.design), value(other)) >= -tolerance
    try:
        grid = t2.grid_search(law, budget, n, d, k)
    except t2.InfeasibleError:
        return
    assert better_by(law, value(plan.continuous), value(grid.best)) >= -tolerance


@settings(max_examples=60, deadline=None)
@given(any_laws, budgets(), st.floats(1.01, 100), st.sampled_from(["train_flops", "inference_flops", "total_flops"]))
def test_more_budget_never_hurts(law, budget, factor, name):
    assume(getattr(budget, name) is not None)
    less, more = t2.plan(law, budget), t2.plan(law, replace(budget, **{name: factor * getattr(budget, name)}))
    tolerance = 1e-9 * max(1.0, abs(value(less.continuous)))
    assert better_by(law, value(more.continuous), value(less.continuous)) >= -tolerance
    assert better_by(law, value(more.design), value(less.design)) >= -tolerance
    for gain in (less.gain_train, less.gain_inference, less.gain_total):
        assert gain is None or gain >= -tolerance


@settings(max_examples=60, deadline=None)
@given(any_laws, budgets(kinds=("pair",)), st.integers(1, 12))
def test_more_queries_for_more_flops_change_nothing(law, budget, power):
    # A power of two scales without rounding, so that the two problems are the same in every digit.
    use = replace(budget.workload, queries=budget.workload.queries * 2**power)
    scaled = replace(budget, workload=use, inference_flops=budget.inference_flops * 2**power)
    one, other = t2.plan(law, budget), t2.plan(law, scaled)
    for name in ("n_params", "n_tokens", "k", "pass_at_k", "loss"):
        assert getattr(one, name) == getattr(other, name)


def test_ten_times_the_queries_for_ten_times_the_flops():
    scaled = replace(PAIR, workload=t2.Workload(queries=10), inference_flops=1.4e12)
    one, other = t2.plan(PYTHIA, PAIR), t2.plan(PYTHIA, scaled)
    assert one.k == other.k
    assert one.n_params == pytest.approx(other.n_params, rel=1e-6)
    assert one.pass_at_k == pytest.approx(other.pass_at_k, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.one_of(loss_laws, pass_laws()), budgets(attention=False, kinds=("pair",)))
def test_the_flat_interval_is_where_results_are_within_a_percent(law, budget):
    plan = t2.plan(law, budget)
    best = value(plan.continuous)
    assume(abs(best) > 1e-6)
    low, high = plan.flat_n_params
    assert low <= plan.continuous.n_params * (1 + 1e-9)
    assert high >= plan.continuous.n_params * (1 - 1e-9)

    def best_at(n):
        most = planning.most_tokens(budget, n, 1)
        k = planning.most_samples(budget, n, 1)
        if most < 1 or k < 1:
            return None
        ds = np.exp(np.linspace(0, math.log(most), 20_000))
        results = laws.values(law, n, ds, k, budget.unique_tokens)
        return results.max() if law.predicts_pass else results.min()

    for n, inside in ((low * 1.002, True), (high / 1.002, True), (low / 1.01, False), (high * 1.01, False)):
        at = best_at(n)
        if at is not None and (budget.max_params is None or n <= budget.max_params) and n >= 1 and low * 1.01 < high:
            loss_of_result = better_by(law, best, at)
            assert (loss_of_result <= 0.0101 * abs(best)) if inside else (loss_of_result >= 0.0099 * abs(best))


@pytest.mark.parametrize(("name", "field"), [("train_flops", "gain_train"), ("inference_flops", "gain_inference")])
def test_gains_are_what_one_percent_more_brings(name, field):
    for law in (PYTHIA, t2.T2LossLaw(1.8, 480, 2100, 0.35, 0.37, G=1.0, gamma=0.3)):
        before = t2.plan(law, PAIR)
        after = t2.plan(law, replace(PAIR, **{name: 1.01 * getattr(PAIR, name)}))
        expected = better_by(law, value(after.continuous), value(before.continuous))
        assert getattr(before, field) == pytest.approx(expected, rel=1e-5)
    assert before.gain_total is None


def test_bounds_are_kept_to_the_last_digit():
    for size in (7e9, 352184262.1736882, 28954054.874147907):
        plan = t2.plan(t2.load_law("hoffmann"), t2.Budget(train_flops=1e25, max_params=size))
        assert plan.n_params <= size


def test_a_ridge_between_bounds_is_followed_to_its_end():
    # One budget for both, while D and k meet their own bounds: the optimum lies where three kinks cross.
    law = t2.T2LossLaw(0.0, 173.4707589520833, 22906.143657091383, 0.5365573693360179, 0.693036383807506,
                       G=4.6525855547589305, gamma=0.7480849598442716)  # fmt: skip
    budget = t2.Budget(total_flops=1.000000002e15, max_params=1e8, max_tokens=1e8, max_k=461, unique_tokens=1e8)
    plan = t2.plan(law, budget)
    assert plan.success
    # D and k at their bounds, and all the rest for parameters.
    n = 1.000000002e15 / (6e8 + 2 * 461)
    assert plan.continuous.loss == pytest.approx(float(laws.value(law, n, 1e8, 461)), rel=1e-9)


def test_a_corner_where_all_splits_are_one_is_no_trap():
    # At the largest N only k = 1 is affordable, however the budget is split; a little below, the split matters.
    law = t2.T2LossLaw(2.85, 10.0, 10.0, 0.5, 0.588, G=0.0316558597079989, gamma=0.1729807156906617)
    budget = t2.Budget(train_flops=5.236e20, inference_flops=2e6, total_flops=2.618e20)
    _, n, d, k = planning.optimum(law, budget, 60)
    assert t2.plan(law, budget).continuous.loss <= float(laws.value(law, n, d, k)) + 1e-9


def test_fewer_tokens_than_affordable_may_be_best():
    # With theta4 > 0 a lower loss can hurt; where k is at its bound, budget is then better left unspent.
    law = t2.T2PassLaw(0.0, 10**3.5, 10**3.5, 0.4765625, 0.625, theta0=0, theta1=1.5, theta2=1, theta3=0, theta4=1)
    budget = t2.Budget(train_flops=1e15, inference_flops=2e7, total_flops=5.0000001e14)
    _, n, d, k = planning.optimum(law, budget, 60)
    assert t2.plan(law, budget).continuous.pass_at_k >= float(laws.value(law, n, d, k)) - 1e-9


@settings(max_examples=100, deadline=None)
@given(any_laws, budgets())
def test_unlimited_by_unique_tokens_nothing_is_discounted(law, budget):
    plenty, none = replace(budget, unique_tokens=1e30), replace(budget, unique_tokens=None)
    one, other = t2.plan(law, plenty), t2.plan(law, none)
    assert value(one.continuous) == pytest.approx(value(other.continuous), rel=1e-9, abs=1e-12)


# The inverse.


@settings(max_examples=25, deadline=None)
@given(st.one_of(loss_laws, pass_laws()), budgets(kinds=("pair",)), st.booleans())
def test_cheapest_is_cheapest(law, budget, at_fixed_inference):
    target = value(t2.plan(law, budget).design)
    if law.predicts_pass:
        assume(0.001 < target < 0.999)
    question = replace(budget, train_flops=None)
    if not at_fixed_inference:
        question = replace(question, inference_flops=None)
    found = t2.cheapest(law, question, target)
    name = "train_flops" if at_fixed_inference else "total_flops"
    assert better_by(law, value(found), target) >= -1e-9 * abs(target)
    if at_fixed_inference:
        assert found.budget.train_flops <= budget.train_flops * (1 + 1e-6)
    assert found.budget.inference_flops == question.inference_flops
    less = replace(found.budget, **{name: 0.999 * getattr(found.budget, name)})
    try:
        cheaper = t2.plan(law, less)
    except t2.InfeasibleError:
        return
    assert better_by(law, value(cheaper), target) <= 1e-9 * abs(target)


def test_cheapest_states_the_ceiling():
    with pytest.raises(t2.InfeasibleError) as error:
        t2.cheapest(PYTHIA, t2.Budget(inference_flops=1.4e11), 0.9999)
    ceiling = float(str(error.value).split("within the bounds is ")[1].split(",")[0])
    assert "target = 0.9999" in str(error.value)
    assert 0.5 < ceiling < 0.9999
    with pytest.raises(t2.InfeasibleError):
        t2.cheapest(PYTHIA, t2.Budget(inference_flops=1.4e11), ceiling + 1e-5)
    assert t2.cheapest(PYTHIA, t2.Budget(inference_flops=1.4e11), ceiling - 1e-3).pass_at_k >= ceiling - 1e-3
    with pytest.raises(t2.InfeasibleError, match=r"1\.69"):
        t2.cheapest(t2.load_law("hoffmann"), t2.Budget(), 1.69)


@pytest.mark.parametrize("target", [0.0, 1.0, -0.5, 2.0, math.nan, math.inf])
def test_cheapest_refuses_targets_that_are_no_rates(target):
    with pytest.raises(t2.T2Error, match=r"target = .*must"):
        t2.cheapest(PYTHIA, t2.Budget(inference_flops=1.4e11), target)


def test_cheapest_names_a_target_that_is_no_number():
    with pytest.raises(t2.T2Error, match="target = 'high'"):
        t2.cheapest(PYTHIA, t2.Budget(inference_flops=1.4e11), "high")


def test_cheapest_refuses_what_it_is_to_find():
    with pytest.raises(t2.T2Error, match="train_flops"):
        t2.cheapest(PYTHIA, PAIR, 0.3)


# Brute force.


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


def test_a_sweep_does_not_depend_on_threads():
    sweep = PAIR.sweep(train_flops=np.geomspace(1e18, 1e24, 7), inference_flops=[1e9, 1e11])
    assert t2.frontier(PYTHIA, sweep, threads=1).plans == t2.frontier(PYTHIA, sweep, threads=4).plans


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


# Budgets that admit nothing, or everything.


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (t2.Budget(train_flops=5, inference_flops=1e9), ["train_flops = 5", "needs 6"]),
        (t2.Budget(train_flops=1e20, inference_flops=1), ["inference_flops = 1", "needs 2"]),
        (t2.Budget(total_flops=7), ["total_flops = 7", "needs 8"]),
    ],
)
def test_a_budget_too_small_for_one_sample_of_one_parameter(budget, words):
    with pytest.raises(t2.InfeasibleError) as error:
        t2.plan(PYTHIA, budget)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("budget", "what"),
    [
        (t2.Budget(), "tokens"),
        (t2.Budget(inference_flops=1e11), "training tokens is unbounded"),
        (t2.Budget(train_flops=1e20), "k is unbounded"),
        (t2.Budget(max_tokens=1e9, max_k=5), "parameters is unbounded"),
    ],
)
def test_what_nothing_limits_is_named(budget, what):
    with pytest.raises(t2.T2Error, match=what) as error:
        t2.plan(PYTHIA, budget)
    assert "give" in str(error.value)


def test_a_bound_on_k_that_holds_no_whole_number():
    plan = t2.plan(PYTHIA, replace(PAIR, max_k=1.5))
    assert plan.k == 1
    assert plan.continuous.k == pytest.approx(1.5)


def test_k_beyond_the_data_is_a_caution():
    plan = t2.plan(PYTHIA, t2.Budget(train_flops=1e20, inference_flops=1e15))
    assert plan.unlimited.k > PYTHIA.data_range.k[1]
    assert any("k = " in line and "times the largest in the data (2.05k)" in line for line in plan.warnings)


# Sweeps.


def test_a_frontier_lists_plans_and_failures():
    sweep = PAIR.sweep(train_flops=[1.0, 1e20, 1e21])
    found = t2.frontier(PYTHIA, sweep)
    assert [plan.budget for plan in found.plans] == sweep[1:]
    assert found.failures[0][0] == sweep[0]
    assert "train_flops = 1 is" in found.failures[0][1]
    assert found.plans == tuple(t2.plan(PYTHIA, budget) for budget in sweep[1:])
    assert json.dumps(found.to_dict(), allow_nan=False)
    assert found.column("n_params").tolist() == [plan.n_params for plan in found.plans]


def test_an_empty_frontier_is_refused():
    with pytest.raises(t2.T2Error, match="budgets is empty"):
        t2.frontier(PYTHIA, [])


def test_an_unbounded_budget_in_a_sweep_is_an_error():
    with pytest.raises(t2.T2Error, match="unbounded"):
        t2.frontier(PYTHIA, [PAIR, t2.Budget(train_flops=1e20)])


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([PYTHIA, t2.load_law("hoffmann")]),
    st.lists(st.tuples(*[st.integers(1, 4).map(float)] * 3), max_size=12),
)
def test_pareto_is_what_comparing_all_pairs_finds(law, designs):
    from t2fast import _core

    columns = [np.array([design[i] for design in designs]) for i in range(3)]
    assert _core.pareto(law.predicts_pass, *columns).tolist() == planning.pareto(law, designs)


@settings(max_examples=60, deadline=None)
@given(st.one_of(loss_laws, pass_laws()), budgets(kinds=("pair",)), st.lists(powers(0, 12), min_size=1, max_size=20))
def test_an_isoflop_curve_spends_the_budget_at_every_size(law, budget, sizes):
    n = sorted(set(sizes))
    expected = []
    for size in n:
        # Not where exactly one sample or token is affordable, but for rounding.
        assume(abs(planning.most_samples(budget, size, 1) - 1) > 1e-9)
        assume(abs(planning.most_tokens(budget, size, 1) - 1) > 1e-9)
        d = planning.most_tokens(budget, size, 1)
        k = planning.most_samples(budget, size, d)
        if d >= 1 and k >= 1 and (budget.max_params is None or size <= budget.max_params):
            expected.append((size, d, k))
    if not expected:
        with pytest.raises(t2.InfeasibleError):
            t2.isoflop(law, budget, n)
        return
    curve = t2.isoflop(law, budget, n)
    found = np.array([(d.n_params, d.n_tokens, d.k) for d in curve.designs])
    assert found == pytest.approx(np.array(expected), rel=1e-12)
    results = [value(design) for design in curve.designs]
    assert value(curve.best) == (max(results) if law.predicts_pass else min(results))
    for design in curve.designs:
        assert close(value(design), exact(law, design, budget.unique_tokens), 1e-12)


def test_an_isoflop_curve_needs_training_flops():
    with pytest.raises(t2.T2Error, match="train_flops"):
        t2.isoflop(PYTHIA, t2.Budget(total_flops=1e20), [1e8])
    with pytest.raises(t2.T2Error, match="n_params"):
        t2.isoflop(PYTHIA, PAIR, [])


# Given designs.


@settings(max_examples=100, deadline=None)
@given(any_laws, st.lists(st.tuples(powers(6, 11), powers(8, 13), st.integers(1, 1000)), min_size=2, max_size=5))
def test_break_even_is_where_total_costs_are_equal(law, designs):
    found = t2.compare(law, designs, t2.Workload(queries=7, prompt_tokens=3))
    first = found.designs[0]

    def total(design, queries):
        return design.train_flops + design.inference_flops / 7 * queries

    assert found.break_even[0].cheaper == "equal"
    for design, even in zip(found.designs[1:], found.break_even[1:], strict=True):
        if even.queries is not None:
            assert total(design, even.queries) == pytest.approx(total(first, even.queries), rel=1e-9)
            after = total(design, even.queries * 2) < total(first, even.queries * 2)
            assert after == (even.cheaper == "from")
        elif even.cheaper in ("always", "never"):
            for queries in (0, 1e30):
                ours, theirs = total(design, queries), total(first, queries)
                assert ours <= theirs if even.cheaper == "always" else ours >= theirs


@pytest.mark.parametrize("design", [(0, 1e9, 1), (1e9, -1, 1), (1e9, 1e9, 0), (1e9, 1e9, math.nan), (math.inf, 1e9, 1)])
def test_a_bad_design_is_refused(design):
    with pytest.raises(t2.T2Error, match=r"(n_params|n_tokens|k) = .*must be"):
        t2.compare(PYTHIA, [design])


@pytest.mark.parametrize("designs", [[], [(1e9, 1e9)], [("a", 1e9, 1)], [None]])
def test_designs_that_are_none_are_refused(designs):
    with pytest.raises(t2.T2Error, match="design"):
        t2.compare(PYTHIA, designs)


# Results.


@pytest.mark.parametrize("law", ["pythia-gsm8k", "hoffmann", "muennighoff-c4"])
def test_a_plan_as_data_and_as_text(law):
    plan = t2.plan(t2.load_law(law), replace(PAIR, unique_tokens=1e12))
    data = json.loads(json.dumps(plan.to_dict(), allow_nan=False))
    assert data["k"] == plan.k
    assert isinstance(data["k"], int)
    for key in (
        "n_params",
        "n_tokens",
        "k",
        "tokens_per_param",
        "chinchilla",
        "inside_data",
        "extrapolation",
        "warnings",
    ):
        assert key in data
    assert ("pass_at_k" in data) == (law == "pythia-gsm8k")
    assert data["budget"]["train_flops"] == 1e20
    assert all(len(line) <= 80 for line in str(plan).splitlines())


# Found by looking at figures.


def test_a_law_without_k_has_a_chinchilla_design_that_trains_under_a_total_budget():
    life = t2.Workload(queries=1e9, prompt_tokens=200, answer_tokens=1000)
    plan = t2.plan(t2.load_law("hoffmann"), t2.Budget(total_flops=1e22, workload=life))
    assert plan.chinchilla.loss == pytest.approx(plan.loss, rel=0.05)
    assert plan.chinchilla.loss >= plan.loss


def test_an_isoflop_curve_of_a_law_without_k_leaves_out_what_one_sample_overdraws():
    curve = t2.isoflop(t2.load_law("hoffmann"), t2.Budget(train_flops=1e22, inference_flops=1e9), [1e8, 1e9, 1e10])
    assert [design.n_params for design in curve.designs] == [1e8]


def test_data_of_a_single_size_leave_tokens_to_choose():
    law = replace(PYTHIA, data_range=t2.DataRange((75e6, 75e6), (2e9, 3e13), (1, 1e4)))
    life = t2.Workload(queries=1e9, prompt_tokens=500, answer_tokens=300)
    inside = t2.plan(law, t2.Budget(total_flops=1e22, workload=life)).inside_data
    axes = ([75e6], np.geomspace(2e9, 3e13, 2000), np.arange(1, 1000))
    grid = t2.grid_search(law, t2.Budget(total_flops=1e22, workload=life), *axes)
    assert inside.pass_at_k >= grid.best.pass_at_k


def test_where_five_bounds_meet_the_real_k_is_no_worse_than_the_whole_one():
    theta = {"theta0": 2.7503070706417034, "theta1": 1.0, "theta2": 0.5112431501245707}
    theta |= {"theta3": 1.1657135099546698, "theta4": 0.9804237882266902}
    base = {"E": 2.2800834653760207, "A": 17.286435093126766, "B": 59223.11018329526}
    law = t2.T2PassLaw(**base, alpha=0.34512998466853134, beta=0.6999999999999998, **theta)
    budget = t2.Budget(
        train_flops=9.298717586966555e17,
        inference_flops=2e6,
        total_flops=4.6493587934932774e17,
        max_params=1e6,
        max_tokens=9078708769907.365,
        max_k=105,
    )
    plan = t2.plan(law, budget)
    assert plan.continuous.pass_at_k >= plan.pass_at_k - 1e-9


def test_the_ridge_where_samples_end_to_be_affordable_is_climbed_to_its_top():
    theta = {"theta0": 0.0, "theta1": 3.7909120661878757, "theta2": 1 / 3, "theta3": 0.0, "theta4": 0.17419964484982042}
    law = t2.T2PassLaw(0.0, 3714.2307569427635, 676.9553640762243, 0.6002676213146808, 1 / 3, **theta)
    use = {"queries": 2818.485288286266, "prompt_tokens": 0.0, "answer_tokens": 17.277461673428196}
    attention = t2.Attention(aspect_ratio=111.08249884915176, train_context=602.341670971052)
    budget = t2.Budget(
        train_flops=3.3499076540398027e19,
        inference_flops=2.696539921922736e16,
        total_flops=1.6763020969808628e19,
        workload=t2.Workload(**use, prompt="recomputed", attention=attention),
        max_params=512463601.9014588,
    )
    plan = t2.plan(law, budget)
    assert plan.continuous.pass_at_k >= plan.pass_at_k * (1 - 1e-12)


def test_an_optimum_at_the_corner_of_tokens_and_budget_is_found():
    # Near the largest N that still affords max_tokens, the samples left fall from thousands to one within 0.01% of N.
    law = t2.T2LossLaw(1 / 3, 3572.9, 2018.3, alpha=0.5673, beta=0.6254, G=0.10938, gamma=1.1311)
    budget = t2.Budget(
        total_flops=3.9e16,
        workload=t2.Workload(queries=1.0, prompt_tokens=0.0, answer_tokens=1.0),
        max_tokens=2e7,
    )
    plan = t2.plan(law, budget)
    assert plan.continuous.n_tokens == pytest.approx(2e7, rel=1e-9)
    # Along that corner one unknown is left.
    n = np.linspace(0.9, 1.0, 2_000_001) * 3.9e16 / (6 * 2e7)
    k = (3.9e16 - 6 * 2e7 * n) / (2 * n)
    best = np.min(np.where(k >= 1, laws.values(law, n, 2e7, np.maximum(k, 1.0)), np.inf))
    assert plan.continuous.loss <= best


def test_k_beyond_the_resolution_of_floating_point_is_still_planned():
    theta = {
        "theta0": 1.6,
        "theta1": 3.585744276718213,
        "theta2": 0.73,
        "theta3": 3.12,
        "theta4": 1.9953712510083004e-15,
    }
    law = t2.T2PassLaw(0.7, 1014.8490144804948, 93753.010435791, 0.25, 0.20424222196829217, **theta)
    use = t2.Workload(queries=17.770019293322505, prompt_tokens=20.163809688767937, answer_tokens=10.0**0.25)
    for flops in np.geomspace(1e23, 2e23, 50):
        plan = t2.plan(law, t2.Budget(total_flops=flops, max_tokens=1e7, workload=replace(use, prompt="recomputed")))
        assert plan.k > 2**53
