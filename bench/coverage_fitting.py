"""How often bootstrap intervals cover the truth, in simulation: ``python bench/coverage_fitting.py [TRIALS]``.

Every trial draws a table from a known law, fits it and asks whether the 90% percentile interval of each
coefficient holds the true value. A share of 0.90 is right; with 400 trials its standard error is 0.015.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from t2fast import fitting

TRUE = {"E": 1.7, "A": 450.0, "B": 1800.0, "alpha": 0.34, "beta": 0.36}
SAMPLES = {**TRUE, "G": 0.8, "gamma": 0.4}


def chinchilla(seed: int, runs: int | None) -> fitting.FitResult:
    """240 checkpoints with 1% noise, independent or shared within ``runs`` training runs."""
    rng = np.random.default_rng(seed)
    n = np.geomspace(5e7, 1.6e10, 24)[np.arange(240) % 24]
    d = n * 20 * 6.0 ** rng.uniform(-1, 1, 240)
    run = None if runs is None else np.arange(240) % runs
    noise = (
        rng.standard_normal(240) if run is None else 0.7 * (rng.standard_normal(240) + rng.standard_normal(runs)[run])
    )
    loss = (TRUE["E"] + TRUE["A"] * n ** -TRUE["alpha"] + TRUE["B"] * d ** -TRUE["beta"]) * np.exp(0.01 * noise)
    return fitting.fit_chinchilla(n, d, loss, objective="squared_log", group=run)


def t2_loss(seed: int) -> fitting.FitResult:
    """106 checkpoints x 10 k, noise shared by all k of a checkpoint and noise of each row."""
    rng = np.random.default_rng(seed)
    n = np.geomspace(5e6, 9e8, 12)[np.arange(106) % 12]
    d = n * 20 * 8.0 ** rng.uniform(-1, 1, 106)
    k = np.unique(np.geomspace(1, 1e4, 10).round())
    shared = np.repeat(rng.standard_normal(106), len(k))
    n, d, k = np.repeat(n, len(k)), np.repeat(d, len(k)), np.tile(k, 106)
    clean = (
        SAMPLES["E"] + SAMPLES["A"] * n ** -SAMPLES["alpha"] + SAMPLES["B"] * d ** -SAMPLES["beta"]
        + SAMPLES["G"] * k ** -SAMPLES["gamma"]
    )  # fmt: skip
    return fitting.fit_t2_loss(n, d, k, clean * np.exp(0.007 * (shared + rng.standard_normal(len(n)))))


CASES = {
    "Chinchilla, independent": (lambda seed: chinchilla(seed, None), TRUE),
    "Chinchilla, 40 runs": (lambda seed: chinchilla(seed, 40), TRUE),
    "Approach 1, by checkpoint": (t2_loss, SAMPLES),
}


def main(trials: int, replicates: int = 400) -> None:
    for what, (draw, truth) in CASES.items():
        inside = dict.fromkeys(truth, 0)
        begin = time.perf_counter()
        for seed in range(trials):
            fit = draw(seed)
            for name, (low, high) in fit.bootstrap(replicates, seed=seed).intervals(0.9).items():
                inside[name] += low <= truth[name] <= high
        shares = ", ".join(f"{name} {count / trials:.3f}" for name, count in inside.items())
        print(f"{what}: {shares}  ({trials} trials, {time.perf_counter() - begin:.0f} s)", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
