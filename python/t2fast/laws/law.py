"""The laws: coefficients, values and gradients, and what is known of the data behind them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import _core
from t2fast.errors import LawError, T2Error
from t2fast.laws.data_range import DataRange
from t2fast.laws.files import SCHEMA, arguments, number
from t2fast.quantity import refuse_non_numbers

#: Coefficients that every law may have beside its own.
_EXTRA = ("F", "delta", "r_star_tokens", "r_star_params")

__all__ = ["ChinchillaLaw", "Gradient", "Law", "T2LossLaw", "T2PassLaw"]

#: R* for tokens of Muennighoff et al. 2023 (arXiv 2305.16264).
R_STAR_TOKENS = 15.387756


@dataclass(frozen=True)
class Gradient:
    """A law's value and its partial derivatives: by N per parameter, by D per token, by k per sample."""

    value: float
    n_params: float
    n_tokens: float
    k: float


@dataclass(frozen=True)
class Law:
    """What the laws have in common: coefficients first, then where they come from.

    Parameters
    ----------
    E, A, B, alpha, beta
        Coefficients of the Chinchilla loss; E may be zero, the others are positive.
    F, delta
        Scale and exponent of the term of overtraining, ``F (D/N)^delta``: F is zero (no such term) or positive, delta
        positive. The term counts every token of training, repeats included.
    name, title, source
        A short name, one line, and where the coefficients come from.
    params_counted
        What N counts: ``"total"``, ``"non-embedding"``, or what else the source says.
    data_range
        N, D and k in the data behind the law, if known.
    uncertainty
        Standard errors or intervals of the coefficients, as the source gives them.
    warnings
        What a user must know before relying on the law.
    r_star_tokens, r_star_params
        How fast repeated tokens, and parameters beyond those the unique tokens warrant, lose their worth (R* of
        Muennighoff et al. 2023); ``None`` leaves parameters undiscounted.

    Raises
    ------
    T2Error
        For a coefficient out of its range.
    """

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    _: KW_ONLY
    F: float = 0.0
    delta: float = 1.0
    name: str = ""
    title: str = ""
    source: str = ""
    params_counted: str = ""
    data_range: DataRange | None = None
    uncertainty: Mapping[str, Any] = field(default_factory=dict, hash=False)
    warnings: tuple[str, ...] = ()
    r_star_tokens: float = R_STAR_TOKENS
    r_star_params: float | None = None

    #: The law's name in files.
    kind: ClassVar[str] = ""
    #: Names of the coefficients, in order.
    coefficient_names: ClassVar[tuple[str, ...]]
    #: True for a law of success rates, False for a law of losses.
    predicts_pass: ClassVar[bool] = False

    _kinds: ClassVar[dict[str, type[Law]]] = {}

    def __init_subclass__(cls) -> None:
        cls._kinds[cls.kind] = cls

    def __post_init__(self) -> None:
        if type(self) is Law:
            raise LawError("Law is the base of all laws: make a ChinchillaLaw, a T2LossLaw or a T2PassLaw instead")
        object.__setattr__(self, "uncertainty", _frozen(self.uncertainty))
        try:
            _ = self._handle  # checks the coefficients
        except TypeError:
            numbers = {name: getattr(self, name) for name in (*self.coefficient_names, *_EXTRA)}
            for name, value in numbers.items():
                if value is None and name != "r_star_params":
                    raise LawError(f"{name} = None: must be a number") from None
            try:
                refuse_non_numbers(**numbers)
            except T2Error as error:
                raise LawError(str(error)) from None
            raise

    def __getstate__(self) -> dict[str, Any]:
        # Without what the core makes again from the fields, and with dicts for views of them, which do not pickle.
        return {item.name: _thawed(getattr(self, item.name)) for item in fields(self)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, _frozen(value) if name == "uncertainty" else value)

    @property
    def coefficients(self) -> dict[str, float]:
        """The coefficients by name; F and delta where they are given."""
        names = (*self.coefficient_names, *(("F", "delta") if (self.F, self.delta) != (0, 1) else ()))
        return {name: getattr(self, name) for name in names}

    @cached_property
    def _handle(self) -> _core.Law:
        values = {name: getattr(self, name) for name in (*self.coefficient_names, *_EXTRA)}
        if values["r_star_params"] is None:
            del values["r_star_params"]
        return _core.Law(self.kind, values)

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
        arrays = []
        for name, argument in given.items():
            try:
                arrays.append(np.asarray(argument, dtype=np.float64))
            except (TypeError, ValueError):
                raise T2Error(f"{name} = {argument!r}: must be a number or an array of numbers") from None
        try:
            n, d, samples = np.broadcast_arrays(*arrays)
        except ValueError:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in zip(given, arrays, strict=True))
            raise T2Error(f"shapes do not broadcast: {shapes}; make them equal or scalar") from None
        flat = (np.ascontiguousarray(x).reshape(-1) for x in (n, d, samples))
        values = self._handle.values(*flat).reshape(n.shape)
        return values if values.ndim else float(values)

    def gradient(self, n_params: float, n_tokens: float, k: float = 1) -> Gradient:
        """The value and its partial derivatives at one point.

        Raises
        ------
        T2Error
            As :meth:`value`.
        """
        return Gradient(*self._handle.gradient(n_params, n_tokens, k))

    def loss(self, n_params: float, n_tokens: float, unique_tokens: float | None = None) -> float:
        """The Chinchilla loss inside the law, repeated tokens discounted when ``unique_tokens`` are given.

        A term of overtraining counts them all the same.

        ``D_eff = U (1 + R* (1 - exp(-(D/U - 1) / R*)))``, Muennighoff et al. 2023, equation 5.

        Raises
        ------
        T2Error
            Unless all arguments are positive and finite.
        """
        return self._handle.loss(n_params, n_tokens, unique_tokens)

    def most_useful_tokens(self, n_params: float, unique_tokens: float | None = None) -> float:
        """The training tokens beyond which N parameters get worse: infinite without a term of overtraining.

        Fresh tokens cease to help where ``beta B D^-beta = delta F (D/N)^delta``.

        Raises
        ------
        T2Error
            Unless the arguments are positive and finite.
        """
        return self._handle.most_useful_tokens(n_params, unique_tokens)

    def with_coefficients(self, values: Mapping[str, float]) -> Law:
        """The law with other coefficients; F, delta, ``r_star_tokens`` and ``r_star_params`` may be among them."""
        names = (*self.coefficient_names, *_EXTRA)
        changed: dict[str, Any] = {name: values[name] for name in names if name in values}
        return replace(self, uncertainty={}, **changed)

    def resampled(self) -> Iterator[Law]:
        """The laws of the bootstrap behind this one, if its ``uncertainty`` carries its draws.

        Draws whose coefficients the law does not allow (a scale may have vanished) are left out.

        Raises
        ------
        LawError
            When there are no draws, or they are no columns of numbers of one length.
        """
        draws = self.uncertainty.get("draws")
        if draws is None:
            raise LawError(
                f"law {self.name or self.kind} carries no bootstrap draws: fit it with t2fast fit --bootstrap 1000"
            )
        allowed = (*self.coefficient_names, *_EXTRA)
        if not isinstance(draws, Mapping) or not draws or not set(draws) <= set(allowed):
            raise LawError(f"uncertainty.draws: must be an object of lists, named as {', '.join(allowed)}")
        columns = {name: [number(v, f"uncertainty.draws.{name}") for v in column] for name, column in draws.items()}
        if len({len(column) for column in columns.values()}) > 1:
            raise LawError("uncertainty.draws: every coefficient needs as many draws as the others")
        for row in zip(*columns.values(), strict=True):
            with contextlib.suppress(T2Error):
                yield self.with_coefficients(dict(zip(columns, row, strict=True)))

    def to_dict(self) -> dict[str, Any]:
        """The law as JSON data; :meth:`from_dict` reads it back."""
        data: dict[str, Any] = {"schema": SCHEMA, "kind": self.kind, "coefficients": self.coefficients}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in data["coefficients"] or value == item.default or value in ({}, None):
                continue
            if isinstance(value, DataRange):
                value = {f.name: getattr(value, f.name) for f in fields(value)}
            data[item.name] = _lists(value)
        return data

    def save(self, path: str | Path) -> None:
        """Write the law as a JSON file that :func:`load_law` reads."""
        text = json.dumps(self.to_dict(), indent=2)
        # A line for each list of numbers, not for each number.
        text = re.sub(r"\[[-+\d.eE,\s]*\]", lambda found: " ".join(found[0].split()), text)
        Path(path).write_text(text + "\n", encoding="utf-8")

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


