"""inspect: logs as ``.json`` or ``.eval`` (a zip of samples), epochs and retries included."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO, Any

from t2fast.data.streams import check_growth
from t2fast.data.tally import BadLineError, Tally, Told
from t2fast.errors import DataError, MissingExtraError

__all__ = ["claims", "read_archive", "read_log"]

#: Compression method of zstd in a zip archive.
_ZSTD = 93
#: inspect's own values for no answer and for partly correct.
_VALUES = {"N": 0, "P": 0.5}


def claims(document: Mapping[str, Any]) -> bool:
    """Whether a document is a log of inspect."""
    spec = document.get("eval")
    return isinstance(spec, dict) and (
        "samples" in document
        or ("status" in document and ("results" in document or "plan" in document or "stats" in document))
    )


def read_log(document: Mapping[str, Any], tally: Tally) -> None:
    """Count the samples of a log."""
    spec = document["eval"]
    _header(spec, tally)
    samples = document.get("samples") or ()
    if not samples and (document.get("reductions") or document.get("results")):
        raise DataError("the log holds reduced scores but no samples: write it with log_samples on")
    for sample in samples:
        _sample(sample, spec, tally)


def _header(spec: Mapping[str, Any], tally: Tally) -> None:
    tally.formats["inspect"] = None
    tally.model, tally.benchmark = str(spec.get("model") or tally.model), str(spec.get("task") or "")


def _sample(sample: Mapping[str, Any], spec: Mapping[str, Any], tally: Tally) -> None:
    tally.place = f"sample {sample.get('id')!r}, epoch {sample.get('epoch')}"
    try:
        key = tally.key(spec.get("model"), spec.get("task"), sample["id"])
        # A retried run keeps its task_id and copies the samples that were done.
        identity = (spec.get("task_id"), sample.get("epoch"))
        if sample.get("epoch") is None:
            identity = (sample.get("uuid"), None)
        scores = sample.get("scores") or ({"score": sample["score"]} if sample.get("score") else {})
        if not isinstance(scores, dict):
            raise BadLineError("scores: must be an object with a value for each scorer")
        if not scores:
            # A sample that crashed, or was cut off before scoring.
            tally.trial(key, None, identity)
            return
        value = _value(scores, tally.options.metric)
        told = None if tally.options.details is None else _told(sample, scores, tally)
        tally.trial(key, value, identity, sample.get("uuid"), told)
    except BadLineError as error:
        tally.bad(error)


def _told(sample: Mapping[str, Any], scores: Mapping[str, Any], tally: Tally) -> Told:
    """What the caller wants of a sample beside its verdict."""
    details, named = tally.options.details, tally.options.columns
    assert details is not None
    output = sample.get("output")
    text = output.get("completion") if isinstance(output, dict) else None
    if text is None and isinstance(output, dict) and output.get("choices"):
        text = output["choices"][0].get("message", {}).get("content")
    if isinstance(text, list):
        text = "".join(part.get("text", "") for part in text if isinstance(part, dict))
    scorer = (tally.options.metric or next(iter(scores))).partition("/")[0]
    judged = scores.get(scorer, next(iter(scores.values())))
    answer = judged.get("answer") if isinstance(judged, dict) else None
    parts: dict[str, Any] = {}
    for role, wanted in (("score", details.scores), ("cheap", details.cheap)):
        if not wanted:
            continue
        if role not in named:
            if role == "score" and not details.verdicts:
                parts[role] = _value(scores, tally.options.metric)
                continue
            raise DataError(
                f"scorers are {', '.join(scores)}: say which gives the {'scores' if role == 'score' else role} with "
                f"columns={{'{role}': '...'}}"
            )
        parts[role] = _value(scores, named[role])
    return Told(text, answer, parts.get("score"), parts.get("cheap"))


def _value(scores: Mapping[str, Any], metric: str | None) -> Any:
    if metric is None and len(scores) > 1:
        raise DataError(f"scorers are {', '.join(scores)}: choose one with metric=")
    name, _, part = (metric or next(iter(scores))).partition("/")
    if name not in scores and metric is not None and len(scores) == 1:
        # The scorer goes without saying where there is one.
        name, part = next(iter(scores)), metric
    if name not in scores:
        raise DataError(f"no scorer {name}; scorers are {', '.join(scores)}")
    value = scores[name].get("value") if isinstance(scores[name], dict) else scores[name]
    if isinstance(value, dict):
        if part not in value:
            raise DataError(
                f"scorer {name} gives {', '.join(map(str, value))}: choose one with "
                f"metric={name}/{next(iter(value), '...')}"
            )
        value = value[part]
    elif part and part != name:
        raise DataError(f"scorer {name} gives one value, not {part}")
    if isinstance(value, list):
        raise DataError(f"scorer {name} gives a list: it judges parts of an answer")
    return _VALUES.get(value, value) if isinstance(value, str) else value


def read_archive(source: IO[bytes], tally: Tally) -> None:
    """Read ``.eval``: a zip of header.json and samples/<id>_epoch_<n>.json."""
    with zipfile.ZipFile(source) as archive:
        # A member written twice counts once: the last is the one that a reader gets.
        names = dict.fromkeys(archive.namelist())
        header = next((name for name in ("header.json", "_journal/start.json") if name in names), None)
        if header is None:
            raise DataError("is a zip archive without inspect's header.json")
        document = json.loads(_member(source, archive, header))
        spec = document.get("eval", {})
        _header(spec, tally)
        found = [name for name in names if name.startswith("samples/") and name.endswith(".json")]
        if not found:
            raise DataError("the log holds no samples: write it with log_samples on")
        for name in found:
            tally.place = name
            _sample(json.loads(_member(source, archive, name)), spec, tally)


def _member(source: IO[bytes], archive: zipfile.ZipFile, name: str) -> bytes:
    """A member's bytes, zstd included, which zipfile knows from Python 3.14 on."""
    info = archive.getinfo(name)
    check_growth(info.file_size, info.compress_size)
    if info.compress_type != _ZSTD:
        return archive.read(name)
    try:
        import zstandard
    except ImportError:
        raise MissingExtraError(f"{name} is zstd-compressed: pip install zstandard") from None
    # The local header: 30 bytes, then name and extra field, whose lengths stand at its end.
    place = source.tell()
    source.seek(info.header_offset)
    head = source.read(30)
    source.seek(sum(struct.unpack("<HH", head[26:30])), io.SEEK_CUR)
    packed = source.read(info.compress_size)
    source.seek(place)
    data = bytearray()
    with zstandard.ZstdDecompressor().stream_reader(packed) as stream:
        while block := stream.read(1 << 20):
            data += block
            check_growth(len(data), len(packed))
    if zlib.crc32(data) != info.CRC:
        raise DataError(f"{name} is damaged: its checksum does not match")
    return bytes(data)
