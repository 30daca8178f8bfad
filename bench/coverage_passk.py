"""How often the intervals of pass@k hold the truth, by simulation: ``python bench/coverage_passk.py``.

Success rates are Beta distributed with means from hard to easy; the nominal coverage is 95%. Printed is the share of
simulated experiments whose interval holds the true value: for scope "samples" that of the very problems drawn, for
"problems" and extrapolation that of the distribution. With ``--real`` n of the samples of real models predict what all of
them show: ``llmonkeys_pythia_math_n10000.csv`` (7 Pythia models, 128 MATH problems, Brown et al. 2024), or
``pythia_passk_counts.csv --benchmark gsm8k`` (54 Pythia checkpoints of at least 2B tokens, sampled until solved: those
whose every problem has samples enough).
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


def counts_of(path: Path, benchmark: str) -> dict[str, tuple[list[int], list[int]]]:
    """Samples and correct ones of each model in a table."""
    models: dict[str, tuple[list[int], list[int]]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            if row.get("benchmark", "").lower().startswith(benchmark) and float(row.get("d_tokens", "inf")) >= 2e9:
                n, c = models.setdefault(row["model"], ([], []))
                n.append(int(row.get("n") or row["num_samples"]))
                c.append(int(row.get("c") or row["num_correct"]))
    return models


def real(path: Path, benchmark: str, sizes: list[str], replicates: int) -> None:
    """Predict pass@(10 n) and pass@(100 n) of real models from n of their samples."""
    models = {m: v for m, v in counts_of(path, benchmark).items() if not sizes or m.split("_")[1] in sizes}
    print(f"{len(models)} models, {replicates} subsamples each with 5 problems solved or more; 95% intervals")
    print("  n  factor  models  interval covers  method alone  error  stated  stated/actual, median")
    for n in (5, 10, 20, 50, 100, 200):
        for factor in (3, 10, 30, 100):
            hits, errors, stated, used = np.zeros(2), [], [], set()
            for model, (drawn, correct) in models.items():
                if n * factor > min(drawn):
                    continue
                whole = passk.histogram(drawn, correct)
                truth = whole.means("pass_at_k", np.array([n * factor]))[0]
                for replicate in range(replicates):
                    ns, cs, problems = whole.subsample(n, 7, replicate).pairs()
                    if problems[cs > 0].sum() < 5:
                        continue
                    used.add(model)
                    counts = np.repeat(ns, problems), np.repeat(cs, problems)
                    one = passk.extrapolate(*counts, n * factor, n_resamples=200, seed=replicate)
                    alone = passk.histogram(*counts).extrapolate(one.method, one.k, 200, replicate).resampled
                    low, high = np.quantile(alone, [0.025, 0.975])
                    hits += one.lower[0] <= truth <= one.upper[0], low <= truth <= high
                    errors.append(abs(one.pass_at_k[0] - truth))
                    stated.append(one.stated_error)
            if len(used) < 3:
                continue
            shares = hits / len(errors)
            ratio = np.median(np.array(stated) / np.maximum(errors, 1e-12))
            print(
                f"{n:3d} {factor:7d} {len(used):7d} {shares[0]:16.3f} {shares[1]:13.3f}"
                f" {np.median(errors):6.4f} {np.median(stated):7.4f} {ratio:10.2f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--refits", type=int, default=200, help="trials of the extrapolation's interval")
    parser.add_argument("--real", type=Path, help="a table of counts (model, n, c): extrapolate these instead")
    parser.add_argument("--benchmark", default="", help="rows of --real to take")
    parser.add_argument("--sizes", default="", help="models of --real to take: the second part of their names")
    parser.add_argument("--replicates", type=int, default=12, help="subsamples per model of --real")
    arguments = parser.parse_args()
    if arguments.real:
        real(
            arguments.real,
            arguments.benchmark,
            arguments.sizes.split(",") if arguments.sizes else [],
            arguments.replicates,
        )
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
