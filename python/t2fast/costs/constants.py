"""Efficiencies and overheads of an engine on a card, with their posterior: what data sheets do not say."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import resources
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2fast.arguments import number, shown
from t2fast.errors import T2Error

__all__ = ["Constants", "default_constants"]

#: Constants that are shares of a peak; the others are positive numbers.
SHARES = ("compute", "memory", "link", "train_compute")


@dataclass(frozen=True)
class Constants:
    """What measurements say of an engine: efficiencies, overheads, and how sure they are.

    Parameters
    ----------
    compute, memory, link
        Share of the peaks that matrix products, memory and all-reduces reach, in (0, 1].
    activations
        Activations that pass through memory, per token, layer and width, as half the number of bytes.
    layer_seconds, expert_layer_seconds, step_seconds
        Overheads per layer and step, the same in addition for a mixture of experts, and per step.
    hop_seconds
        Seconds that an all-reduce waits, two per layer.
    request_seconds
        Seconds before the processing of a prompt begins.
    regroup
        0 for engines that read keys and values once for a group of query heads, 1 for those that read them for each.
    train_compute, train_activations
        Share of the peak in training, and bytes of activations per token, layer and width.
    names, covariance
        Which constants were fitted, and the covariance of their logarithms (of their log odds, for shares).
    sigma
        Scale of the logarithm of measured over predicted, of Student's t with 4 degrees of freedom.
    source
        Where they come from.

    Examples
    --------
    >>> Constants(compute=0.5).compute
    0.5
    """

    compute: float = 1.0
    memory: float = 1.0
    activations: float = 0.0
    layer_seconds: float = 0.0
    expert_layer_seconds: float = 0.0
    step_seconds: float = 0.0
    link: float = 1.0
    hop_seconds: float = 0.0
    request_seconds: float = 0.0
    regroup: float = 0.0
    train_compute: float = 1.0
    train_activations: float = 0.0
    names: tuple[str, ...] = ()
    covariance: tuple[tuple[float, ...], ...] = ()
    sigma: float = 0.0
    source: str = ""

    def __post_init__(self) -> None:
        for name in VALUES:
            share = name in SHARES
            number(name, getattr(self, name), low=0.0, high=1.0 if share else math.inf, low_open=share)
        number("sigma", self.sigma, low=0.0)
        size = len(self.names)
        if len(self.covariance) != size or any(len(row) != size for row in self.covariance):
            raise T2Error(f"covariance: must have {size} rows and columns, one for each of {', '.join(self.names)}")
        unknown = [str(name) for name in self.names if name not in VALUES]
        if unknown:
            raise T2Error(f"names: {', '.join(unknown)}: no constants of the cost model; known: {', '.join(VALUES)}")
        for row in self.covariance:
            for value in row:
                number("covariance", value)

    def values(self) -> list[float]:
        """The numbers in the order in which the core takes them."""
        return [getattr(self, name) for name in VALUES]

    def moved(self, coordinates: Sequence[float] | NDArray[np.float64]) -> Constants:
        """These constants with the fitted ones at other coordinates: logarithms, or log odds for shares."""
        pairs = zip(self.names, coordinates, strict=True)
        return replace(self, **{name: _number(name, float(z)) for name, z in pairs})  # type: ignore[arg-type]

    def coordinates(self) -> NDArray[np.float64]:
        """The fitted constants as logarithms, or log odds for shares; infinite for 0, and for a share of 1."""
        return np.array([_coordinate(name, getattr(self, name)) for name in self.names])

    def spread(self, gradient: NDArray[np.float64], confidence_level: float) -> float:
        """Half-width of an interval of a logarithm, from its gradient in the coordinates: posterior and scatter."""
        posterior = float(gradient @ np.array(self.covariance).reshape(len(self.names), len(self.names)) @ gradient)
        tail = 0.5 * (1.0 + confidence_level)
        return math.hypot(NormalDist().inv_cdf(tail) * math.sqrt(max(posterior, 0.0)), _student4(tail) * self.sigma)

    def to_dict(self) -> dict[str, Any]:
        """The constants as JSON data."""
        data = {item.name: getattr(self, item.name) for item in fields(self)}
        return data | {"names": list(self.names), "covariance": [list(row) for row in self.covariance]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Constants:
        """Constants from JSON data.

        Raises
        ------
        T2Error
            For unknown names or numbers out of range.
        """
        if not isinstance(data, Mapping):
            raise T2Error(f"constants = {shown(data)}: must be an object of names and numbers")
        known = {item.name for item in fields(cls)}
        unknown = [name for name in data if name not in known]
        if unknown:
            raise T2Error(f"constants: unknown {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        parts = dict(data)
        try:
            parts["names"] = tuple(parts.get("names", ()))
            parts["covariance"] = tuple(tuple(row) for row in parts.get("covariance", ()))
        except TypeError:
            raise T2Error("names and covariance: must be a list, and a list of lists") from None
        return cls(**parts)


#: The numbers, in the order in which the core takes them.
VALUES = tuple(item.name for item in fields(Constants))[:12]


def _coordinate(name: str, value: float) -> float:
    if value == 0.0:
        return -math.inf
    if name not in SHARES:
        return math.log(value)
    return math.inf if value == 1.0 else math.log(value / (1.0 - value))


def _number(name: str, z: float) -> float:
    return 1.0 / (1.0 + math.exp(-z)) if name in SHARES else math.exp(z)


def _student4(p: float) -> float:
    """The quantile of Student's t with 4 degrees of freedom, in closed form (Shaw 2006), for p above 1/2."""
    alpha = 4.0 * p * (1.0 - p)
    root = math.sqrt(alpha)
    return 2.0 * math.sqrt(math.cos(math.acos(root) / 3.0) / root - 1.0)


@functools.cache
def default_constants() -> Constants:
    """The constants that come with t2fast, fitted to public measurements; see the page on costs.

    Examples
    --------
    >>> 0.5 < default_constants().memory < 1
    True
    """
    text = (resources.files("t2fast.costs") / "constants.json").read_text(encoding="utf-8")
    return Constants.from_dict(json.loads(text))
