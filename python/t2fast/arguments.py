"""Checks of what callers pass, where it enters: each names the argument, the value, what is allowed and the fix."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast.errors import T2Error
from t2fast.text import near

__all__ = [
    "choice",
    "confidence_level",
    "integers",
    "items",
    "number",
    "numbers",
    "path",
    "seed",
    "shown",
    "threads",
    "whole",
]

#: The most threads that may be asked for: far beyond any machine, far below what exhausts one.
MOST_THREADS = 1024


def shown(value: object) -> str:
    """A value as a message shows it: its ``repr``, cut where it gets long.

    Examples
    --------
    >>> len(shown("x" * 1000))
    60
    """
    try:
        text = repr(value)
    except Exception:  # a stranger's __repr__ may raise anything, and must not hide the message
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 60 else text[:57] + "..."


def number(
    name: str, value: object, *, low: float = -math.inf, high: float = math.inf, low_open: bool = False
) -> float:
    """A finite real number within [low, high], or (low, high] when ``low_open``.

    Raises
    ------
    T2Error
        For what is no number (texts, booleans, complex numbers, ``None``), not finite or out of range.

    Examples
    --------
    >>> number("timeout", 3, low=0)
    3.0
    """
    found = math.nan
    if not isinstance(value, bool | np.bool_ | str | bytes | complex | np.complexfloating):
        try:
            found = float(value)  # type: ignore[arg-type]
        except OverflowError:
            raise T2Error(f"{name}: must be finite, and has {len(str(value))} digits") from None
        except (TypeError, ValueError):
            raise T2Error(f"{name} = {shown(value)}: must be a number, for example 1e22") from None
    else:
        raise T2Error(f"{name} = {shown(value)}: must be a number, for example 1e22")
    if not math.isfinite(found):
        raise T2Error(f"{name} = {found}: must be finite")
    if found < low or found > high or (low_open and found == low):
        raise T2Error(f"{name} = {found:g}: must be {_range(low, high, low_open)}")
    return found


def _range(low: float, high: float, low_open: bool) -> str:
    if math.isinf(high):
        return f"above {low:g}" if low_open else f"at least {low:g}"
    if math.isinf(low):
        return f"at most {high:g}"
    return f"above {low:g} and at most {high:g}" if low_open else f"between {low:g} and {high:g}"


def whole(name: str, value: object, *, least: int = 0, most: int = 2**63 - 1) -> int:
    """A whole number within [least, most].

    Raises
    ------
    T2Error
        For anything else; floats do not pass, even when they are whole.

    Examples
    --------
    >>> whole("k", 8, least=1)
    8
    """
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        found = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise T2Error(f"{name} = {shown(value)}: must be a whole number, at least {least}") from None
    if not least <= found <= most:
        limits = f"at least {least}" if most == 2**63 - 1 else f"between {least} and {most}"
        raise T2Error(f"{name} = {shown(found)}: must be a whole number, {limits}")
    return found


def confidence_level(value: object) -> float:
    """A level of intervals, strictly between 0 and 1: 0.9 for 90%.

    Examples
    --------
    >>> confidence_level(0.9)
    0.9
    """
    found = number("confidence_level", value)
    if not 0 < found < 1:
        raise T2Error(f"confidence_level = {found:g}: must lie between 0 and 1; write 0.9 for 90%")
    return found


def seed(value: object) -> int:
    """A key of random numbers: a whole number from 0 to 2^64 - 1.

    Examples
    --------
    >>> seed(7)
    7
    """
    return whole("seed", value, most=2**64 - 1)


def threads(value: object) -> int | None:
    """A number of threads; ``None`` for all of the machine's.

    Examples
    --------
    >>> threads(4)
    4
    """
    return None if value is None else whole("threads", value, least=1, most=MOST_THREADS)


def choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """One of several words.

    Examples
    --------
    >>> choice("scope", "samples", ["samples", "problems"])
    'samples'
    """
    words = list(allowed)
    if not isinstance(value, str):
        raise T2Error(f"{name} = {shown(value)}: must be one of {', '.join(words)}")
    if value not in words:
        raise T2Error(f"{name} = {shown(value)}: {near(value, words)}")
    return value


def path(name: str, value: object) -> Path:
    """A path of a file or folder.

    Examples
    --------
    >>> path("out", "law.json").name
    'law.json'
    """
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise T2Error(f"{name} = {shown(value)}: must be a path")
    return Path(value)


def items(name: str, values: object, of: str) -> list[Any]:
    """The items of a list, tuple, array or other iterable; ``of`` says what they are.

    Raises
    ------
    T2Error
        For what has no items (a number, ``None``), and for a text.

    Examples
    --------
    >>> items("designs", (1, 2), "numbers")
    [1, 2]
    """
    try:
        if isinstance(values, str | bytes):
            raise TypeError
        return list(values)  # type: ignore[call-overload, no-any-return]
    except TypeError:
        raise T2Error(f"{name} = {shown(values)}: must be a list of {of}") from None


def numbers(name: str, values: ArrayLike, *, ndim: int | None = None) -> NDArray[np.float64]:
    """An array of real numbers as contiguous float64, NaN allowed; read-only arrays and pandas columns pass.

    Raises
    ------
    T2Error
        For texts, complex numbers, objects, masked values (which would lose their mask), or another number of
        dimensions.

    Examples
    --------
    >>> numbers("n_params", [1, 2.5]).tolist()
    [1.0, 2.5]
    """
    array = _array(name, values)
    if array.dtype.kind not in "biuf":
        raise T2Error(f"{name} has type {array.dtype}: must be numbers")
    if ndim is not None and array.ndim != ndim:
        raise T2Error(f"{name} has {array.ndim} dimensions: must have {ndim}")
    # The core takes aligned arrays in C order; at least one dimension is what NumPy promises of those.
    return np.require(array, np.float64, ["C", "A"]).reshape(array.shape)


def integers(name: str, values: ArrayLike, *, ndim: int | None = None) -> NDArray[np.int64]:
    """An array of whole numbers as contiguous int64; floats pass when all of them are whole.

    Raises
    ------
    T2Error
        As :func:`numbers`; and for fractions, NaN and numbers beyond 64 bits.

    Examples
    --------
    >>> integers("n", [1, 2.0]).tolist()
    [1, 2]
    """
    array = _array(name, values)
    if ndim is not None and array.ndim != ndim:
        raise T2Error(f"{name} has {array.ndim} dimensions: must have {ndim}")
    if array.dtype.kind == "f":
        # NaN and infinity are whole by no measure.
        wrong = ~(np.floor(array) == array) | ~(np.abs(array) < 2.0**63)
        if wrong.any():
            raise T2Error(f"{name} = {array[wrong].flat[0]}: must be a whole number below 2^63")
    elif array.dtype.kind == "u" and array.size and int(array.max()) >= 2**63:
        raise T2Error(f"{name} = {array.max()}: must be a whole number below 2^63")
    elif array.dtype.kind not in "biu":
        raise T2Error(f"{name} has type {array.dtype}: must be whole numbers")
    return np.require(array, np.int64, ["C", "A"]).reshape(array.shape)


def _array(name: str, values: Any) -> NDArray[Any]:
    if isinstance(values, np.ma.MaskedArray) and np.ma.getmaskarray(values).any():
        raise T2Error(f"{name} has masked values: fill or drop them first, for example with .compressed()")
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, OverflowError):
        raise T2Error(f"{name} = {shown(values)}: must be a number or an array of numbers of one shape") from None
    if array.size == 0 and array.dtype.kind == "O":
        return array.astype(np.float64)
    if array.dtype.kind == "O":
        # Python's own numbers of any size, decimals and fractions; texts and None are none.
        flat = [number(name, one) for one in array.ravel()]
        if all(isinstance(one, int) and abs(one) < 2**63 for one in array.ravel()):
            return array.astype(np.int64)
        return np.array(flat, dtype=np.float64).reshape(array.shape)
    return array
