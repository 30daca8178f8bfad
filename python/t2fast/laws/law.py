"""What all laws have in common: values, files, draws, and what is known of the data behind them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import _core
from t2fast.arguments import numbers
from t2fast.errors import LawError, T2Error
from t2fast.files import write_text
from t2fast.laws.checkpoints import Checkpoints
from t2fast.laws.data_range import DataRange
from t2fast.laws.files import SCHEMA, arguments, number
from t2fast.laws.predictive import predictive

__all__ = ["R_STAR_TOKENS", "Law", "effective_tokens"]

_Floats = NDArray[np.float64]

#: R* for tokens of Muennighoff et al. 2023 (arXiv 2305.16264).
R_STAR_TOKENS = 15.387756

#: Draws with which designs are ranked; intervals take all that a law carries.
_RANKING = 100


def effective_tokens(n_tokens: NDArray[np.float64], unique_tokens: float) -> NDArray[np.float64]:
    """Fresh tokens worth as much as these, repeats included (Muennighoff et al. 2023, equation 5)."""
    repeats = np.maximum(n_tokens / unique_tokens - 1, 0.0)
    return np.where(repeats > 0, unique_tokens * (1 - R_STAR_TOKENS * np.expm1(-repeats / R_STAR_TOKENS)), n_tokens)


@dataclass(frozen=True)
class Law:
    """The base of all laws: what a model of N parameters, trained on D tokens and sampled k times, achieves.

    Parameters
    ----------
    name, title, source
        A short name, one line, and where the coefficients come from.
    params_counted
        What N counts: ``"total"``, ``"non-embedding"``, or what else the source says.
    data_range
        N, D and k in the data behind the law, if known.
    uncertainty
        Standard errors or intervals of the coefficients, as the source gives them; the ``draws`` of a bootstrap and the
        ``scatter`` of checkpoints around the law, which :meth:`predictive` reads.
    warnings
        What a user must know before relying on the law.
    purpose
        What the law is for, in a few words: presets are grouped by it.
    held_out
        How far off it was for what it had not seen, in a few words.
    checkpoints
        Measured checkpoints that predictions can be held against.

    Raises
    ------
    T2Error
        For a coefficient out of its range.

    Examples
    --------
    >>> from t2fast.laws import load_law
    >>> law = load_law("besiroglu")
    >>> isinstance(law, Law), law.name
    (True, 'besiroglu')
    """

    _: KW_ONLY
    name: str = ""
    title: str = ""
    source: str = ""
    params_counted: str = ""
    data_range: DataRange | None = None
    uncertainty: Mapping[str, Any] = field(default_factory=dict, hash=False)
    warnings: tuple[str, ...] = ()
    purpose: str = ""
    held_out: str = ""
    checkpoints: Checkpoints | None = field(default=None, hash=False)

    #: The law's name in files.
    kind: ClassVar[str] = ""
    #: Names of the coefficients, in order.
    coefficient_names: ClassVar[tuple[str, ...]] = ()
    #: True for a law of success rates, False for a law of losses.
    predicts_pass: ClassVar[bool] = False
    #: Keys of a law's file that hold its form, beside those that say where it comes from.
    own_keys: ClassVar[tuple[str, ...]] = ("coefficients",)

    _kinds: ClassVar[dict[str, type[Law]]] = {}

    def __init_subclass__(cls) -> None:
        if cls.kind:
            cls._kinds[cls.kind] = cls

    def __new__(cls, *_: object, **__: object) -> Self:
        """Refuse the base itself."""
        if not cls.kind:
            kinds = ", ".join(f"a {law.__name__}" for law in cls._kinds.values())
            raise LawError(f"{cls.__name__} is a base of laws: make one of {kinds}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        object.__setattr__(self, "uncertainty", _frozen(self.uncertainty))

    def __getstate__(self) -> dict[str, Any]:
        # Without what the core makes again from the fields, and with dicts for views of them, which do not pickle.
        return {item.name: _thawed(getattr(self, item.name)) for item in fields(self)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, _frozen(value) if name == "uncertainty" else value)

    @property
    def coefficients(self) -> dict[str, float]:
        """The coefficients by name."""
        return {name: getattr(self, name) for name in self.coefficient_names}

    @property
    def in_core(self) -> bool:
        """Whether the core plans with the law."""
        return False

    @property
    def pass_law(self) -> Law:
        """The law of pass@k behind this one: itself, unless it stands under a rule."""
        return self

    @property
    def rises_with_k(self) -> bool:
        """Whether more samples are never worse."""
        return True

    @property
    def stops(self) -> bool:
        """Whether sampling stops at an accepted answer."""
        return False

    @property
    def lowest(self) -> float:
        """The least that a law of success rates can predict."""
        return 0.0

    def _shares(
        self,
        right: _core.Rule,
        priced: _core.Rule | None,
        n: _Floats,
        d: _Floats,
        k: _Floats,
    ) -> tuple[_Floats, _Floats | None]:
        """Shares of questions that a rule answers right, and wrong if the same rule with a price of one is given."""
        raise NotImplementedError

    def _drawn(self, rule: _core.Rule, n: _Floats, d: _Floats, k: _Floats) -> _Floats:
        """Samples drawn on average until one is accepted, k at most."""
        raise NotImplementedError

    def chosen_k(
        self,
        n: _Floats,  # noqa: ARG002
        d: _Floats,  # noqa: ARG002
        paid: _Floats,
        most: float,
        unique_tokens: float | None = None,  # noqa: ARG002
    ) -> _Floats:
        """The best whole number of samples, of those paid for, at each point: all of them, since more never hurt."""
        # Rounding in a division must not cost a sample.
        return np.asarray(np.floor(np.minimum(paid * (1 + 1e-12), most)))

    def samples_drawn(self, n: _Floats, d: _Floats, k: _Floats) -> _Floats:  # noqa: ARG002
        """Samples drawn per question on average at each point: all k."""
        return np.asarray(k, dtype=np.float64)

    def value(self, n_params: ArrayLike, n_tokens: ArrayLike, k: ArrayLike = 1) -> float | NDArray[np.float64]:
        """Predict at N parameters, D fresh tokens and k samples; arguments broadcast.

        Returns
        -------
        float or array of the broadcast shape
            A loss, or pass@k in [0, 1], according to the law.

        Raises
        ------
        T2Error
            Unless N and D are positive, k is at least 1, and all are finite.
        """
        given = {"n_params": n_params, "n_tokens": n_tokens, "k": k}
        arrays = [numbers(name, argument) for name, argument in given.items()]
        try:
            n, d, samples = np.broadcast_arrays(*arrays)
        except ValueError:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in zip(given, arrays, strict=True))
            raise T2Error(f"shapes do not broadcast: {shapes}; make them equal or scalar") from None
        flat = (np.ascontiguousarray(x).reshape(-1) for x in (n, d, samples))
        values = self._values(*flat).reshape(n.shape)
        return values if values.ndim else float(values)

    def _values(self, n: NDArray[np.float64], d: NDArray[np.float64], k: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values at points given by flat arrays."""
        raise NotImplementedError

    @cached_property
    def _handle(self) -> _core.Law:
        """The core's law, of laws that it knows."""
        raise LawError(f"the core's planner knows no law of kind {self.kind!r}: use plan, or one of the law's parts")

    def with_coefficients(self, values: Mapping[str, float]) -> Law:
        """The law with other coefficients, and without the uncertainty of these."""
        names = self._drawable
        changed: dict[str, Any] = {name: values[name] for name in names if name in values}
        return replace(self, uncertainty={}, **changed)

    @property
    def _drawable(self) -> tuple[str, ...]:
        """Names of what a bootstrap's draws may hold."""
        return self.coefficient_names

    def drawn(self) -> list[dict[str, float]]:
        """The coefficients of every draw that :attr:`uncertainty` carries.

        Raises
        ------
        LawError
            As :meth:`resampled`.
        """
        draws = self.uncertainty.get("draws")
        if draws is None:
            raise LawError(
                f"law {self.name or self.kind} carries no bootstrap draws: fit it with t2fast fit --bootstrap 1000"
            )
        allowed = self._drawable
        if not isinstance(draws, Mapping) or not draws or not set(draws) <= set(allowed):
            raise LawError(f"uncertainty.draws: must be an object of lists, named as {', '.join(allowed)}")
        columns = {name: [number(v, f"uncertainty.draws.{name}") for v in column] for name, column in draws.items()}
        if len({len(column) for column in columns.values()}) > 1:
            raise LawError("uncertainty.draws: every coefficient needs as many draws as the others")
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def resampled(self) -> Iterator[Law]:
        """The laws of the bootstrap behind this one, if its ``uncertainty`` carries its draws.

        Draws whose coefficients the law does not allow (a scale may have vanished) are left out.

        Raises
        ------
        LawError
            When there are no draws, or they are no columns of numbers of one length.
        """
        for row in self.drawn():
            with contextlib.suppress(T2Error):
                yield self.with_coefficients(row)

    @property
    def has_draws(self) -> bool:
        """Whether the law carries the draws of a bootstrap, so that its predictions have intervals."""
        return "draws" in self.uncertainty

    def with_fewer_draws(self, most: int) -> Law:
        """The law with its first draws only, for work where a few are enough."""
        draws = {name: column[:most] for name, column in self.uncertainty.get("draws", {}).items()}
        return replace(self, uncertainty={**self.uncertainty, "draws": draws})

    @cached_property
    def _for_ranking(self) -> Law:
        """The law with as many draws as designs are ranked by; kept, since making a hundred laws takes longer."""
        return self.with_fewer_draws(_RANKING)

    def value_repeated(
        self, n_params: ArrayLike, n_tokens: ArrayLike, k: ArrayLike, unique_tokens: float
    ) -> float | NDArray[np.float64]:
        """As :meth:`value`, where only ``unique_tokens`` tokens differ and the others repeat them."""
        return self.value(n_params, effective_tokens(np.asarray(n_tokens, dtype=np.float64), unique_tokens), k)

    @cached_property
    def _resampled(self) -> list[Any]:
        """What :meth:`resampled` gives, in the form that :meth:`_predict` takes."""
        return list(self.resampled())

    def _predict(
        self, n: NDArray[np.float64], d: NDArray[np.float64], k: NDArray[np.float64], unique_tokens: float | None
    ) -> NDArray[np.float64]:
        """Values of every resampled law at points given by flat arrays, of shape (draws, points)."""
        if unique_tokens is not None:
            d = effective_tokens(d, unique_tokens)
        return self._values_of(self._resampled, n, d, k)

    @classmethod
    def _values_of(cls, laws: Sequence[Any], n: _Floats, d: _Floats, k: _Floats) -> _Floats:
        """Values of a law's draws at points given by flat arrays, of shape (draws, points)."""
        return np.stack([law._values(n, d, k) for law in laws])

    def predictive(
        self, n_params: ArrayLike, n_tokens: ArrayLike, k: ArrayLike = 1, unique_tokens: float | None = None
    ) -> NDArray[np.float64]:
        """Draws of what checkpoints will show: the resampled laws' values, moved by the scatter of checkpoints.

        Returns
        -------
        array of shape (draws, *the arguments' broadcast shape)
            pass@k in [0, 1], or losses, according to the law.

        Raises
        ------
        LawError
            When the law carries no draws.
        """
        return predictive(self, n_params, n_tokens, k, unique_tokens)

    def _form(self) -> dict[str, Any]:
        """The law's form as JSON data, under its :attr:`own_keys`."""
        return {"coefficients": self.coefficients}

    @classmethod
    def _from_form(cls, data: Mapping[str, Any], origin: str) -> dict[str, Any]:
        """The arguments that a law's form stands for."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """The law as JSON data; :meth:`from_dict` reads it back."""
        data: dict[str, Any] = {"schema": SCHEMA, "kind": self.kind, **self._form()}
        own = {*self.own_keys, *data.get("coefficients", ())}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in own or value == item.default or value in ({}, None):
                continue
            if isinstance(value, DataRange):
                value = {f.name: getattr(value, f.name) for f in fields(value) if getattr(value, f.name) is not None}
            if isinstance(value, Checkpoints):
                value = value.to_dict()
            data[item.name] = _lists(value)
        return data

    def save(self, path: str | Path) -> None:
        """Write the law as a JSON file that :func:`load_law` reads."""
        text = json.dumps(self.to_dict(), indent=2)
        # A line for each list of numbers, not for each number.
        text = re.sub(r"\[[-+\d.eE,\s]*\]", lambda found: " ".join(found[0].split()), text)
        write_text(path, text + "\n")

    @staticmethod
    def from_dict(data: Mapping[str, Any], origin: str = "law") -> Law:
        """Build a law from JSON data; ``origin`` names it in error messages.

        Raises
        ------
        LawError
            For a missing, unknown or malformed key, by name.
        """
        law, given = arguments(data, origin, Law._kinds)
        try:
            made: Law = law(**given)
        except LawError:
            raise
        except T2Error as error:
            raise LawError(f"{origin}: {error}") from None
        return made


def _frozen(value: Any) -> Any:
    """JSON data that cannot be changed in place."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: _frozen(inner) for key, inner in value.items()})
    return tuple(_frozen(inner) for inner in value) if isinstance(value, list | tuple) else value


def _thawed(value: Any) -> Any:
    """The same with dicts, which pickle."""
    if isinstance(value, Mapping):
        return {key: _thawed(inner) for key, inner in value.items()}
    return tuple(_thawed(inner) for inner in value) if isinstance(value, tuple) else value


def _lists(value: Any) -> Any:
    """The same as the json module makes it: dicts and lists."""
    if isinstance(value, Mapping):
        return {key: _lists(inner) for key, inner in value.items()}
    return [_lists(inner) for inner in value] if isinstance(value, tuple) else value
