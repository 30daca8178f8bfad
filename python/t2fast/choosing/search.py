"""The search over models and numbers of samples, for a budget, a target and a frontier of budgets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from t2fast import arguments
from t2fast.choosing.ability import Ability
from t2fast.choosing.cascade import Cascade, best_cascade, by_problem
from t2fast.choosing.choice import Candidate, ModelChoice, Step
from t2fast.choosing.prices import Price
from t2fast.choosing.settling import Settling, settling
from t2fast.errors import InfeasibleError
from t2fast.passk.interval import logit_intervals, quantile
from t2fast.results import Progress, Report

__all__ = ["Search"]

Floats = NDArray[np.float64]

#: Budgets along the frontier, and how far beyond the one asked for it goes.
_BUDGETS, _FURTHER = 25, 10.0
#: Samples per question at most, in multiples of those drawn: beyond, the method decides and not the data.
_MOST_BEYOND = 100


@dataclass
class Search:
    """The search over models and k."""

    abilities: Sequence[Ability]
    prices: Mapping[str, Price]
    confidence_level: float
    max_k: int | None
    _most: dict[str, int] = field(default_factory=dict)

    def choice(
        self, budget: float | None, target: float | None, unit: str, rule: str, progress: Report | None
    ) -> ModelChoice:
        """The best choice, with everything that is said beside it."""

        def say(done: int, note: str) -> None:
            if progress is not None:
                progress(Progress(done, 3, "steps", note))

        for one in self.abilities:
            self._most[one.name] = self._limit(one)
        say(0, "models")
        if budget is not None:
            top = budget * _FURTHER
            for one in self.abilities:
                one.reach(self._affordable(one, top))
            candidates = self._for_budget(budget)
        else:
            assert target is not None
            candidates = self._for_target(target)
            top = candidates[0].cost * _FURTHER
        best = candidates[0]
        say(1, "frontier")
        frontier = tuple(self._frontier(top))
        say(2, "cascades")
        cascade = self._cascade(best.cost if budget is None else budget, best) if rule == "pass@k" else None
        settled = self._settling(candidates, best.cost if budget is None else budget) if rule == "pass@k" else None
        say(3, "")
        return ModelChoice(
            best.model, best.k, best.result, best.lower, best.upper, best.cost, unit, best.probability_best, budget,
            target, tuple(candidates), frontier, self._curves(top), cascade, settled, rule, self.abilities[0].scope,
            self.confidence_level, len(self.abilities[0].n_samples), len(self.abilities[0].drawn),
            tuple(self._warnings(best)),
        )  # fmt: skip

    def _limit(self, one: Ability) -> int:
        most = one.within if one.table is not None else _MOST_BEYOND * one.within
        return most if self.max_k is None else min(most, arguments.whole("max_k", self.max_k, least=1))

    def _affordable(self, one: Ability, budget: float) -> int:
        return min(self.prices[one.name].most_samples(budget), self._most[one.name])

    def _best_k(self, one: Ability, budget: float) -> int:
        """The k of the best result within a budget: the largest, unless the rule can lose by more samples."""
        most = self._affordable(one, budget)
        if one.table is None or most == 0:
            return most
        return int(np.argmax(one.table[:, :most].mean(axis=0))) + 1

    def _interval(self, mean: float, draws: Floats) -> tuple[float, float]:
        n_problems = len(self.abilities[0].n_samples)
        error = float(np.std(draws, ddof=1))
        if mean in (0.0, 1.0):
            # All problems alike show no spread; so many of them bound what the share of others can be.
            bound = (0.5 - 0.5 * self.confidence_level) ** (1 / n_problems)
            return (bound, 1.0) if mean else (0.0, 1 - bound)
        wide = quantile(self.confidence_level, np.array([max(1, n_problems - 1)]))
        low, high = logit_intervals(np.array([mean]), np.array([error]), wide)
        return float(low[0]), float(high[0])

    def _candidate(self, one: Ability, k: int, probability: float) -> Candidate:
        if k == 0:
            return Candidate(one.name, 0, math.nan, math.nan, math.nan, math.nan, probability, math.nan)
        mean, draws = one.at(k)
        low, high = self._interval(mean, draws)
        return Candidate(one.name, k, mean, low, high, self.prices[one.name].of(k), probability, k / one.within)

    def _for_budget(self, budget: float) -> list[Candidate]:
        ks = [self._best_k(one, budget) for one in self.abilities]
        if not any(ks):
            least = min((self.prices[one.name].of(1), one.name) for one in self.abilities)
            raise InfeasibleError(
                f"budget = {budget:g}: pays for no sample of any model; one of {least[1]} costs {least[0]:g}"
            )
        nothing = np.full(len(self.abilities[0].drawn), -1.0)
        draws = np.stack([one.at(k)[1] if k else nothing for one, k in zip(self.abilities, ks, strict=True)])
        chances = _shares(draws)
        order = [-one.at(k)[0] if k else 2.0 for one, k in zip(self.abilities, ks, strict=True)]
        return self._sorted(ks, chances, order)

    def _for_target(self, target: float) -> list[Candidate]:
        ks, costs = [], []
        for one in self.abilities:
            one.reach(self._most[one.name])
            ks.append(self._least_k(one, target))
            costs.append(self._costs(one, target))
        if not any(ks):
            reached = max((one.at(self._most[one.name])[0], one.name) for one in self.abilities)
            raise InfeasibleError(
                f"target = {target:g}: no model reaches it; the most is {reached[0]:.3f} by {reached[1]} with "
                f"{self._most[reached[1]]} samples"
            )
        chances = _shares(-np.stack(costs))
        price = [self.prices[one.name].of(k) if k else math.inf for one, k in zip(self.abilities, ks, strict=True)]
        return self._sorted(ks, chances, price)

    def _sorted(self, ks: Sequence[int], chances: Floats, order: Sequence[float]) -> list[Candidate]:
        """Candidates, the best first; of equals the cheaper."""
        found = [self._candidate(one, k, float(p)) for one, k, p in zip(self.abilities, ks, chances, strict=True)]
        keys = [(value, one.cost if one.k else math.inf) for value, one in zip(order, found, strict=True)]
        return [found[i] for i in sorted(range(len(found)), key=keys.__getitem__)]

    def _least_k(self, one: Ability, target: float) -> int:
        """The smallest k that reaches a target; 0 if none does."""
        most = self._most[one.name]
        if one.table is not None:
            reached = np.flatnonzero(one.table[:, :most].mean(axis=0) >= target)
            return int(reached[0]) + 1 if reached.size else 0
        if one.at(most)[0] < target:
            return 0
        low, high = 0, most  # pass@k rises with k
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if one.at(middle)[0] >= target else (middle, high)
        return high

    def _costs(self, one: Ability, target: float) -> Floats:
        """What reaching a target costs in each replicate; infinite where it is not reached."""
        ks = _grid(self._most[one.name])
        price = np.array([self.prices[one.name].of(k) for k in ks])
        draws = np.stack([one.at(k)[1] for k in ks], axis=1)
        reached = draws >= target
        first = reached.argmax(axis=1)
        rows = np.arange(len(draws))
        before = np.maximum(first - 1, 0)
        low, high = draws[rows, before], draws[rows, first]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where((first > 0) & (high > low), (target - low) / (high - low), 1.0)
        cost = price[before] + np.clip(share, 0.0, 1.0) * (price[first] - price[before])
        return np.where(reached.any(axis=1), np.where(first == 0, price[0], cost), np.inf)

    def _frontier(self, top: float) -> list[Step]:
        bottom = min(self.prices[one.name].of(1) for one in self.abilities)
        steps = []
        for budget in np.geomspace(bottom, max(top, bottom * 1.01), _BUDGETS):
            best = self._for_budget(float(budget))[0]
            steps.append(
                Step(float(budget), best.model, best.k, best.result, best.lower, best.upper, best.probability_best)
            )
        return steps

    def _curves(self, top: float) -> dict[str, tuple[tuple[float, ...], ...]]:
        out: dict[str, tuple[tuple[float, ...], ...]] = {}
        for one in self.abilities:
            rows: list[tuple[float, ...]] = []
            for k in _grid(self._affordable(one, top)):
                found = self._candidate(one, k, 0.0)
                rows.append((float(k), found.cost, found.result, found.lower, found.upper))
            out[one.name] = tuple(rows)
        return out

    def _cascade(self, budget: float, best: Candidate) -> Cascade | None:
        found = best_cascade(self.abilities, self.prices, budget)
        if found is None or found.result <= best.result:
            return None
        alone = self._named(best.model).at(best.k)[1]
        draws = self.abilities[0].drawn @ by_problem(found) / len(self.abilities[0].n_samples)
        low, high = self._interval(found.result, draws)
        return Cascade(
            found.first.name, found.first_k, found.second.name, found.second_k, found.result, low, high, found.cost,
            found.result - best.result, float((draws > alone).mean()),
        )  # fmt: skip

    def _named(self, name: str) -> Ability:
        return next(one for one in self.abilities if one.name == name)

    def _settling(self, candidates: Sequence[Candidate], budget: float) -> Settling | None:
        """What would settle the choice: compared at one budget, also where a target was asked for."""
        chosen = self._named(candidates[0].model)
        rivals = [(one.probability_best, self._named(one.model)) for one in candidates[1:]]
        affordable = [(chance, one, k) for chance, one in rivals if (k := self._best_k(one, budget))]
        if not affordable:
            return None
        _, rival, k = max(affordable, key=lambda each: each[0])
        return settling((chosen, candidates[0].k), (rival, k))

    def _warnings(self, best: Candidate) -> list[str]:
        out = []
        if best.extrapolation > 1:
            out.append(
                f"k = {best.k} is {best.extrapolation:.2g} times the samples drawn of {best.model}: its result is "
                "extrapolated"
            )
        if best.k == self._most[best.model] and best.extrapolation > 1:
            out.append(f"k ended at its limit of {best.k}: more could be paid for (max_k)")
        if best.probability_best < 0.5:
            out.append("the models are too close to tell: another choice is as likely to be the best")
        return out


def _grid(most: int) -> list[int]:
    """Values of k up to a limit: each of the first few, then a few per decade."""
    if most < 1:
        return []
    ks = np.unique(np.concatenate([np.arange(1, min(most, 8) + 1), np.round(np.geomspace(1, most, 40))]).astype(int))
    return [int(k) for k in ks]


def _shares(draws: Floats) -> Floats:
    """How often each row is the largest; ties are shared."""
    largest = draws == draws.max(axis=0)
    return np.asarray((largest / largest.sum(axis=0)).mean(axis=1))
