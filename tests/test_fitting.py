import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from tests.oracles import fitting as oracle
from tests.support.real_data import LAWS, needs

import t2fast
from t2fast import fitting
from t2fast.data import evaluate, read_table

DATA = LAWS
needs_data = needs(DATA)

LAW = {"E": 1.7, "A": 450.0, "B": 1800.0, "alpha": 0.34, "beta": 0.36}
T2_LOSS = {**LAW, "G": 0.8, "gamma": 0.4}
THETA = {"theta0": 2.6, "theta1": 3.0, "theta2": 0.9, "theta3": -0.4, "theta4": 0.55}
PASS_BASE = {"E": 0.9, "A": 400.0, "B": 900.0, "alpha": 0.34, "beta": 0.3}


def design(checkpoints=60, seed=0):
    rng = np.random.default_rng(seed)
    n = np.geomspace(2e7, 5e9, 10)[np.arange(checkpoints) % 10]
    return n, n * 20 * 6.0 ** rng.uniform(-1, 1, checkpoints)


def losses(noise=0.0, checkpoints=60, seed=0, law=LAW):
    n, d = design(checkpoints, seed)
    clean = oracle.power_sum(law, n, d)
    return n, d, clean * np.exp(noise * np.random.default_rng(seed + 1).standard_normal(checkpoints))


def counts(checkpoints=40, questions=60, samples=50, seed=0):
    rng = np.random.default_rng(seed)
    n, d = design(checkpoints, seed)
    a, b = oracle.beta_shape({**PASS_BASE, **THETA}, n, d)
    p = rng.beta(a[:, None], b[:, None], (checkpoints, questions))
    correct = rng.binomial(samples, p).reshape(-1).astype(float)
    question = np.tile(np.arange(questions), checkpoints)
    n, d = np.repeat(n, questions), np.repeat(d, questions)
    return n, d, np.full(len(n), float(samples)), correct, question


def pythia():
    table = read_table(DATA / "pythia_passk_counts.csv")
    return table.select((table["benchmark"] == "gsm8k") & (table["n_tokens"] >= 1e9))


def chinchilla_240():
    table = read_table(DATA / "chinchilla_epoch245.csv")
    return table.select(table["kept_by_besiroglu"] == 1)


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
            ({"objective": "mse"}, "objective = 'mse': must be one of huber_log"),
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

    def test_probabilities_become_rows(self):
        rng = np.random.default_rng(0)
        n, d = design(12)
        p = rng.uniform(1e-6, 1, (12, 30))
        rows = fitting.neg_log_pass_at_k(np.repeat(n, 30), np.repeat(d, 30), p.reshape(-1), [1, 10, 10_000])
        assert [len(column) for column in rows] == [36] * 4
        assert rows[2][:3].tolist() == [1, 10, 10_000]
        np.testing.assert_allclose(rows[3].reshape(12, 3)[:, 0], -np.log(p).mean(1), rtol=1e-12)
        np.testing.assert_allclose(rows[3].reshape(12, 3)[:, 1], -np.log(1 - (1 - p) ** 10).mean(1), rtol=1e-9)

    def test_zero_probability_names_the_alternatives(self):
        with pytest.raises(t2fast.T2Error, match=r"probability\[1\] = 0 .* fit_t2_pass"):
            fitting.neg_log_pass_at_k([1e8] * 2, [1e9] * 2, [0.5, 0.0], [1])
        n, d, samples, correct, _ = counts()
        table = {"n_params": n, "n_tokens": d, "num_samples": samples, "num_correct": correct}
        with pytest.raises(t2fast.DataError, match=r"questions have no success.*t2-pass"):
            fitting.fit_table(table, "t2-loss")

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
        fit = fitting.fit_t2_pass(n, d, num_samples=samples, num_correct=correct, loss_law=law, group=np.arange(len(n)))
        for name, value in THETA.items():
            assert abs(fit.law.coefficients[name] - value) < 4 * fit.standard_errors[name], name
        assert fit.objective == pytest.approx(
            oracle.negative_log_likelihood(fit.law.coefficients, n, d, samples, correct), rel=1e-12
        )
        loss = np.asarray([law.loss(a, b) for a, b in zip(n, d, strict=True)])
        staged = fitting.fit_t2_pass(n, d, num_samples=samples, num_correct=correct, loss=loss, question=question)
        assert staged.law.coefficients == pytest.approx(fit.law.coefficients, rel=1e-4)

    def test_latent_loss_is_the_oracles_optimum(self):
        n, d, samples, correct, _ = counts()
        fit = fitting.fit_t2_pass(n, d, num_samples=samples, num_correct=correct)
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
            ({"num_samples": [10.0] * 3}, "belong together"),
            ({}, "give either num_samples and num_correct"),
            ({"pass_at_k": [0.1] * 3, "k": [1.0] * 3}, "pass_at_k needs loss"),
            ({"num_samples": [10.0] * 3, "num_correct": [11.0, 1, 1]}, r"num_correct\[0\] = 11: .* num_samples = 10"),
            ({"num_samples": [10.5] * 3, "num_correct": [1.0] * 3}, r"num_samples\[0\] = 10.5"),
            ({"num_samples": [10.0] * 3, "num_correct": [0.0] * 3}, "no sample is correct"),
        ],
    )
    def test_bad_tables(self, columns, message):
        with pytest.raises(t2fast.T2Error, match=message):
            fitting.fit_t2_pass([1e8, 2e8, 3e8], [1e9, 2e9, 3e9], **columns)


