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
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from t2fast.data.verdicts import accepted as is_accepted
from t2fast.errors import DataError, T2Error
from t2fast.results import Progress, Report
from t2fast.sampling.manifest import changes, manifest_path
from t2fast.sampling.samples import Sample

try:
    import fcntl
except ImportError:  # no Unix: two writers are not kept apart there
    fcntl = None  # type: ignore[assignment]

__all__ = ["Store", "StoreError"]

#: Lines between two reports of progress.
_MANY = 4096


class StoreError(T2Error):
    """Samples cannot be written; those written before are whole and safe."""


class Store:
    """A file of samples that is being written; :meth:`open` makes it, and it is a context manager.

    What it remembers of a sample is one bit.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "samples.jsonl")
    >>> with Store.open(path, {"seed": 0}) as store:
    ...     store.append(Sample("q1", 0, "42", (17, 3), "stop", 5))
    ...     store.samples, store.stored("q1")
    (1, frozenset({0}))
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
        progress: Report | None = None,
    ) -> Store:
        """Begin a file, or go on with one.

        Parameters
        ----------
        path
            The file; its manifest goes beside it. ``-`` is standard output; that and other devices and pipes get no
            manifest and cannot be continued.
        manifest
            Everything that the samples depend on, as JSON holds it.
        resume
            Continue the file if there is one; ``params.k`` may be larger than it was.
        sync_seconds
            Seconds between two requests to the disk to have everything.
        progress
            Called now and then with the bytes read while a file that is continued is read.

        Raises
        ------
        StoreError
            When there is a file and ``resume`` is false, when another process writes to it, when it cannot be
            written, or when it was made in another way: the message says what changed.
        DataError
            When a line before the last is damaged.
        """
        stdout, path = str(path) == "-", Path(path)
        try:
            if stdout:
                descriptor = os.dup(1)
            else:
                # A pipe or a device may be open for writing alone.
                special = os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
                flags = os.O_WRONLY if special else os.O_RDWR | os.O_CREAT | os.O_APPEND
                descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror}") from None
        try:
            regular = not stdout and stat.S_ISREG(os.fstat(descriptor).st_mode)
            if not regular and resume:
                raise StoreError(f"{path}: not a file, so it cannot be resumed (leave out --resume)")
            if fcntl is not None and regular:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise StoreError(f"{path}: another process is writing to it") from None
            store = cls(path, descriptor, dict(manifest), sync_seconds)
            if regular:
                store._begin(resume, progress)
        except BaseException:
            os.close(descriptor)
            raise
        return store

    def _begin(self, resume: bool, progress: Report | None) -> None:
        size = os.fstat(self._descriptor).st_size
        place = manifest_path(self.path)
        if size and not resume:
            raise StoreError(f"{self.path}: exists already (--resume continues it; or use another --out)")
        if not size:
            # Nothing was drawn yet, whatever was planned.
            self._write_manifest(place)
            return
        try:
            old = json.loads(place.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StoreError(
                f"{self.path}: cannot resume: its manifest {place.name} is missing, which says how it was made "
                "(use another --out)"
            ) from None
        except (OSError, ValueError) as error:
            raise StoreError(f"{place}: cannot be read: {error}") from None
        if differing := changes(old, self.manifest):
            raise StoreError(
                f"{self.path}: cannot resume: {'; '.join(differing)} (use the old settings or another --out)"
            )
        self._scan(size, progress)
        if self.manifest.get("params") == old.get("params"):
            self.manifest = old
        else:
            # More samples of every prompt; whatever else is recorded stays as it was.
            self.manifest = {**old, "params": self.manifest["params"]}
            self._write_manifest(place)

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

    def _scan(self, size: int, progress: Report | None) -> None:
        """Learn what is stored, and cut off a last line that a kill or a power failure tore."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line[-1:] != b"\n":
                    self.torn = len(line)
                    break
                try:
                    record = json.loads(line)
                    # "problem" is how earlier versions spelled it.
                    name = record["problem_id"] if "problem_id" in record else record["problem"]
                    sample = record["sample"]
                    accepted = is_accepted(record.get("correct"), record.get("score"))
                    if not (isinstance(name, str) and type(sample) is int and 0 <= sample < 2**31):
                        raise ValueError
                    bit = 1 << sample
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    raise DataError(
                        f"{self.path}:{number}: not a line that t2fast sample wrote; remove it to resume"
                    ) from None
                if self._stored.get(name, 0) & bit:
                    raise DataError(f"{self.path}:{number}: repeats sample {sample} of {name!r}; remove it to resume")
                self._note(name, sample, accepted)
                self._size += len(line)
                if progress is not None and number % _MANY == 0:
                    progress(Progress(self._size, size, "bytes", "reading what is stored"))
        if self.torn:
            try:
                os.ftruncate(self._descriptor, self._size)
            except OSError as error:
                raise StoreError(f"{self.path}: the incomplete last line cannot be removed: {error.strerror}") from None

    def _note(self, name: str, sample: int, accepted: bool) -> None:
        self._stored[name] = self._stored.get(name, 0) | 1 << sample
        self.samples += 1
        if accepted:
            self._accepted[name] = min(sample, self._accepted.get(name, sample))

    def __contains__(self, key: tuple[str, int]) -> bool:
        """Whether sample ``key[1]`` of prompt ``key[0]`` is stored."""
        return bool(self._stored.get(key[0], 0) >> key[1] & 1)

    def stored(self, prompt_id: str) -> frozenset[int]:
        """The numbers of the samples of a prompt that are stored."""
        bits = self._stored.get(prompt_id, 0)
        return frozenset(j for j in range(bits.bit_length()) if bits >> j & 1)

    def accepted(self, prompt_id: str) -> int | None:
        """The number of the first stored sample of a prompt that the verifier accepted."""
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
        room = "; make room, then --resume" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
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
