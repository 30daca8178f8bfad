import csv
import json
import pickle

import numpy as np
import pytest
from scipy.optimize import least_squares
from tests.support.real_data import LAWS, needs

import t2fast
from t2fast import fitting
from t2fast.fitting.accuracy import fit_step
from t2fast.laws.accuracy import step

LADDER = LAWS.parent / "ladder"


def table(noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e8, 3e9, 5), np.geomspace(2e9, 3e11, 5)))
    bits = (0.4 + 800 * n**-0.41 + 800 * d**-0.34) * np.exp(0.3 * noise * rng.standard_normal(25))
    accuracy = 0.25 + 0.75 / (1 + np.exp(4 * (bits - 0.9))) + noise * rng.standard_normal(25)
    return n, d, bits, np.clip(accuracy, 0, 1)


def test_exact_data_give_their_law_back():
    fit = fitting.fit_accuracy(*table(), n_resamples=0)
    law = fit.law
    assert (law.floor, law.middle, law.slope) == pytest.approx((0.25, 0.9, 4.0), rel=1e-6)
    assert fit.step_residual < 1e-8
    assert law.value(7e9, 4e12) == pytest.approx(0.25 + 0.75 / (1 + np.exp(4 * (law.loss.value(7e9, 4e12) - 0.9))))


@pytest.mark.parametrize("seed", range(12))
def test_steps_are_the_least_squares(seed):
    """Against SciPy from many starts: never worse."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.5, 2.5, 20)
    y = np.clip(step(x, rng.uniform(0, 0.5), rng.uniform(0.3, 2.5), rng.uniform(1, 12)) + rng.normal(0, 0.05, 20), 0, 1)
    weights = rng.integers(0, 3, 20).astype(float) if seed % 2 else np.ones(20)
    found = fit_step(x, y, weights)
    mine = float(weights @ (step(x, *found) - y) ** 2)

    def residuals(at):
        return np.sqrt(weights) * (step(x, at[0], at[1], np.exp(at[2])) - y)

    low, high = [0, -np.inf, np.log(0.05)], [1 - 1e-9, np.inf, np.log(200)]
    starts = [(0.2, middle, np.log(slope)) for middle in (0, 1, 2, 3) for slope in (0.3, 2, 8, 30)]
    best = min(2 * least_squares(residuals, start, bounds=(low, high), xtol=1e-12, ftol=1e-12).cost for start in starts)
    assert mine <= best * (1 + 1e-6) + 1e-12


def test_a_bootstrap_covers_both_steps():
    n, d, bits, accuracy = table(0.02)
    fit = fitting.fit_accuracy(n, d, bits, accuracy, n_resamples=40, name="mine")
    assert fit.law.name == "mine"
    assert set(fit.law.uncertainty["draws"]) == set(fit.law.coefficients)
    low, high = np.quantile(fit.law.predictive(7e9, 4e12), [0.05, 0.95])
    assert low < fit.law.value(7e9, 4e12) < high
    # The first step resamples as the fit of the loss by itself does.
    alone = fitting.fit_chinchilla(n, d, bits).bootstrap(40)
    place = alone.names.index("alpha")
    np.testing.assert_allclose(fit.law.uncertainty["draws"]["alpha"], alone.samples[:, place], rtol=1e-6)
    assert t2fast.Law.from_dict(json.loads(json.dumps(fit.law.to_dict()))) == fit.law
    assert pickle.loads(pickle.dumps(fit)).law == fit.law
    assert all(len(line) <= 80 for line in fit.summary().splitlines())


def test_what_is_refused_and_warned_of():
    n, d, bits, accuracy = table()
    with pytest.raises(t2fast.T2Error, match="divide percents by 100"):
        fitting.fit_accuracy(n, d, bits, 100 * accuracy)
    assert "does not fall" in fitting.fit_accuracy(n, d, bits, 1 - accuracy, n_resamples=0).summary()
    with pytest.raises(t2fast.DataError, match="accuracy"):
        fitting.accuracy_table({"N": n, "D": d, "loss": bits})


@needs(LADDER)
def test_the_ladder_predicts_its_targets():
    rows = list(csv.DictReader((LADDER / "olmo_ladder.csv").read_text(encoding="utf-8").splitlines()))
    held = np.array([row["chinchilla_multiple"] == "target" for row in rows])
    column = lambda name: np.array([float(row[name]) for row in rows])  # noqa: E731
    n, d = column("n_params"), column("n_tokens")
    errors = []
    for name in (name for name in rows[0] if name.startswith("downstream_bpb__")):
        task = name.removeprefix("downstream_bpb__").removesuffix("_bpb")
        accuracy = column(next(c for c in rows[0] if c in (f"downstream__{task}_len_norm", f"downstream__{task}_acc")))
        law = fitting.fit_accuracy(n[~held], d[~held], column(name)[~held], accuracy[~held], n_resamples=0).law
        errors.append(np.abs(law.value(n[held], d[held]) - accuracy[held]))
    assert (np.median(errors, axis=0) <= 0.04).all()
