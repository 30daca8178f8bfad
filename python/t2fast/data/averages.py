"""Averages over samples, such as pass@8: no verdicts, though counts may follow from them."""

from __future__ import annotations

import math
import re
from typing import Any

from t2fast.data.tally import BadLineError
from t2fast.errors import DataError

__all__ = ["aggregate", "correct_of"]

_AGGREGATE = re.compile(r"^(?:.*[/_:. ])?(?:pass|maj|avg|mean|cons|best)[@^](\d+)$")


def aggregate(name: str) -> int | None:
    """The k of a metric such as ``pass@8``, which is an average over samples and no verdict; None for others."""
    found = _AGGREGATE.match(name.strip().lower())
    return int(found.group(1)) if found else None


def correct_of(n: int, k: int, value: Any, name: str) -> int:
    """The number of correct samples of n for which pass@k is so: where exactly one is."""
    try:
        rate = float(value)
    except (TypeError, ValueError):
        raise BadLineError(f"{name} = {str(value)[:40]!r}: must be a number") from None
    if k == 1:
        c = round(rate * n)
        if not abs(rate * n - c) < 1e-4 * max(1.0, n * 1e-3):
            raise BadLineError(f"{name} = {rate:g} is not a multiple of 1/n for n = {n}: it is of other samples")
        return c
    found = [c for c in range(n + 1) if abs(_pass_at_k(n, c, k) - rate) < 1e-6]
    if len(found) != 1:
        many = f"{found[0]} to {found[-1]} correct samples of {n} give it" if found else f"no count of {n} gives it"
        raise DataError(f"{name} = {rate:g}: {many}, so that counts cannot be told from it; add pass@1 to the metrics")
    return found[0]


def _pass_at_k(n: int, c: int, k: int) -> float:
    return 1.0 - math.comb(n - c, k) / math.comb(n, k) if k <= n else math.nan
