"""A model's result beyond its samples: what each method predicts, how far each is believed, and where they begin."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from t2fast import _core
from t2fast.choosing.estimator import Judged, by_draw

__all__ = ["Beyond", "belief", "joined", "of_rule", "points", "predicted", "replicated"]

Floats = NDArray[np.float64]

#: Methods beyond the samples drawn; each is believed as far as it does well on the counts at hand.
_METHODS = ("power_law", "beta_binomial", "zero_inflated")
#: Points of a curve beyond the samples drawn; between them it is interpolated in log k.
_BEYOND = 24


@dataclass(frozen=True)
class Beyond:
    """Curves beyond the samples drawn.

    Attributes
    ----------
    ks
        Points, from the samples drawn on; shape (points,).
    mean, draws
        The result there, and in each replicate; shapes (points,) and (replicates, points).
    passed
        pass@k there.
    methods
        How far each method is believed.
    """

    ks: Floats
    mean: Floats
    draws: Floats
    passed: Floats
    methods: Mapping[str, float]

    def at(self, k: int) -> tuple[float, Floats]:
        """The result with k samples, and its replicates."""
        low, share = self._place(k)
        return self._between(self.mean, k), self.draws[:, low] * (1 - share) + self.draws[:, low + 1] * share

    def passed_at(self, k: int) -> float:
        """pass@k."""
        return self._between(self.passed, k)

    def _between(self, curve: Floats, k: int) -> float:
        low, share = self._place(k)
        return float(curve[low] * (1 - share) + curve[low + 1] * share)

    def _place(self, k: int) -> tuple[int, float]:
        at = np.interp(math.log(k), np.log(self.ks), np.arange(len(self.ks)))
        low = min(int(at), len(self.ks) - 2)
        return low, float(at) - low


def points(within: int, top: float) -> Floats:
    """Numbers of samples from those drawn to at least ``top``."""
    return np.asarray(np.geomspace(within, max(top, 2 * within), _BEYOND))


def predicted(counts: _core.Histogram, method: str, ks: Floats, judged: Judged) -> tuple[Floats, Floats]:
    """The result and pass@k as a method predicts them from some counts."""
    passed = np.asarray(counts.extrapolate(method, ks, 0, 0, None, 1).values)
    if judged.perfect:
        return passed, passed
    fit = counts.beta_binomial(method == "zero_inflated")
    return judged.of_prior((fit.a, fit.b, fit.zero), ks, passed if method == "power_law" else None), passed


def replicated(
    counts: Iterable[_core.Histogram], methods: Sequence[str], ks: Floats, judges: Sequence[Judged]
) -> Floats:
    """The result in each replicate, by a method of its own and the rule's draws in turn."""
    draws, which = np.empty((len(methods), len(ks))), np.zeros(len(methods), np.int64)
    for rows, place in by_draw(judges):
        which[rows] = place
    for row, (one, method) in enumerate(zip(counts, methods, strict=True)):
        draws[row] = predicted(one, method, ks, judges[which[row]])[0]
    return draws


def belief(counts: _core.Histogram, k: float, seed: int) -> Mapping[str, float]:
    """How far each method is believed: by the squared errors of its predictions of pass@k from fewer samples."""
    if counts.fewest_samples < 4:
        return {"beta_binomial": 1.0}
    errors: dict[str, list[float]] = {}
    for trial in counts.backtest(list(_METHODS), k, 20, seed, 1):
        errors.setdefault(trial.method, []).append(trial.error)
    squares = {m: max(float(np.mean(e)), 1e-4) ** -2 for m, e in errors.items()}
    if not squares:
        return {"beta_binomial": 1.0}
    # What hardly counts is left out, and what it would have had goes to the others.
    kept = {m: value for m, value in squares.items() if value > 0.02 * sum(squares.values())}
    return {m: value / sum(kept.values()) for m, value in kept.items()}


def of_rule(methods: Mapping[str, float], judged: Judged) -> Mapping[str, float]:
    """The same for a rule, of which a power law of pass@k may say nothing."""
    if judged.follows_pass:
        return methods
    kept = {m: share for m, share in methods.items() if m != "power_law"} or {"beta_binomial": 1.0}
    return {m: share / sum(kept.values()) for m, share in kept.items()}


def joined(values: Floats, first: float, wrong_cost: float = 0.0) -> Floats:
    """A predicted curve that begins at what was measured.

    Where it rises the share of failures that is left falls as predicted, and where it falls the share of successes; a
    result lies between ``-wrong_cost``, all answers wrong, and 1.
    """
    scaled, start = (values + wrong_cost) / (1 + wrong_cost), (first + wrong_cost) / (1 + wrong_cost)
    left, kept = max(1.0 - float(scaled[0]), 1e-12), max(float(scaled[0]), 1e-12)
    up = np.clip(1.0 - (1.0 - start) * (1.0 - scaled) / left, start, 1.0)
    found = np.where(scaled >= scaled[0], up, np.clip(start * scaled / kept, 0.0, start))
    return np.asarray(found * (1 + wrong_cost) - wrong_cost)
