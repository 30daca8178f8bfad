import math

import numpy as np
import pytest
from scipy.optimize import minimize
from tests.oracles import fitting as oracle
from tests.support.checkpoints import (
    LAW,
    PASS_BASE,
    T2_LOSS,
    THETA,
    chinchilla_240,
    counts,
    design,
    losses,
    needs_data,
    pythia,
)

import t2fast
from t2fast import fitting


class TestChinchilla:
    @pytest.mark.parametrize("objective", fitting.OBJECTIVES)
    def test_recovers_exact_data(self, objective):
        fit = fitting.fit_chinchilla(*losses(), objective=objective)
        for name, value in LAW.items():
            assert fit.law.coefficients[name] == pytest.approx(value, rel=1e-4), name
        assert fit.success
        assert fit.interior

    @pytest.mark.parametrize("objective", fitting.OBJECTIVES)
    def test_objective_is_the_oracles_and_no_search_from_there_lowers_it(self, objective):
        n, d, y = losses(0.01)
        fit = fitting.fit_chinchilla(n, d, y, objective=objective)

        def value(x):
            names = ("E", "A", "B", "alpha", "beta")
            law = dict(zip(names, (*np.exp(x[:3]), *x[3:]), strict=True))
            return oracle.objective(objective, oracle.power_sum(law, n, d), y)

        c = fit.law.coefficients
        best = np.array([*np.log([c["E"], c["A"], c["B"]]), c["alpha"], c["beta"]])
        assert fit.objective == pytest.approx(value(best), rel=1e-9)
        found = minimize(value, best, method="Nelder-Mead", options={"maxiter": 3000, "fatol": 0, "xatol": 0})
        assert found.fun >= fit.objective * (1 - 1e-8)

    @pytest.mark.parametrize("objective", ["huber_log", "squared", "absolute_log"])
    def test_overtraining_is_found_where_it_is_and_questioned_where_it_is_not(self, objective):
        sizes, tokens = np.meshgrid(np.geomspace(1e7, 1e10, 8), np.geomspace(2e9, 1e12, 8))
        n, d = sizes.ravel(), tokens.ravel()
        noise = 1 + 0.002 * np.random.default_rng(0).standard_normal(64)
        plain = oracle.power_sum(LAW, n, d)
        fit = fitting.fit_chinchilla(
            n, d, (plain + 0.02 * (d / n) ** 0.4) * noise, objective=objective, overtraining=True
        )
        assert fit.law.F * 1000**fit.law.delta == pytest.approx(0.02 * 1000**0.4, rel=0.1)
        assert fit.law.delta == pytest.approx(0.4, abs=0.05)
        assert {"F", "delta"} <= set(fit.standard_errors)
        assert not any("do not determine F" in line for line in fit.warnings)
        none = fitting.fit_chinchilla(n, d, plain * noise, objective=objective, overtraining=True)
        assert none.law.F * 1000**none.law.delta < 0.02
        assert any("do not determine F" in line for line in none.warnings)

    @needs_data
    def test_240_points_reach_the_true_minimum(self):
        table = chinchilla_240()
        fit = fitting.fit_table(table, "chinchilla")
        assert fit.objective <= 1.01827401783e-3
        assert fit.law.coefficients == pytest.approx(
            {"E": 1.817218099, "A": 477.825868, "B": 2143.417363, "alpha": 0.3473104989, "beta": 0.3671724326}, rel=1e-8
        )
        assert fit.n_agreeing == fit.n_starts

    @needs_data
    def test_absolute_errors_are_the_published_likelihood_fit(self):
        # Besiroglu et al.'s scaled Huber density is a Laplace density but for a width of 4e-9.
        fit = fitting.fit_table(chinchilla_240(), "chinchilla", objective="absolute_log")
        published = {"E": 1.81686404, "A": 482.005717, "B": 2085.4342, "alpha": 0.347813029, "beta": 0.365854117}
        assert fit.law.coefficients == pytest.approx(published, rel=2e-6)
        assert fit.gradient_norm == 0

    def test_a_weight_of_two_is_a_row_twice(self):
        n, d, y = losses(0.01)
        weights = np.where(np.arange(len(y)) < 20, 2.0, 1.0)
        twice = np.concatenate([np.arange(len(y)), np.arange(20)])
        weighted = fitting.fit_chinchilla(n, d, y, weights=weights)
        repeated = fitting.fit_chinchilla(n[twice], d[twice], y[twice])
        assert weighted.objective == pytest.approx(repeated.objective, rel=1e-10)
        assert weighted.law.coefficients == pytest.approx(repeated.law.coefficients, rel=1e-5)

    def test_asymmetry_moves_the_law_to_one_side(self):
        n, d, y = losses(0.02)
        high = fitting.fit_chinchilla(n, d, y, objective="absolute", asymmetry=(9.0, 1.0))
        r = high.law.value(n, d) - y
        # A 0.9 quantile regression: nine in ten residuals are not below.
        assert 0.82 <= np.mean(r >= -1e-9) <= 0.98
        constants = {"under": 9.0, "over": 1.0}
        assert high.objective == pytest.approx(oracle.objective("absolute", high.law.value(n, d), y, **constants))

    def test_tied_exponents_and_fixed_e(self):
        tied_law = {**LAW, "beta": LAW["alpha"]}
        n, d, y = losses(law=tied_law)
        tied = fitting.fit_chinchilla(n, d, y, tie_exponents=True)
        assert tied.law.alpha == tied.law.beta == pytest.approx(0.34, rel=1e-6)
        fixed = fitting.fit_chinchilla(n, d, y, E=1.7)
        assert fixed.law.E == 1.7
        assert pytest.approx(450, rel=1e-5) == fixed.law.A
        assert "E" not in fixed.standard_errors

    def test_repeated_tokens(self):
        n, d = design(80)
        unique = d / np.array([1.0, 2.0, 6.0, 20.0])[np.arange(80) % 4]
        y = oracle.power_sum(LAW, n, oracle.effective(d, unique, 12.0))
        fit = fitting.fit_chinchilla(n, d, y, unique_tokens=unique)
        assert fit.law.r_star_tokens == pytest.approx(12.0, rel=1e-4)
        assert fit.law.coefficients == pytest.approx(LAW, rel=1e-4)
        at = fit.law.loss(n[3], d[3], unique[3])
        assert at == pytest.approx(y[3], rel=1e-8)

    def test_repeated_tokens_with_parameters_discounted(self):
        n, d = design(80)
        unique = d / np.array([1.0, 3.0, 10.0, 40.0])[np.arange(80) % 4]
        best = (LAW["alpha"] * LAW["A"] / (LAW["beta"] * LAW["B"] * unique ** -LAW["beta"])) ** (1 / LAW["alpha"])
        y = oracle.power_sum(LAW, oracle.effective(n, best, 5.0), oracle.effective(d, unique, 12.0))
        fit = fitting.fit_chinchilla(n, d, y, unique_tokens=unique, discount_params=True)
        assert fit.objective < 1e-12
        assert fit.law.r_star_params == pytest.approx(5.0, rel=1e-3)
        assert fit.law.loss(n[3], d[3], unique[3]) == pytest.approx(y[3], rel=1e-7)

    @pytest.mark.parametrize("objective", ["huber_log", "squared", "absolute"])
    def test_gross_outliers_do_not_hide_the_minimum(self, objective):
        n, d, y = losses(0.002, 80)
        y[::9] *= 3
        fit = fitting.fit_chinchilla(n, d, y, objective=objective)
        # Starts all over the range, each polished by itself.
        many = fitting.fit_chinchilla(n, d, y, objective=objective, starts=40)
        assert fit.objective <= many.objective * (1 + 1e-7)
        if objective != "squared":
            assert fit.law.alpha == pytest.approx(LAW["alpha"], abs=0.05)

    def test_result_does_not_depend_on_threads(self):
        n, d, y = losses(0.01)
        fits = [fitting.fit_chinchilla(n, d, y, threads=threads) for threads in (1, 2, 3)]
        assert fits[0] == fits[1] == fits[2]

    def test_read_only_and_strided_columns(self):
        n, d, y = losses(0.01)
        wide = np.stack([n, d, y], axis=1)
        wide.flags.writeable = False
        assert fitting.fit_chinchilla(*wide.T) == fitting.fit_chinchilla(n, d, y)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"n_params": [-1.0]}, r"n_params\[0\] = -1"),
            ({"loss": [0.0]}, r"loss\[0\] = 0: must be positive"),
            ({"loss": [math.nan]}, r"loss\[0\] = NaN"),
            ({"objective": "mse"}, "objective = 'mse': did you mean squared"),
            ({"delta": 0.0}, "delta = 0"),
            ({"E": -1.0}, "E = -1"),
            ({"group": ["a"]}, "group has 1 labels for 60 rows"),
            ({"starts": 0}, "starts = 0"),
            ({"weights": np.full(60, -1.0)}, r"weights\[0\] = -1"),
        ],
    )
    def test_bad_input_names_the_argument(self, change, message):
        arguments = dict(zip(("n_params", "n_tokens", "loss"), losses(), strict=True))
        for name, value in change.items():
            if name in arguments:
                arguments[name] = np.concatenate([value, arguments[name][1:]])
            else:
                arguments[name] = value
        with pytest.raises(t2fast.T2Error, match=message):
            fitting.fit_chinchilla(**arguments)

    def test_too_few_points_and_lengths(self):
        n, d, y = losses()
        with pytest.raises(t2fast.T2Error, match="4 distinct points for 5 parameters"):
            fitting.fit_chinchilla(n[:4], d[:4], y[:4])
        with pytest.raises(t2fast.T2Error, match="4 distinct points for 5 parameters"):
            fitting.fit_chinchilla(np.tile(n[:4], 3), np.tile(d[:4], 3), np.tile(y[:4], 3))
        with pytest.raises(t2fast.T2Error, match="columns differ in length: n_params 60, n_tokens 59, loss 60"):
            fitting.fit_chinchilla(n, d[1:], y)
        with pytest.raises(t2fast.T2Error, match="no rows"):
            fitting.fit_chinchilla([], [], [])