@dataclass(frozen=True)
class ChinchillaLaw(Law):
    """``L(N, D) = E + A N^-alpha + B D^-beta``, nats per token (Hoffmann et al. 2022, equation 2).

    With F above zero a term of overtraining, ``F (D/N)^delta``, is added.
    """

    kind: ClassVar[str] = "chinchilla"
    coefficient_names: ClassVar[tuple[str, ...]] = ("E", "A", "B", "alpha", "beta")


@dataclass(frozen=True)
class T2LossLaw(Law):
    """``L(N, D, k) = E + A N^-alpha + B D^-beta + G k^-gamma`` (Roberts et al. 2026, arXiv 2604.01411, Approach 1).

    L stands for the mean over questions of -log pass@k, in nats; its exponential is not the mean of pass@k.
    """

    G: float
    gamma: float

    kind: ClassVar[str] = "t2-loss"
    coefficient_names: ClassVar[tuple[str, ...]] = ("E", "A", "B", "alpha", "beta", "G", "gamma")


@dataclass(frozen=True)
class T2PassLaw(Law):
    """pass@k through a Beta distribution of per-question success (Roberts et al. 2026, arXiv 2604.01411, Approach 2).

    With l the Chinchilla loss: mean ``mu = theta2 / (1 + exp(theta1 (l - theta0)))``, concentration
    ``nu = exp(theta3 + theta4 l)``, ``a = mu nu``, ``b = (1 - mu) nu``, pass@k = ``1 - B(a, b + k) / B(a, b)``.
    theta1 is positive, theta2 lies in (0, 1].
    """

    theta0: float
    theta1: float
    theta2: float
    theta3: float
    theta4: float

    kind: ClassVar[str] = "t2-pass"
    coefficient_names: ClassVar[tuple[str, ...]] = (
        "E", "A", "B", "alpha", "beta", "theta0", "theta1", "theta2", "theta3", "theta4",
    )  # fmt: skip
    predicts_pass: ClassVar[bool] = True


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
