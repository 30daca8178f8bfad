"""How often the intervals of pass@k hold the truth, by simulation: ``python bench/coverage_passk.py``.

Success rates are Beta distributed with means from hard to easy; the nominal coverage is 95%. Printed is the share of
simulated experiments whose interval holds the true value: for scope "samples" that of the very problems drawn, for
"problems" and extrapolation that of the distribution. With ``--real llmonkeys_pythia_math_n10000.csv`` (7 Pythia models,
128 MATH problems, Brown et al. 2024) n of the samples predict what all of them show.
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path

import numpy as np

from t2fast import passk


def truth(a: float, b: float, k: int) -> float:
    """pass@k of Beta(a, b) distributed success rates."""
    return 1 - math.exp(math.lgamma(b + k) + math.lgamma(a + b) - math.lgamma(a + b + k) - math.lgamma(b))


def real(path: Path, replicates: int) -> None:
    """Predict pass@(10 n) and pass@(100 n) of real models from n of their samples."""
    models: dict[str, list[int]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            models.setdefault(row["model"], []).append(int(row["c"]))
    print(f"{len(models)} models, {replicates} subsamples each; 95% intervals")
    print("  n  factor  interval covers  envelope alone  method alone  error  stated  stated/actual, median")
    for n in (5, 10, 20, 100):
        for factor in (10, 100):
            hits, errors, stated = np.zeros(3), [], []
            for c in models.values():
                whole = passk.histogram(10_000, c)
                truth = whole.means("pass_at_k", np.array([n * factor]))[0]
                for replicate in range(replicates):
                    ns, cs, problems = whole.subsample(n, 7, replicate).pairs()
                    counts = np.repeat(ns, problems), np.repeat(cs, problems)
                    one = passk.extrapolate(*counts, n * factor, n_resamples=200, seed=replicate)
                    drawn = [
                        np.quantile(
                            passk.histogram(*counts).extrapolate(m, one.k, 200, replicate).resampled, [0.025, 0.975]
                        )
                        for m in one.interval_methods
                    ]
                    hits[0] += one.lower[0] <= truth <= one.upper[0]
                    hits[1] += min(d[0] for d in drawn) <= truth <= max(d[1] for d in drawn)
                    hits[2] += drawn[0][0] <= truth <= drawn[0][1]
                    errors.append(abs(one.pass_at_k[0] - truth))
                    stated.append(one.stated_error)
            shares = hits / len(errors)
            ratio = np.median(np.array(stated) / np.maximum(errors, 1e-12))
            print(
                f"{n:3d} {factor:7d} {shares[0]:16.3f} {shares[1]:15.3f} {shares[2]:13.3f}"
                f" {np.median(errors):6.4f} {np.median(stated):7.4f} {ratio:10.2f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--refits", type=int, default=200, help="trials of the extrapolation's interval")
    parser.add_argument("--real", type=Path, help="counts of 10,000 samples (model, c): extrapolate these instead")
    parser.add_argument("--replicates", type=int, default=12, help="subsamples per model of --real")
    arguments = parser.parse_args()
    if arguments.real:
        real(arguments.real, arguments.replicates)
        return
    print(f"{'rates':>16} {'M':>5} {'n':>4} {'k':>4}  samples  problems  bootstrap  extrapolated to 10 n")
    rng = np.random.default_rng(0)
    for a, b in ((0.3, 6.0), (0.6, 1.4), (2.0, 1.0)):
        for problems, n, k in ((40, 20, 5), (164, 20, 1), (164, 20, 10), (500, 100, 10)):
            hits = np.zeros(4)
            for trial in range(arguments.trials):
                rates = rng.beta(a, b, problems)
                c = rng.binomial(n, rates)
                same = 1 - ((1 - rates) ** k).mean()
                for i, (options, value) in enumerate(
                    (
                        ({"scope": "samples"}, same),
                        ({}, truth(a, b, k)),
                        ({"method": "bootstrap", "n_resamples": 500, "seed": trial}, truth(a, b, k)),
                    )
                ):
                    one = passk.curve(n, c, k, **options)
                    hits[i] += one.lower[0] <= value <= one.upper[0]
                if trial < arguments.refits:
                    far = passk.histogram(n, c).extrapolate("beta_binomial", np.array([10.0 * n]), 500, trial).resampled
                    low, high = np.quantile(far, [0.025, 0.975])
                    hits[3] += low <= truth(a, b, 10 * n) <= high
            shares = [*(hits[:3] / arguments.trials), hits[3] / arguments.refits]
            print(f"  Beta({a:4.1f}, {b:4.1f}) {problems:5d} {n:4d} {k:4d}", *(f"{share:9.3f}" for share in shares))


if __name__ == "__main__":
    main()
