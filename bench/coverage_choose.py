"""Are the chances and intervals of ``t2fast choose`` what they say? Measured on real counts.

    python -m bench.coverage_choose [TRIALS]

Seven Pythia models, 128 problems of MATH, 10,000 samples of each (Large Language Monkeys, Brown et al. 2024), from the
folder that T2FAST_DATA names. Every trial sees 100 of the samples, and a budget between a few samples and a few hundred;
what all 10,000 say is the truth. A sample costs 2N FLOP for each of 500 tokens, at $1 per 1e18 FLOP.

``samples``: the same problems, other samples. ``problems``: 128 problems drawn anew from the 128, with other samples;
the truth is what holds for all of them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from t2fast import passk
from t2fast.choosing import Price, choose
from t2fast.choosing.ability import Scope
from t2fast.data import read_counts

FILE = "passk/llmonkeys_pythia_math_n10000.csv"
SIZES = {"70M": 7e7, "160M": 1.6e8, "410M": 4.1e8, "1B": 1e9, "2.8B": 2.8e9, "6.9B": 6.9e9, "12B": 1.2e10}
SEEN, TOKENS = 100, 500
PRICES = {f"Pythia {name}": Price(0, 2 * n * TOKENS * 1e-18) for name, n in SIZES.items()}


def truth(counts: dict[str, np.ndarray], model: str, k: int) -> float:
    """What all samples of all problems say."""
    return float(passk.mean_pass_at_k(10_000, counts[model], k))


def trial(counts: dict[str, np.ndarray], budget: float, scope: Scope, random: np.random.Generator) -> tuple[float, ...]:
    """One choice: the chance it prints, whether it is right, whether its interval holds the truth, k beyond samples."""
    n_problems = len(next(iter(counts.values())))
    asked = random.integers(n_problems, size=n_problems) if scope == "problems" else np.arange(n_problems)
    seen = {m: (SEEN, random.hypergeometric(c[asked], 10_000 - c[asked], SEEN)) for m, c in counts.items()}
    found = choose(seen, PRICES, budget, scope=scope, n_resamples=400, seed=int(random.integers(2**32)))
    real = {one.model: truth(counts, one.model, one.k) for one in found.candidates if one.k}
    right = real[found.model] >= max(real.values()) - 1e-12
    held = found.lower <= real[found.model] <= found.upper
    loss = max(real.values()) - real[found.model]
    return found.probability_best, float(right), float(held), found.k / SEEN, loss


def main(trials: int) -> None:
    """Print the tables."""
    table = read_counts([Path(os.environ["T2FAST_DATA"]) / FILE])
    counts = {model: table.n_correct[rows] for (model, _), rows in table.groups().items()}
    scopes: tuple[Scope, ...] = ("samples", "problems")
    for scope in scopes:
        random = np.random.default_rng(20)
        budgets = np.exp(random.uniform(np.log(2e-6), np.log(1e-4), trials))
        rows = np.array([trial(counts, float(budget), scope, random) for budget in budgets])
        print(f"{scope}: {trials} choices; right {rows[:, 1].mean():.3f}, said {rows[:, 0].mean():.3f}; "
              f"90% intervals hold {rows[:, 2].mean():.3f}; mean loss {rows[:, 4].mean():.4f}")  # fmt: skip
        near = rows[:, 3] <= 1
        for name, some in (("k within the samples", near), ("k beyond", ~near)):
            if some.any():
                print(f"  {name}: {some.sum()} choices, right {rows[some, 1].mean():.3f}, said {rows[some, 0].mean():.3f}, "
                      f"intervals hold {rows[some, 2].mean():.3f}")  # fmt: skip
        for low, high in ((0.0, 0.5), (0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.01)):
            some = (rows[:, 0] >= low) & (rows[:, 0] < high)
            if some.sum() >= 10:
                said, right = rows[some, 0].mean(), rows[some, 1].mean()
                print(
                    f"  said {low:.0%} to {min(high, 1):.0%}: {some.sum()} choices, said {said:.3f}, right {right:.3f}"
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
