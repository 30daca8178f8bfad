"""Verifiers: is this answer right? Those of one's own are any callable ``(Prompt, text) -> bool | float``.

Nothing that a model wrote is ever executed here. Who wants to run it gives a command that does so in a place of its
own.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import os
import re
import selectors
import shlex
import signal
import subprocess
import tempfile
import threading
import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Protocol

from t2fast.errors import MissingExtraError, T2Error
from t2fast.sampling.request import Prompt

__all__ = [
    "Choice",
    "Command",
    "Exact",
    "Normalised",
    "Numeric",
    "Regex",
    "Timed",
    "Verdict",
    "Verifier",
    "judge",
    "load_verifier",
    "suit",
    "usual",
]

#: Seconds that a verifier may take for one answer, unless told otherwise.
TIMEOUT = 30.0
#: Most bytes that a command may print.
_MOST_OUTPUT = 1 << 20
#: Calls that may hang before no more are made.
_MOST_HANGING = 32


class Verifier(Protocol):
    """What the sampler asks about every answer."""

    def __call__(self, prompt: Prompt, text: str, /) -> bool | float:
        """Tell whether the text answers the prompt, or how well."""


@dataclass(frozen=True)
class Verdict:
    """What a verifier said, or why it said nothing."""

    #: Where it answers with yes or no.
    correct: bool | None = None
    #: Where it answers with a number.
    score: float | None = None
    #: Why there is no answer.
    error: str | None = None


def judge(verifier: Verifier, prompt: Prompt, text: str) -> Verdict:
    """Ask a verifier and never raise: one that fails leaves a verdict without an answer, which says why."""
    try:
        answer: Any = verifier(prompt, text)
    except Exception as error:
        # Whatever it is, the sample was computed and will be kept.
        return Verdict(error=f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    if hasattr(answer, "item") and getattr(answer, "shape", None) == ():
        answer = answer.item()  # a number of NumPy or torch
    if isinstance(answer, bool):
        return Verdict(correct=answer)
    if isinstance(answer, int | float) and math.isfinite(answer):
        return Verdict(score=float(answer))
    return Verdict(error=f"the verifier answered {answer!r}: must be true, false or a finite number")


# ----------------------------------------------------------------------------------------------- comparing with answers


def _reference(prompt: Prompt) -> str:
    if prompt.answer is None:
        raise T2Error(f"prompt {prompt.id!r} has no answer to compare with")
    return prompt.answer


@dataclass(frozen=True)
class Exact:
    """The text is the answer, but for white space around it."""

    def __call__(self, prompt: Prompt, text: str) -> bool:
        """Compare."""
        return text.strip() == _reference(prompt).strip()


_WORDS = re.compile(r"(?:(?<!\w)[-+])?\d+(?:[.,]\d+)*|\w+")


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text).replace("\u2212", "-").casefold()
    words = _WORDS.findall(plain)
    # "A" may be the answer; as an article it has company.
    return [word for word in words if word not in ("a", "an", "the")] or words or [plain.strip()]


@dataclass(frozen=True)
class Normalised:
    """The text is the answer, but for case, punctuation, articles, white space and forms of the same character.

    Signs and decimal points of numbers count.
    """

    def __call__(self, prompt: Prompt, text: str) -> bool:
        """Compare."""
        return _words(text) == _words(_reference(prompt))


_NUMBER = re.compile(
    r"(?:(?<![\w.)])-\$?|\$)?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|(?<!\w)-?\.\d+"
)


def _final_number(text: str) -> Decimal | None:
    plain = unicodedata.normalize("NFKC", text).replace("\u2212", "-")
    _, marked, after = plain.partition("####")
    found = _NUMBER.findall(after if marked else plain)
    if not found:
        return None
    try:
        return Decimal(re.sub(r"[,$]", "", found[0 if marked else -1]))
    except InvalidOperation:  # an exponent of twenty digits
        return None


@dataclass(frozen=True)
class Numeric:
    """The last number of the text equals the last number of the answer, as GSM8K is judged.

    Where ``####`` marks the answer, the first number after it counts instead. Thousands may be separated by commas;
    72, 72.0 and $72 are equal.
    """

    def __call__(self, prompt: Prompt, text: str) -> bool:
        """Compare."""
        wanted = _final_number(_reference(prompt))
        if wanted is None:
            raise T2Error(f"prompt {prompt.id!r}: its answer {prompt.answer!r} holds no number")
        return _final_number(text) == wanted


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: From the surest sign of a choice to the least sure.
_CHOSEN = (
    re.compile(r"(?i:answer)[\s:*]*(?i:is)?[\s:*]*\(?([A-Z])\b(?!')"),
    re.compile(r"\\boxed\{\s*(?:\\text\{)?\(?([A-Z])\b"),
    re.compile(r"^\s*\(?([A-Z])(?:[).:]|\s*$)", re.MULTILINE),
    re.compile(r"\(([A-Z])\)"),
)


def _named_choice(text: str, choices: Sequence[str]) -> int | None:
    words = _words(text)
    same = [i for i, choice in enumerate(choices) if _words(choice) == words]
    if same:
        return same[0]
    for pattern in _CHOSEN:
        found = pattern.findall(text)
        if found and _LETTERS.index(found[-1]) < len(choices):
            return _LETTERS.index(found[-1])
    return None


@dataclass(frozen=True)
class Choice:
    """The text chooses the right one of the prompt's choices, by its letter (A is the first) or in its words.

    The prompt's answer is one of its choices, or the letter of one.
    """

    def __call__(self, prompt: Prompt, text: str) -> bool:
        """Compare."""
        return _named_choice(text, prompt.choices or ()) == self.right(prompt)

    def right(self, prompt: Prompt) -> int:
        """Give the place of the right choice; raises T2Error where the prompt doesn't say."""
        answer = _reference(prompt).strip()
        choices = prompt.choices or ()
        if answer in choices:
            return choices.index(answer)
        place = _LETTERS.find(answer) if len(answer) == 1 else -1
        if not 0 <= place < len(choices):
            raise T2Error(f"prompt {prompt.id!r}: its answer {answer!r} is none of its choices, nor the letter of one")
        return place


