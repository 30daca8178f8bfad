"""Reading verdicts: the format is found from the content, and what comes out are counts per problem."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from t2fast import _core
from t2fast.data.counts import Counts
from t2fast.errors import DataError, MissingExtraError

__all__ = ["read_counts"]

#: Column names by meaning, compared without case, in order of preference.
_ALIASES = {
    "model": ("model", "model_name"),
    "benchmark": ("benchmark", "task", "dataset", "eval", "task_name"),
    "problem_id": ("problem_id", "task_id", "problem", "question_id", "doc_id", "sample_id", "id", "orig_dset_idx"),
    "n": ("n_samples", "n", "num_samples", "total"),
    "c": ("n_correct", "c", "num_correct", "correct_count"),
    "verdict": ("passed", "correct", "is_correct", "verdict", "success", "reward", "score", "exact_match", "acc"),
    "n_params": ("n_params",),
    "n_tokens": ("n_tokens",),
    "stopped": ("stop_on_success",),
}
_TRUE = {"true", "1", "1.0", "c", "pass", "passed", "correct", "yes", "success"}
_FALSE = {"false", "0", "0.0", "i", "fail", "failed", "incorrect", "no", "failure", "timeout"}
_MISSING = {"", "nan", "na", "none", "null", "n/a"}
#: Bytes of JSON Lines that are read at once.
_BLOCK = 1 << 22
#: Compression method of zstd in a zip archive.
_ZSTD = 93

Integers = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]
_Key = tuple[str, str, str]


@dataclass
class _Tally:
    """Counts while files are read, and what the caller wants done about trouble."""

    missing: str
    malformed: str
    threshold: float | None
    metric: str | None
    filter: str | None
    default_model: str | None
    default_benchmark: str | None
    counts: dict[_Key, list[int]] = field(default_factory=dict)
    sizes: dict[_Key, tuple[float, float]] = field(default_factory=dict)
    stopped: set[_Key] = field(default_factory=set)
    formats: dict[str, None] = field(default_factory=dict)
    skipped: int = 0
    absent: int = 0
    warnings: dict[str, None] = field(default_factory=dict)
    #: What the file at hand says about model and benchmark, where its records don't.
    model: str = ""
    benchmark: str = ""

    def key(self, model: Any, benchmark: Any, problem: Any) -> _Key:
        return (
            self.default_model or str(self.model if model is None else model),
            self.default_benchmark or str(self.benchmark if benchmark is None else benchmark),
            str(problem),
        )

    def add(self, key: _Key, n: int, c: int) -> None:
        row = self.counts.setdefault(key, [0, 0])
        row[0] += n
        row[1] += c

    def trial(self, key: _Key, value: Any) -> None:
        """Count one trial; raises ValueError with the reason when its verdict is none."""
        verdict = self.verdict(value)
        if verdict is None:
            self.absent += 1
            if self.missing == "error":
                raise ValueError(
                    "a trial has no verdict: choose missing='drop' to leave it out or missing='fail' to count it"
                )
            if self.missing == "drop":
                self.counts.setdefault(key, [0, 0])
                return
        self.add(key, 1, int(bool(verdict)))

    def sized(self, key: _Key, size: tuple[float, float]) -> None:
        """Note a model's parameters and tokens; NaN where they are unknown."""
        known = self.sizes.get(key, size)
        self.sizes[key] = (
            size[0] if math.isnan(known[0]) else known[0],
            size[1] if math.isnan(known[1]) else known[1],
        )
        if any(old != new for old, new in zip(known, size, strict=True) if not (math.isnan(old) or math.isnan(new))):
            raise DataError(
                f"model {key[0]!r} has two sizes for problem {key[2]!r}, {known[0]:g} parameters and {known[1]:g} "
                f"tokens, and {size[0]:g} and {size[1]:g}: give each checkpoint a name of its own"
            )

    def verdict(self, value: Any) -> bool | None:
        if value is True or value is False:
            return bool(value)
        if value is None:
            return None
        if isinstance(value, str):
            text = value.strip().lower()
            if text in _TRUE:
                return True
            if text in _FALSE:
                return False
            if text in _MISSING:
                return None
            try:
                value = float(text)
            except ValueError:
                raise ValueError(f"verdict {value!r} is neither true nor false") from None
        if isinstance(value, (int, float, np.integer, np.floating, np.bool_)):
            number = float(value)
            if math.isnan(number):
                return None
            if self.threshold is not None:
                return number >= self.threshold
            # Rewards of exactly 1 may have been through a sum.
            if abs(number - 1) < 1e-6:
                return True
            if abs(number) < 1e-6:
                return False
            raise ValueError(
                f"verdict {number:g} is neither 0 nor 1: give threshold=, the least score that counts as correct"
            )
        raise ValueError(f"verdict {value!r} is neither true nor false")

    def bad(self, where: str, reason: object) -> None:
        """Stop at a malformed line, or count it where the caller allows."""
        if self.malformed == "error":
            raise DataError(f"{where}: {reason}; malformed='skip' would leave such lines out and count them")
        self.skipped += 1


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
) -> Counts:
    """Read (n, c) per problem from tables and evaluation logs.

    Recognised by content, ``.gz`` or not: tables with columns n and c, long tables with one trial per row and
    0/1 matrices, as CSV, Parquet, JSON or JSON Lines; human-eval results; evalplus results;
    lm-evaluation-harness samples; inspect ``.json`` and ``.eval`` logs; tau-bench results; files with
    ``is_correct`` lists. Trials of one problem add up over rows and files. CSV, JSON Lines and Parquet are
    read as a stream: only the counts are held.

    Parameters
    ----------
    paths
        A file or several.
    model, benchmark
        Names to use instead of what the files say.
    missing
        What a trial without a verdict is (it crashed, or its score is NaN): an ``"error"``; ``"drop"`` leaves
        it out; ``"fail"`` counts it as incorrect.
    malformed
        What a line that cannot be read is: an ``"error"`` that names file and line, or ``"skip"``: left out
        and counted.
    threshold
        Least score that counts as correct, where scores are not just 0 and 1.
    metric
        Which metric (lm-evaluation-harness) or scorer (inspect) to take, where there are several.
    filter
        Which filter of lm-evaluation-harness to take, where there are several.

    Raises
    ------
    DataError
        Naming file and line, when a file cannot be read or understood.
    MissingExtraError
        For Parquet without pyarrow, and for zstd members without the package for them.
    """
    if missing not in ("error", "drop", "fail"):
        raise DataError(f"missing = {missing!r}: must be 'error', 'drop' or 'fail'")
    if malformed not in ("error", "skip"):
        raise DataError(f"malformed = {malformed!r}: must be 'error' or 'skip'")
    files = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    if not files:
        raise DataError("no file to read")
    tally = _Tally(missing, malformed, threshold, metric, filter, model, benchmark)
    for path in files:
        tally.model, tally.benchmark = "", ""
        try:
            described = _manifest(path, tally)
            _read_file(path, tally)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
        if described is not None:
            here = tally.key(None, None, "")[:2]
            for key in tally.counts:
                if key[:2] == here:
                    tally.sized(key, described)
    if not tally.counts:
        raise DataError(f"{files[0]}: holds no verdicts")
    empty = [key for key, (n, _) in tally.counts.items() if n == 0]
    if empty:
        raise DataError(
            f"problem {empty[0][2]!r} has no trial with a verdict ({len(empty)} such): use missing='fail' to count them"
        )
    if tally.absent:
        how = "left out" if missing == "drop" else "counted as incorrect"
        tally.warnings[f"{tally.absent} trials without a verdict were {how}"] = None
    if tally.skipped:
        tally.warnings[f"{tally.skipped} malformed lines were left out"] = None
    keys = list(tally.counts)
    counts = np.asarray(list(tally.counts.values()), np.int64)
    n_params = n_tokens = None
    if tally.sizes:
        sizes = np.asarray([tally.sizes.get(key, (math.nan, math.nan)) for key in keys])
        n_params = sizes[:, 0] if np.isfinite(sizes[:, 0]).any() else None
        n_tokens = sizes[:, 1] if np.isfinite(sizes[:, 1]).any() else None
    stopped = None
    if tally.stopped:
        stopped = np.asarray([key in tally.stopped for key in keys])
    models, benchmarks, problems = (tuple(column) for column in zip(*keys, strict=True))
    return Counts(
        models, benchmarks, problems, counts[:, 0].copy(), counts[:, 1].copy(), n_params, n_tokens, stopped,
        formats=tuple(tally.formats), skipped=tally.skipped, warnings=tuple(tally.warnings),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- dispatch


def _manifest(path: Path, tally: _Tally) -> tuple[float, float] | None:
    """Learn from the manifest beside a file of ``t2fast sample`` what its lines don't repeat; give N and D if known."""
    try:
        manifest = json.loads(Path(f"{path}.manifest.json").read_bytes())
        model = manifest["model"]
        tally.model, tally.benchmark = str(model.get("name") or ""), str(manifest["benchmark"])
        size = tuple(math.nan if model.get(name) is None else float(model[name]) for name in ("n_params", "n_tokens"))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}.manifest.json: is no manifest of t2fast sample: {error!r}") from None
    return None if all(map(math.isnan, size)) else (size[0], size[1])


