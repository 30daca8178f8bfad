"""Tables of counts or trials: CSV, Parquet, and records of JSON without a format of their own."""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from t2fast.data.columns import Columns
from t2fast.data.formats import lighteval, matrix
from t2fast.data.roles import plain
from t2fast.data.tally import BETWEEN, MOST, BadLineError, Key, Tally, identified, joined
from t2fast.data.verdicts import UnclearError, verdict
from t2fast.errors import DataError, MissingExtraError

__all__ = ["read_csv", "read_parquet", "said"]

#: Rows that are looked at together.
_ROWS = 8192


def said(columns: Columns, tally: Tally) -> None:
    """Tell which of several columns was taken for the verdict."""
    if columns.taken is not None:
        tally.warnings[f"verdicts are those of column {columns.taken}"] = None


def read_csv(lines: Iterator[str], head: str, number: int, tally: Tally) -> None:
    """Read a table or a matrix from a file's lines, ``head`` being the first of them and ``number`` its number."""
    delimiter = max(",;\t|", key=head.count)
    reader = csv.reader(itertools.chain([head], lines), delimiter=delimiter)
    tally.place = str(number)
    names = next(reader)
    if matrix.is_bare(names):
        _read_matrix(itertools.chain([names], reader), number - 1, False, tally)
        return
    if names and names[0].strip().lower() in ("", "unnamed: 0"):
        named = matrix.names_problems(names)
    else:
        named = matrix.names_problems(names) if len(names) > 1 else None
    if named is not None:
        _read_matrix(reader, number + reader.line_num - 1, named, tally)
        return
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"the header names column {twice!r} twice")
    tally.formats["table"] = None
    _Rows(names, number, tally).read(reader)


def _read_matrix(rows: Iterator[list[str]], number: int, named: bool, tally: Tally) -> None:
    for place, row in enumerate(rows, number + 1):
        if not row or not any(cell.strip() for cell in row):
            continue
        tally.place = str(place)
        try:
            matrix.count_row(row[1:] if named else row, row[0].strip() if named else place, tally)
        except BadLineError as error:
            tally.bad(error)


