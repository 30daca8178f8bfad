"""Files as they come: paths, pipes and folders, compressed or not, in any Unicode; and what goes wrong with them."""

from __future__ import annotations

import bz2
import csv
import gzip
import hashlib
import io
import json
import lzma
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from t2fast.errors import DataError, MissingExtraError, T2Error
from t2fast.files import check_input

__all__ = ["expanded", "fingerprint", "opened", "reading", "stem", "text"]

#: What compressed files may grow to whatever their ratio, and the ratio that is refused beyond it. Logs shrink 5 to 50
#: times; files made to exhaust memory 1,000 times and more.
_HARMLESS, _RATIO = 64 << 20, 300
#: Blank lines in a row beyond which nothing is to be expected any more.
_BLANK = 1_000_000
#: The longest line of text.
LONGEST = 1 << 30

_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zstd")
_KNOWN = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".eval")

# Model answers are longer than the csv module expects of a field.
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))


def stem(path: Path) -> str:
    """A file's name without what says how it is stored: ``gpt`` for ``gpt.jsonl_results.jsonl.gz``."""
    name = path.name
    while True:
        shorter = name
        for ending in (*_PACKED, *_KNOWN, "_results", "_eval_results", ".results"):
            if shorter.lower().endswith(ending) and len(shorter) > len(ending):
                shorter = shorter[: -len(ending)]
        if shorter == name:
            return name
        name = shorter


def expanded(paths: Sequence[str | Path]) -> list[tuple[Path, bool]]:
    """The files that paths stand for, folders opened; true marks those that a folder brought along."""
    found: list[tuple[Path, bool]] = []
    for path in map(Path, paths):
        if str(path) == "-" or not os.path.isdir(path):
            found.append((path, False))
            continue
        inside = sorted(one for one in path.rglob("*") if _holds_records(one, path))
        # lm-evaluation-harness puts its averages beside its samples.
        folders = {one.parent for one in inside if one.name.startswith("samples_")}
        inside = [one for one in inside if not (one.parent in folders and one.name.startswith("results_"))]
        if not inside:
            raise DataError(f"{path}: the folder holds no file ending in {', '.join(_KNOWN)} (compressed or not)")
        found += [(one, True) for one in inside]
    return found


def _holds_records(path: Path, root: Path) -> bool:
    if not path.is_file() or any(part.startswith(".") for part in path.relative_to(root).parts):
        return False
    name = path.name.lower()
    for ending in _PACKED:
        name = name.removesuffix(ending)
    return name.endswith(_KNOWN) and not name.endswith(".manifest.json")


if TYPE_CHECKING:
    #: Bytes that can be looked at before they are read.
    Buffered = io.BufferedReader[Any]


class _Limited(io.RawIOBase):
    """What a decompressor gives, refused where a small file turns into a huge one."""

    def __init__(self, inner: IO[bytes], outer: IO[bytes]) -> None:
        self._inner, self._outer, self._given = inner, outer, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._inner.read(len(buffer))
        buffer[: len(data)] = data
        self._given += len(data)
        if self._given > _HARMLESS:
            try:
                read = self._outer.tell()
            except (OSError, ValueError):
                read = self._given
            check_growth(self._given, read)
        return len(data)


def check_growth(given: int, read: int) -> None:
    """Refuse compressed data that grows beyond what logs do.

    Raises
    ------
    DataError
        Without the file's name, which the caller knows.
    """
    if given > _HARMLESS and given > _RATIO * max(read, 1):
        raise DataError(
            f"grows more than {_RATIO} times when decompressed ({given >> 20} MiB so far): no log does; decompress it "
            "yourself if you trust it"
        )


@contextmanager
def opened(path: Path) -> Iterator[Buffered]:
    """A file's bytes, decompressed, from its start; ``-`` is standard input."""
    if str(path) != "-":
        check_input(path, DataError)
    with ExitStack() as stack:
        source = _Source(sys.stdin.buffer) if str(path) == "-" else stack.enter_context(path.open("rb", buffering=0))
        yield _decompressed(path, stack.enter_context(io.BufferedReader(source)), stack)


def _decompressed(path: Path, raw: Buffered, stack: ExitStack) -> Buffered:
    for _ in range(4):  # compressed twice is seen, and more than that is a trick
        magic = raw.peek(6)[:6]
        inner: IO[bytes]
        if magic[:2] == b"\x1f\x8b":
            inner = gzip.GzipFile(fileobj=raw)  # type: ignore[assignment, unused-ignore]
            stack.callback(inner.close)
        elif magic[:3] == b"BZh":
            inner = stack.enter_context(bz2.BZ2File(raw))
        elif magic == b"\xfd7zXZ\x00":
            inner = stack.enter_context(lzma.open(raw))  # noqa: SIM115 - the stack closes it
        elif magic[:4] == b"\x28\xb5\x2f\xfd":
            inner = _zstd(path, raw)
        else:
            return raw
        raw = stack.enter_context(io.BufferedReader(_Limited(inner, raw), 1 << 18))
    raise DataError("is compressed more than three times")


