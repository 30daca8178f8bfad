"""Quantities as people write them: ``70B``, ``1.4T``, ``1e22``."""

from __future__ import annotations

import math

from t2fast.arguments import shown
from t2fast.errors import T2Error

__all__ = ["format_flops", "format_quantity", "parse_axis", "parse_quantity", "refuse_non_numbers"]

#: The most values of an axis: 8 MB, and more than any grid has use for.
MOST_VALUES = 1_000_000

_SUFFIXES = {"K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12, "P": 1e15}
_STEPS = [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")]


def parse_quantity(text: str, name: str = "quantity") -> float:
    """Read a number such as ``70B``, ``1.4T``, ``300k``, ``1e22`` or ``1_000``.

    Parameters
    ----------
    text
        The number with an optional suffix K, M, B (or G), T or P, upper or lower case.
    name
        What the number is, for the error message.

    Raises
    ------
    T2Error
        When the text is no finite number.

    Examples
    --------
    >>> parse_quantity("1.4T")
    1400000000000.0
    """
    stripped = text.strip()
    factor = _SUFFIXES.get(stripped[-1:].upper())
    digits = stripped[:-1] if factor else stripped
    try:
        # Multiplying by a power of ten rounds once more than reading "70e9" would: 1.1B must be 1.1e9 exactly.
        value = (
            float(f"{float(digits)!r}e{round(math.log10(factor))}")
            if factor and "e" not in digits.lower()
            else float(digits)
        )
    except ValueError:
        raise T2Error(f"{name} = {text!r}: not a number; write for example 70B, 1.4T, 300k or 1e22") from None
    if not math.isfinite(value):
        raise T2Error(f"{name} = {text!r}: must be finite")
    return value


def parse_axis(text: str, name: str = "axis", *, whole: bool = False) -> list[float]:
    """Read several numbers: a list ``1,10,100``, or ``1M:10B:50`` for 50 of them, evenly spaced in the logarithm.

    With ``whole`` a range holds whole numbers: neighbours that round to the same one are one.

    Examples
    --------
    >>> parse_axis("1:8:6", whole=True)
    [1.0, 2.0, 3.0, 5.0, 8.0]

    Raises
    ------
    T2Error
        When a number is malformed, or a range does not rise from a positive number in at least two steps.
    """
    if ":" not in text:
        return [parse_quantity(part, name) for part in text.split(",")]
    parts = text.split(":")
    if len(parts) != 3:
        raise T2Error(f"{name} = {text!r}: write a list such as 1,10,100 or a range such as 1M:10B:50")
    low, high, count = (parse_quantity(part, name) for part in parts)
    if not (0 < low < high and count >= 2 and count == int(count)):
        raise T2Error(f"{name} = {text!r}: a range LOW:HIGH:COUNT needs 0 < LOW < HIGH and a whole COUNT of at least 2")
    if count > MOST_VALUES:
        raise T2Error(f"{name} = {text!r}: asks for {count:.0f} values; at most {MOST_VALUES} fit an axis")
    steps = int(count) - 1
    inner = [low * (high / low) ** (i / steps) for i in range(1, steps)]
    axis = [low, *inner, high]
    return sorted({float(round(value)) for value in axis}) if whole else axis


def refuse_non_numbers(**values: object) -> None:
    """Raise for the first of the named values that is neither a real number nor ``None``.

    The compiled core says that something was no number, but not what; this is called when it did.

    Raises
    ------
    T2Error
        Naming the argument and the value.

    Examples
    --------
    >>> refuse_non_numbers(train_flops=1e22, max_k=None)
    """
    for name, value in values.items():
        if value is None:
            continue
        try:
            math.isnan(value)  # type: ignore[arg-type]
        except (TypeError, OverflowError):
            raise T2Error(f"{name} = {shown(value)}: must be a number, for example 1e22") from None


def format_quantity(value: float, digits: int = 3) -> str:
    """Write a count as people do: 8.04e7 as ``80.4M``, 1.5e13 as ``15T``, 875 as ``875``.

    Examples
    --------
    >>> format_quantity(8.04e7)
    '80.4M'
    """
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-3:
        return f"{value:.{digits - 1}e}".replace("e+", "e")
    for step, suffix in _STEPS:
        # 999.6M at three digits reads 1000M: go up a step instead.
        if float(f"{size:.{digits}g}") >= step:
            return f"{float(f'{value / step:.{digits}g}'):g}{suffix}"
    return f"{float(f'{value:.{digits}g}'):g}"


def format_flops(value: float, digits: int = 3) -> str:
    """Write a number of FLOP in scientific notation: 1e22 as ``1e22``, 1.44e21 as ``1.44e21``.

    Examples
    --------
    >>> format_flops(1.44e21)
    '1.44e21'
    """
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
