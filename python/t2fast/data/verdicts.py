"""Whether a trial succeeded: the one place that decides it, for logs and for samples that are being drawn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from t2fast.data.cells import MISSING

__all__ = ["WORDS", "accepted", "verdict"]

_TRUE = frozenset({"true", "1", "1.0", "c", "pass", "passed", "correct", "yes", "success", "ok", "resolved", "solved"})
_FALSE = frozenset(
    {"false", "0", "0.0", "i", "fail", "failed", "incorrect", "no", "failure", "timeout", "timed out", "unresolved",
     "wrong", "unsolved"}
)  # fmt: skip

#: All words that stand for a verdict or for its absence.
WORDS = _TRUE | _FALSE | MISSING

#: Rewards of exactly 1 may have been through a sum.
_ROUNDING = 1e-6


class UnclearError(ValueError):
    """A value that is neither a verdict nor missing; ``fraction`` says that it is a score."""

    def __init__(self, message: str, fraction: bool = False) -> None:
        super().__init__(message)
        self.fraction = fraction


def verdict(value: Any, threshold: float | None = None) -> bool | None:
    """True or false as a file says it, or None where it says nothing.

    Raises
    ------
    UnclearError
        For words that mean neither, and for scores between 0 and 1 without a threshold.

    Examples
    --------
    >>> verdict("PASS"), verdict(0.0), verdict("n/a"), verdict(0.7, threshold=0.5)
    (True, False, None, True)
    """
    if value is True or value is False:
        return bool(value)
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip().lower()
        if text in MISSING:
            return None
        if (text in _TRUE or text in _FALSE) and (threshold is None or not text[0].isdigit()):
            return text in _TRUE
        try:
            value = float(text)
        except ValueError:
            raise UnclearError(f"verdict {value!r} is neither true nor false") from None
    if isinstance(value, (int, float, np.integer, np.floating, np.bool_)):
        try:
            number = float(value)
        except OverflowError:
            raise UnclearError("verdict is a number beyond any score") from None
        if math.isnan(number):
            return None
        if threshold is not None:
            return number >= threshold
        if abs(number - 1) < _ROUNDING:
            return True
        if abs(number) < _ROUNDING:
            return False
        raise UnclearError(f"verdict {number:g} is neither 0 nor 1", fraction=True)
    raise UnclearError(f"verdict {str(value)[:60]!r} is neither true nor false")


def accepted(correct: bool | None, score: float | None) -> bool:
    """Whether a verifier's answer counts as correct: it said yes, or gave a score of at least 1.

    Examples
    --------
    >>> accepted(True, None), accepted(None, 0.4), accepted(None, None)
    (True, False, False)
    """
    return correct is True or (score is not None and score >= 1 - _ROUNDING)
