import numpy as np
import pytest
from tests.support.checkpoints import counts

from t2fast import fitting
from t2fast.data import read_table
from t2fast.fitting.forms import fit_forms
from t2fast.fitting.left_out import left_out
from t2fast.fitting.suite import Suite


@pytest.fixture(scope="module")
def table():
    n, d, samples, correct, problem = counts(30, 25, seed=4)
    columns = {"n_params": n, "n_tokens": d, "n_samples": samples, "n_correct": correct, "problem": problem}
    return read_table(columns)


def arguments(table):
    return [table[name] for name in ("n_params", "n_tokens", "n_samples", "n_correct", "problem")]


def test_regrets_are_those_of_following_the_rules(table):
    tested = left_out(*arguments(table))
    rules = {row.strategy: row.regret for row in fitting.regret(table, n_resamples=2).protocols["lobo"].strategies}
    for form in fitting.FORMS:
        assert tested.scores[form].regret == pytest.approx(rules[form], abs=1e-12)
    assert tested.scores["equal"].regret == pytest.approx(rules["average"], abs=1e-12)


def test_weights_are_inverse_squared_errors(table):
    """By hand: fit without each menu, compare with the menu's measured rates."""
    suite = Suite.of(table)
    menus = {s.train_flops: s.menu for s in suite.settings(suite.budgets(), suite.inference_budgets())}
    squares, misses = {form: [] for form in fitting.FORMS}, {form: [] for form in fitting.FORMS}
    for menu in menus.values():
        rows = suite.rows(~np.isin(np.arange(len(suite)), menu))
        laws = fit_forms(*arguments(rows)).laws
        for place in menu:
            for k in (1, 4, 16):
                truth = suite.measured(int(place), k)
                for form, law in laws.items():
                    miss = law.value(suite.n_params[place], suite.n_tokens[place], k) - truth
                    squares[form].append(miss**2)
                    misses[form].append(abs(miss))
    inverse = np.array([1 / np.mean(squares[form]) for form in fitting.FORMS])
    tested = left_out(*arguments(table))
    np.testing.assert_allclose(tested.weights, inverse / inverse.sum(), rtol=1e-9)
    for form in fitting.FORMS:
        assert tested.scores[form].error == pytest.approx(np.mean(misses[form]))


def test_one_budget_is_not_enough(table):
    cost = 6 * table["n_params"] * table["n_tokens"]
    one = (cost > 1e19) & (cost < 6e19)
    assert left_out(*(column[one] for column in arguments(table))) is None
