"""A law under the rule by which answers will be chosen: what the rule makes of the samples, in place of pass@k."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from t2fast import _core
from t2fast.arguments import number
from t2fast.errors import LawError, T2Error
from t2fast.laws.law import Law, effective_tokens
from t2fast.laws.power import T2PassLaw, repeated
from t2fast.rules import AnyCorrect, Majority, Rule, Tail, Verifier, as_rule

__all__ = ["RuledLaw", "core_rule", "under_rule"]

_Floats = NDArray[np.float64]

#: Ratio of the numbers of samples among which the best is looked for where more may hurt.
_RUNG = 2.0**0.5


def under_rule(law: Law, rule: object = None, wrong_cost: float = 0.0, stop_on_success: bool = False) -> Law:
    """The law of what a rule makes of the samples; the law itself where that is pass@k.

    Raises
    ------
    T2Error
        For a law of losses, a negative price, or a rule under which sampling cannot stop early.

    Examples
    --------
    >>> from t2fast.laws import load_law, under_rule
    >>> from t2fast.rules import Verifier
    >>> law = load_law("pythia-gsm8k")
    >>> under_rule(law) is law
    True
    >>> round(under_rule(law, Verifier(0.01, 0.9)).value(8e7, 2e11, 800), 3)
    0.133
    """
    found = as_rule(rule)  # type: ignore[arg-type]
    price = number("wrong_cost", wrong_cost, low=0)
    if isinstance(found, AnyCorrect) and not stop_on_success:
        # Who recognises the right answer gives no wrong one.
        return law
    if isinstance(found, Majority):
        _tail(found)
    if isinstance(law, RuledLaw):
        raise T2Error(
            f"rule = {found.kind}: law {law.name or law.kind} stands under a rule already ({law.rule.headline()}): "
            "leave one of the two out, or give the law of pass@k that is inside it"
        )
    if not law.predicts_pass:
        what = f"rule = {found.kind}" if not isinstance(found, AnyCorrect) else "stop_on_success"
        raise T2Error(f"{what}: law {law.name or law.kind} predicts losses; a rule needs a law of success rates")
    for part in getattr(law, "laws", (law,)):
        if type(part)._shares is Law._shares:
            raise T2Error(f"a law of kind {part.kind!r} knows no success rates: a rule needs a law of them")
    if stop_on_success and not isinstance(found, AnyCorrect | Verifier):
        raise T2Error(
            f"stop_on_success: sampling stops at the first accepted answer, and a {found.kind} accepts none: "
            "leave it out, or choose answers by a verifier"
        )
    about = {item.name: getattr(law, item.name) for item in fields(Law)}
    about["uncertainty"] = {name: value for name, value in law.uncertainty.items() if name == "scatter"}
    return RuledLaw(law, found, price, stop_on_success, **about)


#: Most draws of a rule that needs a table.
_MOST_TABLES = 12


@dataclass(frozen=True)
class RuledLaw(Law):
    """A law of success rates under a rule: the share of questions that get a right answer, wrong ones priced.

    Made by :func:`under_rule`, and by everything that plans when it is given ``rule=``.

    Parameters
    ----------
    law
        A law of pass@k.
    rule
        How one answer is chosen from k samples.
    wrong_cost
        What a wrong answer costs, in right answers.
    stop_on_success
        Whether sampling stops at the first accepted answer, so that fewer than k samples are paid for.

    Examples
    --------
    >>> from t2fast.laws import RuledLaw, load_law
    >>> from t2fast.rules import Verifier
    >>> law = RuledLaw(load_law("pythia-gsm8k"), Verifier(0.05))
    >>> law.value(1e8, 1e11, 100) < law.law.value(1e8, 1e11, 100)
    True
    """

    law: Law
    rule: Rule
    wrong_cost: float = 0.0
    stop_on_success: bool = False

    kind: ClassVar[str] = "ruled"
    own_keys: ClassVar[tuple[str, ...]] = ("law", "rule", "wrong_cost", "stop_on_success")
    predicts_pass: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.law, Law) or not self.law.predicts_pass or isinstance(self.law, RuledLaw):
            raise LawError("law: must be a law of pass@k")
        if not isinstance(self.rule, Rule):
            raise LawError("rule: must be a rule")
        object.__setattr__(self, "wrong_cost", number("wrong_cost", self.wrong_cost, low=0))

    @property
    def coefficients(self) -> dict[str, float]:
        """The coefficients of the law of pass@k."""
        return self.law.coefficients

    @property
    def pass_law(self) -> Law:
        """The law of pass@k."""
        return self.law

    @property
    def in_core(self) -> bool:
        """Whether the core plans with it."""
        return isinstance(self.law, T2PassLaw)

    @cached_property
    def _rule(self) -> _core.Rule:
        return core_rule(self.rule, self.wrong_cost)

    @cached_property
    def _plain(self) -> tuple[_core.Rule, _core.Rule | None]:
        """The rule with no price, and with a price of one where there is any."""
        return core_rule(self.rule, 0.0), core_rule(self.rule, 1.0) if self.wrong_cost else None

    @cached_property
    def _handle(self) -> _core.Law:
        return self._rule.over(self.law._handle, self.stop_on_success)

    def _values(self, n: _Floats, d: _Floats, k: _Floats) -> _Floats:
        if self.in_core:
            return self._handle.values(n, d, k)
        right, wrong = self.law._shares(*self._plain, n, d, k)
        return right if wrong is None else right - self.wrong_cost * wrong

    def value_repeated(self, n_params: Any, n_tokens: Any, k: Any, unique_tokens: float) -> Any:
        """As :meth:`value`, where only ``unique_tokens`` tokens differ and the others repeat them."""
        if self.in_core:
            # The core discounts what it is told to, overtraining included.
            return repeated(self._handle, n_params, n_tokens, k, unique_tokens)
        return super().value_repeated(n_params, n_tokens, k, unique_tokens)

    def with_coefficients(self, values: Mapping[str, float]) -> Law:
        """The law with other coefficients, under the same rule."""
        return replace(self, law=self.law.with_coefficients(values))

    @property
    def has_draws(self) -> bool:
        """Whether the law of pass@k carries draws, or the rule does."""
        return self.law.has_draws or self.rule.has_draws

    def with_fewer_draws(self, most: int) -> Law:
        """The same with the first draws of each only."""
        law = self.law.with_fewer_draws(most) if self.law.has_draws else self.law
        return replace(self, law=law, rule=self.rule.with_fewer_draws(most))

    def resampled(self) -> Iterator[Law]:
        """The i-th law of the bootstrap under the i-th draw of the rule; the shorter of the two begins anew.

        Of a rule that the core keeps as a table, only the first draws serve: a table takes up to a second.
        """
        closed = isinstance(self.rule, AnyCorrect | Verifier)
        rules = list((self.rule if closed else self.rule.with_fewer_draws(_MOST_TABLES)).resampled())
        name, made_once = "_rule" if self.in_core else "_plain", dict[int, Any]()
        laws = list(self.law.resampled()) if self.law.has_draws else [self.law]
        for i in range(max(len(rules), len(laws))):
            with contextlib.suppress(T2Error):
                made = replace(self, law=laws[i % len(laws)], rule=rules[i % len(rules)])
                at = i % len(rules)
                if at not in made_once:
                    made_once[at] = getattr(self if len(rules) == 1 else made, name)
                made.__dict__[name] = made_once[at]
                yield made

    @property
    def rises_with_k(self) -> bool:
        """Whether more samples are never worse."""
        return self._rule.rises

    @property
    def stops(self) -> bool:
        """Whether sampling stops at an accepted answer."""
        return self.stop_on_success

    @property
    def lowest(self) -> float:
        """The least that it can predict: all answers wrong."""
        return -self.wrong_cost

    @cached_property
    def _resampled(self) -> list[Any]:
        return [law._handle for law in self.resampled()] if self.in_core else list(self.resampled())

    def _predict(self, n: _Floats, d: _Floats, k: _Floats, unique_tokens: float | None) -> _Floats:
        if self.in_core:
            return _core.predict(self._resampled, n, d, k, unique_tokens)
        return super()._predict(n, d, k, unique_tokens)

    def chosen_k(
        self, n: _Floats, d: _Floats, paid: _Floats, most: float, unique_tokens: float | None = None
    ) -> _Floats:
        """The whole number of samples, of those paid for, with the best result at each point; 0 is silence.

        Where no more is gained by several than by one sample, it is one.
        """
        one_will_do = not self._rule.depends_on_k
        if self._rule.rises and self.wrong_cost == 0 and not self.stop_on_success:
            if one_will_do:
                most = min(most, 1.0)
            return super().chosen_k(n, d, paid, most, unique_tokens)
        if self.in_core:
            return _core.chosen(self._handle, n, d, paid, most, unique_tokens)
        if unique_tokens is not None:
            d = effective_tokens(d, unique_tokens)
        k = np.floor(np.minimum(self._drawable_k(n, d, paid, most), most) * (1 + 1e-12))
        if one_will_do:
            k = np.minimum(k, 1.0)
        if self._rule.rises and self.wrong_cost == 0:
            return k
        best, value = k.copy(), self._values(n, d, np.maximum(k, 1.0))
        rung = np.floor(k / _RUNG)
        while (rung >= 1).any():
            at = np.maximum(rung, 1.0)
            there = self._values(n, d, at)
            # Of equals the fewest: two votes are worth one.
            better = there > value - np.where(at == 1, 1e-9 * np.abs(value), 0.0)
            best, value = np.where(better, at, best), np.where(better, there, value)
            rung = np.floor(rung / _RUNG)
        return np.where((value < 0) & (self.wrong_cost > 0), 0.0, best)

    def _drawable_k(self, n: _Floats, d: _Floats, paid: _Floats, most: float) -> _Floats:
        """The most samples at each point whose mean number drawn is paid for."""
        if not self.stop_on_success:
            return paid
        low, high = np.maximum(paid, 1.0), np.full(len(paid), max(1.0, min(most, 1e6)))
        high = np.maximum(low, high)
        for _ in range(50):
            middle = np.sqrt(low * high)
            less = self.samples_drawn(n, d, middle) <= paid * (1 + 1e-12)
            low, high = np.where(less, middle, low), np.where(less, high, middle)
        return low

    def samples_drawn(self, n: _Floats, d: _Floats, k: _Floats) -> _Floats:
        """Samples drawn per question on average, k at most: fewer where sampling stops at an accepted answer."""
        return self.law._drawn(self._rule, n, d, k) if self.stop_on_success else np.asarray(k, dtype=np.float64)

    def _form(self) -> dict[str, Any]:
        return {
            "law": self.law.to_dict(),
            "rule": self.rule.to_dict(),
            "wrong_cost": self.wrong_cost,
            "stop_on_success": self.stop_on_success,
        }

    @classmethod
    def _from_form(cls, data: Mapping[str, Any], origin: str) -> dict[str, Any]:
        for name in ("law", "rule"):
            if name not in data:
                raise LawError(f"{origin}: {name} is missing")
        return {
            "law": Law.from_dict(data["law"], f"{origin}: law"),
            "rule": Rule.from_dict(data["rule"], f"{origin}: rule"),
            "wrong_cost": data.get("wrong_cost", 0.0),
            "stop_on_success": bool(data.get("stop_on_success", False)),
        }


def core_rule(rule: Rule, wrong_cost: float) -> _core.Rule:
    """The core's form of a rule with a price of wrong answers."""
    if isinstance(rule, Verifier):
        rates = {name: getattr(rule, name) for name in ("false_positive", "recall", "slope")}
        return _core.Rule("verifier", rates, wrong_cost, rule.fallback == "abstain")
    if isinstance(rule, AnyCorrect):
        return _core.Rule("any-correct", {}, wrong_cost, True)
    if isinstance(rule, Majority):
        return _core.Rule("majority", {}, wrong_cost, False, _tail(rule).shares, _tail(rule).rates)
    return _core.Rule(rule.kind, rule.parameters, wrong_cost, False)


def _tail(rule: Majority) -> Tail:
    """The tail of a vote, which must have one."""
    if rule.tail is None:
        raise T2Error(
            "rule = majority: needs the tail of wrong answers, such as t2.Majority(t2.Tail.uniform(30)) or one fitted "
            "from answers: votes without answers say nothing"
        )
    return rule.tail
