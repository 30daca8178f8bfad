"""What is fuzzed: each target takes bytes and a folder for files, and raises nothing but a T2Error."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

import t2fast as t2
from t2fast import costs, quantity, rules
from t2fast.choosing.prices import read_prices
from t2fast.costs.measurements import read_measurements
from t2fast.data import Table, evaluate, read_counts, read_table
from t2fast.errors import T2Error
from t2fast.sampling.prompts import read_prompts
from t2fast.sampling.store import Store, manifest_path

__all__ = ["TARGETS", "raised"]

_TABLE = Table(
    {
        "n_params": np.array([1e6, 2e9]),
        "n_tokens": np.array([1e9, 2e9]),
        "loss": np.array([2.0, 3.0]),
        "family": np.array(["a", "b"]),
    }
)
_MANIFEST = {"schema": "t2fast-samples/1", "model": {"name": "m"}}


def _file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], None]:
    def target(content: bytes, folder: Path) -> None:
        path = folder / name
        path.write_bytes(content)
        read(path)

    return target


def _counts(content: bytes, folder: Path) -> None:
    path = folder / ("x.csv" if len(content) % 3 == 0 else "x")
    path.write_bytes(content)
    try:
        read_counts(path, missing=("error", "drop", "fail")[len(content) % 3])
    finally:
        path.unlink()


def _store(content: bytes, folder: Path) -> None:
    path = folder / "samples.jsonl"
    path.write_bytes(content)
    manifest_path(path).write_text(json.dumps(_MANIFEST))
    with Store.open(path, _MANIFEST, resume=True):
        pass


def _quantity(content: bytes, _: Path) -> None:
    text = content.decode("utf-8", "replace")
    for parse in (quantity.parse_quantity, quantity.parse_axis):
        with contextlib.suppress(T2Error):
            parse(text[:60])


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    "counts": _counts,
    "table": _file("t.csv", read_table),
    "law": _file("law.json", t2.load_law),
    "rule": _file("rule.json", rules.load_rule),
    "prompts": _file("prompts.jsonl", read_prompts),
    "store": _store,
    "prices": _file("prices.csv", read_prices),
    "measurements": _file("measured.csv", read_measurements),
    "card": _file("card.json", costs.load_card),
    "architecture": _file("config.json", costs.load_architecture),
    "quantity": _quantity,
    "expression": lambda content, _: evaluate(content.decode("utf-8", "replace"), _TABLE),
}


def raised(target: str, content: bytes, folder: Path) -> Exception | None:
    """What the target raised that it must not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            TARGETS[target](content, folder)
    except T2Error:
        return None
    except Exception as error:  # this is what is looked for
        return error
    return None
