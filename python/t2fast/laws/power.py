"""Laws that are sums of powers, and pass@k through them; the core computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import _core
from t2fast.arguments import number
from t2fast.errors import LawError, T2Error
from t2fast.laws.files import coefficients
from t2fast.laws.law import R_STAR_TOKENS, Law
from t2fast.quantity import refuse_non_numbers

__all__ = ["ChinchillaLaw", "Gradient", "PowerLaw", "T2LossLaw", "T2PassLaw"]

#: Coefficients that every such law may have beside its own.
_EXTRA = ("F", "delta", "r_star_tokens", "r_star_params")


def repeated(
    law: _core.Law, n_params: ArrayLike, n_tokens: ArrayLike, k: ArrayLike, unique_tokens: float
) -> float | NDArray[np.float64]:
    """What a law of the core says where only some tokens differ."""
    given = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (n_params, n_tokens, k)))
    n, d, samples = (np.ascontiguousarray(x).reshape(-1) for x in given)
    values = _core.predict([law], n, d, samples, unique_tokens).reshape(given[0].shape)
    return values if values.ndim else float(values)


@dataclass(frozen=True)
class Gradient:
    """A law's value and its partial derivatives: by N per parameter, by D per token, by k per sample.

    Examples
    --------
    >>> law = ChinchillaLaw(E=1.7, A=400.0, B=400.0, alpha=0.34, beta=0.28)
    >>> law.gradient(1e9, 2e10).n_tokens < 0
    True
    """

    value: float
    n_params: float
    n_tokens: float
    k: float


@dataclass(frozen=True)
class PowerLaw(Law):
    """What laws of the Chinchilla loss have in common: coefficients first, then where they come from.

    Parameters
    ----------
    E, A, B, alpha, beta
        Coefficients of the Chinchilla loss; E may be zero, the others are positive.
    F, delta
        Scale and exponent of the term of overtraining, ``F (D/N)^delta``: F is zero (no such term) or positive, delta
        positive. The term counts every token of training, repeats included.
    r_star_tokens, r_star_params
        How fast repeated tokens, and parameters beyond those the unique tokens warrant, lose their worth (R* of
        Muennighoff et al. 2023); ``None`` leaves parameters undiscounted.

    Raises
    ------
    T2Error
        For a coefficient out of its range.

    Examples
    --------
    >>> law = ChinchillaLaw(E=1.7, A=400.0, B=400.0, alpha=0.34, beta=0.28)
    >>> isinstance(law, PowerLaw), law.coefficients["alpha"]
    (True, 0.34)
    """

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    _: KW_ONLY
    F: float = 0.0
    delta: float = 1.0
    r_star_tokens: float = R_STAR_TOKENS
    r_star_params: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
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

    @property
    def in_core(self) -> bool:
        """Whether the core plans with the law."""
        return True

    @property
    def coefficients(self) -> dict[str, float]:
        """The coefficients by name; F and delta where they are given."""
        names = (*self.coefficient_names, *(("F", "delta") if (self.F, self.delta) != (0, 1) else ()))
        return {name: getattr(self, name) for name in names}

    @property
    def _drawable(self) -> tuple[str, ...]:
        return (*self.coefficient_names, *_EXTRA)

    @cached_property
    def _handle(self) -> _core.Law:
        values = {name: getattr(self, name) for name in (*self.coefficient_names, *_EXTRA)}
        if values["r_star_params"] is None:
            del values["r_star_params"]
        return _core.Law(self.kind, values)

    def _values(self, n: NDArray[np.float64], d: NDArray[np.float64], k: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._handle.values(n, d, k)

    def value_repeated(
        self, n_params: ArrayLike, n_tokens: ArrayLike, k: ArrayLike, unique_tokens: float
    ) -> float | NDArray[np.float64]:
        """As :meth:`value`, where only ``unique_tokens`` tokens differ and the others repeat them."""
        return repeated(self._handle, n_params, n_tokens, k, unique_tokens)

    @cached_property
    def _resampled(self) -> list[Any]:
        return [law._handle for law in self.resampled()]

    def _predict(
        self, n: NDArray[np.float64], d: NDArray[np.float64], k: NDArray[np.float64], unique_tokens: float | None
    ) -> NDArray[np.float64]:
        return _core.predict(self._resampled, n, d, k, unique_tokens)

    @classmethod
    def _values_of(
        cls, laws: Sequence[Any], n: NDArray[np.float64], d: NDArray[np.float64], k: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return _core.predict([law._handle for law in laws], n, d, k, None)

    @classmethod
    def _from_form(cls, data: Mapping[str, Any], origin: str) -> dict[str, Any]:
        return coefficients(data, origin, cls)

    def gradient(self, n_params: float, n_tokens: float, k: float = 1) -> Gradient:
        """The value and its partial derivatives at one point.

        Raises
        ------
        T2Error
            As :meth:`value`.
        """
        at = {"n_params": n_params, "n_tokens": n_tokens, "k": k}
        return Gradient(*self._handle.gradient(*(number(name, value) for name, value in at.items())))

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


@dataclass(frozen=True)
class ChinchillaLaw(PowerLaw):
    """``L(N, D) = E + A N^-alpha + B D^-beta``, nats per token (Hoffmann et al. 2022, equation 2).

    With F above zero a term of overtraining, ``F (D/N)^delta``, is added.

    Examples
    --------
    >>> law = ChinchillaLaw(E=1.7, A=400.0, B=400.0, alpha=0.34, beta=0.28)
    >>> round(law.value(1e9, 2e10), 3)
    2.571
    """

    kind: ClassVar[str] = "chinchilla"
    coefficient_names: ClassVar[tuple[str, ...]] = ("E", "A", "B", "alpha", "beta")


@dataclass(frozen=True)
class T2LossLaw(PowerLaw):
    """``L(N, D, k) = E + A N^-alpha + B D^-beta + G k^-gamma`` (Roberts et al. 2026, arXiv 2604.01411, Approach 1).

    L stands for the mean over questions of -log pass@k, in nats; its exponential is not the mean of pass@k.

    Examples
    --------
    >>> law = T2LossLaw(E=0.5, A=40.0, B=40.0, alpha=0.3, beta=0.3, G=1.0, gamma=0.5)
    >>> law.value(1e9, 2e10, 1) > law.value(1e9, 2e10, 100)
    True
    """

    G: float
    gamma: float

    kind: ClassVar[str] = "t2-loss"
    coefficient_names: ClassVar[tuple[str, ...]] = ("E", "A", "B", "alpha", "beta", "G", "gamma")


@dataclass(frozen=True)
class T2PassLaw(PowerLaw):
    """pass@k through a Beta distribution of per-question success (Roberts et al. 2026, arXiv 2604.01411, Approach 2).

    With l the Chinchilla loss: mean ``mu = theta2 / (1 + exp(theta1 (l - theta0)))``, concentration
    ``nu = exp(theta3 + theta4 l)``, ``a = mu nu``, ``b = (1 - mu) nu``, pass@k = ``1 - B(a, b + k) / B(a, b)``.
    theta1 is positive, theta2 lies in (0, 1].

    Examples
    --------
    >>> from t2fast.laws import load_law
    >>> law = load_law("pythia-gsm8k")
    >>> law.kind, 0 < law.value(1e8, 1e11, 100) < 1
    ('t2-pass', True)
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

    def _shares(
        self,
        right: _core.Rule,
        priced: _core.Rule | None,
        n: NDArray[np.float64],
        d: NDArray[np.float64],
        k: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        found = right.over(self._handle, False).values(n, d, k)
        return found, None if priced is None else found - priced.over(self._handle, False).values(n, d, k)

    def _drawn(
        self, rule: _core.Rule, n: NDArray[np.float64], d: NDArray[np.float64], k: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        loss = self.E + self.A * n**-self.alpha + self.B * d**-self.beta + self.F * (d / n) ** self.delta
        mean = self.theta2 * np.exp(-np.logaddexp(0.0, self.theta1 * (loss - self.theta0)))
        concentration = np.exp(np.clip(self.theta3 + self.theta4 * loss, -300, 300))
        return rule.of_beta(mean * concentration, (1 - mean) * concentration, k, True)
