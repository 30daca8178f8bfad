"""Laws whose ability is a quadratic in (ln N, ln D), free to bend where a sum of powers cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from t2fast import _core
from t2fast.errors import LawError
from t2fast.laws.files import numbers
from t2fast.laws.law import Law

__all__ = ["TERMS", "AbilityLaw", "BetaAbilityLaw", "ItemResponseLaw", "quadratic"]

#: Coefficients of a quadratic in two variables.
TERMS = 6

#: Abilities beyond these are as good as infinite.
_MOST = 300.0

_Floats = NDArray[np.float64]


def quadratic(n_params: _Floats, n_tokens: _Floats, center: tuple[float, float]) -> _Floats:
    """The terms 1, x, y, x^2, xy, y^2 with x = ln(N / center[0]), y = ln(D / center[1]), of shape (points, 6)."""
    x, y = np.log(n_params / center[0]), np.log(n_tokens / center[1])
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


@dataclass(frozen=True)
class AbilityLaw(Law):
    """The base of laws of ability: ``h = a0 + a1 x + a2 y + a3 x^2 + a4 xy + a5 y^2``, x = ln N/N0, y = ln D/D0.

    Parameters
    ----------
    ability
        The six coefficients, in log-odds.
    center
        N0 and D0, both positive.
    """

    ability: tuple[float, ...]
    center: tuple[float, float]

    predicts_pass: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("ability", "center"):
            values = tuple(float(value) for value in getattr(self, name))
            object.__setattr__(self, name, values)
            if not np.isfinite(values).all():
                raise LawError(f"{name} = {values}: must be finite")
        if len(self.ability) != TERMS:
            raise LawError(f"ability has {len(self.ability)} coefficients: a quadratic in two variables has {TERMS}")
        if len(self.center) != 2 or min(self.center) <= 0:
            raise LawError(f"center = {self.center}: must be two positive numbers, N and D")

    @property
    def coefficients(self) -> dict[str, float]:
        """The coefficients of the ability by name."""
        return {f"ability{i}": value for i, value in enumerate(self.ability)}

    @property
    def _drawable(self) -> tuple[str, ...]:
        return tuple(self.coefficients)

    def with_coefficients(self, values: Mapping[str, float]) -> AbilityLaw:
        """The law with another ability."""
        ability = tuple(values.get(name, old) for name, old in self.coefficients.items())
        return replace(self, ability=ability, uncertainty={})

    def abilities(self, n_params: _Floats, n_tokens: _Floats) -> _Floats:
        """The ability at each of some points, in log-odds."""
        h = quadratic(n_params, n_tokens, self.center) @ np.array(self.ability)
        return np.asarray(np.clip(h, -_MOST, _MOST))

    def _values(self, n: _Floats, d: _Floats, k: _Floats) -> _Floats:
        self._check(n, d, k)
        return self._pass_at_k(self.abilities(n, d), k)

    @classmethod
    def _values_of(cls, laws: Sequence[Any], n: _Floats, d: _Floats, k: _Floats) -> _Floats:
        cls._check(n, d, k)
        h = np.array([law.ability for law in laws]) @ quadratic(n, d, laws[0].center).T
        return cls._passes(laws, np.clip(h, -_MOST, _MOST), k)

    @staticmethod
    def _check(n: _Floats, d: _Floats, k: _Floats) -> None:
        for name, values, least in (("n_params", n, 0.0), ("n_tokens", d, 0.0), ("k", k, 1.0)):
            wrong = ~(np.isfinite(values) & (values > 0) & (values >= least))
            if wrong.any():
                allowed = "at least 1" if name == "k" else "positive"
                raise LawError(f"{name} = {values[wrong][0]:g}: must be {allowed} and finite")

    def _pass_at_k(self, ability: _Floats, k: _Floats) -> _Floats:
        raise NotImplementedError

    @classmethod
    def _passes(cls, laws: Sequence[Any], abilities: _Floats, k: _Floats) -> _Floats:
        """pass@k by laws that draws differ in, at a row of abilities for each."""
        return np.stack([law._pass_at_k(h, k) for law, h in zip(laws, abilities, strict=True)])


@dataclass(frozen=True)
class ItemResponseLaw(AbilityLaw):
    """pass@k through a difficulty of each problem: ``mean_j 1 - (1 - sigmoid(h - b_j))^k`` (Rasch 1960).

    Parameters
    ----------
    ability, center
        As in :class:`AbilityLaw`.
    difficulties
        One number per problem of the benchmark, in log-odds.

    Examples
    --------
    >>> from t2fast.laws import ItemResponseLaw
    >>> law = ItemResponseLaw((0.0, 0.5, 0.4, 0.0, 0.0, -0.1), (1e9, 1e11), (-1.0, 0.0, 2.0))
    >>> round(law.value(1e9, 1e11, 1), 3), round(law.value(1e9, 1e11, 10), 3)
    (0.45, 0.906)
    """

    difficulties: tuple[float, ...]

    kind: ClassVar[str] = "item-response"
    own_keys: ClassVar[tuple[str, ...]] = ("ability", "center", "difficulties")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "difficulties", tuple(float(value) for value in self.difficulties))
        if not self.difficulties or not np.isfinite(self.difficulties).all():
            raise LawError("difficulties: must be finite numbers, one per problem")

    def _pass_at_k(self, ability: _Floats, k: _Floats) -> _Floats:
        return _core.item_response(ability, np.array(self.difficulties), k)

    @classmethod
    def _passes(cls, laws: Sequence[Any], abilities: _Floats, k: _Floats) -> _Floats:
        # Draws are of the ability; the difficulties are those of the benchmark.
        found = _core.item_response(np.ascontiguousarray(abilities).reshape(-1), np.array(laws[0].difficulties), k)
        return found.reshape(abilities.shape)

    def _shares(
        self, right: _core.Rule, priced: _core.Rule | None, n: _Floats, d: _Floats, k: _Floats
    ) -> tuple[_Floats, _Floats | None]:
        h, b = self.abilities(n, d), np.array(self.difficulties)
        found = right.of_logits(h, b, k)
        return found, None if priced is None else found - priced.of_logits(h, b, k)

    def _drawn(self, rule: _core.Rule, n: _Floats, d: _Floats, k: _Floats) -> _Floats:
        return rule.of_logits(self.abilities(n, d), np.array(self.difficulties), k, True)

    def _form(self) -> dict[str, Any]:
        return {name: list(getattr(self, name)) for name in self.own_keys}

    @classmethod
    def _from_form(cls, data: Mapping[str, Any], origin: str) -> dict[str, Any]:
        return {
            "ability": numbers(data, "ability", origin, TERMS),
            "center": numbers(data, "center", origin, 2),
            "difficulties": numbers(data, "difficulties", origin),
        }


@dataclass(frozen=True)
class BetaAbilityLaw(AbilityLaw):
    """pass@k through Beta-distributed success as in :class:`T2PassLaw`, with ``-h`` in place of the loss.

    Mean ``sigmoid(h)``, concentration ``exp(c0 - c1 h)``.

    Parameters
    ----------
    ability, center
        As in :class:`AbilityLaw`.
    concentration
        c0 and c1.

    Examples
    --------
    >>> from t2fast.laws import BetaAbilityLaw
    >>> law = BetaAbilityLaw((0.0, 0.5, 0.4, 0.0, 0.0, -0.1), (1e9, 1e11), (0.5, 0.2))
    >>> round(law.value(1e9, 1e11, 1), 3), round(law.value(1e9, 1e11, 10), 3)
    (0.5, 0.888)
    """

    concentration: tuple[float, float]

    kind: ClassVar[str] = "beta-ability"
    own_keys: ClassVar[tuple[str, ...]] = ("ability", "center", "concentration")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "concentration", tuple(float(value) for value in self.concentration))
        if len(self.concentration) != 2 or not np.isfinite(self.concentration).all():
            raise LawError(f"concentration = {self.concentration}: must be two finite numbers")

    @cached_property
    def _by_loss(self) -> _core.Law:
        """The core's law of a loss that is ``1 / N``: it holds the one formula of mean and concentration."""
        c0, c1 = self.concentration
        # The loss must be positive: 2 _MOST is added to -h, and taken away in theta0 and theta3.
        return _core.Law(
            "t2-pass",
            {
                "E": 0.0, "A": 1.0, "B": 1e-300, "alpha": 1.0, "beta": 1.0, "theta0": 2 * _MOST, "theta1": 1.0,
                "theta2": 1.0, "theta3": c0 - 2 * _MOST * c1, "theta4": c1,
            },
        )  # fmt: skip

    def _pass_at_k(self, ability: _Floats, k: _Floats) -> _Floats:
        return self._by_loss.values(1.0 / (2 * _MOST - ability), np.ones_like(ability), k)

    def _beta(self, n: _Floats, d: _Floats) -> tuple[_Floats, _Floats]:
        """Parameters of the Beta distribution of success rates at each point."""
        h = self.abilities(n, d)
        c0, c1 = self.concentration
        concentration = np.exp(np.clip(c0 - c1 * h, -300, 300))
        return np.exp(-np.logaddexp(0.0, -h)) * concentration, np.exp(-np.logaddexp(0.0, h)) * concentration

    def _shares(
        self, right: _core.Rule, priced: _core.Rule | None, n: _Floats, d: _Floats, k: _Floats
    ) -> tuple[_Floats, _Floats | None]:
        a, b = self._beta(n, d)
        found = right.of_beta(a, b, k)
        return found, None if priced is None else found - priced.of_beta(a, b, k)

    def _drawn(self, rule: _core.Rule, n: _Floats, d: _Floats, k: _Floats) -> _Floats:
        return rule.of_beta(*self._beta(n, d), k, True)

    def _form(self) -> dict[str, Any]:
        return {name: list(getattr(self, name)) for name in self.own_keys}

    @classmethod
    def _from_form(cls, data: Mapping[str, Any], origin: str) -> dict[str, Any]:
        return {
            "ability": numbers(data, "ability", origin, TERMS),
            "center": numbers(data, "center", origin, 2),
            "concentration": numbers(data, "concentration", origin, 2),
        }

    @property
    def coefficients(self) -> dict[str, float]:
        """The coefficients of the ability and of the concentration by name."""
        return super().coefficients | {f"concentration{i}": value for i, value in enumerate(self.concentration)}

    def with_coefficients(self, values: Mapping[str, float]) -> BetaAbilityLaw:
        """The law with other coefficients."""
        found = [values.get(name, old) for name, old in self.coefficients.items()]
        first, second = found[TERMS:]
        return replace(self, ability=tuple(found[:TERMS]), concentration=(first, second), uncertainty={})