class TestUncertainty:
    def test_bootstrap_is_reproducible_in_any_order(self):
        fit = fitting.fit_chinchilla(*losses(0.01))
        long = fit.bootstrap(300, seed=5, threads=1)
        short = fit.bootstrap(40, seed=5, threads=3)
        np.testing.assert_array_equal(long.samples[:40], short.samples)
        assert not np.array_equal(fit.bootstrap(40, seed=6).samples, short.samples)

    def test_replicates_are_fits_of_resampled_tables(self):
        n, d, y = losses(0.01)
        fit = fitting.fit_chinchilla(n, d, y, objective="squared_log")
        found = fit.bootstrap(400).standard_errors()
        rng = np.random.default_rng(0)
        chosen = [rng.integers(0, len(y), len(y)) for _ in range(400)]
        again = [fitting.fit_chinchilla(n[i], d[i], y[i], objective="squared_log").law.alpha for i in chosen]
        assert found["alpha"] == pytest.approx(np.std(again, ddof=1), rel=0.2)

    def test_sandwich_and_profile_agree_with_the_bootstrap(self):
        fit = fitting.fit_chinchilla(*losses(0.01, 200), objective="squared_log")
        boot = fit.bootstrap(600)
        for name in ("E", "alpha", "beta"):
            assert fit.standard_errors[name] == pytest.approx(boot.standard_errors()[name], rel=0.25)
            low, high = fit.profile(name, 0.9)
            assert low < fit.law.coefficients[name] < high
            assert high - low == pytest.approx(2 * 1.645 * fit.standard_errors[name], rel=0.25)
        assert fit.profile("A", 0.5)[1] < fit.profile("A", 0.95)[1]

    def test_groups_widen_errors_when_runs_are_correlated(self):
        n, d = design(80)
        run = np.arange(80) // 8
        shift = np.random.default_rng(3).standard_normal(10)[run]
        y = oracle.power_sum(LAW, n, d) * np.exp(0.02 * shift)
        alone = fitting.fit_chinchilla(n, d, y)
        grouped = fitting.fit_chinchilla(n, d, y, group=[f"run {i}" for i in run])
        assert grouped.law.coefficients == alone.law.coefficients
        assert grouped.bootstrap(200).by == ("group",)
        assert grouped.bootstrap(200).standard_errors()["E"] > 1.3 * alone.bootstrap(200).standard_errors()["E"]

    def test_questions_can_be_resampled_with_checkpoints(self):
        n, d, samples, correct, question = counts()
        fit = fitting.fit_t2_pass(n, d, num_samples=samples, num_correct=correct, question=question)
        both = fit.bootstrap(60, by=("checkpoint", "question"))
        assert both.standard_errors()["theta3"] > fit.bootstrap(60, by="question").standard_errors()["theta3"] * 0.8
        assert len(both.samples) == 60

    def test_questions_of_values_per_question(self):
        rng = np.random.default_rng(4)
        n, d = design(30)
        k = np.array([1.0, 4, 16, 64, 256])
        difficulty = rng.normal(0, 1, 50)
        clean = oracle.power_sum(T2_LOSS, n[:, None], d[:, None], k)
        value = clean[:, :, None] + 0.1 * difficulty + 0.02 * rng.standard_normal((30, 5, 50))
        shape = value.shape
        rows = [np.broadcast_to(x, shape).reshape(-1) for x in (n[:, None, None], d[:, None, None], k[:, None])]
        question = np.broadcast_to(np.arange(50), shape).reshape(-1)
        fit = fitting.fit_t2_loss(*rows, value.reshape(-1), question=question)
        means = [x.reshape(shape)[:, :, 0].reshape(-1) for x in rows]
        alone = fitting.fit_t2_loss(*means, value.mean(2).reshape(-1))
        assert fit.law.coefficients == pytest.approx(alone.law.coefficients, rel=1e-6)
        boot = fit.bootstrap(60, by="question")
        np.testing.assert_array_equal(boot.samples[:20], fit.bootstrap(20, by="question").samples)
        # All checkpoints share the questions' difficulty: it moves the constant as a mean of 50 of them moves, while
        # drawing checkpoints cannot see it.
        shift = 0.1 * difficulty.std() / np.sqrt(50)
        assert boot.standard_errors()["E"] == pytest.approx(shift, rel=0.35)
        both = fit.bootstrap(60, by=("checkpoint", "question"))
        assert both.by == ("checkpoint", "question")
        assert not np.array_equal(both.samples, boot.samples)
        with pytest.raises(t2fast.T2Error, match="no labels of questions"):
            alone.bootstrap(10, by="question")

    def test_a_replicate_over_questions_is_the_fit_to_its_means(self):
        rng = np.random.default_rng(5)
        n, d = design(20)
        k = np.array([1.0, 8, 64, 512])
        law = {**PASS_BASE, **THETA}
        a, b = oracle.beta_shape(law, n, d)
        p = rng.beta(a[:, None], b[:, None], (20, 40))
        rate = 1 - (1 - p[:, None, :]) ** k[:, None]
        shape = rate.shape
        rows = [np.broadcast_to(x, shape).reshape(-1) for x in (n[:, None, None], d[:, None, None], k[:, None])]
        question = np.broadcast_to(np.arange(40), shape).reshape(-1)
        loss = oracle.power_sum(PASS_BASE, rows[0], rows[1])
        fit = fitting.fit_t2_pass(rows[0], rows[1], k=rows[2], pass_at_k=rate.reshape(-1), loss=loss, question=question)
        assert fit.n_rows == 80
        found = fit.bootstrap(2, by="question", seed=9)
        drawn = np.random.Generator(np.random.Philox(key=[9, 1], counter=[0, 0, 0, 1])).integers(0, 40, 40)
        # Labels are numbered in the order of their texts.
        drawn = np.array(sorted(range(40), key=str))[drawn]
        means = [x.reshape(shape)[:, :, 0].reshape(-1) for x in (*rows, loss)]
        again = fitting.fit_t2_pass(
            means[0], means[1], k=means[2], pass_at_k=rate[:, :, drawn].mean(2).reshape(-1), loss=means[3]
        )
        expected = [again.law.coefficients[name] for name in found.names]
        np.testing.assert_allclose(found.samples[1], expected, rtol=1e-4)

    def test_table_of_probabilities_with_questions(self):
        rng = np.random.default_rng(0)
        n, d = design(12)
        p = np.exp(-oracle.power_sum(LAW, n, d)[:, None] - 8 - rng.exponential(1, 30))
        table = {
            "n_params": np.repeat(n, 30), "n_tokens": np.repeat(d, 30), "probability": p.reshape(-1),
            "question": np.tile(np.arange(30), 12),
        }  # fmt: skip
        fit = fitting.fit_table(table, "t2-loss")
        del table["question"]
        assert fit.law.coefficients == pytest.approx(fitting.fit_table(table, "t2-loss").law.coefficients, rel=1e-6)
        assert np.isfinite(fit.bootstrap(20, by="question").samples).all()

    def test_ctrl_c_keeps_what_is_done(self):
        fit = fitting.fit_chinchilla(*losses(0.01))

        def stop(done):
            if done >= 256:
                raise KeyboardInterrupt

        boot = fit.bootstrap(10_000, progress=stop)
        assert boot.interrupted
        assert len(boot.samples) == 256
        assert "interrupted" in boot.summary()

    def test_laws_carry_intervals_and_save(self, tmp_path):
        fit = fitting.fit_chinchilla(*losses(0.01), name="mine")
        boot = fit.bootstrap(50)
        law = boot.law()
        law.save(tmp_path / "law.json")
        again = t2fast.load_law(tmp_path / "law.json")
        assert again.coefficients == fit.law.coefficients
        assert again.uncertainty["intervals"]["alpha"][0] < fit.law.alpha
        assert len(list(boot.laws())) == len(boot.usable)
        drawn = list(again.resampled())
        assert len(drawn) == 50
        assert [one.alpha for one in drawn] == pytest.approx([one.alpha for one in boot.laws()], rel=1e-8)
        assert len((tmp_path / "law.json").read_text().splitlines()) < 60

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
    def test_malformed_draws_are_refused(self, draws, message):
        uncertainty = {} if draws is None else {"draws": draws}
        law = t2fast.ChinchillaLaw(**LAW, uncertainty=uncertainty)
        with pytest.raises(t2fast.LawError, match=message):
            list(law.resampled())

    def test_what_cannot_be_resampled(self):
        fit = fitting.fit_chinchilla(*losses(0.01))
        for by, message in (
            ("group", "no group column"),
            ("question", "no labels of questions"),
            ("row", "by = 'row'"),
        ):
            with pytest.raises(t2fast.T2Error, match=message):
                fit.bootstrap(10, by=by)
        with pytest.raises(t2fast.T2Error, match="n = 1"):
            fit.bootstrap(1)
        with pytest.raises(t2fast.T2Error, match="name = 'G'"):
            fit.profile("G")
        with pytest.raises(t2fast.T2Error, match="level = 90"):
            fit.profile("E", 90)


