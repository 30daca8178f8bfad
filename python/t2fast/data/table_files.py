"""Columns from files of tables: CSV, JSON, JSON Lines or Parquet, found by content, compressed or piped."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from t2fast.data import streams
from t2fast.errors import DataError, MissingExtraError

__all__ = ["read_columns"]


def read_columns(path: Path) -> Mapping[str, Sequence[Any]]:
    """The columns of a file's table.

    Raises
    ------
    DataError
        Naming the file and the line, when it cannot be read or holds no table.
    MissingExtraError
        For Parquet without pyarrow, and for zstd without the package for it.
    """
    if os.path.isdir(path):
        raise DataError(f"{path}: is a folder; name a file")
    with streams.reading(path), streams.opened(path) as raw:
        if raw.peek(4)[:4] == b"PAR1":
            return _parquet(raw)
        lines = streams.text(raw)
        first = next((line for line in lines if line.strip()), "")
        if not first:
            raise DataError("no rows")
        lines = itertools.chain([first], lines)
        return _json(lines) if first.lstrip()[0] in "{[" else _csv(lines, first)


def _parquet(raw: streams.Buffered) -> Mapping[str, Sequence[Any]]:
    try:
        import pyarrow.parquet as parquet  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise MissingExtraError("reading Parquet needs pyarrow: pip install pyarrow") from None
    table = parquet.read_table(io.BytesIO(raw.read()))
    return {name: table[name].to_numpy() for name in table.column_names}


def _csv(lines: Iterator[str], head: str) -> Mapping[str, Sequence[Any]]:
    rows = csv.reader(lines, delimiter=max(",;\t|", key=head.count))
    header = [name.strip() for name in next(rows)]
    # pandas writes an index without a name.
    kept = [place for place, name in enumerate(header) if name and name.lower() != "unnamed: 0"]
    names = [header[place] for place in kept]
    if len(set(names)) < len(names):
        raise DataError(f"line 1 names a column twice: {', '.join(names)}")
    columns: list[list[str]] = [[] for _ in names]
    for row in rows:
        if not row or [cell.strip() for cell in row] == header:
            continue
        if len(row) != len(header):
            raise DataError(f"line {rows.line_num} has {len(row)} fields, line 1 has {len(header)}")
        for column, place in zip(columns, kept, strict=True):
            column.append(row[place])
    return dict(zip(names, columns, strict=True))


def _json(lines: Iterator[str]) -> Mapping[str, Sequence[Any]]:
    text = "".join(lines)
    try:
        document = json.loads(text)
    except ValueError:
        return _records(_lines(text))
    if isinstance(document, dict) and document and all(isinstance(column, list) for column in document.values()):
        return document
    return _records(enumerate(document if isinstance(document, list) else [document], 1))


def _lines(text: str) -> Iterator[tuple[int, Any]]:
    # JSON Lines end at line feeds alone: strings may hold what splitlines() takes for an end.
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"line {number} is not JSON: {error.msg}") from None


def _records(numbered: Any) -> Mapping[str, Sequence[Any]]:
    records: list[dict[str, Any]] = []
    for number, record in numbered:
        if not isinstance(record, dict):
            raise DataError(f"line {number} is not a JSON object")
        records.append(record)
    names = list(dict.fromkeys(name for record in records for name in record))
    return {name: [record.get(name) for record in records] for name in names}
