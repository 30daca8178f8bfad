"""How often the intervals of pass@k hold the truth, by simulation: ``python bench/coverage_passk.py``.

Success rates are Beta distributed with means from hard to easy; the nominal coverage is 95%. Printed is the share of
simulated experiments whose interval holds the true value: for scope "samples" that of the very problems drawn, for
"problems" and extrapolation that of the distribution.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from t2fast import passk


def truth(a: float, b: float, k: int) -> float:
    """pass@k of Beta(a, b) distributed success rates."""
    return 1 - math.exp(math.lgamma(b + k) + math.lgamma(a + b) - math.lgamma(a + b + k) - math.lgamma(b))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--refits", type=int, default=200, help="trials of the extrapolation's interval")
    arguments = parser.parse_args()
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