def _read_file(path: Path, tally: _Tally) -> None:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"PAR1":
        _parquet(path, tally)
    elif magic[:2] == b"PK":
        _inspect_archive(path, tally)
    else:
        opener = gzip.open if magic[:2] == b"\x1f\x8b" else open
        with opener(path, "rb") as raw:
            try:
                if _plain_lines(path, raw, tally):
                    return
                raw.seek(0)
                with io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as stream:
                    _read_text(path, stream, tally)
            except UnicodeDecodeError as error:
                raise DataError(f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}") from None
            except EOFError:
                raise DataError(f"{path}: ends in the middle of its compressed data") from None


def _plain_lines(path: Path, raw: io.BufferedIOBase, tally: _Tally) -> bool:
    """Read JSON Lines of one verdict each by blocks, with compiled code where all lines of a block are alike."""
    first = raw.readline(_BLOCK)
    try:
        record = json.loads(first)
    except ValueError:
        return False
    if not isinstance(record, dict) or not _is_record(record) or "resps" in record or not raw.read(1):
        return False
    if isinstance(record.get("is_correct"), list):
        return False
    columns = _Columns(tuple(record), f"{path}:1")
    named = columns.model or columns.benchmark or columns.n_params or columns.n_tokens or columns.stopped
    if columns.counts or named or columns.problem is None or columns.verdict is None:
        return False
    keys = list(record)
    places = keys.index(columns.problem), keys.index(columns.verdict)
    tally.formats[_kind(record)] = None
    raw.seek(0)
    line = 1
    while block := raw.read(_BLOCK):
        if block[-1:] != b"\n":
            block += raw.readline()
        counted = _core.tally_json_lines(block, keys, *places)
        if counted is None or tally.threshold is not None:
            _json_lines(path, iter(block.decode("utf-8").split("\n")), line, tally)
        else:
            for problem, n, c in counted:
                tally.add(tally.key(None, None, problem), n, c)
        line += block.count(b"\n")
    return True


