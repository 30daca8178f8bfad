import numpy as np
import pytest
from tests.oracles import fitting as oracle
from tests.support.checkpoints import LAW, counts, design, losses

import t2fast
import t2fast as t2
from t2fast import fitting
from t2fast.errors import DataError


def test_table_of_probabilities_with_questions():
    rng = np.random.default_rng(0)
    n, d = design(12)
    p = np.exp(-oracle.power_sum(LAW, n, d)[:, None] - 8 - rng.exponential(1, 30))
    table = {
        "n_params": np.repeat(n, 30), "n_tokens": np.repeat(d, 30), "probability": p.reshape(-1),
        "problem": np.tile(np.arange(30), 12),
    }  # fmt: skip
    fit = fitting.fit_table(table, "t2-loss")
    del table["problem"]
    assert fit.law.coefficients == pytest.approx(fitting.fit_table(table, "t2-loss").law.coefficients, rel=1e-6)
    assert np.isfinite(fit.bootstrap(20, by="problem").samples).all()


def test_a_table_of_two_benchmarks_is_refused():
    table = {"benchmark": ["a", "b"], "n_params": [1e8, 1e9], "d_tokens": [1e10, 1e11], "loss": [3.0, 2.5]}
    with pytest.raises(t2fast.DataError, match=r"benchmark holds 2 values, a, b.*--where"):
        fitting.fit_table(table, "chinchilla")


def test_populations_pooled_in_one_table_are_named():
    n, d, y = losses(0.01)
    table = {"N": n, "D": d, "loss": y, "corpus": np.where(np.arange(60) % 3, "c4", "pile")}
    fit = fitting.fit_table(table, "chinchilla")
    assert fit.warnings[0].startswith("column corpus holds 2 values (c4, pile): populations pooled")
    assert fit.law.warnings == fit.warnings
    # A column that differs within checkpoints describes problems, not models.
    n, d, samples, correct, problem = counts(12, 20)
    table = {"N": n, "D": d, "n": samples, "c": correct, "problem": problem, "family": (problem % 2).astype(str)}
    assert not any("pooled" in line for line in fitting.fit_table(table, "t2-pass").warnings)


def test_pooled_populations_are_asked_about():
    n, d = design(12)
    loss = 1.7 + 400 / n**0.34 + 1800 / d**0.36
    table = {
        "n_params": np.tile(n, 2), "n_tokens": np.tile(d, 2), "loss": np.concatenate([loss, 0.4 * loss]),
        "condition": ["exp"] * 12 + ["raw"] * 12,
    }  # fmt: skip
    with pytest.raises(t2fast.DataError, match=r"12 checkpoints .* several values of column condition \(exp, raw\)"):
        fitting.fit_table(table, "chinchilla")
    # Seeds that agree are repeats, not populations.
    table["loss"] = np.concatenate([loss, 1.001 * loss])
    assert fitting.fit_table(table, "chinchilla").n_rows == 24


def test_a_column_for_each_k_is_a_row_for_each_k():
    truth = t2.load_law("pythia-gsm8k")
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e9, 4), np.geomspace(1e9, 1e11, 4)))
    loss, ks = 1.7 + 450 * n**-0.34 + 1800 * d**-0.36, (1, 8, 64)
    rates = {f"pass@{k}": truth.value(n, d, np.full(len(n), float(k))) for k in ks}
    wide = {"n_params": n, "n_tokens": d, "loss": loss, **rates}
    long = {name: np.repeat(wide[name], 3) for name in ("n_params", "n_tokens", "loss")}
    long |= {"k": np.tile(ks, len(n)), "pass_at_k": np.stack(list(rates.values()), 1).ravel()}
    expected = fitting.fit_table(long, "t2-pass")
    runs = np.repeat(["a", "b", "c", "d"], 4)
    for more in ({}, {"n_samples": np.full(len(n), 64)}, {"run": runs}):
        found = fitting.fit_table(wide | more, "t2-pass")
        assert (found.n_rows, found.law.coefficients) == (48, expected.law.coefficients)
    with pytest.raises(DataError, match="pass@64 needs n_samples of at least 64"):
        fitting.fit_table(wide | {"n_samples": np.full(len(n), 8)}, "t2-pass")
    with pytest.raises(DataError, match="must lie in"):
        fitting.fit_table(wide | {"pass@8": 100 * rates["pass@8"]}, "t2-pass")
