"""Measured tokens per second: what was run, and reading tables of them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from t2fast.arguments import choice, number
from t2fast.arguments import path as checked_path
from t2fast.costs.constants import Constants, default_constants
from t2fast.costs.flops import PROMPTS
from t2fast.costs.hardware import Card, load_card
from t2fast.costs.seconds import roofline
from t2fast.costs.shapes import Architecture, load_architecture
from t2fast.errors import T2Error
from t2fast.files import read_content
from t2fast.quantity import parse_quantity

__all__ = ["Measurement", "read_measurements"]


@dataclass(frozen=True)
class Measurement:
    """A measured throughput.

    Parameters
    ----------
    model, card
        What was run, and on what.
    prompt_tokens, answer_tokens
        Lengths.
    tokens_per_second
        Output tokens per second, all cards together.
    batch
        Sequences at once; ``None`` where the engine took as many as fit.
    tensor_parallel
        Cards of a replica.
    dtype, kv_dtype
        Formats of weights and of keys and values; ``kv_dtype`` follows ``dtype`` by default.
    grouped_reads
        False for engines whose attention reads keys and values anew for each query head of a group.
    first_token_seconds
        Seconds to the first token, where measured.
    k, prompt
        Answers to each prompt, and how they treat it.

    Examples
    --------
    >>> model, card = load_architecture("llama-3.1-8b"), load_card("h100")
    >>> print(Measurement(model, card, 128, 2048, 22714.0, dtype="fp8").label)
    h100 llama-3.1-8b fp8 128/2048
    """

    model: Architecture
    card: Card
    prompt_tokens: float
    answer_tokens: float
    tokens_per_second: float
    batch: float | None = None
    tensor_parallel: float = 1.0
    dtype: str = "bf16"
    kv_dtype: str | None = None
    grouped_reads: bool = True
    first_token_seconds: float | None = None
    k: float = 1.0
    prompt: str = "shared"

    @property
    def speed(self) -> float:
        """Output tokens per second."""
        return self.tokens_per_second

    def predict(self, constants: Constants) -> tuple[float, float]:
        """Tokens per second and seconds to the first token with given constants."""
        if self.grouped_reads:
            constants = replace(constants, regroup=0.0, names=(), covariance=())
        machine = roofline(
            replace(self.card, constants=constants),
            self.dtype,
            self.kv_dtype,
            self.tensor_parallel,
            batch=self.batch,
        )
        bill = machine.bill(self.model._handle, self.prompt_tokens, self.answer_tokens, self.k, self.prompt)
        return bill.tokens_per_second, bill.first_token

    @property
    def label(self) -> str:
        """Card, model and lengths in a few words."""
        batch = "" if self.batch is None else f" batch {self.batch:g}"
        cards_used = f" x{self.tensor_parallel:g}" if self.tensor_parallel > 1 else ""
        lengths = f"{self.prompt_tokens:g}/{self.answer_tokens:g}"
        return f"{self.card.name}{cards_used} {self.model.name} {self.dtype} {lengths}{batch}"


def _shape(text: str) -> Architecture:
    """A model by what a cell says: a name, a size, a file, or the JSON of an architecture."""
    if not text.startswith("{"):
        return load_architecture(text)
    try:
        return Architecture(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise T2Error(f"model = {text[:60]!r}: is no architecture: {error}") from None


_COLUMNS = {
    "model": ("model",),
    "gpu": ("gpu", "gpu_model", "card"),
    "batch": ("batch", "concurrency"),
    "prompt_tokens": ("prompt_tokens", "input_tokens", "input_seq_len"),
    "answer_tokens": ("answer_tokens", "output_tokens", "output_seq_len"),
    "tensor_parallel": ("tensor_parallel",),
    "dtype": ("dtype", "precision"),
    "kv_dtype": ("kv_dtype",),
    "tokens_per_second": ("tokens_per_second", "output_tokens_per_second_total"),
    "per_card": ("tokens_per_second_per_gpu", "output_tokens_per_second_per_gpu", "output_throughput_per_gpu"),
    "grouped_reads": ("grouped_reads",),
    "k": ("k",),
    "prompt": ("prompt",),
    "first_token_seconds": ("first_token_seconds",),
}


def read_measurements(
    path: str | PathLike[str], gpu: Card | str | None = None, model: str | Architecture | None = None
) -> list[Measurement]:
    r"""Read measurements from a CSV file.

    Parameters
    ----------
    path
        A file with the columns ``model`` (a name, a size or an architecture's file), ``prompt_tokens``,
        ``answer_tokens`` and ``tokens_per_second`` (or ``tokens_per_second_per_gpu``); where they differ from the
        usual also ``batch`` (empty: as many as fit), ``gpu``, ``tensor_parallel``, ``dtype``, ``kv_dtype``,
        ``first_token_seconds``, ``grouped_reads`` (no: each query head reads its own copy), ``k`` (answers to each
        prompt, 1) and ``prompt`` (recomputed, cached, shared). A model may be an architecture's JSON. Public tables'
        names (``input_tokens``, ``concurrency``, ``output_tokens_per_second_per_gpu``) are read too.
    gpu, model
        The card and the model of rows that do not name one.

    Raises
    ------
    T2Error
        Naming the line, for what is missing or out of range.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("rows.csv").write_text(
    ...     "model,batch,prompt_tokens,answer_tokens,tokens_per_second\nllama-3.1-8b,16,100,200,1700\n"
    ... )
    >>> read_measurements("rows.csv", "h100")[0].batch
    16.0
    """
    file = checked_path("calibrate", path)
    return from_rows(file, *read_rows(file), gpu, model)


def read_rows(file: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """The header and the rows of a CSV file."""
    try:
        text = read_content(file).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        rows = list(reader)
    except OSError as error:
        raise T2Error(f"{file}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise T2Error(f"{file}: is no CSV file: {error}") from None
    return list(reader.fieldnames or ()), rows


def from_rows(
    file: Path,
    names: list[str],
    table: list[dict[str, Any]],
    gpu: Card | str | None,
    model: str | Architecture | None,
) -> list[Measurement]:
    """The measurements of a table; what :func:`read_measurements` says of its arguments holds."""
    found = {name: next((known for known in spellings if known in names), None) for name, spellings in _COLUMNS.items()}
    needed = [name for name in ("prompt_tokens", "answer_tokens") if found[name] is None]
    if found["model"] is None and model is None:
        needed.insert(0, "model")
    if found["tokens_per_second"] is None and found["per_card"] is None:
        needed.append("tokens_per_second")
    if needed:
        raise T2Error(f"{file}: no column {', '.join(needed)}; it has {', '.join(names) or 'none'}")
    shapes: dict[str, Architecture] = {}
    machines: dict[str, Card] = {}
    rows = []
    for line, row in enumerate(table, 2):

        def cell(name: str, row: Mapping[str, str | None] = row) -> str:
            column = found[name]
            return ((row.get(column) if column else None) or "").strip()

        def figure(name: str, default: float | None = None) -> float:
            text = cell(name)
            if not text:
                if default is None:
                    raise T2Error(f"{name}: empty")
                return default
            return number(name, parse_quantity(text, name), low=0, low_open=name != "prompt_tokens")

        try:
            which = cell("gpu")
            if not which and gpu is None:
                raise T2Error("gpu: no column of that name and no --gpu; name the card")
            machine = machines.setdefault(which, load_card(which or gpu or ""))
            text = cell("model")
            if text and text not in shapes:
                shapes[text] = _shape(text)
            shape = shapes[text] if text else load_architecture(model if model is not None else "")
            cards_used = figure("tensor_parallel", 1.0)
            speed = figure("tokens_per_second") if cell("tokens_per_second") else figure("per_card") * cards_used
            grouped = cell("grouped_reads").lower()
            if grouped not in ("", "yes", "no", "true", "false", "1", "0"):
                raise T2Error(f"grouped_reads = {grouped!r}: must be yes or no")
            rows.append(
                Measurement(
                    model=shape,
                    card=machine,
                    prompt_tokens=figure("prompt_tokens"),
                    answer_tokens=figure("answer_tokens"),
                    tokens_per_second=speed,
                    batch=figure("batch") if cell("batch") else None,
                    tensor_parallel=cards_used,
                    dtype=cell("dtype").lower() or "bf16",
                    kv_dtype=cell("kv_dtype").lower() or None,
                    grouped_reads=grouped not in ("no", "false", "0"),
                    first_token_seconds=figure("first_token_seconds") if cell("first_token_seconds") else None,
                    k=number("k", figure("k", 1.0), low=1),
                    prompt=choice("prompt", cell("prompt") or "shared", PROMPTS),
                )
            )
            rows[-1].predict(default_constants())  # a row that cannot have run is found here, with its line
        except T2Error as error:
            raise T2Error(f"{file}, line {line}: {error}") from None
    return rows
