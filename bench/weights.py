"""Do weights help a mean of laws? ``python bench/weights.py DATA [gsm8k] [math] [laboratory]``; minutes each.

Every rule is followed as a user would follow it: whatever is held out (a training budget, the future, a size, a token
count), weights come from leaving out each training budget of the *other* checkpoints in turn. ``fit_average(weights=
"lobo")`` is "inverse squared error" of three forms: written down before the others were looked at. Limits as in advice.py.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from advice import four, laboratory, pythia
from t2fast.errors import T2Error
from t2fast.fitting import FORMS
from t2fast.fitting.suite import Suite
from t2fast.laws import Law
from t2fast.laws.logits import expit, logit

Floats = np.ndarray
KS = (1, 4, 16, 64)
THREE, FOUR = tuple(FORMS), ("t2", *FORMS)


def menus(suite: Suite) -> dict[float, Floats]:
    """Each training budget's checkpoints."""
    return {one.train_flops: one.menu for one in suite.settings(suite.budgets(), suite.inference_budgets())}


def held_out(suite: Suite, benchmark: str) -> Iterator[tuple[str, float, Floats]]:
    """What is held out, with the checkpoints that may be seen."""
    n, d, cost = suite.n_params, suite.n_tokens, suite.flops
    for budget, menu in menus(suite).items():
        yield "lobo", budget, ~np.isin(np.arange(len(suite)), menu)
        if (cost <= 0.25 * budget).sum() >= 12:
            yield "forward", budget, cost <= 0.25 * budget
    for size in np.unique(n):
        yield "a size", size, n != size
    if benchmark != "laboratory":
        for count in np.unique(d):
            yield "a token count", count, d != count
        yield "D > 60B, N < 400M", 0, ~((d > 6e10) & (n < 4e8))
        yield "N > 1.4B", 0, n <= 1.4e9
        yield "D/N > 100", 0, d / n <= 100


class Fits:
    """Laws of every form by the checkpoints seen, each fitted once."""

    def __init__(self, suite: Suite) -> None:
        self.suite, self.known = suite, {}

    def __call__(self, seen: Floats) -> dict[str, Law] | None:
        """The laws, or None where these checkpoints do not determine them."""
        key = seen.tobytes()
        if key not in self.known:
            try:
                self.known[key] = four(self.suite.rows(seen))
            except T2Error:
                self.known[key] = None
        return self.known[key]

    def values(self, laws: dict[str, Law], places: Floats, k: Floats) -> Floats:
        """pass@k by each of FOUR, in rows."""
        at = self.suite.n_params[places], self.suite.n_tokens[places], np.asarray(k, float)
        return np.stack([np.asarray(laws[form].value(*at)) for form in FOUR])

    def rates(self, places: Floats) -> tuple[Floats, Floats, Floats]:
        """Checkpoints, k and measured pass@k, in step."""
        ks = [k for k in KS if k <= self.suite.fewest[places].min()]
        at, k = np.repeat(places, len(ks)), np.tile(ks, len(places))
        return at, k, np.array([self.suite.measured(int(i), int(j)) for i, j in zip(at, k, strict=True)])

    def inner(self, seen: Floats) -> tuple[Floats, Floats]:
        """Predictions of every form, and rates, of the budgets left out among the checkpoints seen."""
        places, sub = np.flatnonzero(seen), Suite.of(self.suite.rows(seen))
        predicted, measured = [], []
        for menu in menus(sub).values():
            laws = self(seen & ~np.isin(np.arange(len(self.suite)), places[menu]))
            if laws is not None:
                at, k, truth = self.rates(places[menu])
                predicted.append(self.values(laws, at, k))
                measured.append(truth)
        return (np.concatenate(predicted, 1), np.concatenate(measured)) if measured else (np.zeros((4, 0)), np.zeros(0))


def mean(values: Floats, weights: Floats) -> Floats:
    """The weighted mean in log-odds."""
    return expit(weights @ logit(np.clip(values, 1e-15, 1 - 1e-15)))


def stacked(values: Floats, truth: Floats) -> Floats:
    """Weights in steps of 1/20 whose mean errs least (Breiman 1996)."""
    steps = (np.array(c) / 20 for c in itertools.product(range(21), repeat=len(values)) if sum(c) == 20)
    return min(steps, key=lambda w: ((mean(values, w) - truth) ** 2).mean())


RULES = {
    "equal": lambda v, _: np.ones(len(v)),
    "inverse squared error": lambda v, t: 1 / ((v - t) ** 2).mean(1),
    "inverse absolute error": lambda v, t: 1 / np.abs(v - t).mean(1),
    "its square": lambda v, t: 1 / np.abs(v - t).mean(1) ** 2,
    "stacking": stacked,
}


def main(data: Path, benchmarks: list[str]) -> None:
    """Print the table of each benchmark."""
    for benchmark in benchmarks or ["gsm8k", "math", "laboratory"]:
        suite = Suite.of(laboratory() if benchmark == "laboratory" else pythia(data, benchmark))
        fits = Fits(suite)
        settings = suite.checked_settings(suite.budgets(), suite.inference_budgets())
        parts = [(form, "equal", (form,)) for form in FOUR]
        parts += [(f"{len(forms)} forms, {rule}", rule, forms) for forms in (THREE, FOUR) for rule in RULES]
        scores: dict[str, dict[str, list[Floats]]] = {label: {} for label, *_ in parts}
        for what, budget, seen in held_out(suite, benchmark):
            laws = fits(seen)
            if laws is None:
                continue
            values, truth = fits.inner(seen)
            for label, rule, forms in parts:
                places = [FOUR.index(form) for form in forms]
                weights = RULES[rule](values[places], truth) if truth.size else np.ones(len(places))
                weights = weights / weights.sum()
                if what in ("lobo", "forward"):
                    for one in (s for s in settings if s.train_flops == budget):
                        found = mean(fits.values(laws, one.candidates, one.k)[places], weights)
                        rates = [
                            suite.measured(*at) for at in zip(one.candidates.tolist(), one.k.tolist(), strict=True)
                        ]
                        lost = max(rates) - np.array(rates)[found == found.max()].mean()
                        scores[label].setdefault(what, []).append(np.array([lost]))
                else:
                    at, k, rates = fits.rates(np.flatnonzero(~seen))
                    found = mean(fits.values(laws, at, k)[places], weights)
                    scores[label].setdefault(what, []).append(np.abs(found - rates))
        names = list(scores[parts[0][0]])
        print(f"\n== {benchmark}: regret (lobo, forward) and mean absolute error of what was held out")
        print(f"  {'mean of':<34}" + "".join(f"{name:>19}" for name in names))
        for label, found in scores.items():
            print(
                f"  {label:<34}" + "".join(f"{np.concatenate(found[name]).mean():>19.4f}" for name in names), flush=True
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
