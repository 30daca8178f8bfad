"""Reading verdicts: the format is found from the content, and what comes out are counts per problem."""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from t2fast import arguments
from t2fast.data import streams
from t2fast.data.columns import Columns, find
from t2fast.data.counts import Counts
from t2fast.data.formats import agents, code, inspect, lm_eval, matrix, tables
from t2fast.data.tally import BETWEEN, BadLineError, Key, Options, Tally
from t2fast.errors import DataError

__all__ = ["read_counts"]

#: Bytes of JSON Lines that are read at once.
_BLOCK = 1 << 22


class UnknownFormatError(DataError):
    """A file of none of the formats known: left out where a folder brought it along."""


def read_counts(
    paths: str | Path | Sequence[str | Path],
    *,
    model: str | None = None,
    benchmark: str | None = None,
    missing: Literal["error", "drop", "fail"] = "error",
    malformed: Literal["error", "skip"] = "error",
    threshold: float | None = None,
    metric: str | None = None,
    filter: str | None = None,  # noqa: A002 - lm-evaluation-harness calls it so
    columns: Mapping[str, str] | None = None,
    n_params: float | None = None,
    n_tokens: float | None = None,
) -> Counts:
    r"""Read samples and correct samples per problem from tables and evaluation logs.

    Formats are recognised by content; docs/passk.md lists them. Files may be compressed (gzip, bzip2, xz, zstd), in any
    Unicode encoding, pipes or folders. CSV, JSON Lines and Parquet are read as a stream: only counts are held, and
    about 20 bytes for each trial that has an identity.

    A trial's identity (its number, epoch, uuid, run, seed) counts once: copies are left out and reported; a trial that
    comes back with another verdict or text is refused. Of several files, those that name no model are models of their
    own, named by the file.

    Parameters
    ----------
    paths
        A file, a folder or several; ``"-"`` is standard input.
    model, benchmark
        Names to use instead of what the files say.
    missing
        What a trial without a verdict is (it crashed, or its score is NaN): an ``"error"``; ``"drop"`` leaves it out;
        ``"fail"`` counts it as incorrect.
    malformed
        What a line that cannot be read is: an ``"error"`` that names file and line, or ``"skip"``: left out and
        counted.
    threshold
        Least score that counts as correct, where scores are not just 0 and 1.
    metric
        Which metric (lm-evaluation-harness), scorer (inspect), ``"base"`` or ``"plus"`` (evalplus) or column of
        verdicts to take, where there are several.
    filter
        Which filter of lm-evaluation-harness to take, where there are several.
    columns
        Role to column name, for tables whose columns don't go by a usual name: ``{"problem": "Aufgabe"}``. Roles are
        problem, verdict, n, c, trial, text, model, benchmark, condition, n_params, n_tokens, stopped; ``"trial": "-"``
        says that no column tells trials apart.
    n_params, n_tokens
        Parameters and training tokens of the model, for all files: ``t2fast fit`` needs them.

    Raises
    ------
    DataError
        Naming file and place, when a file cannot be read or understood.
    MissingExtraError
        For Parquet without pyarrow, and for zstd without the package for it.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("log.jsonl").write_text('{"task_id": "a", "passed": true}\n{"task_id": "a", "passed": false}\n')
    >>> counts = read_counts("log.jsonl")
    >>> counts.problem_id, counts.n_samples, counts.n_correct
    (('a',), array([2]), array([1]))
    """
    arguments.choice("missing", missing, ("error", "drop", "fail"))
    arguments.choice("malformed", malformed, ("error", "skip"))
    if threshold is not None:
        threshold = arguments.number("threshold", threshold)
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not given:
        raise DataError("no file to read")
    files, warnings = _distinct(streams.expanded([arguments.path("paths", one) for one in given]))
    tally = Tally(Options(model, benchmark, missing, malformed, threshold, metric, filter, dict(columns or {})))
    tally.warnings.update(dict.fromkeys(warnings))
    names = _names([path for path, _ in files])
    read: list[tuple[Path, str]] = []
    own: list[str] = []
    aside: list[str] = []
    for (path, brought), name in zip(files, names, strict=True):
        tally.bit, tally.file, tally.place, tally.unnamed = 1 << len(read), str(path), "", False
        tally.model, tally.benchmark = (name if len(files) > 1 else ""), ""
        with streams.reading(path, lambda: tally.place):
            try:
                size = _manifest(path, tally)
                copied = _copy_of(path, read)
                if copied is not None and not (tally.model == name and model is None):
                    tally.warnings[f"{path} has the same content as {copied}: counted once"] = None
                    continue
                _read_file(path, tally)
            except UnknownFormatError as error:
                if not brought:
                    raise
                aside.append(f"{path.name} ({error})")
                continue
        if size is not None:
            for row in [key for key, row in tally.rows.items() if row.files & tally.bit]:
                tally.sized(row, size)
        if tally.unnamed and len(files) > 1:
            own.append(name)
        read.append((path, name))
    tally.settle()
    with streams.reading(files[0][0]):
        if not tally.rows:
            raise DataError(
                "holds no verdicts" if not aside else f"holds no verdicts; left out: {'; '.join(aside[:3])}"
            )
    if len(own) > len(set(own)):
        tally.warnings[f"{len(own)} files are counted as runs of {', '.join(sorted(set(own))[:4])}"] = None
    own = list(dict.fromkeys(own))
    if len(own) > 1:
        tally.warnings[
            f"{len(own)} files name no model, and each is counted as one of its own ({', '.join(own[:4])}"
            f"{', ...' if len(own) > 4 else ''}): to count them together, give model="
        ] = None
    if aside:
        tally.warnings[f"{len(aside)} files of the folder hold no verdicts: {'; '.join(aside[:3])}"] = None
    return _settled(tally, [str(path) for path, _ in read], n_params, n_tokens)


