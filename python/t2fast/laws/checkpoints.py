"""Checkpoints that were measured: what a law's predictions can be held against."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from t2fast.errors import LawError

__all__ = ["Checkpoints", "Observation"]


class Observation(NamedTuple):
    """What was measured at one checkpoint: a rate, and the ends of its 90% interval over problems.

    Examples
    --------
    >>> Observation(0.5, 0.44, 0.56).observed
    0.5
    """

    observed: float
    low: float
    high: float


@dataclass(frozen=True)
class Checkpoints:
    """Measured pass@k of checkpoints, with 90% intervals over problems.

    Attributes
    ----------
    n_params, n_tokens
        N and D of each checkpoint.
    k
        Samples per problem at which rates were estimated, rising; powers of two.
    observed, low, high
        For each checkpoint a rate at each k, and the ends of its interval; ``None`` where k exceeds the samples drawn.

    Examples
    --------
    >>> from t2fast.laws import load_law
    >>> measured = load_law("pythia-gsm8k").checkpoints
    >>> len(measured.n_params) == len(measured.n_tokens)
    True
    """

    n_params: tuple[float, ...]
    n_tokens: tuple[float, ...]
    k: tuple[float, ...]
    observed: tuple[tuple[float | None, ...], ...]
    low: tuple[tuple[float | None, ...], ...]
    high: tuple[tuple[float | None, ...], ...]

    def __len__(self) -> int:
        return len(self.n_params)

    def most_samples(self, place: int) -> float:
        """The largest k at which a checkpoint was measured."""
        return max((k for k, rate in zip(self.k, self.observed[place], strict=True) if rate is not None), default=0.0)

    def at(self, place: int, k: float) -> Observation | None:
        """What was measured at a checkpoint, between two k linear in ln k; ``None`` beyond the samples drawn."""
        known = [i for i, rate in enumerate(self.observed[place]) if rate is not None]
        if not known or not self.k[known[0]] <= k <= self.k[known[-1]]:
            return None
        ks = np.log([self.k[i] for i in known])
        rows: Any = (self.observed[place], self.low[place], self.high[place])
        return Observation(*(float(np.interp(np.log(k), ks, [row[i] for i in known])) for row in rows))

    def to_dict(self) -> dict[str, Any]:
        """The checkpoints as JSON data."""
        return {item.name: _lists(getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def from_dict(cls, data: Any, origin: str) -> Checkpoints:
        """Read what :meth:`to_dict` writes.

        Raises
        ------
        LawError
            For missing columns, or columns of other lengths.
        """
        names = [item.name for item in fields(cls)]
        if not isinstance(data, Mapping) or set(data) != set(names):
            raise LawError(f"{origin}: checkpoints must be an object with {', '.join(names)}")
        try:
            columns = {name: np.array(data[name], dtype=np.float64) for name in names}
        except (TypeError, ValueError):
            raise LawError(f"{origin}: checkpoints: must be lists of numbers of one length") from None
        shape = (len(columns["n_params"]), len(columns["k"]))
        for name, column in columns.items():
            wanted = {"n_params": shape[:1], "n_tokens": shape[:1], "k": shape[1:]}.get(name, shape)
            if column.shape != wanted:
                raise LawError(f"{origin}: checkpoints.{name}: has shape {column.shape}, not {wanted}")
        flat: dict[str, Any] = {name: tuple(columns[name].tolist()) for name in ("n_params", "n_tokens", "k")}
        table: dict[str, Any] = {
            name: tuple(tuple(None if math.isnan(rate) else rate for rate in row) for row in columns[name].tolist())
            for name in ("observed", "low", "high")
        }
        return cls(**flat, **table)


def _lists(value: Any) -> Any:
    return [_lists(one) for one in value] if isinstance(value, tuple) else value
