"""Numbers as tables hold them."""

from __future__ import annotations

import re

from t2fast.quantity import parse_quantity

__all__ = ["MISSING", "number"]

#: What stands in a cell without a value, in lower case.
MISSING = frozenset({"", "nan", "na", "none", "null", "n/a", "#n/a", "-", "<na>"})

_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")


def number(text: str, name: str = "number") -> float:
    """A number as spreadsheets and people write it: ``20,000,000``, ``20M``, ``2e7``.

    Raises
    ------
    T2Error
        When the text is no finite number.

    Examples
    --------
    >>> number("20,000,000"), number("1.4B")
    (20000000.0, 1400000000.0)
    """
    stripped = text.strip()
    return parse_quantity(stripped.replace(",", "") if _THOUSANDS.fullmatch(stripped) else stripped, name)