class TestIdentifiability:
    def test_constant_tokens_per_parameter(self):
        n = np.geomspace(1e7, 1e10, 30)
        y = oracle.power_sum(LAW, n, 20 * n) * np.exp(0.005 * np.random.default_rng(0).standard_normal(30))
        fit = fitting.fit_chinchilla(n, 20 * n * np.exp(0.01 * np.random.default_rng(1).standard_normal(30)), y)
        assert any("D is nearly a function of N" in line for line in fit.warnings)
        assert not any("nearly a function" in line for line in fitting.fit_chinchilla(*losses(0.01)).warnings)

    def test_no_irreducible_loss(self):
        n, d, y = losses(law={**LAW, "E": 1e-12})
        fit = fitting.fit_chinchilla(n, d, y)
        assert not fit.interior or fit.law.E < 1e-4
        fixed = fitting.fit_chinchilla(n, d, y, E=0.0)
        assert fixed.law.E == 0
        assert fixed.law.alpha == pytest.approx(LAW["alpha"], rel=1e-5)

    def test_summary_and_json(self):
        for fit in (
            fitting.fit_chinchilla(*losses(0.01)),
            fitting.fit_t2_pass(*counts()[:2], **dict(zip(("num_samples", "num_correct"), counts()[2:4], strict=True))),
        ):
            assert all(len(line) <= 80 for line in fit.summary().splitlines())
            assert str(fit) == fit.summary()
            assert json.loads(json.dumps(fit.to_dict()))["law"]["kind"] == fit.law.kind
            boot = fit.bootstrap(20)
            assert all(len(line) <= 80 for line in boot.summary().splitlines())
            json.dumps(boot.to_dict())


