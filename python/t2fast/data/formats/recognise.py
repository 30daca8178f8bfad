"""What a file is, from its content: a table, records, a document or an archive; each goes to its format."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from t2fast.data import streams
from t2fast.data.columns import Columns
from t2fast.data.formats import agents, code, inspect, lm_eval, matrix, opencompass, tables
from t2fast.data.roles import find
from t2fast.data.tally import BETWEEN, BadLineError, Tally, joined
from t2fast.errors import DataError

__all__ = ["UnknownFormatError", "read_file"]

#: Bytes of JSON Lines that are read at once.
_BLOCK = 1 << 22


class UnknownFormatError(DataError):
    """A file of none of the formats known: left out where a folder brought it along."""


def read_file(path: Path, tally: Tally) -> None:
    """Count what a file holds."""
    with streams.opened(path) as raw:
        magic = raw.peek(4)[:4]
        if magic == b"PAR1":
            tables.read_parquet(_seekable(raw), tally)
        elif magic[:2] == b"PK":
            inspect.read_archive(_seekable(raw), tally)
        elif streams.encoding(raw.peek(64)[:64]) != "utf-8":
            _read_text(path, streams.text(raw), tally)
        else:
            first = raw.readline(_BLOCK)
            rest = io.BufferedReader(streams.Prefixed(first, raw), 1 << 18)
            if not _plain_lines(path, first, rest, tally):
                _read_text(path, streams.text(rest), tally)


def _seekable(raw: streams.Buffered) -> Any:
    """The file itself, or in memory what comes from a pipe or a decompressor."""
    if isinstance(raw.raw, io.FileIO) and raw.seekable():
        return raw
    return io.BytesIO(raw.read())


def _plain_lines(path: Path, first: bytes, raw: streams.Buffered, tally: Tally) -> bool:
    """Read JSON Lines of one verdict each by blocks, with compiled code where all lines of a block are alike."""
    try:
        record = json.loads(first)
    except (ValueError, RecursionError):
        return False
    if not first.endswith(b"\n") or b"\r" in first.rstrip(b"\r\n") or tally.options.threshold is not None:
        return False
    if not isinstance(record, dict) or _family(record) != "table" or tally.options.details is not None:
        return False
    tally.place = "1"
    columns = Columns(tuple(record), record, tally.options)
    named = columns.model or columns.benchmark or columns.n_params or columns.n_tokens or columns.stopped
    if (
        columns.counts
        or columns.votes
        or named
        or columns.condition
        or columns.problem is None
        or columns.verdict is None
    ):
        return False
    if isinstance(record[columns.verdict], list):
        return False
    keys = list(record)
    place = {key: i for i, key in enumerate(keys)}
    layout = (place[columns.problem], place[columns.verdict], [place[name] for name in columns.identity],
              place[columns.text] if columns.text else None)  # fmt: skip
    tables.said(columns, tally)
    tally.formats[_kind(record)] = None
    head = tally.key(None, None, "")
    prefix = joined(head[:3]) + BETWEEN
    line = 1
    records = _Records(path, tally)
    while block := raw.read(_BLOCK):
        if block[-1:] != b"\n":
            more = raw.readline(streams.LONGEST)
            if len(more) >= streams.LONGEST:
                raise DataError(f"a line is longer than {streams.LONGEST >> 20} MiB")
            block += more
        counted, conflict = tally.log.tally_json_lines(block, keys, *layout, prefix)
        if conflict is not None:
            tally.place = str(line + conflict - 1)
            json_line = json.loads(block.split(b"\n")[conflict - 1].lstrip(b"\xef\xbb\xbf"))
            raise tally.conflict(str(json_line[columns.problem]), [str(json_line[name]) for name in columns.identity])
        if counted is None:
            records.lines(block.decode("utf-8").split("\n"), line)
        else:
            for problem, n, c, copies in counted:
                tally.count(head._replace(problem=problem), n, c, copies)
        line += block.count(b"\n")
    return True


def _read_text(path: Path, lines: Iterator[str], tally: Tally) -> None:
    number, line = 0, ""
    for number, line in enumerate(lines, 1):  # noqa: B007 - the first line that says something
        if line.strip():
            break
    start = line.strip()
    if not start:
        raise UnknownFormatError("is empty")
    if start[0] not in "{[":
        if "\0" in start or (not any(mark in start for mark in ",;\t|") and not start.isprintable()):
            raise UnknownFormatError("is not text of any known format")
        tables.read_csv(lines, line, number, tally)
        return
    try:
        first = json.loads(line)
    except ValueError:
        if start[0] == "[" or start == "{" or not start.endswith("}"):
            _document(path, _whole(line, lines), tally)
            return
        first = None
    following = next((more for more in lines if more.strip()), None)
    if following is None and (isinstance(first, list) or (isinstance(first, dict) and _family(first) == "")):
        _document(path, first, tally)
    else:
        rest = lines if following is None else itertools.chain([following], lines)
        _Records(path, tally).lines(itertools.chain([line], rest), number)


def _whole(line: str, lines: Iterator[str]) -> Any:
    text = line + "".join(lines)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"is neither JSON nor JSON Lines: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None


def _family(record: Mapping[str, Any]) -> str:
    """What a record is: a line of a samples file, of a table, or "" for a document."""
    if lm_eval.claims(record):
        return "lm_eval"
    if (
        "samples" in record
        and isinstance(record["samples"], list)
        and find(record, "verdict") is None
        and "eval" in record
    ):
        return ""
    if isinstance(record.get("eval"), dict) or agents.claims_tau2(record) or "resolved_ids" in record:
        return ""
    if code.claims_multipl_e(record):
        return ""
    if find(record, "problem") is not None or (find(record, "n") is not None and find(record, "c") is not None):
        return "table"
    if find(record, "verdict") is not None:
        return "table"
    return ""


def _kind(record: Mapping[str, Any]) -> str:
    if "task_id" in record and "passed" in record:
        return "human-eval"
    if "task_id" in record and "reward" in record:
        return "tau-bench"
    return "table"


class _Records:
    """Records of JSON, line by line, of one format or several."""

    def __init__(self, path: Path, tally: Tally) -> None:
        self.path, self.tally = path, tally
        self.columns: dict[tuple[str, ...], Columns] = {}
        self.lm_eval = lm_eval.Samples(path, tally)
        self.decode = json.JSONDecoder().decode

    def lines(self, lines: Iterable[str], number: int) -> None:
        """Count lines, the first of which has this number."""
        for place, line in enumerate(lines, number):
            stripped = line.strip("\ufeff \t\r\n")
            if not stripped:
                continue
            self.tally.place = str(place)
            try:
                try:
                    record = self.decode(stripped)
                except json.JSONDecodeError as error:
                    raise BadLineError(f"is not valid JSON: {error.msg} (column {error.colno})") from None
                self.add(record, place)
            except BadLineError as error:
                self.tally.bad(error)
        self.finish()

    def records(self, records: Iterable[Any]) -> None:
        """Count the records of a document."""
        for place, record in enumerate(records, 1):
            self.tally.place = f"record {place}"
            try:
                self.add(record, place)
            except BadLineError as error:
                self.tally.bad(error)
        self.finish()

    def add(self, record: Any, place: int) -> None:
        """Count one record."""
        if isinstance(record, list):
            matrix.count_row(record, place, self.tally)
        elif not isinstance(record, dict):
            raise BadLineError("is not a JSON object")
        elif lm_eval.claims(record):
            self.lm_eval.add(record)
        elif code.claims_multipl_e(record):
            code.read_multipl_e(record, self.tally)
        else:
            names = tuple(record)
            columns = self.columns.get(names)
            if columns is None:
                columns = self.columns[names] = Columns(names, record, self.tally.options)
                self.tally.formats[_kind(record)] = None
                tables.said(columns, self.tally)
            columns.add(record, place, self.tally)

    def finish(self) -> None:
        """Look back at what only a whole file shows."""
        for columns in self.columns.values():
            columns.finish(self.tally)


def _document(path: Path, document: Any, tally: Tally) -> None:
    if isinstance(document, list):
        if document and all(isinstance(row, list) for row in document):
            for place, row in enumerate(document):
                tally.place = f"row {place + 1}"
                try:
                    matrix.count_row(row, place, tally)
                except BadLineError as error:
                    tally.bad(error)
            return
        _Records(path, tally).records(document)
        return
    for claims, read in (
        (inspect.claims, inspect.read_log),
        (code.claims_evalplus, code.read_evalplus),
        (agents.claims_tau2, agents.read_tau2),
        (agents.claims_tau2_index, agents.read_tau2_index),
        (agents.claims_swe_bench, agents.read_swe_bench),
        (code.claims_multipl_e, code.read_multipl_e),
        (code.claims_code_eval, code.read_code_eval),
        (opencompass.claims, opencompass.read),
        (opencompass.claims_predictions, opencompass.refuse_predictions),
    ):
        if claims(document):
            read(document, tally)
            return
    if isinstance(document, dict) and _family(document):
        _Records(path, tally).records([document])
        return
    shown = ", ".join(list(document)[:8]) if isinstance(document, dict) else type(document).__name__
    raise UnknownFormatError(f"an object with {shown}: is none of the formats known")
