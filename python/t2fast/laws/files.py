"""Laws as JSON data: the schema and the checks of every key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from t2fast.errors import LawError
from t2fast.laws.checkpoints import Checkpoints
from t2fast.laws.data_range import DataRange
from t2fast.text import near

__all__ = ["SCHEMA", "arguments", "coefficients", "number", "numbers"]

#: Written into every law file; a reader refuses what it does not know.
SCHEMA = "t2fast.law/2"

#: The first schema, without F and delta, is read as well.
READ = ("t2fast.law/1", SCHEMA)

#: Keys of every law that say where it comes from.
_TEXTS = ("name", "title", "source", "params_counted", "purpose", "held_out")
_METADATA = (*_TEXTS, "data_range", "uncertainty", "warnings", "checkpoints")


def arguments(data: object, origin: str, kinds: Mapping[str, type[Any]]) -> tuple[type[Any], dict[str, Any]]:
    """Check a law's JSON data: its class, one of ``kinds``, and the arguments that make it.

    Raises
    ------
    LawError
        For a missing, unknown or malformed key, by name.
    """
    if not isinstance(data, Mapping):
        raise LawError(f"{origin}: a law is a JSON object, not {type(data).__name__}")
    schema = data.get("schema")
    if not isinstance(schema, str) or schema not in READ:
        raise LawError(f"{origin}: schema = {schema!r}: this version reads {' and '.join(READ)}")
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise LawError(f"{origin}: kind = {kind!r}: {near(str(kind), kinds)}")
    law = kinds[kind]
    allowed = {"schema", "kind", *law.own_keys, *_METADATA}
    if "coefficients" in law.own_keys:
        allowed |= {"r_star_tokens", "r_star_params"}
    for key in data:
        if key not in allowed:
            raise LawError(f"{origin}: unknown key {key!r}: {near(key, sorted(allowed))}")
    found: dict[str, Any] = law._from_form(data, origin)
    for key in _TEXTS:
        if key in data:
            if not isinstance(data[key], str):
                raise LawError(f"{origin}: {key} must be text, not {data[key]!r}")
            found[key] = data[key]
    if "data_range" in data:
        found["data_range"] = _data_range(data["data_range"], origin)
    if "checkpoints" in data:
        found["checkpoints"] = Checkpoints.from_dict(data["checkpoints"], origin)
    if "uncertainty" in data:
        if not isinstance(data["uncertainty"], Mapping):
            raise LawError(f"{origin}: uncertainty must be an object")
        found["uncertainty"] = data["uncertainty"]
    if "warnings" in data:
        lines = data["warnings"]
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise LawError(f"{origin}: warnings must be a list of texts")
        found["warnings"] = tuple(lines)
    return law, found


def coefficients(data: Mapping[str, Any], origin: str, law: type[Any]) -> dict[str, float]:
    """The coefficients of a law of powers from its JSON data.

    Raises
    ------
    LawError
        For a missing, unknown or malformed coefficient, by name.
    """
    given = data.get("coefficients")
    if not isinstance(given, Mapping):
        raise LawError(f"{origin}: coefficients must be an object with {', '.join(law.coefficient_names)}")
    optional = ("F", "delta") if data["schema"] != READ[0] else ()
    for key in given:
        if key not in (*law.coefficient_names, *optional):
            raise LawError(f"{origin}: unknown coefficient {key!r}: {near(key, (*law.coefficient_names, *optional))}")
    for key in law.coefficient_names:
        if key not in given:
            needed = ", ".join(law.coefficient_names)
            raise LawError(f"{origin}: coefficients.{key} is missing; a {law.kind} law needs {needed}")
    found = {key: number(value, f"{origin}: coefficients.{key}") for key, value in given.items()}
    for key in ("r_star_tokens", "r_star_params"):
        if data.get(key) is not None:
            found[key] = number(data[key], f"{origin}: {key}")
    return found


def numbers(data: Mapping[str, Any], key: str, origin: str, length: int | None = None) -> tuple[float, ...]:
    """A list of numbers of JSON data.

    Raises
    ------
    LawError
        When it is missing, no list, empty or of another length.
    """
    values = data.get(key)
    if not isinstance(values, list) or not values or (length is not None and len(values) != length):
        wanted = f"{length} numbers" if length is not None else "numbers"
        raise LawError(f"{origin}: {key} must be a list of {wanted}")
    return tuple(number(value, f"{origin}: {key}") for value in values)


def number(value: object, name: str) -> float:
    """A number of JSON data as a float.

    Raises
    ------
    LawError
        For anything else, by the name given.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LawError(f"{name} = {value!r}: must be a number")
    try:
        return float(value)
    except OverflowError:
        raise LawError(f"{name}: must be finite, and has {len(str(value))} digits") from None


def _data_range(data: object, origin: str) -> DataRange:
    names = [item.name for item in fields(DataRange)]
    if not isinstance(data, Mapping) or not set(data) <= set(names):
        raise LawError(f"{origin}: data_range must be an object with {', '.join(names)}")
    ends: dict[str, tuple[float, float]] = {}
    for name, value in data.items():
        if not isinstance(value, list) or len(value) != 2:
            raise LawError(f"{origin}: data_range.{name} = {value!r}: must be a list of two numbers")
        low, high = (number(end, f"{origin}: data_range.{name}") for end in value)
        if not 0 < low <= high:
            raise LawError(f"{origin}: data_range.{name} = {value!r}: must be positive and rising")
        ends[name] = (low, high)
    for name in ("n_params", "n_tokens"):
        if name not in ends:
            raise LawError(f"{origin}: data_range.{name} is missing")
    return DataRange(**ends)
