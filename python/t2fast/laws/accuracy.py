"""The second step of a task law: from a loss by N and D to the accuracy of one answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from t2fast.errors import LawError
from t2fast.laws.files import number
from t2fast.laws.law import Law
from t2fast.laws.logits import expit
from t2fast.laws.power import ChinchillaLaw

__all__ = ["AccuracyLaw", "step"]

_Floats = NDArray[np.float64]


def step(loss: _Floats, floor: float, middle: float, slope: float) -> _Floats:
    """``floor + (1 - floor) / (1 + exp(slope (loss - middle)))``: an answer that costs nothing is always chosen."""
    return np.asarray(floor + (1 - floor) * expit(slope * (middle - loss)))


@dataclass(frozen=True)
class AccuracyLaw(Law):
    """Accuracy in two steps (Bhagia et al. 2024, arXiv 2412.04403): a loss L by N and D, then a sigmoid of it.

    ``floor + (1 - floor) / (1 + exp(slope (L - middle)))``, with L in nats per token or in bits per byte of the right
    answer. It speaks of one answer: k is 1.

    Parameters
    ----------
    loss
        The law of the loss, without F.
    floor
        The accuracy of a model that knows nothing, in [0, 1).
    middle, slope
        The loss halfway between the floor and 1, and how steep the step is there; slope is positive.

    Raises
    ------
    LawError
        For numbers out of these ranges, or a loss that is no ChinchillaLaw.

    Examples
    --------
    >>> from t2fast.laws import AccuracyLaw, ChinchillaLaw
    >>> law = AccuracyLaw(ChinchillaLaw(0.4, 800.0, 800.0, 0.41, 0.34), floor=0.25, middle=0.9, slope=4.0)
    >>> round(law.value(7e9, 4e12), 3)
    0.868
    """

    loss: ChinchillaLaw
    floor: float
    middle: float
    slope: float

    kind: ClassVar[str] = "accuracy"
    own_keys: ClassVar[tuple[str, ...]] = ("loss", "floor", "middle", "slope")
    predicts_pass: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.loss, ChinchillaLaw) or self.loss.F:
            raise LawError("loss: must be a ChinchillaLaw without a term of overtraining")
        for name in ("floor", "middle", "slope"):
            object.__setattr__(self, name, number(getattr(self, name), name))
        if not (0 <= self.floor < 1):
            raise LawError(f"floor = {self.floor:g}: must lie in [0, 1)")
        if not np.isfinite(self.middle):
            raise LawError(f"middle = {self.middle:g}: must be finite")
        if not (np.isfinite(self.slope) and self.slope > 0):
            raise LawError(f"slope = {self.slope:g}: must be positive and finite")

    @property
    def coefficients(self) -> dict[str, float]:
        """Those of the loss, then floor, middle and slope."""
        return self.loss.coefficients | {name: getattr(self, name) for name in ("floor", "middle", "slope")}

    @property
    def _drawable(self) -> tuple[str, ...]:
        return tuple(self.coefficients)

    def with_coefficients(self, values: Mapping[str, float]) -> AccuracyLaw:
        """The law with other coefficients, and without the uncertainty of these."""
        found = self.coefficients | {name: value for name, value in values.items() if name in self.coefficients}
        floor, middle, slope = (found[name] for name in ("floor", "middle", "slope"))
        loss = replace(self.loss, uncertainty={}, **{name: found[name] for name in self.loss.coefficient_names})  # type: ignore[arg-type]
        return replace(self, loss=loss, floor=floor, middle=middle, slope=slope, uncertainty={})

    def _values(self, n: _Floats, d: _Floats, k: _Floats) -> _Floats:
        if (k != 1).any():
            raise LawError(f"k = {k[k != 1][0]:g}: an accuracy is of one answer, k = 1 (limit k with max_k=1)")
        return step(self.loss._values(n, d, k), self.floor, self.middle, self.slope)

    def _form(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("floor", "middle", "slope")}
        return {"loss": {"coefficients": self.loss.coefficients}, **own}

    @classmethod
    def _from_form(cls, data: Mapping[str, Any], origin: str) -> dict[str, Any]:
        for key in cls.own_keys:
            if key not in data:
                raise LawError(f"{origin}: {key} is missing; an accuracy law needs {', '.join(cls.own_keys)}")
        if not isinstance(data["loss"], Mapping):
            raise LawError(f"{origin}: loss must be an object with coefficients")
        whole = {"schema": data["schema"], "kind": "chinchilla", **data["loss"]}
        loss = Law.from_dict(whole, f"{origin}: loss")
        numbers = {name: number(data[name], f"{origin}: {name}") for name in ("floor", "middle", "slope")}
        return {"loss": loss, **numbers}