class TestBacktest:
    def table(self):
        n, d, y = losses(0.005)
        return {"n_params": n, "n_tokens": d, "loss": y, "family": np.where(n > 1e9, "big", "small")}

    def test_predicts_what_was_held_out(self):
        result = fitting.backtest(self.table(), "N > 1e9")
        assert result.n_held_out + result.n_fitted == 60
        assert result.errors["chinchilla"][0] < 0.02
        assert all(len(line) <= 80 for line in result.summary().splitlines())
        json.dumps(result.to_dict())
        fit = result.fits["chinchilla"]
        assert fit.n_rows == result.n_fitted
        assert fit.law.data_range.n_params[1] <= 1e9

    def test_laws_side_by_side(self):
        n, d, samples, correct, _ = counts()
        loss = oracle.power_sum(PASS_BASE, n, d)
        table = {"n_params": n, "n_tokens": d, "num_samples": samples, "num_correct": correct, "loss": loss}
        result = fitting.backtest(table, "tokens_per_param > 60", laws=["chinchilla", "t2-pass", "t2-loss"])
        assert set(result.fits) == {"chinchilla", "t2-pass"}
        assert "no success" in result.failures["t2-loss"]
        assert "t2-loss" in result.summary()
        assert result.observed["t2-pass"].quantity == "pass@k"

    @pytest.mark.parametrize(
        ("expression", "rows"),
        [
            ("n_params > 1e9", 20),
            ("not n_params > 1e9", 40),
            ("1e8 < N <= 1e9", 20),
            ("family == 'big' or N < 3e7", 26),
            ("D / N > 0 and family != 'small'", 20),
            ("flops >= 6 * N * D", 60),
            ("-N < -1e9", 20),
        ],
    )
    def test_expressions(self, expression, rows):
        table = read_table(self.table())
        n = table["n_params"]
        assert {20, 40} <= {int((n > 1e9).sum()), int((n <= 1e9).sum())} or rows
        held = evaluate(expression, table)
        truth = {
            "n_params > 1e9": n > 1e9,
            "not n_params > 1e9": n <= 1e9,
            "1e8 < N <= 1e9": (n > 1e8) & (n <= 1e9),
            "family == 'big' or N < 3e7": (n > 1e9) | (n < 3e7),
            "D / N > 0 and family != 'small'": n > 1e9,
            "flops >= 6 * N * D": n > 0,
            "-N < -1e9": n > 1e9,
        }[expression]
        np.testing.assert_array_equal(held, truth)

    @pytest.mark.parametrize(
        "expression",
        [
            "__import__('os').system('true')",
            "N.__class__",
            "(lambda: 1)()",
            "[N > 1 for N in D]",
            "N ** 99999999 > 1",
            "N[0] > 1",
            "loss > ",
            "N",
            "N > 'big'",
            "family > 1",
            "nothing > 1",
            "N > 1 if D else 2",
            "f'{N}' == 'x'",
            "N and D",
            "True",
            "(" * 500,
        ],
    )
    def test_what_is_no_plain_comparison_is_refused(self, expression):
        with pytest.raises(t2fast.T2Error, match="holdout = "):
            fitting.backtest(self.table(), expression)

    @given(st.text(alphabet="ND<>=!&|()+-*/.,'0123456789eand or not_[]{}:", max_size=40))
    @settings(max_examples=200, deadline=None)
    def test_any_text_gives_rows_or_a_clear_error(self, text):
        table = read_table(self.table())
        try:
            held = evaluate(text, table)
        except t2fast.T2Error:
            return
        assert held.shape == (60,)
        assert held.dtype == np.bool_

    def test_holding_out_all_or_nothing(self):
        with pytest.raises(t2fast.T2Error, match="holds out no row of 60"):
            fitting.backtest(self.table(), "N > 1e30")
        with pytest.raises(t2fast.T2Error, match="holds out every row"):
            fitting.backtest(self.table(), "N > 0")