class _Source(io.RawIOBase):
    """Standard input without its position, which pipes don't have."""

    def __init__(self, inner: IO[bytes]) -> None:
        self._inner = inner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._inner.read1(len(buffer)) if hasattr(self._inner, "read1") else self._inner.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _zstd(path: Path, raw: IO[bytes]) -> IO[bytes]:
    try:
        import zstandard
    except ImportError:
        raise MissingExtraError(f"{path}: is zstd-compressed: pip install zstandard") from None
    return zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)


class Prefixed(io.RawIOBase):
    """Bytes that were read already, and what follows them."""

    def __init__(self, first: bytes, rest: IO[bytes]) -> None:
        self._first, self._rest = first, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._first:
            data, self._first = self._first[: len(buffer)], self._first[len(buffer) :]
        else:
            data = self._rest.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def encoding(start: bytes) -> str:
    """The Unicode encoding of text that starts so: its byte order mark says, or where its zero bytes stand."""
    if start[:3] == b"\xef\xbb\xbf":
        return "utf-8"
    if start[:4] in (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff"):
        return "utf-32"
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    even, odd = start[0:64:2], start[1:64:2]
    if len(odd) >= 2 and odd.count(0) > 0.8 * len(odd) and even.count(0) == 0:
        return "utf-16-le"
    if len(even) >= 2 and even.count(0) > 0.8 * len(even) and odd.count(0) == 0:
        return "utf-16-be"
    return "utf-8"


def text(raw: Buffered) -> Iterator[str]:
    """Lines of text with their ends, which may be of any system; byte order marks at their starts are gone.

    Standing at the start of a line, a byte order mark is what joining two files leaves behind.
    """
    start = raw.peek(64)[:64]
    if start and not start.strip(b"\0"):
        raise DataError("begins with zero bytes: no text does")
    stream = io.TextIOWrapper(raw, encoding=encoding(start), newline="")
    try:
        blank = 0
        for line in stream:
            blank = blank + 1 if line.isspace() else 0
            if blank > _BLANK:
                raise DataError(f"holds more than {_BLANK:,} blank lines in a row: no log does")
            yield line.lstrip("\ufeff") if line[0] == "\ufeff" else line
    finally:
        # Whoever opened the file closes it.
        with suppress(ValueError):
            stream.detach()


def fingerprint(path: Path) -> str:
    """A hash of a file's decompressed content."""
    found = hashlib.blake2b(digest_size=16)
    with opened(path) as raw:
        while block := raw.read(1 << 20):
            found.update(block)
    return found.hexdigest()


@contextmanager
def reading(path: Path | str, place: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Turn whatever goes wrong while a file is read into a DataError that names the file and the place in it.

    Parsers raise their own errors, and records that look like a known format may hold anything at all: this is the only
    place that knows.
    """
    try:
        yield
    except MissingExtraError:
        raise
    except DataError as error:
        message = _short(str(error))
        if not message.startswith(str(path)):
            raise DataError(f"{path}{_at(place)}: {message}") from None
        error.args = (message,)
        raise error from None
    except T2Error:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnicodeError as error:
        detail = f"{error.reason} at byte {error.start}" if isinstance(error, UnicodeDecodeError) else str(error)
        raise DataError(
            f"{path}{_at(place)}: is not Unicode text ({detail}): convert it to UTF-8, for example with iconv"
        ) from None
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: its compressed data is damaged or cut short: {error}") from None
    except (zipfile.BadZipFile, struct.error, NotImplementedError) as error:
        raise DataError(f"{path}: is a damaged archive: {error}") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}{_at(place)}: is not valid JSON: {error.msg} (column {error.colno})") from None
    except csv.Error as error:
        raise DataError(f"{path}{_at(place)}: is not valid CSV: {error}") from None
    except RecursionError:
        raise DataError(f"{path}{_at(place)}: is nested too deeply to be a log") from None
    except MemoryError:
        raise DataError(f"{path}: does not fit into memory") from None
    except OSError as error:
        what = " ".join((error.strerror or str(error)).split())
        raise DataError(f"{path}: cannot be read: {what}") from None
    except Exception as error:  # zstandard and pyarrow have errors of their own, and records hold what they like
        if "zstd" in str(type(error)).lower():
            raise DataError(f"{path}: its compressed data is damaged or cut short: {error}") from None
        what = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise DataError(f"{path}{_at(place)}: is damaged, or not of the format it looks like ({what})") from None


#: Characters of a message: names of a file's own columns and metrics may be as long as they like.
_LONGEST = 1_000


def _short(message: str) -> str:
    """A message of one line, its middle left out where it is too long: the remedy stands at the end."""
    line = " ".join(message.splitlines())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST * 2 // 3]} ... {line[-_LONGEST // 3 :]}"


def _at(place: Callable[[], str]) -> str:
    where = place()
    return f":{where}" if where else ""
