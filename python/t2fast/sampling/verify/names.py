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
from t2fast.sampling.verify.maths import Math, looks_like_maths
from t2fast.sampling.verify.numeric import Numeric, final_number, is_number
from t2fast.sampling.verify.pattern import Regex
from t2fast.sampling.verify.reasoning import AfterReasoning
from t2fast.sampling.verify.text import Exact, Normalised
from t2fast.sampling.verify.verdict import TIMEOUT, Verifier, reference

__all__ = ["load_verifier", "suit", "usual"]

_PLAIN: dict[str, Callable[[], Verifier]] = {
    "exact": Exact,
    "normalised": Normalised,
    "numeric": Numeric,
    "choice": Choice,
}
_KNOWN = "exact, normalised, numeric, math, choice, regex:PATTERN, command:PROGRAM ARGUMENTS, module:function"


def load_verifier(verifier: str | Verifier, *, timeout: float = TIMEOUT, reasoning_end: str | None = None) -> Verifier:
    r"""Make a verifier from its name, or from a callable.

    Parameters
    ----------
    verifier
        ``"exact"``, ``"normalised"``, ``"numeric"``, ``"math"``, ``"choice"``, ``"regex:PATTERN"``,
        ``"command:PROGRAM ARGUMENTS"``, ``"package.module:function"``, ``"file.py:function"``, or a callable.
    timeout
        Seconds for one answer, above 0.
    reasoning_end
        What ends the reasoning part of a text, such as ``"</think>"``: only what follows it is judged.

    Raises
    ------
    T2Error
        When there is no such verifier.
    MissingExtraError
        When it needs a library that is not installed.

    Examples
    --------
    >>> from t2fast.sampling import Prompt
    >>> verifier = load_verifier("numeric", reasoning_end="</think>")
    >>> verifier(Prompt("q", "8 x 9?", answer="72"), "<think>8 x 9 is 71 + 1</think>It is 72.")
    True
    """
    if not (math.isfinite(timeout) and timeout > 0):
        raise T2Error(f"timeout = {timeout:g}: must be a number of seconds above 0")
    found = _load(verifier, timeout)
    if reasoning_end is None:
        return found
    if not isinstance(reasoning_end, str) or not reasoning_end:
        raise T2Error(f"reasoning_end = {reasoning_end!r}: must be a text such as '</think>'")
    return AfterReasoning(found, reasoning_end)


def _load(verifier: str | Verifier, timeout: float) -> Verifier:
    if isinstance(verifier, Exact | Normalised | Numeric | Math | Choice | Regex | Command | Timed | AfterReasoning):
        return verifier
    if not isinstance(verifier, str):
        if not callable(verifier):
            raise T2Error(f"verifier = {verifier!r}: must be a name or a callable")
        return Timed(verifier, timeout)
    if verifier == "math":
        return Math(timeout)
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
                raise ImportError(f"{place} is not a Python file")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
        function = getattr(module, name)
    except (Exception, SystemExit) as error:  # whatever the module raises while it is imported
        reason = str(error) or type(error).__name__
        if not isinstance(error, ImportError | OSError | AttributeError | SyntaxError):
            reason = f"{type(error).__name__}: {error}"
        raise T2Error(f"verifier {verifier!r}: {reason}; there are {_KNOWN}") from None
    if not callable(function):
        raise T2Error(f"verifier {verifier!r}: {name} is not callable")
    return function  # type: ignore[no-any-return]


def suit(verifier: Verifier, prompts: Sequence[Prompt]) -> None:
    """Make sure that every prompt has what a verifier compares with, before anything is computed.

    Raises
    ------
    T2Error
        Naming the first prompt that lacks it.

    Examples
    --------
    >>> from t2fast.sampling import Prompt
    >>> suit(load_verifier("numeric"), [Prompt("q1", "1 + 1?", answer="two")])
    Traceback (most recent call last):
    ...
    t2fast.T2Error: prompt 'q1': its answer 'two' holds no number
    """
    if isinstance(verifier, AfterReasoning):
        verifier = verifier.verifier
    for prompt in prompts:
        if isinstance(verifier, Choice):
            verifier.right(prompt)
        elif isinstance(verifier, Numeric):
            verifier(prompt, "")
        elif isinstance(verifier, Exact | Normalised | Math) or (isinstance(verifier, Regex) and verifier.compares):
            reference(prompt)


def usual(prompts: Sequence[Prompt]) -> str | None:
    r"""Name the verifier that fits the prompts' answers; ``None`` where none has an answer.

    ``choice`` where all prompts have choices, ``numeric`` where all answers are numbers, ``math`` where any is LaTeX or
    none is words, else ``normalised``.

    Raises
    ------
    T2Error
        When some prompts have an answer and others not.

    Examples
    --------
    >>> from t2fast.sampling import Prompt
    >>> usual([Prompt("q1", "?", answer="7"), Prompt("q2", "?", answer=r"\frac{1}{2}")])
    'math'
    """
    without = [prompt for prompt in prompts if prompt.answer is None]
    if len(without) == len(prompts):
        return None
    if without:
        raise T2Error(f"prompt {without[0].id!r} has no answer and others do: name a verifier, or none")
    if all(prompt.choices for prompt in prompts):
        return "choice"
    answers = [prompt.answer or "" for prompt in prompts]
    if all(("####" in text and final_number(text) is not None) or _is_plain_number(text) for text in answers):
        return "numeric"
    if any("\\" in text and looks_like_maths(text) for text in answers):
        return "math"
    return "math" if all(is_number(text) or looks_like_maths(text) for text in answers) else "normalised"


def _is_plain_number(text: str) -> bool:
    return "\\" not in text and is_number(text)
