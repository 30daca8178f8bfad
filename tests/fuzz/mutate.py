"""Breaking honest inputs, in ways that follow from a generator of random numbers."""

from __future__ import annotations

import json
import random
from typing import Any

__all__ = ["mutated"]

_TEXTS = [
    "",
    "nan",
    "-inf",
    "1e999",
    "9" * 400,
    "\x00",
    "\ud800",
    "é漢🙂",
    "true",
    "a" * 5000,
    "=1+1",
    "\x1b[31m",
    "../x",
]
_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 1.5, -0.0, 2**31, 2**53 + 1, 2**63, 10**30, 1e308, float("nan"), float("inf"),
    [], {}, [[]], [None], {"": None}, [1, [2, [3]]], *_TEXTS,
]  # fmt: skip
_BYTES = [b"", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\r", b"\n\n", b'"', b"'", b",,", b"[", b"{", b"]" * 20, b"1e400",
          b"[" * 3000, b"-", b"NaN", b"null", b"PK\x03\x04", b"\x1f\x8b\x08", b"PAR1", b"\x28\xb5\x2f\xfd", b"9" * 5000]  # fmt: skip


def mutated(seed: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """One to four changes: of values where the input is JSON, of bytes otherwise."""
    for _ in range(rng.randint(1, 4)):
        change = _json_lines if rng.random() < 0.6 else _bytes
        seed = change(seed, others, rng)
    return seed[: 1 << 16]


def _json_lines(seed: bytes, others: list[bytes], rng: random.Random) -> bytes:
    try:
        lines = seed.decode().splitlines() or [""]
        at = rng.randrange(len(lines))
        value = json.loads(lines[at])
    except (ValueError, RecursionError):
        return _bytes(seed, others, rng)
    value = _changed(value, rng)
    lines[at] = json.dumps(value)
    if rng.random() < 0.2:
        lines.insert(rng.randrange(len(lines) + 1), lines[rng.randrange(len(lines))])
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _changed(value: Any, rng: random.Random) -> Any:
    """The value with one place in it changed."""
    if rng.random() < 0.15 or not isinstance(value, list | dict) or not value:
        return rng.choice(_VALUES)
    if isinstance(value, list):
        at = rng.randrange(len(value))
        kind = rng.random()
        if kind < 0.15:
            return value[:at] + value[at + 1 :]
        if kind < 0.3:
            return [*value, value[at]]
        return [*value[:at], _changed(value[at], rng), *value[at + 1 :]]
    key = rng.choice(list(value))
    kind = rng.random()
    if kind < 0.15:
        return {other: value[other] for other in value if other != key}
    if kind < 0.3:
        return {(str(rng.choice(_TEXTS)) if other == key else other): value[other] for other in value}
    return {**value, key: _changed(value[key], rng)}


def _bytes(seed: bytes, others: list[bytes], rng: random.Random) -> bytes:
    at = rng.randrange(len(seed) + 1)
    to = min(len(seed), at + rng.choice([0, 1, 1, 2, 8, 100]))
    kind = rng.random()
    if kind < 0.35:
        return seed[:at] + rng.choice(_BYTES) + seed[to:]
    if kind < 0.55:
        return seed[:at] + bytes(rng.randrange(256) for _ in range(to - at)) + seed[to:]
    if kind < 0.65:
        return seed[:at]
    if kind < 0.8:
        return seed[:to] + seed[at:to] * rng.choice([1, 2, 50]) + seed[to:]
    other = rng.choice(others)
    cut = rng.randrange(len(other) + 1)
    return seed[:at] + other[cut:]