@dataclass(frozen=True)
class Regex:
    """The pattern occurs in the text; a group named ``answer`` must also equal the prompt's answer.

    Where it occurs more than once, the last counts.
    """

    pattern: str
    timeout: float = TIMEOUT
    _compiled: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            # Python's own re cannot be interrupted, and a pattern can take for ever on what a model writes.
            import regex  # type: ignore[import-untyped, unused-ignore]
        except ImportError:
            raise MissingExtraError("regex verifiers need regex: pip install 't2fast[sample]'") from None
        try:
            object.__setattr__(self, "_compiled", regex.compile(self.pattern))
        except regex.error as error:
            raise T2Error(f"verifier regex:{self.pattern}: {error}") from None

    @property
    def compares(self) -> bool:
        """Whether the pattern names a group that is compared with the answer."""
        return "answer" in self._compiled.groupindex

    def __call__(self, prompt: Prompt, text: str) -> bool:
        """Search."""
        last = None
        # Other threads go on meanwhile.
        for last in self._compiled.finditer(text, timeout=self.timeout, concurrent=True):  # noqa: B007
            if not self.compares:
                break
        if last is None:
            return False
        return not self.compares or (last["answer"] or "").strip() == _reference(prompt).strip()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.pattern, self.timeout)


# -------------------------------------------------------------------------------------------------- asking someone else


@dataclass(frozen=True)
class Command:
    """A program judges: it reads ``{"prompt": {...}, "text": "..."}`` and prints true, false or a number.

    It is started once per answer, without a shell, and killed with all that it started when its time is over. An exit
    code other than 0 leaves the answer without a verdict.
    """

    arguments: tuple[str, ...]
    timeout: float = TIMEOUT

    def __call__(self, prompt: Prompt, text: str) -> bool | float:
        """Ask it."""
        with tempfile.TemporaryFile() as question:
            # A file rather than a pipe: a program that never reads cannot block us.
            question.write(json.dumps({"prompt": prompt.to_dict(), "text": text}).encode())
            question.seek(0)
            try:
                process = subprocess.Popen(
                    self.arguments,
                    stdin=question,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            except OSError as error:
                raise T2Error(f"{self.arguments[0]}: cannot be started: {error.strerror}") from None
        try:
            out, err = _collect(process, self.arguments[0], self.timeout)
        finally:
            _end(process)
        if process.returncode:
            last = (err.decode(errors="replace").strip().splitlines() or ["nothing on stderr"])[-1]
            raise T2Error(f"{self.arguments[0]} ended with exit code {process.returncode}: {last[:300]}")
        try:
            answer = json.loads(out)
        except ValueError:
            answer = None
        if not isinstance(answer, bool | int | float):
            raise T2Error(f"{self.arguments[0]} printed {out[:100]!r}: must be true, false or a number")
        return answer if isinstance(answer, bool) else float(answer)


def _collect(process: subprocess.Popen[bytes], program: str, timeout: float) -> tuple[bytes, bytes]:
    """Read both outputs until they end, at most so much for so long, and wait for the exit code."""
    end = time.monotonic() + timeout
    read: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as waiting:
        for stream in read:
            waiting.register(stream, selectors.EVENT_READ)
        while waiting.get_map():
            ready = waiting.select(max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"{program} gave no verdict within {timeout:g} s")
            for key, _ in ready:
                block = os.read(key.fd, 1 << 16)
                if not block:
                    waiting.unregister(key.fileobj)
                read[key.fileobj] += block
                if len(read[key.fileobj]) > _MOST_OUTPUT:
                    raise T2Error(f"{program} printed more than {_MOST_OUTPUT} bytes")
    try:
        process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{program} gave no verdict within {timeout:g} s") from None
    return bytes(read[process.stdout]), bytes(read[process.stderr])


def _end(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    if process.returncode is None:
        # The session that it leads goes with it: whatever it started to run the answer in.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Timed:
    """A callable of one's own, under a time limit.

    Python cannot end a thread: a call that hangs is left alone, and after 32 of them the verifier is not asked again.
    """

    def __init__(self, function: Callable[[Prompt, str], bool | float], timeout: float = TIMEOUT) -> None:
        self.function = function
        self.timeout = timeout
        self._hanging: list[threading.Thread] = []

    def __call__(self, prompt: Prompt, text: str) -> bool | float:
        """Ask it."""
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if len(self._hanging) >= _MOST_HANGING:
            raise TimeoutError(f"not asked: {len(self._hanging)} calls of the verifier hang")
        answer: list[Any] = []
        failure: list[BaseException] = []

        def call() -> None:
            try:
                answer.append(self.function(prompt, text))
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=call, daemon=True, name="t2fast verifier")
        thread.start()
        thread.join(self.timeout)
        if failure:
            # SystemExit too: a verifier does not end the run.
            raise RuntimeError(f"{type(failure[0]).__name__}: {failure[0]}") from failure[0]
        if not answer:
            self._hanging.append(thread)
            raise TimeoutError(f"the verifier gave no verdict within {self.timeout:g} s")
        return answer[0]  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.function, self.timeout)


