"""What an existing model makes of k samples, from its counts: within its samples, beyond them, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from t2fast import _core, passk
from t2fast.errors import T2Error

__all__ = ["Ability", "Scope", "resamples"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: What uncertainty speaks about: other problems of the kind, or the same problems sampled anew.
Scope = Literal["problems", "samples"]

#: Methods beyond the samples drawn; each is believed as far as it does well on the counts at hand.
_METHODS = ("power_law", "beta_binomial", "zero_inflated")
#: Points of a curve beyond the samples drawn; between them it is interpolated in log k.
_BEYOND = 24


#: Entries of all replicates together: 4 GiB.
_MOST_DRAWN = 1 << 29


def resamples(n_problems: int, n_resamples: int, seed: int) -> Integers:
    """How often each problem is drawn in each replicate of a bootstrap, shape (replicates, problems)."""
    if n_problems * n_resamples > _MOST_DRAWN:
        raise T2Error(
            f"n_resamples = {n_resamples}: with {n_problems} problems at most {_MOST_DRAWN // n_problems} replicates, "
            "which are held in memory"
        )
    random = np.random.Generator(np.random.Philox(key=[seed, 1]))
    shares = np.full(n_problems, 1 / n_problems)
    drawn = np.empty((n_resamples, n_problems), np.int64)
    for row in drawn:  # one by one, so that Ctrl-C is heard
        row[:] = random.multinomial(n_problems, shares)
    return drawn


@dataclass
class Ability:
    """One model's result at any k: a number, and what it is in each replicate.

    Replicates are paired: the same place means the same problems for all models.

    Parameters
    ----------
    name
        Of the model.
    n_samples, n_correct
        Counts of the problems, in the same order for all models.
    drawn
        From :func:`resamples`.
    scope
        What the replicates vary.
    seed
        Key of the random numbers.
    table
        For another rule than pass@k: the chance that a problem's answer is right with 1, 2, ... samples, shape
        (problems, ks).
    """

    name: str
    n_samples: Integers
    n_correct: Integers
    drawn: Integers
    scope: Scope = "problems"
    seed: int = 0
    table: Floats | None = None
    _cache: dict[int, tuple[float, Floats]] = field(default_factory=dict, repr=False)
    _far: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def within(self) -> int:
        """The largest k that needs no extrapolation."""
        return int(self.n_samples.min()) if self.table is None else self.table.shape[1]

    def by_problem(self, k: int) -> Floats:
        """The chance that each problem's answer is right, for k within."""
        if self.table is not None:
            return np.asarray(self.table[:, k - 1])
        return np.asarray(passk.pass_at_k(self.n_samples, self.n_correct, k))

    def at(self, k: int) -> tuple[float, Floats]:
        """The result with k samples, and its replicates."""
        if k not in self._cache:
            self._cache[k] = self._near(k) if k <= self.within else self._beyond(k)
        return self._cache[k]

    def _near(self, k: int) -> tuple[float, Floats]:
        values = self.by_problem(k)
        mean = float(values.mean())
        if self.scope == "problems" or self.table is not None:
            return mean, self.drawn @ values / len(values)
        # What the estimate says of samples drawn again, less what is true of them: how far it may be off.
        return mean, np.clip(mean - (self._estimates_again(k) - self._rates_at(float(k))), 0.0, 1.0)

    def _estimates_again(self, k: int) -> Floats:
        n = np.broadcast_to(self.n_samples, self._again.shape)
        values = np.asarray(passk.pass_at_k(n.reshape(-1), self._again.reshape(-1), k))
        return np.asarray(values.reshape(n.shape).mean(axis=1))

    def _beyond(self, k: int) -> tuple[float, Floats]:
        if self.table is not None:
            raise T2Error(f"k = {k}: {self.name} has {self.within} samples, and this rule cannot be extrapolated")
        if not self._far or k > self._far["k"][-1]:
            self._extrapolate(float(k))
        at = np.interp(math.log(k), np.log(self._far["k"]), np.arange(len(self._far["k"])))
        low = min(int(at), len(self._far["k"]) - 2)
        share = at - low
        mean, draws = self._far["mean"], self._far["draws"]
        return (
            float(mean[low] * (1 - share) + mean[low + 1] * share),
            draws[:, low] * (1 - share) + draws[:, low + 1] * share,
        )

    def reach(self, k: int) -> None:
        """Make ready for k up to this one, which is faster than one by one."""
        if k > self.within and (not self._far or k > self._far["k"][-1]):
            self._extrapolate(float(k))

    def _extrapolate(self, top: float) -> None:
        n = self.within
        ks = np.geomspace(n, max(top, 2 * n), _BEYOND)
        counts = _core.Histogram(self.n_samples, self.n_correct)
        weights = self._belief(counts, float(ks[-1]))
        measured, replicates = self.at(n)
        predicted = {m: np.asarray(counts.extrapolate(m, ks, 0, 0, None, 1).values) for m in weights}
        mean = _joined(sum(weights[m] * predicted[m] for m in weights), measured)  # type: ignore[arg-type]
        random = np.random.Generator(np.random.Philox(key=[self.seed, 2]))
        # The same luck for all models: where a method fails, it fails for the like of them.
        place = np.searchsorted(np.cumsum(list(weights.values())), random.random(len(self.drawn)) * (1 - 1e-12))
        methods = list(weights)
        draws = np.empty((len(self.drawn), len(ks)))
        for row, often in enumerate(self.drawn):
            some = (
                _core.Histogram(np.repeat(self.n_samples, often), np.repeat(self.n_correct, often))
                if self.scope == "problems"
                else _core.Histogram(self.n_samples, self._again[row])
            )
            draws[row] = some.extrapolate(methods[place[row]], ks, 0, 0, None, 1).values
        starts = replicates if self.scope == "problems" else self._estimates_again(n)
        for row, first in enumerate(starts):
            draws[row] = _joined(draws[row], float(first))
        if self.scope == "samples":
            # As within: the prediction may be off as far as those from samples drawn again are from their mean.
            for i, method in enumerate(methods):
                of = place == i
                if of.any():
                    error = draws[of] - draws[of].mean(axis=0)
                    draws[of] = np.clip(_joined(predicted[method], measured) - error, 0.0, 1.0)
        self._far = {"k": ks, "mean": mean, "draws": draws, "methods": weights}

    def _belief(self, counts: _core.Histogram, k: float) -> Mapping[str, float]:
        """How far each method is believed: by the squared errors of its predictions from fewer samples."""
        if self.within < 4:
            return {"beta_binomial": 1.0}
        errors: dict[str, list[float]] = {}
        for trial in counts.backtest(list(_METHODS), k, 20, self.seed, 1):
            errors.setdefault(trial.method, []).append(trial.error)
        squares = {m: max(float(np.mean(e)), 1e-4) ** -2 for m, e in errors.items()}
        if not squares:
            return {"beta_binomial": 1.0}
        # What hardly counts is left out, and what it would have had goes to the others.
        kept = {m: value for m, value in squares.items() if value > 0.02 * sum(squares.values())}
        return {m: value / sum(kept.values()) for m, value in kept.items()}

    def _rates_at(self, k: float) -> Floats:
        """Mean pass@k under success rates that the counts leave possible, a number per replicate."""
        with np.errstate(divide="ignore"):
            return np.asarray(-np.expm1(k * np.log1p(-self._rates)).mean(axis=1))

    @cached_property
    def _again(self) -> Integers:
        """Correct samples, had they been drawn again from those rates."""
        random = np.random.Generator(np.random.Philox(key=[self.seed, 4]))
        return random.binomial(self.n_samples, self._rates)

    @cached_property
    def _rates(self) -> Floats:
        """Success rates that the counts leave possible, shape (replicates, problems)."""
        fit = _core.Histogram(self.n_samples, self.n_correct).beta_binomial(True)
        # Where all samples agree the fit takes rates for exactly 0 or 1; the arcsine law leaves every rate possible.
        a, b, zero = (0.5, 0.5, 0.0) if fit.outcome in ("constant", "all_or_nothing") else (fit.a, fit.b, fit.zero)
        random = np.random.Generator(np.random.Philox(key=[self.seed, 3]))
        shape = (len(self.drawn), len(self.n_samples))
        rates = random.beta(a + self.n_correct, b + self.n_samples - self.n_correct, size=shape)
        if zero > 0:
            # A problem without a right sample may be one that never has any.
            from_beta = np.array([_core.beta_pass_at_k(a, b, 0.0, np.array([float(n)]))[0] for n in self.n_samples])
            never = zero / (zero + (1 - zero) * (1 - from_beta))
            rates[(self.n_correct == 0) & (random.random(shape) < never)] = 0.0
        return rates


def _joined(values: Floats, first: float) -> Floats:
    """A predicted curve that begins at what was measured: the share of failures that is left falls as predicted."""
    left = max(1.0 - float(values[0]), 1e-12)
    return np.clip(1.0 - (1.0 - first) * (1.0 - values) / left, first, 1.0)
