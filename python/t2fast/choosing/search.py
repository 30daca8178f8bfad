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
from t2fast.choosing.estimator import Judged
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

    def choice(self, budget: float | None, target: float | None, unit: str, progress: Report | None) -> ModelChoice:
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
        best = self._silence(candidates) or candidates[0]
        say(1, "frontier")
        frontier = tuple(self._frontier(top))
        say(2, "cascades")
        paid, judged = best.cost if budget is None else budget, self._judged
        perfect = judged.perfect and not judged.stops
        cascade = self._cascade(paid, best) if perfect else None
        settled = self._settling(candidates, paid) if perfect else None
        say(3, "")
        return ModelChoice(
            best.model or None, best.k, best.result, best.lower, best.upper, best.pass_at_k, best.cost, unit,
            best.probability_best, budget, target, tuple(candidates), frontier, self._curves(top), cascade, settled,
            judged.rule, judged.wrong_cost, judged.stops, self.abilities[0].scope, self.confidence_level,
            len(self.abilities[0].n_samples), len(self.abilities[0].drawn), tuple(self._warnings(best)),
        )  # fmt: skip

    @property
    def _judged(self) -> Judged:
        """The rule of all models."""
        return self.abilities[0].judged

    def _silence(self, candidates: Sequence[Candidate]) -> Candidate | None:
        """No answer at all, where wrong ones cost more than any model's right ones are worth."""
        if self._judged.wrong_cost == 0 or candidates[0].result >= 0:
            return None
        chance = 1.0 - sum(one.probability_best for one in candidates)
        return Candidate("", 0, 0.0, 0.0, 0.0, 0.0, 0.0, chance, 0.0)

    def _cost(self, one: Ability, k: int) -> float:
        """What a question costs with k samples at most."""
        return self.prices[one.name].of(one.samples_drawn(k))

    def _limit(self, one: Ability) -> int:
        most = one.within if one.table is not None else _MOST_BEYOND * one.within
        return most if self.max_k is None else min(most, arguments.whole("max_k", self.max_k, least=1))

    def _affordable(self, one: Ability, budget: float) -> int:
        """The most samples that a budget pays for."""
        most, price = self._most[one.name], self.prices[one.name]
        low = min(price.most_samples(budget), most)
        if not self._judged.stops or low in (0, most):
            return low
        if price.most_samples(budget) >= one.samples_drawn(most):
            return most
        high = most  # what is drawn rises with k
        while high - low > 1:
            middle = (low + high) // 2
            paid = self._cost(one, middle) <= budget * (1 + 1e-12)
            low, high = (middle, high) if paid else (low, middle)
        return low

    def _interval(self, mean: float, draws: Floats) -> tuple[float, float]:
        n_problems, cost = len(self.abilities[0].n_samples), self._judged.wrong_cost
        # From all answers wrong to all right.
        mean, error = (mean + cost) / (1 + cost), float(np.std(draws, ddof=1)) / (1 + cost)
        if mean in (0.0, 1.0):
            # All problems alike show no spread; so many of them bound what the share of others can be.
            bound = (0.5 - 0.5 * self.confidence_level) ** (1 / n_problems)
            low, high = (bound, 1.0) if mean else (0.0, 1 - bound)
        else:
            wide = quantile(self.confidence_level, np.array([max(1, n_problems - 1)]))
            ends = logit_intervals(np.array([mean]), np.array([error]), wide)
            low, high = float(ends[0][0]), float(ends[1][0])
        return low * (1 + cost) - cost, high * (1 + cost) - cost

    def _candidate(self, one: Ability, k: int, probability: float) -> Candidate:
        if k == 0:
            return Candidate(one.name, 0, *5 * (math.nan,), probability, math.nan)
        mean, draws = one.at(k)
        low, high = self._interval(mean, draws)
        return Candidate(one.name, k, mean, low, high, one.passed(k), self._cost(one, k), probability, k / one.within)

    def _for_budget(self, budget: float) -> list[Candidate]:
        ks = [one.best_k(self._affordable(one, budget)) for one in self.abilities]
        if not any(ks):
            least = min((self.prices[one.name].of(1), one.name) for one in self.abilities)
            raise InfeasibleError(
                f"budget = {budget:g}: pays for no sample of any model; one of {least[1]} costs {least[0]:g}"
            )
        nothing = np.full(len(self.abilities[0].drawn), -np.inf)
        draws = [one.at(k)[1] if k else nothing for one, k in zip(self.abilities, ks, strict=True)]
        if self._judged.wrong_cost > 0:
            draws.append(np.zeros_like(nothing))  # silence
        chances = _shares(np.stack(draws))[: len(ks)]
        order = [-one.at(k)[0] if k else math.inf for one, k in zip(self.abilities, ks, strict=True)]
        return self._sorted(ks, chances, order)

    def _for_target(self, target: float) -> list[Candidate]:
        ks, costs = [], []
        for one in self.abilities:
            one.reach(self._most[one.name])
            ks.append(one.least_k(target, self._most[one.name]))
            costs.append(self._costs(one, target))
        if not any(ks):
            tops = [(one, one.best_k(self._most[one.name])) for one in self.abilities]
            reached, name, k = max((one.mean(k), one.name, k) for one, k in tops)
            raise InfeasibleError(
                f"target = {target:g}: no model reaches it; the most is {reached:.3f} by {name} with {k} samples"
            )
        chances = _shares(-np.stack(costs))
        price = [self._cost(one, k) if k else math.inf for one, k in zip(self.abilities, ks, strict=True)]
        return self._sorted(ks, chances, price)

    def _sorted(self, ks: Sequence[int], chances: Floats, order: Sequence[float]) -> list[Candidate]:
        """Candidates, the best first; of equals the cheaper."""
        found = [self._candidate(one, k, float(p)) for one, k, p in zip(self.abilities, ks, chances, strict=True)]
        keys = [(value, one.cost if one.k else math.inf) for value, one in zip(order, found, strict=True)]
        return [found[i] for i in sorted(range(len(found)), key=keys.__getitem__)]

    def _costs(self, one: Ability, target: float) -> Floats:
        """What reaching a target costs in each replicate; infinite where it is not reached."""
        ks = _grid(self._most[one.name])
        price = np.array([self._cost(one, k) for k in ks])
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
            found = self._for_budget(float(budget))
            best = self._silence(found) or found[0]
            steps.append(
                Step(
                    float(budget),
                    best.model or None,
                    best.k,
                    best.result,
                    best.lower,
                    best.upper,
                    best.probability_best,
                )
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
        affordable = [(chance, one, k) for chance, one in rivals if (k := one.best_k(self._affordable(one, budget)))]
        if not affordable:
            return None
        _, rival, k = max(affordable, key=lambda each: each[0])
        return settling((chosen, candidates[0].k), (rival, k))

    def _warnings(self, best: Candidate) -> list[str]:
        out: list[str] = []
        if not best.k:
            return ["no model is worth its wrong answers: silence is the best choice"]
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
