"""Asking a program of the user's own, in a process that ends with its verdict."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import IO, Any

from t2fast.errors import T2Error
from t2fast.sampling.prompts import Prompt
from t2fast.sampling.verify.verdict import TIMEOUT

__all__ = ["Command"]

#: Most bytes that a command may print.
_MOST_OUTPUT = 1 << 20
#: Seconds between two looks at how much it has printed.
_LOOK = 0.05


@dataclass(frozen=True)
class Command:
    """A program judges: it reads ``{"prompt": {...}, "text": "..."}`` and prints true, false or a number.

    It is started once per answer, without a shell. When it ends, or its time is over, every process of its group is
    killed with it. (Where there are no process groups, as on Windows, only the program itself is.) An exit code other
    than 0 leaves the answer without a verdict.

    Parameters
    ----------
    arguments
        The program and its arguments.
    timeout
        Seconds for one answer.

    Examples
    --------
    >>> import sys
    >>> from t2fast.sampling import Prompt
    >>> brief = Command((sys.executable, "-c", "import json; print(json.dumps(len(json.load(open(0))['text']) < 9))"))
    >>> brief(Prompt("q", "Be brief."), "Hello.")
    True
    """

    arguments: tuple[str, ...]
    timeout: float = TIMEOUT

    def __call__(self, prompt: Prompt, text: str) -> bool | float:
        """Start the program, hand it the answer, and read its verdict.

        Raises
        ------
        T2Error
            When it cannot be started, fails, or prints anything else.
        TimeoutError
            When its time is over.
        """
        program = self.arguments[0]
        # Files rather than pipes: a program that never reads cannot block us, nor can one that leaves a pipe open.
        with tempfile.TemporaryFile() as question, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            question.write(json.dumps({"prompt": prompt.to_dict(), "text": text}).encode())
            question.seek(0)
            try:
                process = subprocess.Popen(
                    self.arguments,
                    stdin=question,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,  # no effect where there are no sessions
                )
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise T2Error(f"{program}: cannot be started: {reason}") from None
            _run(process, program, self.timeout, (out, err))
            printed, complaint = _read(out), _read(err)
        if process.returncode:
            last = (complaint.decode(errors="replace").strip().splitlines() or ["nothing on stderr"])[-1]
            raise T2Error(f"{program} ended with exit code {process.returncode}: {last[:300]}")
        try:
            answer = json.loads(printed)
            answer = answer if isinstance(answer, bool) or not isinstance(answer, int | float) else float(answer)
        except (ValueError, OverflowError, RecursionError):
            answer = None
        if not isinstance(answer, bool) and not (isinstance(answer, float) and math.isfinite(answer)):
            raise T2Error(f"{program} printed {printed[:100]!r}: must be true, false or a finite number")
        return answer


class _Waiter(threading.Thread):
    """Waits for a program to end without collecting it, so that its group's number cannot be given away meanwhile."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True, name="t2fast verifier")
        self.ended = threading.Event()
        self._process = process
        self.start()

    def run(self) -> None:
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._process.wait()
        self.ended.set()


def _run(process: subprocess.Popen[bytes], program: str, timeout: float, outputs: tuple[IO[bytes], ...]) -> None:
    """Let a program end within its time and its output, and kill what it leaves behind."""
    waiter, end = _Waiter(process), time.monotonic() + timeout
    try:
        while not waiter.ended.wait(min(_LOOK, max(0.0, end - time.monotonic()))):
            if any(os.fstat(file.fileno()).st_size > _MOST_OUTPUT for file in outputs):
                raise T2Error(f"{program} printed more than {_MOST_OUTPUT} bytes")
            if time.monotonic() >= end:
                raise TimeoutError(f"{program} gave no verdict within {timeout:g} s")
    finally:
        _kill(process)
        waiter.join()
        process.wait()


def _read(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(_MOST_OUTPUT)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a program with all of its group."""
    killpg: Any = getattr(os, "killpg", None)
    # The group may be gone, or hold nothing that may be killed (macOS says so of zombies).
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if killpg is None:
            process.kill()
        else:
            killpg(process.pid, signal.SIGKILL)
