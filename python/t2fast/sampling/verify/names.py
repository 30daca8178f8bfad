"""Verifiers by name, which one fits a set of prompts, and whether it can judge them."""

from __future__ import annotations

import importlib
import importlib.util
import math
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from t2fast.errors import T2Error
from t2fast.sampling.prompts import Prompt
from t2fast.sampling.verify.choice import Choice
from t2fast.sampling.verify.command import Command
from t2fast.sampling.verify.function import Timed
from t2fast.sampling.verify.numeric import Numeric, final_number, is_number
from t2fast.sampling.verify.pattern import Regex
from t2fast.sampling.verify.text import Exact, Normalised
from t2fast.sampling.verify.verdict import TIMEOUT, Verifier, reference

__all__ = ["load_verifier", "suit", "usual"]

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
            reference(prompt)


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
    numbers = all("####" in text or is_number(text) for text in answers)
    return "numeric" if numbers and all(final_number(text) is not None for text in answers) else "normalised"