def _distinct(files: list[tuple[Path, bool]]) -> tuple[list[tuple[Path, bool]], list[str]]:
    """The files, each once, and what to say of those that were named twice."""
    kept: dict[str, tuple[Path, bool]] = {}
    warnings = []
    for path, brought in files:
        real = "-" if str(path) == "-" else os.path.realpath(path)
        if real in kept:
            warnings.append(f"{path} was named twice: read once")
        else:
            kept[real] = (path, brought)
    return list(kept.values()), warnings


def _names(files: list[Path]) -> list[str]:
    """What tells files apart, as short as may be: names of models that the files don't name."""
    stems = [streams.stem(path) for path in files]
    names = []
    for path, stem in zip(files, stems, strict=True):
        folder = path.resolve().parent.name if str(path) != "-" else ""
        if re.fullmatch(r"output-rs\d+", stem):
            # So NeMo-Skills calls the runs of one model with several seeds.
            names.append(folder or "output")
        else:
            names.append(f"{folder}/{stem}" if stems.count(stem) > 1 and folder else stem)
    return names


def _copy_of(path: Path, read: list[tuple[Path, str]]) -> Path | None:
    """The file read before that has the same content, compressed or not; only likely ones are looked at."""
    if str(path) == "-" or not path.is_file():
        return None
    for other, _ in read:
        if str(other) == "-" or not other.is_file():
            continue
        alike = path.stat().st_size == other.stat().st_size or streams.stem(path) == streams.stem(other)
        if alike and streams.fingerprint(path) == streams.fingerprint(other):
            return other
    return None