def _read_text(path: Path, stream: IO[str], tally: _Tally) -> None:
    number, line = 0, ""
    for number, line in enumerate(stream, 1):  # noqa: B007 - the first line that says something
        if line.strip():
            break
    start = line.lstrip()
    if start[:1] not in ("{", "["):
        if not start:
            raise DataError(f"{path}: is empty")
        _csv(path, _chain(line, stream), number, tally)
        return
    try:
        first = json.loads(line)
    except ValueError:
        if start[:1] == "[" or start.rstrip() == "{" or not start.rstrip().endswith("}"):
            _json(path, _document(path, line, stream), tally)
            return
        first = None
    following = next((more for more in stream if more.strip()), None)
    alone = following is None
    if alone and (isinstance(first, list) or (isinstance(first, dict) and not _is_record(first))):
        _json(path, first, tally)
    else:
        lines = [line] if following is None else [line, following]
        _json_lines(path, _chain_all(lines, stream), number, tally)


def _chain(line: str, rest: IO[str]) -> Iterator[str]:
    yield line
    yield from rest


def _chain_all(lines: list[str], rest: IO[str]) -> Iterator[str]:
    yield from lines
    yield from rest


def _document(path: Path, line: str, rest: IO[str]) -> Any:
    try:
        return json.loads(line + rest.read())
    except ValueError as error:
        raise DataError(f"{path}: is neither JSON nor JSON Lines: {error}") from None


