"""Files of one's own: written so that nothing is lost, and read so that a damaged one is one line."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2fast import arguments
from t2fast.errors import T2Error

__all__ = [
    "check_input",
    "check_output",
    "is_file",
    "object_from",
    "read_content",
    "read_object",
    "real",
    "replacing",
    "write_text",
]

#: The most bytes that a JSON object of ours may hold, and any file that is read whole.
_LARGEST_OBJECT, _LARGEST = 64 << 20, 1 << 30


def check_output(path: str | Path | None, name: str = "path") -> Path | None:
    """Refuse an output that could not be written, before the work whose result it is to hold; ``None`` passes.

    Examples
    --------
    >>> check_output("law.json").name
    'law.json'

    Raises
    ------
    T2Error
        When the folder is missing or may not be written to, or the path is a folder.
    """
    if path is None:
        return None
    target = arguments.path(name, path)
    folder = target.parent
    try:
        os.lstat(target)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        raise T2Error(f"{name} = '{target}': cannot be written: {getattr(error, 'strerror', None) or error}") from None
    if os.path.isdir(target):
        raise T2Error(f"{name} = '{target}': is a folder; name a file in it")
    if not os.path.isdir(folder):
        raise T2Error(f"{name} = '{target}': the folder '{folder}' does not exist; make it first")
    if not os.access(target if _is_device(target) else folder, os.W_OK):
        raise T2Error(f"{name} = '{target}': no permission to write there; choose another place")
    return target


@contextlib.contextmanager
def replacing(path: str | Path, name: str = "path") -> Iterator[Path]:
    """Give a path beside ``path`` to write to; it takes the place of ``path`` when the block ends without an exception.

    An existing file survives a failed save. Devices and pipes (``/dev/stdout``) are written to as they are.

    Raises
    ------
    T2Error
        When the file cannot be written.
    """
    target = arguments.path(name, path)
    beside = target if _is_device(target) else target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        yield beside
        if beside != target:
            # A link's target is what is written, as by everyone who opens it.
            os.replace(beside, os.path.realpath(target))
    except OSError as error:
        raise T2Error(f"{name} = '{target}': cannot be written: {error.strerror or error}") from None
    except T2Error:
        raise
    except Exception as error:
        # What a library raises as it tidies up after a write that failed, as matplotlib's PDF does.
        cause = error.__context__
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__context__
        if cause is None:
            raise
        raise T2Error(f"{name} = '{target}': cannot be written: {cause.strerror or cause}") from None
    finally:
        if beside != target:
            with contextlib.suppress(OSError):
                beside.unlink()


def write_text(path: str | Path, text: str, name: str = "path") -> None:
    """Write a text file in UTF-8 by way of :func:`replacing`.

    Raises
    ------
    T2Error
        When the file cannot be written.
    """
    with replacing(path, name) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        file.write(text)


def is_file(path: str | Path) -> bool:
    """Whether a file has that name; a text that no file can be named is none.

    Examples
    --------
    >>> is_file("x" * 10_000)
    False
    """
    return os.path.isfile(path)


def real(path: str | Path) -> Path:
    """The absolute path behind links; also where they lead in a circle, which is then an error of whoever opens it.

    Examples
    --------
    >>> real(".").is_absolute()
    True
    """
    return Path(os.path.realpath(path))


def check_input(path: str | Path, error: type[T2Error] = T2Error) -> None:
    """Refuse devices to read from, which never end (``/dev/zero``); terminals, pipes and ``/dev/null`` do.

    Raises
    ------
    T2Error
        Of the kind ``error``.
    """
    try:
        mode, device = os.stat(path).st_mode, os.stat(path).st_rdev
        if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) or device == os.stat(os.devnull).st_rdev:
            return
        with open(path, "rb", buffering=0) as opened:
            if opened.isatty():
                return
    except (OSError, ValueError):
        return  # whoever opens it will say what is wrong
    raise error(f"{path}: is a device, not a file")


def read_content(path: str | Path, most: int = _LARGEST, error: type[T2Error] = T2Error) -> bytes:
    """The bytes of a file that is read whole, ``most`` of them.

    Raises
    ------
    T2Error
        Of the kind ``error``, when it holds more, or is a device.
    OSError
        When it cannot be read.
    """
    check_input(path, error)
    with open(path, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise error(f"{path}: holds more than {most >> 20} MiB: not a file that is meant to be read here")
    return content


def read_object(path: str | Path, error: type[T2Error] = T2Error) -> dict[str, Any]:
    """What a file with a JSON object holds.

    Raises
    ------
    T2Error
        Of the kind ``error``, when the file cannot be read or holds something else.
    """
    try:
        text = read_content(path, _LARGEST_OBJECT, error).decode("utf-8")
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except T2Error:
        raise
    except (OSError, ValueError) as failed:
        raise error(f"{path}: cannot be read: {getattr(failed, 'strerror', None) or failed}") from None
    return object_from(text, str(path), error)


def object_from(text: str, origin: str, error: type[T2Error] = T2Error) -> dict[str, Any]:
    """The JSON object that ``text`` holds; ``origin`` says in messages where it comes from.

    Examples
    --------
    >>> object_from('{"E": 1.7}', "law.json")
    {'E': 1.7}

    Raises
    ------
    T2Error
        Of the kind ``error``, when the text is something else.
    """
    try:
        held = json.loads(text)
    except json.JSONDecodeError as failed:
        raise error(f"{origin}: not JSON: {failed.msg} at line {failed.lineno}, column {failed.colno}") from None
    except RecursionError:
        raise error(f"{origin}: not JSON that can be read: nested too deeply") from None
    except ValueError as failed:  # whole numbers of thousands of digits
        raise error(f"{origin}: not JSON that can be read: {failed}") from None
    if not isinstance(held, dict):
        raise error(f"{origin}: must hold a JSON object, not {type(held).__name__}")
    return held


def _is_device(path: Path) -> bool:
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
