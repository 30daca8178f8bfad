"""Minima at equal training compute: against the law they come from, their bias, their intervals, and refusals."""

import numpy as np
import pytest
from tests.support.real_data import LAWS, needs

import t2fast
from t2fast import fitting
from t2fast.data import read_table

LAW = t2fast.load_law("besiroglu")
BUDGETS = np.geomspace(1e18, 1e22, 5)


def true_exponent(law=LAW):
    return law.beta / (law.alpha + law.beta)


def best(c, law=LAW):
    """The law's optimum by brute force: losses of a fine grid of sizes."""
    n = np.geomspace(1e5, 1e13, 400_001)
    return n[np.argmin(law.value(n, c / 6 / n))]


def samples(law=LAW, span=8.0, shift=0.0, drift=0.0, sizes=9, budgets=BUDGETS):
    """Sizes around each budget's optimum: within a factor of ``span``, off centre by ``shift``, and more so by budget."""
    off = shift + drift * (np.arange(len(budgets)) - (len(budgets) - 1) / 2)
    middle = np.array([best(c, law) for c in budgets]) * np.exp(off)
    n = np.outer(middle, np.geomspace(1 / span, span, sizes)).ravel()
    d = np.repeat(budgets, sizes) / 6 / n
    return n, d, law.value(n, d)


def asymmetric():
    return t2fast.ChinchillaLaw(E=1.7, A=10000.0, B=400.0, alpha=0.5, beta=0.25)


@pytest.mark.parametrize("law", [LAW, asymmetric()])
@pytest.mark.parametrize(("span", "shift"), [(2, 0), (16, 0), (16, 0.7)])
def test_sizes_placed_alike_at_all_budgets_give_the_exponent_and_a_biased_minimum(law, span, shift):
    # The loss along a budget has one shape, so that the vertex is off by the same factor at all budgets.
    found = fitting.isoflop_minima(*samples(law, span, shift))
    assert found.n_params.exponent == pytest.approx(true_exponent(law), abs=1e-4)
    assert found.n_params.exponent + found.n_tokens.exponent == pytest.approx(1, abs=1e-9)
    off = np.array([one.n_params / best(one.train_flops, law) for one in found.budgets])
    assert np.ptp(off) < 1e-3
    assert all(one.inside for one in found.budgets)


def test_the_vertex_is_further_off_the_wider_the_sizes_and_the_more_the_exponents_differ():
    off = {
        (name, span): np.log(fitting.isoflop_minima(*samples(law, span)).budgets[2].n_params / best(1e20, law))
        for name, law in (("nearly equal", LAW), ("asymmetric", asymmetric()))
        for span in (2, 16)
    }
    for name in ("nearly equal", "asymmetric"):
        assert abs(off[name, 2]) < abs(off[name, 16])
    assert abs(off["nearly equal", 16]) < 0.06
    assert off["asymmetric", 16] == pytest.approx(0.2316, abs=1e-3)  # a factor of 1.26 in N


def test_sizes_that_drift_off_the_optimum_bias_the_exponent_and_the_law_beside_says_by_how_much():
    law = asymmetric()
    found = fitting.isoflop_minima(*samples(law, span=16, drift=0.7)).beside(law)
    bias = found.n_params.exponent - true_exponent(law)
    assert bias == pytest.approx(0.0155, abs=5e-4)
    # Without noise the law's own losses are the losses measured.
    assert found.expected == pytest.approx((found.n_params.exponent, found.n_tokens.exponent), abs=1e-12)
    assert found.law_exponents == pytest.approx((true_exponent(law), 1 - true_exponent(law)))
    n, d = found.law_optima(BUDGETS)
    assert n == pytest.approx([best(c, law) for c in BUDGETS], rel=1e-4)
    assert 6 * n * d == pytest.approx(BUDGETS)


def test_a_parabola_is_found_exactly():
    n = np.array([1e8, 2e8, 3e8, 8e8] * 2)
    c = np.repeat([1e19, 1e20], 4)
    where = np.repeat([2.2e8, 5e8], 4)
    found = fitting.isoflop_minima(n, c / 6 / n, 3 + 0.1 * np.log(n / where) ** 2)
    assert [one.n_params for one in found.budgets] == pytest.approx([2.2e8, 5e8])
    assert [one.loss for one in found.budgets] == pytest.approx([3, 3])
    assert [one.n_tokens for one in found.budgets] == pytest.approx([1e19 / 6 / 2.2e8, 1e20 / 6 / 5e8])
    assert found.n_params.exponent == pytest.approx(np.log10(5 / 2.2))
    assert found.n_params.at(1e20) == pytest.approx(5e8)
    assert found.residual == pytest.approx(0, abs=1e-12)


def test_intervals_hold_what_they_promise():
    n, d, loss = samples(span=4, sizes=7)
    rng = np.random.default_rng(0)
    exponent, minimum = [], []
    for seed in range(200):
        noisy = loss * np.exp(0.002 * rng.standard_normal(len(loss)))
        found = fitting.isoflop_minima(n, d, noisy, seed=seed, n_resamples=200)
        low, high = found.n_params.interval
        exponent.append(low <= true_exponent() <= high)
        low, high = found.budgets[2].interval
        minimum.append(low <= best(1e20) <= high)
    # 90% intervals; a binomial of 200 lies within .06 of its rate.
    assert 0.84 <= np.mean(exponent) <= 0.98
    assert 0.82 <= np.mean(minimum) <= 0.96