def _find(names: Iterable[str], meaning: str) -> str | None:
    known = {name.strip().lower(): name for name in names}
    return next((known[alias] for alias in _ALIASES[meaning] if alias in known), None)


def _is_record(record: Mapping[str, Any]) -> bool:
    """Whether an object is one line of a table or log rather than a whole document."""
    if "samples" in record or "simulations" in record or isinstance(record.get("eval"), dict):
        return False
    return isinstance(record.get("is_correct"), list) or _find(record, "problem_id") is not None or (
        _find(record, "n") is not None and _find(record, "c") is not None
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ tables


class _Columns:
    """Where a table holds what; made from its header or from the first record."""

    def __init__(self, names: Sequence[str], where: str) -> None:
        self.model, self.benchmark = _find(names, "model"), _find(names, "benchmark")
        self.problem = _find(names, "problem_id")
        self.n, self.c = _find(names, "n"), _find(names, "c")
        self.verdict = _find(names, "verdict")
        self.n_params, self.n_tokens = _find(names, "n_params"), _find(names, "n_tokens")
        self.stopped = _find(names, "stopped")
        self.counts = self.n is not None and self.c is not None
        if not self.counts and self.verdict is None:
            shown = ", ".join(list(names)[:12])
            raise DataError(
                f"{where}: columns {shown}: need n and c, or one trial per row with a verdict "
                "(passed, correct, reward, score)"
            )
        if not self.counts and self.problem is None:
            raise DataError(f"{where}: no column names the problem: need problem_id, task_id, doc_id or id")

    def add(self, row: Mapping[str, Any], number: int, tally: _Tally) -> None:
        problem = number if self.problem is None else row[self.problem]
        model = None if self.model is None else row[self.model]
        benchmark = None if self.benchmark is None else row[self.benchmark]
        key = tally.key(model, benchmark, problem)
        if self.n is not None and self.c is not None:
            n, c = _whole(self.n, row[self.n]), _whole(self.c, row[self.c])
            if not 0 <= c <= n or n == 0:
                raise ValueError(
                    f"{self.c} = {c}, {self.n} = {n}: correct samples must lie between 0 and n, and n be positive"
                )
            tally.add(key, n, c)
        else:
            tally.trial(key, row[self.verdict or ""])
        if self.n_params is not None or self.n_tokens is not None:
            tally.sized(key, (_float(row, self.n_params), _float(row, self.n_tokens)))
        if self.stopped is not None and tally.verdict(row[self.stopped]):
            tally.stopped.add(key)


def _whole(name: str, value: Any) -> int:
    number = float(value)
    if not number.is_integer():
        raise ValueError(f"{name} = {value}: must be a whole number")
    return int(number)


def _float(row: Mapping[str, Any], name: str | None) -> float:
    value = None if name is None else row[name]
    return math.nan if value in (None, "") else float(value)


def _csv(path: Path, stream: Iterator[str], number: int, tally: _Tally) -> None:
    head = next(stream)
    delimiter = max(",;\t", key=head.count)
    names = next(csv.reader([head], delimiter=delimiter))
    reader = csv.reader(stream, delimiter=delimiter)
    bare = all(name.strip().lower() in _TRUE | _FALSE | _MISSING for name in names)
    if bare or not (_find(names, "verdict") or (_find(names, "n") and _find(names, "c"))):
        _matrix_csv(path, names, reader, number, bare, tally)
        return
    tally.formats["table"] = None
    columns = _Columns(names, f"{path}:{number}")
    for row in reader:
        line = number + reader.line_num
        if not row:
            continue
        if len(row) != len(names):
            tally.bad(f"{path}:{line}", f"{len(row)} fields instead of {len(names)}")
            continue
        try:
            columns.add(dict(zip(names, row, strict=True)), line, tally)
        except (ValueError, TypeError) as error:
            tally.bad(f"{path}:{line}", error)


def _matrix_csv(path: Path, names: list[str], reader: Any, number: int, bare: bool, tally: _Tally) -> None:
    """Read a 0/1 matrix, one row per problem, with or without header and names."""
    tally.formats["matrix"] = None
    named = not bare and _find(names[:1], "problem_id") is not None
    if bare:
        _matrix_row(path, number, names, False, number, tally)
    elif not named and names[0].strip() not in ("", "0") and not re.fullmatch(r"\D*\d+", names[0].strip()):
        shown = ", ".join(names[:12])
        raise DataError(
            f"{path}:{number}: columns {shown}: need n and c, or a verdict per row, or trials of 0 and 1 as columns"
        )
    for row in reader:
        if row:
            _matrix_row(path, number + reader.line_num, row, named, number + reader.line_num, tally)


def _matrix_row(path: Path, line: int, row: Sequence[Any], named: bool, name: object, tally: _Tally) -> None:
    problem, trials = (row[0], row[1:]) if named else (name, row)
    try:
        if not len(trials):
            raise ValueError("a row without trials")
        for value in trials:
            tally.trial(tally.key(None, None, problem), value)
    except ValueError as error:
        tally.bad(f"{path}:{line}", error)


def _parquet(path: Path, tally: _Tally) -> None:
    try:
        from pyarrow import parquet  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise MissingExtraError(f"{path}: Parquet needs pyarrow: pip install pyarrow") from None
    tally.formats["table"] = None
    file = parquet.ParquetFile(path)
    columns = _Columns(file.schema_arrow.names, str(path))
    wanted = [
        columns.model, columns.benchmark, columns.problem, columns.n_params, columns.n_tokens, columns.stopped,
        *((columns.n, columns.c) if columns.counts else (columns.verdict,)),
    ]  # fmt: skip
    number = 0
    for batch in file.iter_batches(columns=list(dict.fromkeys(name for name in wanted if name is not None))):
        for row in batch.to_pylist():
            number += 1
            try:
                columns.add(row, number, tally)
            except (ValueError, TypeError) as error:
                tally.bad(f"{path}: row {number}", error)


# -------------------------------------------------------------------------------------------------------- JSON Lines


def _json_lines(path: Path, stream: Iterator[str], number: int, tally: _Tally) -> None:
    columns: dict[tuple[str, ...], _Columns] = {}
    decode = json.JSONDecoder().decode
    lm_eval = _LmEval(path, tally)
    for line_number, line in enumerate(stream, number):
        if not line.strip():
            continue
        try:
            record = decode(line.strip())
            if not isinstance(record, dict):
                if isinstance(record, list):
                    tally.formats["matrix"] = None
                    _matrix_row(path, line_number, record, False, line_number, tally)
                    continue
                raise ValueError("is no JSON object")
            if "doc_id" in record and ("filtered_resps" in record or "resps" in record):
                lm_eval.add(record)
            elif isinstance(record.get("is_correct"), list):
                _monkey(record, line_number, tally)
            else:
                names = tuple(record)
                if names not in columns:
                    columns[names] = _Columns(names, f"{path}:{line_number}")
                    tally.formats[_kind(record)] = None
                columns[names].add(record, line_number, tally)
        except DataError as error:
            tally.bad(f"{path}:{line_number}", str(error).removeprefix(f"{path}:{line_number}: "))
        except (ValueError, TypeError, KeyError) as error:
            tally.bad(f"{path}:{line_number}", error)


def _kind(record: Mapping[str, Any]) -> str:
    if "task_id" in record and "passed" in record:
        return "human-eval"
    if "task_id" in record and "reward" in record:
        return "tau-bench"
    return "table"


def _monkey(record: Mapping[str, Any], number: int, tally: _Tally) -> None:
    """Count a problem whose verdicts are a list, as in the files of Large Language Monkeys."""
    tally.formats["is_correct lists"] = None
    name = _find(record, "problem_id")
    model, benchmark = _find(record, "model"), _find(record, "benchmark")
    key = tally.key(
        None if model is None else record[model],
        None if benchmark is None else record[benchmark],
        number if name is None else record[name],
    )
    for value in record["is_correct"]:
        tally.trial(key, value)


class _LmEval:
    """Lines of lm-evaluation-harness' samples files: one verdict per document and filter."""

    _NAME = re.compile(r"samples_(.+?)_\d{4}-\d{2}-\d{2}T")

    def __init__(self, path: Path, tally: _Tally) -> None:
        self.tally = tally
        self.filter = tally.filter
        name = self._NAME.match(path.name)
        self.benchmark = name.group(1) if name else None
        # lm-evaluation-harness writes into a folder named after the model.
        self.model = path.parent.name.replace("__", "/") if name and path.parent.name else None

    def add(self, record: Mapping[str, Any]) -> None:
        tally = self.tally
        tally.formats["lm-evaluation-harness"] = None
        used = record.get("filter")
        if tally.filter is not None:
            if used != tally.filter:
                return
        elif used is not None:
            if self.filter is None:
                self.filter = used
            elif used != self.filter:
                raise ValueError(
                    f"filters {self.filter!r} and {used!r} judge the same documents: choose one with filter="
                )
        metrics = record.get("metrics")
        names = list(metrics) if isinstance(metrics, list) else [m for m in _ALIASES["verdict"] if m in record]
        name = tally.metric or (names[0] if len(names) == 1 else None)
        if name is None or name not in record:
            raise ValueError(f"metrics are {', '.join(names) or 'not named'}: choose one with metric=")
        answers = record.get("resps") or [[]]
        if isinstance(answers[0], list) and len(answers[0]) > 1 and not isinstance(record[name], list):
            tally.warnings[
                "lm-evaluation-harness keeps one verdict per document, however many repeats were sampled: "
                "n = 1 per line"
            ] = None
        key = tally.key(self.model, self.benchmark, record["doc_id"])
        values = record[name] if isinstance(record[name], list) else [record[name]]
        for value in values:
            tally.trial(key, value)


# -------------------------------------------------------------------------------------------------------- documents


def _json(path: Path, document: Any, tally: _Tally) -> None:
    if isinstance(document, list):
        if document and all(isinstance(row, list) for row in document):
            tally.formats["matrix"] = None
            for i, row in enumerate(document):
                _matrix_row(path, i + 1, row, False, i, tally)
            return
        _json_lines(path, (json.dumps(record) for record in document), 1, tally)
    elif isinstance(document.get("eval"), dict) and "samples" in document:
        _inspect_header(document["eval"], tally)
        for sample in document["samples"] or ():
            _inspect_sample(str(path), sample, tally)
    elif isinstance(document.get("eval"), dict):
        _evalplus(path, document["eval"], tally)
    elif isinstance(document.get("simulations"), list):
        _tau2(path, document, tally)
    elif _is_record(document):
        _json_lines(path, iter([json.dumps(document)]), 1, tally)
    else:
        shown = ", ".join(list(document)[:8])
        raise DataError(f"{path}: an object with {shown}: is none of the formats known")


def _evalplus(path: Path, tasks: Mapping[str, Any], tally: _Tally) -> None:
    """Count ``eval[task][i].base_status``, and with metric="plus" the stricter ``plus_status``."""
    tally.formats["evalplus"] = None
    name = f"{tally.metric or 'base'}_status"
    for task, trials in tasks.items():
        for trial in trials:
            try:
                if name not in trial:
                    raise ValueError(f"no {name}: metric must be 'base' or 'plus'")
                tally.trial(tally.key(None, None, task), trial[name])
            except (ValueError, TypeError) as error:
                tally.bad(f"{path}: task {task}", error)


def _tau2(path: Path, document: Mapping[str, Any], tally: _Tally) -> None:
    """Count tau2-bench's simulations: reward_info.reward per task and trial."""
    tally.formats["tau-bench"] = None
    info = document.get("info") or {}
    tally.model = str((info.get("agent_info") or {}).get("llm") or "")
    tally.benchmark = str((info.get("environment_info") or {}).get("domain_name") or "")
    for i, trial in enumerate(document["simulations"]):
        try:
            reward = (trial.get("reward_info") or {}).get("reward")
            tally.trial(tally.key(None, None, trial["task_id"]), reward)
        except (ValueError, TypeError, KeyError) as error:
            tally.bad(f"{path}: simulation {i}", error)


def _inspect_header(spec: Mapping[str, Any], tally: _Tally) -> None:
    tally.formats["inspect"] = None
    tally.model, tally.benchmark = str(spec.get("model") or ""), str(spec.get("task") or "")


def _inspect_sample(where: str, sample: Mapping[str, Any], tally: _Tally) -> None:
    try:
        scores = sample.get("scores") or {}
        key = tally.key(None, None, sample["id"])
        if not scores:
            # A sample that crashed, or was cut off before scoring.
            tally.trial(key, None)
            return
        if tally.metric is not None and tally.metric not in scores:
            raise ValueError(f"metric = {tally.metric!r}: scorers are {', '.join(scores)}")
        if tally.metric is None and len(scores) > 1:
            raise ValueError(f"scorers are {', '.join(scores)}: choose one with metric=")
        score = scores[tally.metric or next(iter(scores))]
        value = score.get("value")
        # inspect's own values for no answer and for partly correct.
        tally.trial(key, {"N": 0, "P": 0.5}.get(value, value) if isinstance(value, str) else value)
    except (ValueError, TypeError, KeyError) as error:
        tally.bad(f"{where}: sample {sample.get('id')!r}, epoch {sample.get('epoch')}", error)


def _inspect_archive(path: Path, tally: _Tally) -> None:
    """Read inspect's ``.eval``: a zip of header.json and samples/<id>_epoch_<n>.json."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            header = next((name for name in ("header.json", "_journal/start.json") if name in names), None)
            if header is None:
                raise DataError(f"{path}: is a zip archive without inspect's header.json")
            document = json.loads(_member(path, archive, header))
            _inspect_header(document.get("eval", {}), tally)
            for name in names:
                if name.startswith("samples/") and name.endswith(".json"):
                    _inspect_sample(f"{path}:{name}", json.loads(_member(path, archive, name)), tally)
    except (zipfile.BadZipFile, zlib.error, struct.error) as error:
        raise DataError(f"{path}: is a damaged archive: {error}") from None
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: holds a member that is no JSON: {error}") from None


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    """A member's bytes, zstd included, which zipfile knows from Python 3.14 on."""
    info = archive.getinfo(name)
    if info.compress_type != _ZSTD:
        return archive.read(name)
    try:
        return archive.read(name)
    except NotImplementedError:
        pass
    try:
        import zstandard
    except ImportError:
        raise MissingExtraError(f"{path}: {name} is zstd-compressed: pip install zstandard") from None
    with path.open("rb") as file:
        # The local header: 30 bytes, then name and extra field, whose lengths stand at its end.
        file.seek(info.header_offset)
        head = file.read(30)
        file.seek(sum(struct.unpack("<HH", head[26:30])), io.SEEK_CUR)
        packed = file.read(info.compress_size)
    data: bytes = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    if zlib.crc32(data) != info.CRC:
        raise DataError(f"{path}: {name} is damaged: its checksum does not match")
    return data