def _settled(tally: Tally, files: list[str], n_params: float | None, n_tokens: float | None) -> Counts:
    """Counts from the tally, with what is to be said of them."""
    rows = {key: row for key, row in tally.rows.items() if row.n > 0}
    lost = len(tally.rows) - len(rows) + len([key for key in tally.empty if key not in tally.rows])
    if not rows:
        raise DataError(f"{files[0]}: holds no trial with a verdict")
    copies = sum(row.copies for row in rows.values())
    absent = "left out" if tally.options.missing == "drop" else "counted as incorrect"
    for number, what in (
        (copies, "copies of trials that were counted already were left out"),
        (tally.superseded, "trials without a verdict were run again, and count by their retry"),
        (tally.absent, f"trials without a verdict were {absent}"),
        (lost, "problems without any verdict were left out"),
        (tally.skipped, "malformed lines were left out"),
    ):
        if number:
            tally.warnings[f"{number} {what}"] = None
    keys = _with_conditions(list(rows))
    values = np.asarray([(row.n, row.c, row.copies) for row in rows.values()], np.int64)
    sizes = np.asarray([tally.sizes.get((key.model, key.benchmark), (math.nan, math.nan)) for key in rows])
    found = []
    for name, given, column in (("n_params", n_params, sizes[:, 0]), ("n_tokens", n_tokens, sizes[:, 1])):
        if given is not None:
            column = np.full(len(rows), arguments.number(name, given, low=0, low_open=True))
        found.append(column if np.isfinite(column).any() else None)
    stopped = np.asarray([key in tally.stopped for key in rows]) if tally.stopped else None
    bits: dict[int, tuple[int, ...]] = {}
    for row in rows.values():
        if row.files not in bits:
            bits[row.files] = tuple(i for i in range(len(files)) if row.files >> i & 1)
    models, benchmarks, problems = zip(*keys, strict=True)
    return Counts(
        models, benchmarks, problems, values[:, 0].copy(), values[:, 1].copy(), found[0], found[1], stopped,
        n_duplicates=values[:, 2].copy() if copies else None,
        files=tuple(files), sources=tuple(bits[row.files] for row in rows.values()),
        formats=tuple(tally.formats), skipped=tally.skipped, warnings=tuple(tally.warnings),
    )  # fmt: skip


def _with_conditions(keys: list[Key]) -> list[tuple[str, str, str]]:
    """Names of rows; what differs between the samples of a model on a benchmark is part of the benchmark's name."""
    conditions: dict[tuple[str, str], set[str]] = {}
    for key in keys:
        if key.condition:
            conditions.setdefault((key.model, key.benchmark), set()).add(key.condition)
    found = []
    for key in keys:
        benchmark = key.benchmark
        if len(conditions.get((key.model, key.benchmark), ())) > 1:
            benchmark = ", ".join(filter(None, (benchmark, key.condition)))
        found.append((key.model, benchmark, key.problem))
    return found


# ---------------------------------------------------------------------------------------------------------- one file


def _manifest(path: Path, tally: Tally) -> tuple[float, float] | None:
    """Learn from the manifest beside a file of ``t2fast sample`` what its lines don't repeat; give N and D if known."""
    beside = Path(f"{path}.manifest.json")
    try:
        manifest = json.loads(beside.read_bytes())
        model = manifest["model"]
        name, benchmark = str(model.get("name") or ""), str(manifest["benchmark"])
        size = tuple(math.nan if model.get(name) is None else float(model[name]) for name in ("n_params", "n_tokens"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{beside}: not a manifest of t2fast sample: {error!r}") from None
    tally.model, tally.benchmark = name or tally.model, benchmark
    return None if all(map(math.isnan, size)) else (size[0], size[1])


def _read_file(path: Path, tally: Tally) -> None:
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
    if not isinstance(record, dict) or _family(record) != "table":
        return False
    tally.place = "1"
    columns = Columns(tuple(record), record, tally.options)
    named = columns.model or columns.benchmark or columns.n_params or columns.n_tokens or columns.stopped
    if columns.counts or named or columns.condition or columns.problem is None or columns.verdict is None:
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
    prefix = BETWEEN.join(head[:3]) + BETWEEN
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
    if isinstance(record.get("eval"), dict) or isinstance(record.get("simulations"), list) or "resolved_ids" in record:
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
            columns.finish()


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
        (agents.claims_swe_bench, agents.read_swe_bench),
        (code.claims_multipl_e, code.read_multipl_e),
        (code.claims_code_eval, code.read_code_eval),
    ):
        if claims(document):
            read(document, tally)
            return
    if isinstance(document, dict) and _family(document):
        _Records(path, tally).records([document])
        return
    shown = ", ".join(list(document)[:8]) if isinstance(document, dict) else type(document).__name__
    raise UnknownFormatError(f"an object with {shown}: is none of the formats known")
