"""Reading verdicts from files: what comes out are counts per problem."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from t2fast import arguments
from t2fast.data import streams
from t2fast.data.counts import Counts
from t2fast.data.formats.recognise import UnknownFormatError, read_file
from t2fast.data.tally import Key, Options, Tally
from t2fast.errors import DataError
from t2fast.files import real

__all__ = ["read_counts", "settled", "tallied"]


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
    options = Options(model, benchmark, missing, malformed, threshold, metric, filter, dict(columns or {}))
    tally, files = tallied(paths, options)
    return settled(tally, files, n_params, n_tokens)


def tallied(paths: str | Path | Sequence[str | Path], options: Options) -> tuple[Tally, list[str]]:
    """Read files into a tally; gives it and the files that were read."""
    model, threshold = options.model, options.threshold
    arguments.choice("missing", options.missing, ("error", "drop", "fail"))
    arguments.choice("malformed", options.malformed, ("error", "skip"))
    if threshold is not None:
        options = replace(options, threshold=arguments.number("threshold", threshold))
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not given:
        raise DataError("no file to read")
    files, warnings = _distinct(streams.expanded([arguments.path("paths", one) for one in given]))
    tally = Tally(options)
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
                read_file(path, tally)
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
    _unused(tally)
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
    return tally, [str(path) for path, _ in read]


#: What reads which option: the formats named as ``tally.formats`` has them.
_TABLES = frozenset({"table", "human-eval", "tau-bench"})
_METRICS = _TABLES | {"lm-evaluation-harness", "inspect", "evalplus", "lighteval"}
_DETAILS = frozenset({"answer", "score", "cheap"})


def _unused(tally: Tally) -> None:
    """Refuse options that none of the files read looks at."""
    options, formats = tally.options, set(tally.formats)
    if not formats:
        return
    read = ", ".join(tally.formats)
    if options.filter is not None and "lm-evaluation-harness" not in formats:
        raise DataError(f"filter={options.filter!r}: has no effect: files are of {read}, not of lm-evaluation-harness")
    if options.metric is not None and not formats & _METRICS:
        raise DataError(f"metric={options.metric!r}: has no effect: files of {read} hold one verdict")
    if options.threshold is not None and not tally.scored:
        raise DataError(f"threshold={options.threshold:g}: has no effect: no verdict is a score")
    named = set(options.columns)
    if options.details is None and named & _DETAILS:
        raise DataError(f"columns: {min(named & _DETAILS)} has no effect: counts need verdicts alone")
    usable = formats & _TABLES or ("inspect" in formats and not named - {"score", "cheap"})
    if named and not usable:
        raise DataError(f"columns: have no effect: files of {read} are not tables")


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
        folder = real(path).parent.name if str(path) != "-" else ""
        if re.fullmatch(r"output-rs\d+", stem):
            # So NeMo-Skills calls the runs of one model with several seeds.
            names.append(folder or "output")
        else:
            names.append(f"{folder}/{stem}" if stems.count(stem) > 1 and folder else stem)
    return names


def _copy_of(path: Path, read: list[tuple[Path, str]]) -> Path | None:
    """The file read before that has the same content, compressed or not; only likely ones are looked at."""
    if str(path) == "-" or not os.path.isfile(path):
        return None
    for other, _ in read:
        if str(other) == "-" or not os.path.isfile(other):
            continue
        alike = path.stat().st_size == other.stat().st_size or streams.stem(path) == streams.stem(other)
        if alike and streams.fingerprint(path) == streams.fingerprint(other):
            return other
    return None


def settled(tally: Tally, files: list[str], n_params: float | None = None, n_tokens: float | None = None) -> Counts:
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