def test_draws_depend_on_the_seed_alone():
    n, d, loss = samples()
    loss = loss * (1 + 1e-3 * np.sin(np.arange(len(loss))))
    one, same, other = (fitting.isoflop_minima(n, d, loss, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one.n_params.interval != other.n_params.interval


def test_three_sizes_give_minima_without_intervals():
    found = fitting.isoflop_minima(*samples(sizes=3))
    assert found.n_params.interval is None
    assert all(one.interval is None for one in found.budgets)
    assert any("no interval can be had" in one for one in found.warnings)
    assert np.isnan(found.residual)


def test_minima_outside_the_sizes_are_shown_and_left_out_of_the_power_laws():
    n, d, _ = samples()
    off_n = best(1e23) * np.geomspace(4, 16, 5)
    off_d = 1e23 / 6 / off_n
    n, d = np.concatenate([n, off_n]), np.concatenate([d, off_d])
    found = fitting.isoflop_minima(n, d, LAW.value(n, d))
    assert [one.inside for one in found.budgets] == [True] * 5 + [False]
    assert found.budgets[-1].n_params < off_n.min()
    assert found.n_params.exponent == pytest.approx(fitting.isoflop_minima(*samples()).n_params.exponent)
    assert "1 of 6 budgets have their minimum outside the sizes sampled" in found.warnings[0]
    assert "outside" in found.summary()


def test_a_budget_without_a_minimum_is_named():
    n, d, loss = samples(sizes=5)
    loss = loss.copy()
    loss[10:15] = [3.0, 3.1, 3.2, 3.1, 3.0]
    found = fitting.isoflop_minima(n, d, loss)
    assert np.isnan(found.budgets[2].n_params)
    assert found.to_dict()["budgets"][2]["n_params"] is None
    assert any("1 of 5 budgets have no minimum" in one for one in found.warnings)


def test_budgets_are_grouped_within_a_tolerance():
    n, d, loss = samples()
    d = d * (1 + 0.02 * np.sin(np.arange(len(d))))
    assert len(fitting.isoflop_minima(n, d, LAW.value(n, d)).budgets) == 5
    with pytest.raises(t2fast.T2Error, match="budgets, .* of them with fewer than 3 model sizes"):
        fitting.isoflop_minima(n, d, loss, tolerance=1e-6)


def test_named_budgets_leave_the_others_out_and_say_so():
    n, d, loss = samples()
    found = fitting.isoflop_minima(n, d, loss, budgets=[1e19, 1e21])
    assert [one.train_flops for one in found.budgets] == [1e19, 1e21]
    assert found.warnings[0].startswith("27 of 45 checkpoints are at none of the budgets named")


def test_flops_counted_otherwise_are_taken_as_they_are():
    n, d, loss = samples()
    found = fitting.isoflop_minima(n, d, loss, flops=8 * n * d)
    assert [one.train_flops for one in found.budgets] == pytest.approx(BUDGETS * 8 / 6)
    plain = fitting.isoflop_minima(n, d, loss)
    assert [one.n_tokens for one in found.budgets] == pytest.approx([one.n_tokens for one in plain.budgets])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budgets": [1e20]}, "all checkpoints are at one budget, 1e20 FLOP"),
        ({"budgets": [1e20, 7e22]}, "7e22 FLOP has 0 model sizes"),
        ({"budgets": []}, "must be positive numbers of FLOP"),
        ({"budgets": [1e20, -1.0]}, "must be positive numbers of FLOP"),
        ({"tolerance": 2}, "tolerance = 2"),
        ({"n_resamples": 1}, "n_resamples"),
        ({"confidence_level": 90}, "confidence_level"),
        ({"flops": [1.0]}, "differ in length"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(t2fast.T2Error, match=message):
        fitting.isoflop_minima(*samples(), **options)


def test_columns_are_checked():
    n, d, loss = samples()
    with pytest.raises(t2fast.T2Error, match="loss = -1 in row 3"):
        fitting.isoflop_minima(n, d, np.where(np.arange(len(n)) == 2, -1, loss))
    with pytest.raises(t2fast.T2Error, match="n_params = nan in row 1"):
        fitting.isoflop_minima(np.where(np.arange(len(n)) == 0, np.nan, n), d, loss)
    with pytest.raises(t2fast.T2Error, match="has 2 model sizes"):
        fitting.isoflop_minima(n[7:], d[7:], loss[7:])
    n = np.geomspace(1e8, 1e9, 60)
    with pytest.raises(t2fast.T2Error, match="no budgets can be told apart"):
        fitting.isoflop_minima(n, 20 * n, 3 + n / 1e9)


def test_other_laws_have_no_exponents():
    found = fitting.isoflop_minima(*samples())
    with pytest.raises(t2fast.T2Error, match="must be a ChinchillaLaw"):
        found.beside(t2fast.load_law("pythia-gsm8k"))
    with pytest.raises(t2fast.T2Error, match=r"use beside\(law\) first"):
        found.law_optima([1e20])


@needs(LAWS)
def test_the_chinchilla_runs_agree_with_their_published_exponent():
    # The points read off figure 4 of Hoffmann et al.; their own Approach 2 gives 0.49 [0.46, 0.53] for N.
    points = read_table(LAWS / "chinchilla_epoch245.csv")
    table = fitting.isoflop_table(
        points.select(points["kept_by_besiroglu"] == 1),
        budgets=[6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21],
        tolerance=0.2,
    )
    low, high = table.n_params.interval
    assert low < 0.49 < high
    assert all(one.inside for one in table.budgets)