class TestUncertainPlan:
    def test_intervals_hold_the_plan_and_the_average_is_no_worse(self):
        n, d, samples, correct, _ = counts()
        fit = fitting.fit_t2_pass(n, d, num_samples=samples, num_correct=correct)
        budget = t2fast.Budget(train_flops=1e20, inference_flops=1e11)
        found = t2fast.plan(fit.bootstrap(60), budget).uncertainty
        assert found.recommended == t2fast.plan(fit.law, budget).design
        for name in ("n_params", "n_tokens", "k"):
            low, high = found.intervals[name]
            assert 0.5 * low <= getattr(found.recommended, name) <= 2 * high
        assert found.mean_best >= found.mean_recommended
        assert 0 <= found.beats_chinchilla <= 1
        assert found.n_laws + found.n_infeasible == 60
        assert all(len(line) <= 80 for line in found.summary().splitlines())
        json.dumps(found.to_dict())
        pytest.importorskip("matplotlib")
        assert len(found.plot().axes) == 2

    def test_a_law_with_draws_plans_as_its_bootstrap(self):
        fit = fitting.fit_chinchilla(*losses(0.01))
        boot = fit.bootstrap(40)
        budget = t2fast.Budget(train_flops=1e21)
        carried, direct = t2fast.plan(boot.law(), budget).uncertainty, t2fast.plan(boot, budget).uncertainty
        assert carried.intervals["n_params"] == pytest.approx(direct.intervals["n_params"], rel=1e-6)
        assert carried.n_laws == 40
        assert t2fast.plan(fit.law, budget).uncertainty is None

    def test_losses_are_minimised(self):
        fit = fitting.fit_chinchilla(*losses(0.01))
        found = t2fast.plan(fit.bootstrap(40), t2fast.Budget(train_flops=1e21)).uncertainty
        assert found.mean_best <= found.mean_recommended
        assert found.beats_chinchilla is None
        low, high = found.intervals["loss"]
        assert low < found.recommended.loss < high