class TestT2Loss:
    def rows(self, noise=0.0, most_k=1000):
        n, d = design(40)
        k = np.unique(np.geomspace(1, most_k, 8).round())
        n, d, k = np.repeat(n, len(k)), np.repeat(d, len(k)), np.tile(k, 40)
        y = oracle.power_sum(T2_LOSS, n, d, k)
        return n, d, k, y * np.exp(noise * np.random.default_rng(1).standard_normal(len(y)))

    @pytest.mark.parametrize("objective", ["squared", "huber_log", "absolute"])
    def test_recovers_exact_data(self, objective):
        fit = fitting.fit_t2_loss(*self.rows(), objective=objective)
        assert fit.law.coefficients == pytest.approx(T2_LOSS, rel=1e-4)

    @pytest.mark.parametrize("objective", ["squared", "squared_log", "huber", "huber_log"])
    def test_shuffled_rows_give_the_same_fit(self, objective):
        n, d, k, y = self.rows(0.01)
        order = np.random.default_rng(2).permutation(len(y))
        fit = fitting.fit_t2_loss(n, d, k, y, objective=objective)
        shuffled = fitting.fit_t2_loss(n[order], d[order], k[order], y[order], objective=objective)
        assert fit.objective == pytest.approx(oracle.objective(objective, fit.law.value(n, d, k), y), rel=1e-9)
        assert shuffled.objective == pytest.approx(fit.objective, rel=1e-9)

    def test_no_random_start_is_better(self):
        n, d, k, y = self.rows(0.02)
        fit = fitting.fit_t2_loss(n, d, k, y)
        rng = np.random.default_rng(0)

        def value(x):
            names = ("E", "A", "B", "G", "alpha", "beta", "gamma")
            law = dict(zip(names, (*np.exp(x[:4]), *x[4:]), strict=True))
            return oracle.objective("squared", oracle.power_sum(law, n, d, k), y)

        for _ in range(10):
            start = np.concatenate([rng.uniform([-1, 3, 3, -2], [1, 9, 9, 1]), rng.uniform(0.1, 0.6, 3)])
            with np.errstate(all="ignore"):
                found = minimize(value, start, method="L-BFGS-B", bounds=[(-20, 30)] * 4 + [(1e-3, 5)] * 3)
            assert found.fun >= fit.objective * (1 - 1e-8)

    def test_few_k_cannot_tell_e_from_g(self):
        n, d, k, y = self.rows()
        two = k <= 3
        with pytest.raises(t2fast.T2Error, match="k has 2 distinct values"):
            fitting.fit_t2_loss(n[two], d[two], k[two], y[two])
        short = fitting.fit_t2_loss(*self.rows(0.01, most_k=8))
        assert any("E and G have correlation -0.9" in line for line in short.warnings)
        long = fitting.fit_t2_loss(*self.rows(0.01, most_k=100_000))
        assert not any("E and G" in line for line in long.warnings)

    def test_infinite_loss_is_refused(self):
        n, d, k, y = self.rows()
        with pytest.raises(t2fast.T2Error, match="loss is infinite in 1 rows"):
            fitting.fit_t2_loss(n, d, k, np.concatenate([[np.inf], y[1:]]))


