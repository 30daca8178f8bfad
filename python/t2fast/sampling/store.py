"""Where samples are kept: JSON Lines that only ever grow, and a manifest that says how they were made.

A line is written at once and whole, and survives the death of this process from then on; the disk is asked to have it
every few seconds, which is what a power failure can cost. What a kill can leave is a line without its end: the next run
cuts it off and draws that sample again. Because sample j of a prompt is the same whenever it is drawn, nothing shows
that there was a kill.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from t2fast.errors import DataError, MissingExtraError, T2Error
from t2fast.sampling.request import Sample

try:
    import fcntl
except ImportError:  # no Unix: two writers are not kept apart there
    fcntl = None  # type: ignore[assignment]

__all__ = ["Store", "StoreError", "changes", "manifest_path", "read_samples", "write_parquet"]

SCHEMA = "t2fast-samples/1"
#: Parts of a manifest that may differ when a run goes on: they don't touch the samples.
_FREE = ("prompts.file", "begun")
#: Lines between two reports of progress, and rows of a Parquet group.
_MANY = 4096


class StoreError(T2Error):
    """Samples cannot be written; those written before are whole and safe."""


def manifest_path(path: str | Path) -> Path:
    """Give the place of a file's manifest: ``samples.jsonl.manifest.json``."""
    return Path(f"{path}.manifest.json")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Say what differs between two manifests, one line each: ``params.temperature: 0.8 -> 1.0``."""
    # Through JSON, so that a tuple equals the list that it became.
    before, after = dict(_flat(json.loads(json.dumps(old)))), dict(_flat(json.loads(json.dumps(new))))
    return [
        f"{name}: {json.dumps(before.get(name))} -> {json.dumps(after.get(name))}"
        for name in dict.fromkeys([*before, *after])
        if name not in _FREE and before.get(name) != after.get(name)
    ]


class Store:
    """A file of samples that is being written; :meth:`open` makes it, and it is a context manager.

    What it remembers of a sample is one bit.
    """

    def __init__(self, path: Path, descriptor: int, manifest: Mapping[str, Any], sync_seconds: float) -> None:
        self.path = path
        self.manifest = manifest
        #: Samples in the file.
        self.samples = 0
        #: Bytes that a torn last line had, which were cut off.
        self.torn = 0
        self._descriptor = descriptor
        self._size = 0
        self._stored: dict[str, int] = {}
        self._accepted: dict[str, int] = {}
        self._sync_seconds = sync_seconds
        self._synced = time.monotonic()

    @classmethod
    def open(
        cls,
        path: str | Path,
        manifest: Mapping[str, Any],
        *,
        resume: bool = False,
        sync_seconds: float = 5.0,
        progress: Callable[[int, int], None] | None = None,
    ) -> Store:
        """Begin a file, or go on with one.

        Parameters
        ----------
        path
            The file; its manifest goes beside it.
        manifest
            Everything that the samples depend on, as JSON holds it.
        resume
            Go on with the file if there is one.
        sync_seconds
            Seconds between two requests to the disk to have everything.
        progress
            Called now and then with (bytes read, bytes in all) while a file is read that goes on.

        Raises
        ------
        StoreError
            When there is a file and ``resume`` is false, when another process writes to it, when it cannot be
            written, or when it was made in another way: the message says what changed.
        DataError
            When a line before the last is damaged.
        """
        path = Path(path)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror}") from None
        try:
            if fcntl is not None:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise StoreError(f"{path}: another process is writing to it") from None
            store = cls(path, descriptor, dict(manifest), sync_seconds)
            store._begin(resume, progress)
        except BaseException:
            os.close(descriptor)
            raise
        return store

    def _begin(self, resume: bool, progress: Callable[[int, int], None] | None) -> None:
        size = os.fstat(self._descriptor).st_size
        place = manifest_path(self.path)
        if size and not resume:
            raise StoreError(f"{self.path}: exists; go on with it (resume, --resume), or choose another file")
        if not size:
            # Nothing was drawn yet, whatever was planned.
            self._write_manifest(place)
            return
        try:
            old = json.loads(place.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StoreError(f"{self.path}: has no manifest {place.name}: nobody knows how it was made") from None
        except (OSError, ValueError) as error:
            raise StoreError(f"{place}: cannot be read: {error}") from None
        if differing := changes(old, self.manifest):
            raise StoreError(
                f"{self.path}: was made in another way, so that it cannot go on: {'; '.join(differing)}. "
                "Choose another file, or the settings of old"
            )
        self.manifest = old
        self._scan(size, progress)

    def _write_manifest(self, place: Path) -> None:
        new = place.with_name(place.name + ".new")
        try:
            with new.open("w", encoding="utf-8") as file:
                file.write(json.dumps(self.manifest, indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(place)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            raise StoreError(f"{place}: cannot be written: {error.strerror}") from None
        # The names of both files are safe only when their folder is.
        with contextlib.suppress(OSError):
            folder = os.open(place.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _scan(self, size: int, progress: Callable[[int, int], None] | None) -> None:
        """Learn what is stored, and cut off a last line that a kill or a power failure tore."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line[-1:] != b"\n":
                    self.torn = len(line)
                    break
                try:
                    record = json.loads(line)
                    name, sample = record["problem"], record["sample"]
                    accepted = record.get("correct") is True or (record.get("score") or 0) >= 1 - 1e-6
                    bit = 1 << sample
                except (ValueError, KeyError, TypeError, AttributeError):
                    raise DataError(f"{self.path}:{number}: is no sample of t2fast; remove it to go on") from None
                if self._stored.get(name, 0) & bit:
                    raise DataError(f"{self.path}:{number}: repeats sample {sample} of {name!r}; remove it to go on")
                self._note(name, sample, accepted)
                self._size += len(line)
                if progress is not None and number % _MANY == 0:
                    progress(self._size, size)
        if self.torn:
            try:
                os.ftruncate(self._descriptor, self._size)
            except OSError as error:
                raise StoreError(f"{self.path}: its torn end cannot be cut off: {error.strerror}") from None

    def _note(self, name: str, sample: int, accepted: bool) -> None:
        self._stored[name] = self._stored.get(name, 0) | 1 << sample
        self.samples += 1
        if accepted:
            self._accepted[name] = min(sample, self._accepted.get(name, sample))

    def __contains__(self, key: tuple[str, int]) -> bool:
        """Whether sample ``key[1]`` of prompt ``key[0]`` is stored."""
        return bool(self._stored.get(key[0], 0) >> key[1] & 1)

    def stored(self, prompt_id: str) -> frozenset[int]:
        """Give the numbers of the samples of a prompt that are stored."""
        bits = self._stored.get(prompt_id, 0)
        return frozenset(j for j in range(bits.bit_length()) if bits >> j & 1)

    def accepted(self, prompt_id: str) -> int | None:
        """Give the number of the first stored sample of a prompt that the verifier accepted."""
        return self._accepted.get(prompt_id)

    def append(self, sample: Sample, **more: Any) -> None:
        """Write a sample; when this returns, it survives the death of this process.

        Parameters
        ----------
        sample
            One that is not stored yet.
        more
            What its line holds besides.

        Raises
        ------
        StoreError
            When the disk is full or fails: what was written before is whole.
        """
        if (sample.prompt_id, sample.sample) in self:
            raise StoreError(f"sample {sample.sample} of {sample.prompt_id!r} is stored already")
        text = json.dumps(sample.to_dict() | more, ensure_ascii=False, separators=(",", ":"))
        # Half a character of UTF-16, which JSON can name and UTF-8 cannot hold, is written as JSON names it.
        line = text.encode("utf-8", "backslashreplace") + b"\n"
        try:
            done = 0
            while done < len(line):
                done += os.write(self._descriptor, line[done:])
        except BaseException as error:
            # Ctrl-C included: half a line is no line.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            if isinstance(error, OSError):
                raise self._failed(error) from None
            raise
        self._size += len(line)
        self._note(sample.prompt_id, sample.sample, sample.accepted)
        if time.monotonic() - self._synced >= self._sync_seconds:
            self.sync()

    def sync(self) -> None:
        """Have the disk hold everything written so far, so that it survives a power failure too."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a pipe or a device has nothing to sync
                raise self._failed(error) from None
        self._synced = time.monotonic()

    def _failed(self, error: OSError) -> StoreError:
        room = "; make room and go on with --resume" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return StoreError(f"{self.path}: {error.strerror}: {self.samples} samples are kept{room}")

    def close(self) -> None:
        """Sync and let go of the file."""
        if self._descriptor < 0:
            return
        try:
            self.sync()
        finally:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_samples(path: str | Path) -> Iterator[Sample]:
    """Read the samples of a file one by one, in the order in which they were finished.

    Raises
    ------
    DataError
        When the file cannot be read or a line is no sample, named by its number.
    """
    for number, record in _records(Path(path)):
        try:
            yield Sample.from_dict(record)
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    record = json.loads(line)
                except ValueError:
                    raise DataError(f"{path}:{number}: is not JSON; --resume mends the end of a broken run") from None
                if not isinstance(record, dict):
                    raise DataError(f"{path}:{number}: is no sample of t2fast")
                yield number, record
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def write_parquet(samples: str | Path, out: str | Path) -> int:
    """Copy a file of samples to Parquet, sorted by nothing, with the manifest in its metadata.

    Columns that no sample has are left out. The copy appears whole or not at all.

    Returns
    -------
    Rows written.

    Raises
    ------
    DataError
        When a line is no sample.
    StoreError
        When the copy cannot be written.
    MissingExtraError
        When pyarrow is not installed.
    """
    try:
        import pyarrow as arrow  # type: ignore[import-untyped, unused-ignore]
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError("Parquet needs pyarrow: pip install 't2fast[data]'") from None
    samples, out = Path(samples), Path(out)
    kinds = {
        "problem": arrow.string(),
        "sample": arrow.int32(),
        "correct": arrow.bool_(),
        "score": arrow.float64(),
        "verifier_error": arrow.string(),
        "stop_on_success": arrow.bool_(),
        "finish_reason": arrow.string(),
        "tokens": arrow.int32(),
        "prompt_tokens": arrow.int32(),
        "text": arrow.string(),
        "token_ids": arrow.list_(arrow.int32()),
        "logprobs": arrow.list_(arrow.float64()),
    }
    present: set[str] = set()
    for _, record in _records(samples):
        present.update(name for name, value in record.items() if value is not None)
    with contextlib.suppress(OSError):
        described = manifest_path(samples).read_bytes()
    schema = arrow.schema(
        [(name, kind) for name, kind in kinds.items() if name in present],
        metadata={"t2fast": described} if manifest_path(samples).exists() else None,
    )
    new = out.with_name(out.name + ".new")
    rows = 0
    try:
        with parquet.ParquetWriter(new, schema, compression="zstd") as writer:
            batch: list[dict[str, Any]] = []
            for _, record in _records(samples):
                batch.append(record)
                if len(batch) == _MANY:
                    writer.write_table(arrow.Table.from_pylist(batch, schema))
                    rows += len(batch)
                    batch.clear()
            if batch:
                writer.write_table(arrow.Table.from_pylist(batch, schema))
            rows += len(batch)
        new.replace(out)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise StoreError(f"{out}: cannot be written: {error.strerror or error}") from None
    except (arrow.ArrowInvalid, arrow.ArrowTypeError) as error:
        new.unlink(missing_ok=True)
        raise DataError(f"{samples}: is no file of samples: {error}") from None
    return rows
