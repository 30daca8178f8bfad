"""The choice of a model and a number of samples: what is found, and how it reads."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from t2fast.choosing.ability import Scope
from t2fast.choosing.cascade import Cascade
from t2fast.choosing.settling import Settling
from t2fast.quantity import format_flops
from t2fast.results import Result
from t2fast.rules import AnyCorrect, Rule
from t2fast.text import WIDTH, columns, warning_lines

__all__ = ["Candidate", "ModelChoice", "Step"]


@dataclass(frozen=True)
class Candidate:
    """The best that one model can do.

    Attributes
    ----------
    model, k
        Its name, and its samples per question; 0 where it cannot meet the budget or the target.
    result, lower, upper
        The share of problems with a right answer, less the price of wrong ones, and its interval; NaN where k is 0.
    pass_at_k
        What a perfect verifier makes of the same samples.
    cost
        Per question, in the unit of the prices.
    probability_best
        The share of replicates in which it is the best of all.
    extrapolation
        k in multiples of the samples drawn; up to 1 nothing is extrapolated.

    Examples
    --------
    >>> from t2fast.choosing import Price, choose
    >>> found = choose({"m": (20, [0, 3, 9, 14])}, {"m": Price(0, 1e-4)}, 1e-3)
    >>> found.candidates[0].k
    10
    """

    model: str
    k: int
    result: float
    lower: float
    upper: float
    pass_at_k: float
    cost: float
    probability_best: float
    extrapolation: float


@dataclass(frozen=True)
class Step:
    """The best choice for one budget of the frontier.

    Attributes
    ----------
    budget, model, k, result, lower, upper, probability_best
        As of a :class:`Candidate`; ``None`` and 0 where silence is best.

    Examples
    --------
    >>> from t2fast.choosing import Price, choose
    >>> found = choose({"m": (20, [0, 3, 9, 14])}, {"m": Price(0, 1e-4)}, 1e-3)
    >>> [one.k for one in found.frontier[::12]]
    [1, 10, 100]
    """

    budget: float
    model: str | None
    k: int
    result: float
    lower: float
    upper: float
    probability_best: float


@dataclass(frozen=True, repr=False, eq=False)
class ModelChoice(Result):
    """Which model, and how many samples; :func:`choose` makes it.

    Attributes
    ----------
    model, k
        The choice; ``None`` and 0 where wrong answers cost so much that silence is best.
    result, lower, upper
        The share of problems with a right answer, less the price of wrong ones, and its interval.
    pass_at_k
        What a perfect verifier makes of the same samples.
    cost, unit
        Per question; ``"dollars"`` or ``"flops"``.
    probability_best
        The chance that no other model is better: the share of replicates.
    budget, target
        What was asked; one of them is ``None``.
    candidates
        The best that each model can do, the chosen one first.
    frontier
        The best choice for each of many budgets, rising.
    curves
        For each model rows of k, cost, result, lower and upper: what the figure shows.
    cascade
        A cheap model first and a dear one where the verifier rejects; ``None`` where that adds nothing, and under a
        rule.
    settling
        What it would take to be sure; ``None`` with one model, and under a rule.
    rule, wrong_cost, stop_on_success
        How one answer is chosen, what a wrong one costs, and whether sampling stops at an accepted one.
    scope, confidence_level, n_problems, n_resamples
        How it was found.
    warnings
        What to know before using the numbers.

    Examples
    --------
    >>> from t2fast.choosing import Price, choose
    >>> counts = {"small": (20, [0, 3, 9, 14]), "large": (20, [2, 8, 15, 20])}
    >>> found = choose(counts, {"small": Price(0, 1e-4), "large": Price(0, 1e-3)}, target=0.7)
    >>> print(found.headline())
    small, k 8: 0.701 for $0.0008 per question
    """

    model: str | None
    k: int
    result: float
    lower: float
    upper: float
    pass_at_k: float
    cost: float
    unit: str
    probability_best: float
    budget: float | None
    target: float | None
    candidates: tuple[Candidate, ...]
    frontier: tuple[Step, ...]
    curves: Mapping[str, tuple[tuple[float, ...], ...]]
    cascade: Cascade | None
    settling: Settling | None
    rule: Rule
    wrong_cost: float
    stop_on_success: bool
    scope: Scope
    confidence_level: float
    n_problems: int
    n_resamples: int
    warnings: tuple[str, ...] = ()

    figure: ClassVar[str | None] = "choice:frontier"

    def __eq__(self, other: object) -> bool:
        # Candidates that cannot meet what was asked have results that are no numbers, and those equal nothing.
        return isinstance(other, ModelChoice) and (self.to_dict(), self.curves) == (other.to_dict(), other.curves)

    __hash__ = None  # type: ignore[assignment]

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends of the interval."""
        return self.lower, self.upper

    def headline(self) -> str:
        """The choice in one line."""
        if self.model is None:
            return "silence: no model is worth its wrong answers"
        money = _money(self.cost, self.unit)
        return f"{self.model}, k {self.k}: {self.result:.3f} for {money} per question"

    @property
    def result_name(self) -> str:
        """What the result is, in one word: ``"pass@k"``, ``"right"`` or, with a price, ``"worth"``."""
        return "pass@k" if isinstance(self.rule, AnyCorrect) else "worth" if self.wrong_cost else "right"

    def _rule_words(self) -> str:
        words = self.rule.headline()
        if self.wrong_cost:
            words += f"; a wrong answer costs {self.wrong_cost:g} right ones"
        return words + ("; sampling stops at an accepted answer" if self.stop_on_success else "")

    def summary(self) -> str:
        """The choice as text of at most 80 columns."""
        asked = (
            f"at most {_money(self.budget, self.unit)} per question"
            if self.budget is not None
            else f"a result of at least {self.target:g}"
        )
        level = f"{self.confidence_level:.0%}"
        what = "new problems of the kind" if self.scope == "problems" else "new samples of these problems"
        ruled = not isinstance(self.rule, AnyCorrect)
        lines = [
            f"{self.headline()}",
            f"asked: {asked}; {self.result_name} over {self.n_problems} problems",
            *([f"Rule: {self._rule_words()}"] if ruled or self.stop_on_success else []),
            f"{level} intervals and chances for {what}",
            "",
        ]
        heads = [self.result_name, "pass@k"] if ruled else ["result"]
        rows = [["", "k", *heads, f"{level} interval", "per question", "best", "k / drawn"]]
        for one in self.candidates:
            if one.k == 0:
                dashes = ["-"] * (3 + len(heads))
                rows.append([_short(one.model), *dashes, f"{one.probability_best:.0%}", "-"])
                continue
            ends = f"{one.lower:.3f} to {one.upper:.3f}"
            far = "" if one.extrapolation <= 1 else f"{one.extrapolation:.2g}x"
            cost = _money(one.cost, self.unit)
            results = [f"{value:.3f}" for value in (one.result, one.pass_at_k)[: len(heads)]]
            rows.append([_short(one.model), str(one.k), *results, ends, cost, f"{one.probability_best:.0%}", far])
        lines += [*columns(rows), ""]
        if self.cascade is not None:
            lines += [*self.cascade.lines(_money(self.cascade.cost, self.unit)), ""]
        if self.settling is not None:
            lines += [*self.settling.lines(), ""]
        if len(self.frontier) > 1:
            lines += ["frontier", *columns(self._steps())]
        wrapped = [part for line in lines for part in (textwrap.wrap(line, WIDTH, subsequent_indent="    ") or [""])]
        return "\n".join([*wrapped, *warning_lines(self.warnings)]).rstrip()

    def _steps(self) -> list[list[str]]:
        """The frontier's budgets at which the model changes, and its ends."""
        rows = [["up to", "model", "k", "result", "best"]]
        for place, one in enumerate(self.frontier):
            last = place + 1 == len(self.frontier)
            if last or self.frontier[place + 1].model != one.model or place == 0:
                cells = [_money(one.budget, self.unit), _short(one.model or "silence"), str(one.k)]
                rows.append([*cells, f"{one.result:.3f}", f"{one.probability_best:.0%}"])
        return rows

    def to_dict(self) -> dict[str, Any]:
        """The choice as JSON data."""
        return {
            "model": self.model,
            "k": self.k,
            "result": self.result,
            "interval": [self.lower, self.upper],
            "pass_at_k": self.pass_at_k,
            f"{self.unit}_per_question": self.cost,
            "probability_best": self.probability_best,
            "budget": self.budget,
            "target": self.target,
            "candidates": [_plain(asdict(one)) for one in self.candidates],
            "frontier": [asdict(one) for one in self.frontier],
            "cascade": None if self.cascade is None else self.cascade.to_dict(),
            "settling": None if self.settling is None else asdict(self.settling),
            "rule": self.rule.brief(),
            "wrong_cost": self.wrong_cost,
            "stop_on_success": self.stop_on_success,
            "scope": self.scope,
            "confidence_level": self.confidence_level,
            "n_problems": self.n_problems,
            "n_resamples": self.n_resamples,
            "warnings": list(self.warnings),
        }

    def rows(self) -> list[dict[str, Any]]:
        """The candidates, a row each."""
        return [asdict(one) for one in self.candidates]


def _short(name: str) -> str:
    """A name as tables have room for it."""
    return name if len(name) <= 18 else name[:17] + "…"


def _money(value: float, unit: str) -> str:
    return f"${value:.4g}" if unit == "dollars" else f"{format_flops(value)} FLOP"


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in data.items()}