class _Rows:
    """Rows of a table, many at a time where nothing tells equal ones apart."""

    def __init__(self, names: list[str], line: int, tally: Tally) -> None:
        self.names, self.line, self.tally = names, line, tally
        self.columns: Columns | None = None
        self.repeated = 0

    def read(self, reader: Any) -> None:
        # The reader has counted the header's lines.
        before = reader.line_num
        while chunk := list(itertools.islice(reader, _ROWS)):
            self._chunk(chunk, self.line + before, reader.line_num - before)
            before = reader.line_num
        if self.repeated:
            times = "once" if self.repeated == 1 else f"{self.repeated} times"
            self.tally.warnings[f"the header stands {times} more among the rows: left out there"] = None
        if self.columns is None:
            # A header alone must still say what it lacks.
            Columns(self.names, dict.fromkeys(self.names), self.tally.options)
        else:
            self.columns.finish(self.tally)

    def _chunk(self, chunk: list[list[str]], start: int, height: int) -> None:
        lines = None
        width = len(self.names)
        odd = set(map(len, chunk)) != {width} or self.names in chunk or height != len(chunk)
        if odd:
            lines, kept, at = [], [], start
            for row in chunk:
                self.tally.place = str(at)
                if not row or row == self.names:
                    self.repeated += bool(row)
                elif len(row) != width:
                    self.tally.bad(BadLineError(f"{len(row)} fields instead of {width}"))
                else:
                    kept.append(row)
                    lines.append(at)
                at += _height(row)
            chunk = kept
        if not chunk:
            return
        if self.columns is None:
            self.tally.place = str(lines[0] if lines else start)
            self.columns = Columns(self.names, dict(zip(self.names, chunk[0], strict=True)), self.tally.options)
            said(self.columns, self.tally)
        if self.tally.options.details is not None or self.columns.votes or self.columns.deciding:
            self._one_by_one(chunk, lines, start)
            return
        together = (
            self._counts if self.columns.counts else self._identified if self.columns.identity else self._together
        )
        self.tally.scored = self.tally.scored or not self.columns.counts
        if not together(chunk):
            self._one_by_one(chunk, lines, start)

    def _together(self, chunk: list[list[str]]) -> bool:
        """Count rows that are equal in what matters at once; False leaves the chunk to others."""
        columns = self.columns
        assert columns is not None
        if columns.problem is None:
            return False
        places = [self.names.index(name) for name in columns.used()]
        names = [self.names[place] for place in places]
        get = _getter(places)
        found = Counter(map(get, chunk))
        if 2 * len(found) > len(chunk):
            return False
        kept: list[tuple[Any, bool, int]] = []
        for cells, times in found.items():
            row = dict(zip(names, cells, strict=True))
            try:
                judged = verdict(row[columns.verdict or ""], self.tally.options.threshold)
            except UnclearError:
                return False
            if judged is None or row[columns.problem] == "":
                return False
            kept.append((row, judged, times))
        for row, judged, times in kept:
            key = columns.key(row, 0, self.tally)
            columns.attributes(key, row, self.tally)
            self.tally.count(key, times, times * judged)
        return True

    def _counts(self, chunk: list[list[str]]) -> bool:
        """Count rows of plain counts; False leaves the chunk to others, and has counted nothing."""
        columns, tally = self.columns, self.tally
        assert columns is not None
        if columns.c is None or columns.problem is None or columns.condition or columns.n_params or columns.n_tokens:
            return False
        if (
            plain(columns.problem) == "task"
            or columns.stopped
            or tally.options.model is not None
            or tally.options.benchmark is not None
        ):
            return False
        index, size = self.names.index, len(chunk)
        try:
            n = list(map(int, map(itemgetter(index(columns.n or "")), chunk)))
            c = list(map(int, map(itemgetter(index(columns.c)), chunk)))
        except ValueError:
            return False
        names = [
            list(map(itemgetter(index(name)), chunk)) if name else None for name in (columns.model, columns.benchmark)
        ]
        problems = list(map(itemgetter(index(columns.problem)), chunk))
        if min(c) < 0 or min(n) < 1 or max(n) > MOST or any(map(int.__lt__, n, c)) or "" in problems:
            return False
        if (names[0] is None or "" in names[0]) and tally.model:
            tally.unnamed = True
        models = [one or tally.model for one in names[0]] if names[0] else [tally.model] * size
        benchmarks = [one or tally.benchmark for one in names[1]] if names[1] else [tally.benchmark] * size
        for key, drawn, correct in zip(map(Key, models, benchmarks, [""] * size, problems), n, c, strict=True):
            tally.count(key, drawn, correct)
        return True

    def _identified(self, chunk: list[list[str]]) -> bool:
        """Count trials that have an identity; False leaves the chunk to others, and has counted nothing."""
        columns, tally = self.columns, self.tally
        assert columns is not None
        if columns.problem is None or columns.n_params or columns.n_tokens or columns.stopped:
            return False
        index = self.names.index
        verdicts: dict[str, bool | None] = {}
        judged = list(map(itemgetter(index(columns.verdict or "")), chunk))
        for word in set(judged):
            try:
                verdicts[word] = verdict(word, tally.options.threshold)
            except UnclearError:
                return False
        if None in verdicts.values():
            return False
        found = [bool(verdicts[word]) for word in judged]
        places = [
            index(name) for name in (columns.model, columns.benchmark, *columns.condition, columns.problem) if name
        ]
        cells = list(map(_getter(places), chunk))
        keys: dict[Any, Any] = {}
        for cell in dict.fromkeys(cells):
            row = dict(zip((self.names[place] for place in places), cell, strict=True))
            if row[columns.problem] == "":
                return False
            keys[cell] = columns.key(row, 0, tally)
        parts = list(map(_getter([index(name) for name in columns.identity]), chunk))
        if any(
            identified(part) is None or joined((part,)) != part for part in set(itertools.chain.from_iterable(parts))
        ):
            return False
        heads = {cell: joined(key) for cell, key in keys.items()}
        names = [BETWEEN.join((heads[cell], *map(str.strip, part))) for cell, part in zip(cells, parts, strict=True)]
        texts = None if columns.text is None else list(map(itemgetter(index(columns.text)), chunk))
        counted: Counter[tuple[Any, bool, int]] = Counter(
            zip(cells, found, tally.log.add(names, found, texts), strict=True)
        )
        for (cell, correct, seen), times in counted.items():
            key = keys[cell]
            if seen == 2:
                tally.place = ""
                raise tally.conflict(key.problem, ["with the same " + ", ".join(columns.identity)])
            if seen == 1:
                tally.count(key, 0, 0, times)
            else:
                tally.count(key, times, times * correct)
        return True

    def _one_by_one(self, chunk: list[list[str]], lines: list[int] | None, start: int) -> None:
        columns = self.columns
        assert columns is not None
        at = start
        for i, row in enumerate(chunk):
            self.tally.place = str(lines[i] if lines else at)
            try:
                columns.add(dict(zip(self.names, row, strict=True)), lines[i] if lines else at, self.tally)
            except BadLineError as error:
                self.tally.bad(error)
            at += _height(row)


def _getter(places: Sequence[int]) -> Callable[[Sequence[str]], tuple[str, ...]]:
    if len(places) == 1:
        one = places[0]
        return lambda row: (row[one],)
    return itemgetter(*places)


def _height(row: list[str]) -> int:
    """How many lines of the file a row takes."""
    return 1 + sum(cell.count("\n") or cell.count("\r") for cell in row if "\n" in cell or "\r" in cell)


def read_parquet(source: Any, tally: Tally) -> None:
    """Read the columns that matter of a Parquet file, batch by batch."""
    try:
        from pyarrow import parquet  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise MissingExtraError(f"{tally.file}: Parquet needs pyarrow: pip install pyarrow") from None
    file = parquet.ParquetFile(source)
    names = list(file.schema_arrow.names)
    first = next((batch.to_pylist()[0] for batch in file.iter_batches(batch_size=1) if len(batch)), None)
    if first is None:
        raise DataError("holds no rows")
    add, used, finish = _parquet_rows(names, first, tally)
    number = 0
    for batch in file.iter_batches(columns=used):
        for row in batch.to_pylist():
            number += 1
            tally.place = f"row {number}"
            try:
                add(row, number, tally)
            except BadLineError as error:
                tally.bad(error)
    finish(tally)


def _parquet_rows(
    names: list[str], first: Mapping[str, Any], tally: Tally
) -> tuple[Callable[[Mapping[str, Any], int, Tally], None], list[str], Callable[[Tally], None]]:
    """What counts a row, the columns that it needs, and what is to be done at the end."""
    if lighteval.claims(first):
        return lighteval.add, lighteval.needs(names), lambda _: None
    columns = Columns(names, first, tally.options)
    tally.formats["table"] = None
    said(columns, tally)
    return columns.add, columns.used(), columns.finish