def test_isoflop_weights_are_inverse_variances():
    n = np.array([1e8, 2e8, 4e8, 1e9, 2e9, 5e7])
    d = np.array([4e9, 2e9, 1e9, 4e10, 2e10, 1e9])
    y = np.array([3.0, 3.1, 3.2, 2.5, 2.7, 4.0])
    weights = fitting.isoflop_weights(n, d, y)
    assert weights[0] == weights[1] == weights[2]
    assert weights[3] / weights[0] == pytest.approx(np.var(y[:3]) / np.var(y[3:5]))
    assert weights.mean() == pytest.approx(1)


def test_figures(tmp_path):
    pytest.importorskip("matplotlib")
    n, d, samples, correct, _ = counts()
    fit = fitting.fit_t2_pass(n, d, num_samples=samples, num_correct=correct)
    back = fitting.backtest({"N": n, "D": d, "n": samples, "c": correct}, "N > 1e9")
    for name, result in (
        ("fit", fit),
        ("boot", fit.bootstrap(20)),
        ("back", back),
        ("loss", fitting.fit_chinchilla(*losses(0.01))),
    ):
        path = tmp_path / f"{name}.png"
        figure = result.plot(path)
        assert figure.axes
        assert path.stat().st_size > 5_000


def test_planning_with_a_fit_is_planning_with_its_bootstrap():
    n, d = np.meshgrid(np.geomspace(1e7, 1e10, 8), np.geomspace(1e9, 1e12, 8))
    law = t2fast.load_law("hoffmann")
    noise = np.random.default_rng(1).normal(0, 1e-3, n.size)
    fit = fitting.fit_chinchilla(n.ravel(), d.ravel(), law.value(n, d).ravel() * np.exp(noise))
    budget = t2fast.Budget(train_flops=1e22)
    found = t2fast.plan(fit, budget)
    assert found.to_dict() == t2fast.plan(fit.bootstrap(1000), budget).to_dict()
    low, high = found.uncertainty.intervals["n_params"]
    assert low < found.n_params < high


def test_a_table_of_two_benchmarks_is_refused():
    table = {"benchmark": ["a", "b"], "n_params": [1e8, 1e9], "d_tokens": [1e10, 1e11], "loss": [3.0, 2.5]}
    with pytest.raises(t2fast.DataError, match=r"benchmark holds 2 values, a, b.*--where"):
        fitting.fit_table(table, "chinchilla")