class TestT2Pass:
    def test_stages_recover_exact_curves(self):
        n, d = design(40)
        k = np.array([1.0, 4, 16, 64, 256])
        n, d, k = np.repeat(n, 5), np.repeat(d, 5), np.tile(k, 40)
        law = {**PASS_BASE, **THETA}
        loss, rate = oracle.power_sum(law, n, d), oracle.pass_at_k(law, n, d, k)
        fit = fitting.fit_t2_pass(n, d, k=k, pass_at_k=rate, loss=loss)
        assert fit.law.coefficients == pytest.approx(law, rel=1e-4)
        assert fit.standard_errors == {}
        errors = fit.bootstrap(20).standard_errors()
        assert set(errors) == set(law)

    def test_likelihood_at_known_losses_covers_the_truth(self):
        n, d, samples, correct, question = counts(60, 100)
        law = t2fast.ChinchillaLaw(**PASS_BASE)
        fit = fitting.fit_t2_pass(n, d, n_samples=samples, n_correct=correct, loss_law=law, group=np.arange(len(n)))
        for name, value in THETA.items():
            assert abs(fit.law.coefficients[name] - value) < 4 * fit.standard_errors[name], name
        assert fit.objective == pytest.approx(
            oracle.negative_log_likelihood(fit.law.coefficients, n, d, samples, correct), rel=1e-12
        )
        loss = np.asarray([law.loss(a, b) for a, b in zip(n, d, strict=True)])
        staged = fitting.fit_t2_pass(n, d, n_samples=samples, n_correct=correct, loss=loss, problem=question)
        assert staged.law.coefficients == pytest.approx(fit.law.coefficients, rel=1e-4)

    def test_latent_loss_is_the_oracles_optimum(self):
        n, d, samples, correct, _ = counts()
        fit = fitting.fit_t2_pass(n, d, n_samples=samples, n_correct=correct)
        law = fit.law.coefficients
        assert law["E"] == 0
        assert law["theta1"] == 1
        assert fit.objective == pytest.approx(oracle.negative_log_likelihood(law, n, d, samples, correct), rel=1e-12)
        names = ["A", "B", "alpha", "beta", "theta0", "theta2", "theta3", "theta4"]

        def value(x):
            moved = {**law, **dict(zip(names, np.array([law[name] for name in names]) * (1 + x), strict=True))}
            return oracle.negative_log_likelihood(moved, n, d, samples, correct)

        rng = np.random.default_rng(0)
        for _ in range(200):
            step = 1e-3 * rng.standard_normal(8)
            step[5] = -abs(step[5])
            assert value(step) >= fit.objective - 1e-6
        assert any("latent" in line for line in fit.warnings)

    def test_overtraining_is_the_oracles_optimum_with_priors(self):
        n, d, samples, correct, _ = counts()
        fit = fitting.fit_t2_pass(n, d, n_samples=samples, n_correct=correct, overtraining=True)
        law = fit.law.coefficients
        names = ["A", "B", "alpha", "beta", "F", "delta", "theta0", "theta2", "theta3", "theta4"]

        def value(x):
            moved = {**law, **dict(zip(names, np.array([law[name] for name in names]) * (1 + x), strict=True))}
            return oracle.negative_log_likelihood(moved, n, d, samples, correct) + oracle.priors(moved)

        assert fit.objective == pytest.approx(value(np.zeros(10)), rel=1e-12)
        rng = np.random.default_rng(0)
        for _ in range(200):
            step = 1e-3 * rng.standard_normal(10)
            step[7] = -abs(step[7])
            assert value(step) >= fit.objective - 1e-6
        # These counts know no such term.
        assert law["F"] * 1000 ** law["delta"] < 0.1
        assert any("do not determine F and delta" in line for line in fit.warnings)

    def test_overtraining_is_found_with_its_uncertainty(self):
        sizes, tokens = np.meshgrid(np.geomspace(1e7, 1e10, 7), np.geomspace(2e9, 3e11, 7))
        n, d = np.repeat(sizes.ravel(), 40), np.repeat(tokens.ravel(), 40)
        truth = t2fast.T2PassLaw(
            0, 60, 1000, 0.3, 0.35, F=0.03, delta=0.5, theta0=0.7, theta1=1, theta2=0.8, theta3=2, theta4=0.2
        )
        rng = np.random.default_rng(1)
        shape = np.array([oracle.beta_shape(truth.coefficients, a, b) for a, b in zip(n, d, strict=True)])
        correct = rng.binomial(200, rng.beta(shape[:, 0], shape[:, 1]))
        fit = fitting.fit_t2_pass(n, d, n_samples=np.full(len(n), 200), n_correct=correct, overtraining=True)
        scaled = lambda law: law.F * 1000**law.delta  # noqa: E731
        assert scaled(fit.law) == pytest.approx(scaled(truth), rel=0.3)
        assert not any("do not determine F" in line for line in fit.warnings)
        low, high = fit.profile("delta", confidence_level=0.99)
        assert low < 0.5 < high
        draws = fit.bootstrap(20)
        assert {"F", "delta"} <= set(draws.standard_errors())
        assert all(law.F > 0 for law in draws.laws())

    def test_overtraining_needs_spread_and_a_latent_loss(self):
        n = np.repeat(np.geomspace(1e7, 1e9, 12), 5)
        counted = {"n_samples": np.full(60, 20.0), "n_correct": np.tile([0.0, 3, 5, 9, 20], 12)}
        with pytest.raises(t2fast.T2Error, match="D/N spans only 20"):
            fitting.fit_t2_pass(n, 20 * n, **counted, overtraining=True)
        with pytest.raises(t2fast.T2Error, match="needs counts with a latent loss"):
            fitting.fit_t2_pass(n, 20 * n, **counted, loss=n / n, overtraining=True)

    @needs_data
    def test_overtraining_gains_on_pythia(self):
        table = pythia()
        plain, bent = (fitting.fit_table(table, "t2-pass", overtraining=it) for it in (False, True))
        assert bent.objective - bent.refit.outcome.penalty < plain.objective - 90
        assert bent.law.F * 1000**bent.law.delta == pytest.approx(1.48, abs=0.02)
        assert (bent.law.alpha, bent.law.beta, bent.law.delta) == pytest.approx((0.676, 0.287, 0.345), abs=0.01)

    @needs_data
    def test_pythia_reaches_a_lower_likelihood_than_published_searches(self):
        fit = fitting.fit_table(pythia(), "t2-pass")
        assert fit.objective <= 465402.58
        assert fit.n_agreeing == fit.n_starts
        assert fit.at_bound == ("theta2",)

    @needs_data
    def test_presets_are_what_the_data_give(self):
        fit = fitting.fit_table(pythia(), "t2-pass")
        preset = t2fast.load_law("pythia-gsm8k")
        assert fit.law.coefficients == pytest.approx(preset.coefficients, rel=1e-3)
        assert fit.law.data_range == preset.data_range

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"n_samples": [10.0] * 3}, "belong together"),
            ({}, "give either n_samples and n_correct"),
            ({"pass_at_k": [0.1] * 3, "k": [1.0] * 3}, "pass_at_k needs loss"),
            ({"n_samples": [10.0] * 3, "n_correct": [11.0, 1, 1]}, r"n_correct\[0\] = 11: .* n_samples = 10"),
            ({"n_samples": [10.5] * 3, "n_correct": [1.0] * 3}, r"n_samples\[0\] = 10.5"),
            ({"n_samples": [10.0] * 3, "n_correct": [0.0] * 3}, "no sample is correct"),
        ],
    )
    def test_bad_tables(self, columns, message):
        with pytest.raises(t2fast.T2Error, match=message):
            fitting.fit_t2_pass([1e8, 2e8, 3e8], [1e9, 2e9, 3e9], **columns)
