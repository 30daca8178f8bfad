"""Are the chances and intervals of ``t2fast choose`` what they say? Measured on real counts.

    python -m bench.coverage_choose [TRIALS] [RULE]

Seven Pythia models, 128 problems of MATH, 10,000 samples of each (Large Language Monkeys, Brown et al. 2024), from the
folder that T2FAST_DATA names. Every trial sees 100 of the samples, and a budget between a few samples and a few hundred;
what all 10,000 say is the truth. A sample costs 2N FLOP for each of 500 tokens, at $1 per 1e18 FLOP.

``samples``: the same problems, other samples. ``problems``: 128 problems drawn anew from the 128, with other samples;
the truth is what holds for all of them.
RULE is a rule's file; pass@k without one. What all 10,000 samples say of a verifier is then an average over all ways to
draw from them too.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from t2fast.choosing import Price, choose
from t2fast.choosing.ability import Scope
from t2fast.choosing.estimator import Judged, OfCounts
from t2fast.data import read_counts
from t2fast.rules import Rule, as_rule

FILE = "passk/llmonkeys_pythia_math_n10000.csv"
SIZES = {"70M": 7e7, "160M": 1.6e8, "410M": 4.1e8, "1B": 1e9, "2.8B": 2.8e9, "6.9B": 6.9e9, "12B": 1.2e10}
SEEN, TOKENS = 100, 500
PRICES = {f"Pythia {name}": Price(0, 2 * n * TOKENS * 1e-18) for name, n in SIZES.items()}


Truths = dict[str, OfCounts]


def truths(counts: dict[str, np.ndarray], rule: Rule) -> Truths:
    """What all samples of all problems say of each model."""
    # The prior is not asked for: rules here are those that counts alone say all of.
    return {m: Judged(rule).of_counts(np.full(len(c), 10_000), c, (0.5, 0.5, 0.0)) for m, c in counts.items()}


def trial(
    counts: dict[str, np.ndarray], real: Truths, rule: Rule, budget: float, scope: Scope, random: np.random.Generator
) -> tuple[float, ...]:
    """One choice: the chance it prints, whether it is right, whether its interval holds the truth, k beyond samples."""
    n_problems = len(next(iter(counts.values())))
    asked = random.integers(n_problems, size=n_problems) if scope == "problems" else np.arange(n_problems)
    seen = {m: (SEEN, random.hypergeometric(c[asked], 10_000 - c[asked], SEEN)) for m, c in counts.items()}
    seed = int(random.integers(2**32))
    found = choose(seen, PRICES, budget, rule=rule, scope=scope, n_resamples=400, seed=seed)
    values = {one.model: float(real[one.model].values(one.k).mean()) for one in found.candidates if one.k}
    assert found.model is not None
    right = values[found.model] >= max(values.values()) - 1e-12
    held = found.lower <= values[found.model] <= found.upper
    loss = max(values.values()) - values[found.model]
    return found.probability_best, float(right), float(held), found.k / SEEN, loss


def main(trials: int, rule: Rule) -> None:
    """Print the tables."""
    table = read_counts([Path(os.environ["T2FAST_DATA"]) / FILE])
    counts = {model: table.n_correct[rows] for (model, _), rows in table.groups().items()}
    real = truths(counts, rule)
    print(rule.headline())
    scopes: tuple[Scope, ...] = ("samples", "problems")
    for scope in scopes:
        random = np.random.default_rng(20)
        budgets = np.exp(random.uniform(np.log(2e-6), np.log(1e-4), trials))
        rows = np.array([trial(counts, real, rule, float(budget), scope, random) for budget in budgets])
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
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400, as_rule(sys.argv[2] if len(sys.argv) > 2 else None))