# -------------------------------------------------------------------------------------------------------------- by name

_PLAIN: dict[str, Callable[[], Verifier]] = {
    "exact": Exact,
    "normalised": Normalised,
    "numeric": Numeric,
    "choice": Choice,
}
_KNOWN = "exact, normalised, numeric, choice, regex:PATTERN, command:PROGRAM ARGUMENTS, module:function"


def load_verifier(verifier: str | Verifier, *, timeout: float = TIMEOUT) -> Verifier:
    """Make a verifier from its name, or from a callable.

    Parameters
    ----------
    verifier
        ``"exact"``, ``"normalised"``, ``"numeric"``, ``"choice"``, ``"regex:PATTERN"``,
        ``"command:PROGRAM ARGUMENTS"``, ``"package.module:function"``, ``"file.py:function"``, or a callable.
    timeout
        Seconds for one answer, above 0.

    Raises
    ------
    T2Error
        When there is no such verifier.
    """
    if not (math.isfinite(timeout) and timeout > 0):
        raise T2Error(f"timeout = {timeout:g}: must be a number of seconds above 0")
    if isinstance(verifier, Exact | Normalised | Numeric | Choice | Regex | Command | Timed):
        return verifier
    if not isinstance(verifier, str):
        if not callable(verifier):
            raise T2Error(f"verifier = {verifier!r}: must be a name or a callable")
        return Timed(verifier, timeout)
    if verifier in _PLAIN:
        return _PLAIN[verifier]()
    kind, colon, rest = verifier.partition(":")
    if kind == "regex" and colon:
        return Regex(rest, timeout)
    if kind == "command" and colon:
        try:
            arguments = tuple(shlex.split(rest))
        except ValueError as error:
            raise T2Error(f"verifier {verifier!r}: {error}") from None
        if not arguments:
            raise T2Error(f"verifier {verifier!r}: names no program")
        return Command(arguments, timeout)
    place, colon, name = verifier.rpartition(":")
    if not (place and colon and name):
        raise T2Error(f"verifier {verifier!r}: there are {_KNOWN}")
    return Timed(_import(verifier, place, name), timeout)


def _import(verifier: str, place: str, name: str) -> Callable[[Prompt, str], bool | float]:
    try:
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(place).stem, place)
            if spec is None or spec.loader is None:
                raise ImportError(f"{place} is no Python file")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
        function = getattr(module, name)
    except (ImportError, OSError, AttributeError, SyntaxError) as error:
        raise T2Error(f"verifier {verifier!r}: {error}; there are {_KNOWN}") from None
    if not callable(function):
        raise T2Error(f"verifier {verifier!r}: {name} is not callable")
    return function  # type: ignore[no-any-return]


def suit(verifier: Verifier, prompts: Sequence[Prompt]) -> None:
    """Make sure that every prompt has what a verifier compares with, before anything is computed.

    Raises
    ------
    T2Error
        Naming the first prompt that lacks it.
    """
    for prompt in prompts:
        if isinstance(verifier, Choice):
            verifier.right(prompt)
        elif isinstance(verifier, Numeric):
            verifier(prompt, "")
        elif isinstance(verifier, Exact | Normalised) or (isinstance(verifier, Regex) and verifier.compares):
            _reference(prompt)


def usual(prompts: Sequence[Prompt]) -> str | None:
    """Name the verifier that fits the prompts' answers: choice, numeric or normalised; None where none has an answer.

    Raises
    ------
    T2Error
        When some prompts have an answer and others not.
    """
    without = [prompt for prompt in prompts if prompt.answer is None]
    if len(without) == len(prompts):
        return None
    if without:
        raise T2Error(f"prompt {without[0].id!r} has no answer and others do: name a verifier, or none")
    if all(prompt.choices for prompt in prompts):
        return "choice"
    answers = [prompt.answer or "" for prompt in prompts]
    numbers = all("####" in text or _NUMBER.fullmatch(text.strip()) for text in answers)
    return "numeric" if numbers and all(_final_number(text) is not None for text in answers) else "normalised"
