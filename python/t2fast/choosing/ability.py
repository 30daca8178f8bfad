"""What an existing model makes of k samples, from its counts: within its samples, beyond them, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from t2fast import _core, passk
from t2fast.choosing.again import Again
from t2fast.choosing.beyond import Beyond, belief, joined, of_rule, points, predicted, replicated
from t2fast.choosing.estimator import Judged, OfCounts, Prior, by_draw
from t2fast.errors import T2Error
from t2fast.rules import AnyCorrect, Verifier

__all__ = ["Ability", "Scope", "resamples"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: What uncertainty speaks about: other problems of the kind, or the same problems sampled anew.
Scope = Literal["problems", "samples"]

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
    judged
        The rule that makes one answer of k samples, with its price of wrong ones; pass@k by default.
    table
        For votes among the answers at hand: the chance that a problem's answer is right with 1, 2, ... samples, shape
        (problems, ks).
    """

    name: str
    n_samples: Integers
    n_correct: Integers
    drawn: Integers
    scope: Scope = "problems"
    seed: int = 0
    judged: Judged = field(default_factory=Judged)
    table: Floats | None = None
    _cache: dict[int, tuple[float, Floats]] = field(default_factory=dict, repr=False)
    _far: Beyond | None = field(default=None, repr=False)
    _curve: Floats | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.table is not None:
            self.table = self.table - self.judged.wrong_cost * (1.0 - self.table)

    @property
    def within(self) -> int:
        """The largest k that needs no extrapolation."""
        return int(self.n_samples.min()) if self.table is None else self.table.shape[1]

    def by_problem(self, k: int) -> Floats:
        """The result of each problem, for k within."""
        if self.table is not None:
            return np.asarray(self.table[:, k - 1])
        return np.asarray(self._of_counts[0].values(k)[self._pairs[2]])

    def at(self, k: int) -> tuple[float, Floats]:
        """The result with k samples, and its replicates."""
        if k not in self._cache:
            self._cache[k] = self._near(k) if k <= self.within else self._beyond(k).at(k)
        return self._cache[k]

    def mean(self, k: int) -> float:
        """The result with k samples."""
        if k in self._cache or k > self.within:
            return self.at(k)[0]
        return float(self.by_problem(k).mean())

    def passed(self, k: int) -> float:
        """pass@k: what a perfect verifier makes of the same samples."""
        if self.judged.perfect:
            return self.mean(k)
        if k <= int(self.n_samples.min()):
            return float(passk.mean_pass_at_k(self.n_samples, self.n_correct, k))
        return self._beyond(k).passed_at(k)

    def best_k(self, most: int) -> int:
        """The k of the best result, of equals the smallest, among those up to ``most``."""
        if most < 2:
            return most
        if self.rises:
            return self._least(self.mean(most) - self._same, most)
        return self._first(most, lambda means: means >= means.max() - self._same)

    def least_k(self, target: float, most: int) -> int:
        """The smallest k up to ``most`` that reaches a target; 0 if none does."""
        if self.rises:
            return self._least(target, most) if self.mean(most) >= target else 0
        k = self._first(most, lambda means: means >= target)
        if k <= self.within:
            return k
        # Between two points of the curve it rises or falls.
        steps = self._beyond(k).ks
        below = max(self.within, int(steps[np.searchsorted(steps, k) - 1]))
        return self._least(target, k, below)

    @property
    def _same(self) -> float:
        """Results that differ by less are the same: what integrals over success rates are good to."""
        return 1e-9 if isinstance(self.judged.rule, AnyCorrect | Verifier) else 1e-7

    @property
    def rises(self) -> bool:
        """Whether more samples are never worse."""
        return self.table is None and self.judged.rises

    def _least(self, target: float, most: int, low: int = 0) -> int:
        """The smallest k above ``low`` that reaches what ``most`` reaches, where the result rises between."""
        if most - 1 > low and self.mean(most - 1) < target:
            return most
        high = most
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.mean(middle) >= target else (middle, high)
        return high

    def _first(self, most: int, wanted: Callable[[Floats], NDArray[np.bool_]]) -> int:
        """The first k up to ``most`` of those that are wanted; 0 where none is."""
        ks, means = np.arange(1, min(most, self.within) + 1), self._means(min(most, self.within))
        if most > self.within:
            # Between its points a curve beyond the samples has no extremes.
            steps = self._beyond(most).ks
            further = np.unique(np.concatenate([np.floor(steps), np.ceil(steps), [most]]).astype(int))
            further = further[(further > self.within) & (further <= most)]
            ks = np.append(ks, further)
            means = np.append(means, [self.mean(int(k)) for k in further])
        found = np.flatnonzero(wanted(means))
        return int(ks[found[0]]) if found.size else 0

    def _means(self, most: int) -> Floats:
        """The result with each k up to ``most``, for k within."""
        if self.table is not None:
            return np.asarray(self.table[:, :most].mean(axis=0))
        if self._curve is None or len(self._curve) < most:
            self._curve = self._of_counts[0].curve(self._pairs[3], most)  # type: ignore[attr-defined]
        return self._curve[:most]

    def samples_drawn(self, k: int) -> float:
        """Samples drawn per question on average, fewer than k where sampling stops at the first accepted answer."""
        if not self.judged.stops:
            return float(k)

        def near(k: int) -> float:
            return float(self._of_counts[0].drawn(k)[self._pairs[2]].mean())  # type: ignore[attr-defined]

        if k <= self.within:
            return near(k)
        n = self.within
        return near(n) + self.judged.drawn_of_prior(self._prior, k) - self.judged.drawn_of_prior(self._prior, n)

    def _near(self, k: int) -> tuple[float, Floats]:
        values = self.by_problem(k)
        mean = float(values.mean())
        if self.table is not None:
            return mean, self.drawn @ values / len(values)
        draws = np.empty(len(self.drawn))
        for rows, place in by_draw(self._of_counts):
            of = self._of_counts[place].values(k)[self._pairs[2]] if place else values
            draws[rows] = self.drawn[rows] @ of / len(of) if self.scope == "problems" else of.mean()
        return mean, draws if self.scope == "problems" else self._bounded(draws - self._again.error(k))

    @cached_property
    def _pairs(self) -> tuple[Integers, Integers, Integers, Integers]:
        """Distinct counts n and c, each problem's place among them, and how often each occurs."""
        most = int(self.n_samples.max()) + 1
        pairs, place, often = np.unique(self.n_samples * most + self.n_correct, return_inverse=True, return_counts=True)
        return pairs // most, pairs % most, place.reshape(-1), often

    @cached_property
    def _of_counts(self) -> list[OfCounts]:
        """What the rule makes of the distinct counts, by each draw of its parameters."""
        n, c, _, often = self._pairs
        return [one.of_counts(n, c, self._prior, often) for one in self.judged.judges]

    @cached_property
    def _histogram(self) -> _core.Histogram:
        return _core.Histogram(self.n_samples, self.n_correct)

    @cached_property
    def _prior(self) -> Prior:
        """The fitted law of success rates."""
        fit = self._histogram.beta_binomial(True)
        # Where all samples agree the fit takes rates for exactly 0 or 1; the arcsine law leaves every rate possible.
        return (0.5, 0.5, 0.0) if fit.outcome in ("constant", "all_or_nothing") else (fit.a, fit.b, fit.zero)

    def _bounded(self, values: Floats) -> Floats:
        return np.clip(values, -self.judged.wrong_cost, 1.0)

    @cached_property
    def _again(self) -> Again:
        return Again(self.n_samples, self.n_correct, self.judged.judges, self._prior, len(self.drawn), self.seed)

    def reach(self, k: int) -> None:
        """Make ready for k up to this one, which is faster than one by one."""
        if self.table is None and k > self.within and (self._far is None or k > self._far.ks[-1]):
            self._far = self._extrapolated(points(self.within, float(k)))

    def _beyond(self, k: int) -> Beyond:
        if self.table is not None:
            raise T2Error(f"k = {k}: {self.name} has {self.within} samples, and votes among them go no further")
        self.reach(k)
        assert self._far is not None
        return self._far

    def _extrapolated(self, ks: Floats) -> Beyond:
        n, cost = self.within, self.judged.wrong_cost
        methods = belief(self._histogram, float(ks[-1]), self.seed)
        weights = of_rule(methods, self.judged)
        measured, starts = self.at(n)
        both = {m: predicted(self._histogram, m, ks, self.judged) for m in {**methods, **weights}}
        mean = joined(np.sum([weights[m] * both[m][0] for m in weights], axis=0), measured, cost)
        passed = joined(np.sum([methods[m] * both[m][1] for m in methods], axis=0), self.passed(n))
        random = np.random.Generator(np.random.Philox(key=[self.seed, 2]))
        # The same luck for all models: where a method fails, it fails for the like of them.
        luck = random.random(len(self.drawn)) * (1 - 1e-12)
        place = [list(weights)[i] for i in np.searchsorted(np.cumsum(list(weights.values())), luck)]
        if self.scope == "problems":
            counts = (
                _core.Histogram(np.repeat(self.n_samples, often), np.repeat(self.n_correct, often))
                for often in self.drawn
            )
        else:
            counts = (_core.Histogram(self.n_samples, correct) for correct in self._again.correct)
            starts = self._again.estimates(n)
        draws = replicated(counts, place, ks, self.judged.judges)
        for row, first in enumerate(starts):
            draws[row] = joined(draws[row], float(first), cost)
        if self.scope == "samples":
            # As within: the prediction may be off as far as those from samples drawn again are from their mean.
            for method in weights:
                of = np.array([one == method for one in place])
                if of.any():
                    error = draws[of] - draws[of].mean(axis=0)
                    draws[of] = self._bounded(joined(both[method][0], measured, cost) - error)
        return Beyond(ks, mean, draws, passed, weights)
