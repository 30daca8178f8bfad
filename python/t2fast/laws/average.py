"""The mean of several laws: where no single form is right, their average errs less than any of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from t2fast import _core
from t2fast.errors import LawError, T2Error
from t2fast.laws.files import numbers
from t2fast.laws.law import Law
from t2fast.laws.logits import expit, logit

__all__ = ["LawAverage"]


@dataclass(frozen=True)
class LawAverage(Law):
    """A weighted mean of laws of pass@k in log-odds: ``sigmoid(sum_i w_i logit(p_i))``.

    Parameters
    ----------
    laws
        Two laws of pass@k or more.
    weights
        One positive number per law; equal by default, and scaled to a sum of one.

    Raises
    ------
    LawError
        For fewer than two laws, a law of losses, or weights that are not positive or not one per law.

    Examples
    --------
    >>> from t2fast.laws import LawAverage, load_law
    >>> a, b = load_law("pythia-gsm8k"), load_law("pythia-math")
    >>> mean = LawAverage((a, b))
    >>> low, high = sorted(law.value(1e9, 1e11, 10) for law in (a, b))
    >>> low < mean.value(1e9, 1e11, 10) < high
    True
    """

    laws: tuple[Law, ...]
    weights: tuple[float, ...] = ()

    kind: ClassVar[str] = "average"
    own_keys: ClassVar[tuple[str, ...]] = ("laws", "weights")
    predicts_pass: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "laws", tuple(self.laws))
        if len(self.laws) < 2 or not all(isinstance(law, Law) and law.predicts_pass for law in self.laws):
            raise LawError("laws: must be two or more laws of pass@k")
        weights = np.array(self.weights or [1.0] * len(self.laws), dtype=np.float64)
        if len(weights) != len(self.laws) or not (np.isfinite(weights).all() and (weights > 0).all()):
            raise LawError(f"weights = {self.weights}: must be one positive number for each of {len(self.laws)} laws")
        object.__setattr__(self, "weights", tuple((weights / weights.sum()).tolist()))

    @property
    def coefficients(self) -> dict[str, float]:
        """The weights by the laws' kinds, numbered."""
        return {f"{i} {law.kind}": w for i, (law, w) in enumerate(zip(self.laws, self.weights, strict=True), 1)}

    def _values(self, n: NDArray[np.float64], d: NDArray[np.float64], k: NDArray[np.float64]) -> NDArray[np.float64]:
        parts = (w * logit(law._values(n, d, k)) for law, w in zip(self.laws, self.weights, strict=True))
        return expit(sum(parts, start=np.zeros_like(n)))

    @classmethod
    def _values_of(
        cls, laws: Sequence[Any], n: NDArray[np.float64], d: NDArray[np.float64], k: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        odds = np.zeros((len(laws), len(n)))
        for weight, *drawn in zip(laws[0].weights, *(law.laws for law in laws), strict=True):
            odds += weight * logit(type(drawn[0])._values_of(drawn, n, d, k))
        return expit(odds)

    def _shares(
        self,
        right: _core.Rule,
        priced: _core.Rule | None,
        n: NDArray[np.float64],
        d: NDArray[np.float64],
        k: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        rights, wrongs = zip(*(law._shares(right, priced, n, d, k) for law in self.laws), strict=True)

        def mean(parts: tuple[NDArray[np.float64], ...]) -> NDArray[np.float64]:
            return expit(sum((w * logit(part) for part, w in zip(parts, self.weights, strict=True)), np.zeros_like(n)))

        return mean(rights), None if priced is None else mean(wrongs)

    def _drawn(
        self, rule: _core.Rule, n: NDArray[np.float64], d: NDArray[np.float64], k: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        drawn = (w * law._drawn(rule, n, d, k) for law, w in zip(self.laws, self.weights, strict=True))
        return sum(drawn, np.zeros_like(n))

    def with_coefficients(self, values: Mapping[str, float]) -> Law:  # noqa: ARG002
        """Refused: the coefficients are those of the laws."""
        raise LawError("a LawAverage has no coefficients of its own: change those of its laws")

    def drawn(self) -> list[dict[str, float]]:
        """Refused: the draws are those of the laws; use :meth:`resampled`."""
        raise LawError("a LawAverage carries its draws in its laws: use resampled()")

    @property
    def has_draws(self) -> bool:
        """Whether all of the laws carry draws."""
        return all(law.has_draws for law in self.laws)

    def with_fewer_draws(self, most: int) -> Law:
        """The average of the laws with their first draws only."""
        return replace(self, laws=tuple(law.with_fewer_draws(most) for law in self.laws))

    def resampled(self) -> Iterator[Law]:
        """The averages of the laws' draws: the i-th of each belong to one resampled table.

        Raises
        ------
        LawError
            When one of the laws carries no draws.
        """
        for rows in zip(*(law.drawn() for law in self.laws), strict=False):
            with contextlib.suppress(T2Error):
                laws = tuple(law.with_coefficients(row) for law, row in zip(self.laws, rows, strict=True))
                yield replace(self, laws=laws, uncertainty={})

    def _form(self) -> dict[str, Any]:
        return {"laws": [law.to_dict() for law in self.laws], "weights": list(self.weights)}

    @classmethod
    def _from_form(cls, data: Mapping[str, Any], origin: str) -> dict[str, Any]:
        laws = data.get("laws")
        if not isinstance(laws, list) or not laws:
            raise LawError(f"{origin}: laws must be a list of laws")
        return {
            "laws": tuple(Law.from_dict(law, f"{origin}: laws[{i}]") for i, law in enumerate(laws)),
            "weights": numbers(data, "weights", origin, len(laws)) if "weights" in data else (),
        }
