r"""Comparing answers as mathematics: boxed answers, LaTeX, fractions, units, by the library math-verify.

The library and SymPy beneath it can take for ever on what a model writes, so they run in processes of their own, which
are ended when their time is over.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import os
import queue
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2fast.errors import MissingExtraError, T2Error
from t2fast.sampling.prompts import Prompt
from t2fast.sampling.verify.answers import final_answer, marked, plain_latex, without_emphasis
from t2fast.sampling.verify.numeric import read_number, same_number
from t2fast.sampling.verify.text import words
from t2fast.sampling.verify.verdict import TIMEOUT, reference

__all__ = ["Math", "bare", "looks_like_maths", "read_value"]

#: Characters of an answer that is compared as a formula; a longer one is no final answer.
_LONGEST = 1000
#: Processes at most, however many threads ask.
_MOST_WORKERS = 4
#: Seconds for a process to start: it imports SymPy.
_START = 60.0

_LATEX = re.compile(r"\\[A-Za-z]+|\\[\\{}|]|\$[^$]+\$|[\^_]\{|\^")
_SIGNS = r"[-+*/=<>^()\[\]{},.|!\s\d]*"
_NAMES = r"(?:[A-Za-z]|sqrt|pi|sin|cos|tan|log|ln|exp|infty|infinity)(?![A-Za-z])"
_FORMULA = re.compile(rf"{_SIGNS}(?:{_NAMES}{_SIGNS})*")
_TEXT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt)?|mathrm|mathbf|mathit|mbox|operatorname)\s*\{((?:[^{}]|\{[^{}]*\})*)\}"
)


def looks_like_maths(answer: str) -> bool:
    r"""Whether an answer is LaTeX, or a formula rather than words.

    Examples
    --------
    >>> [looks_like_maths(one) for one in (r"\frac{1}{2}", "x+1", "(0, 1]", "Paris", "ad hoc")]
    [True, True, True, False, False]
    """
    if _LATEX.search(answer):
        return True
    plain = plain_latex(answer).strip()
    if re.fullmatch(r"[A-Za-z]?", plain):
        return False
    return bool(re.search(r"[-+*/=<>^(\[{|!,\d]", plain)) and _FORMULA.fullmatch(plain) is not None


def _formula(answer: str) -> str:
    """An answer as math-verify reads formulas: LaTeX without dressing."""
    text = plain_latex(without_emphasis(answer)).strip()
    text = re.sub(r"^(?:\$\$?|\\\(|\\\[)\s*|\s*(?:\$\$?|\\\)|\\\])$", "", text).strip()
    text = text.rstrip(" .,;:").strip() if not text.endswith(("\\.", "\\,")) else text[:-2].strip()
    text = re.sub(r"^(?:\$\$?|\\\(|\\\[)\s*|\s*(?:\$\$?|\\\)|\\\])$", "", text).strip()
    text = text.replace("**", "^")
    if "\\" not in text:
        text = re.sub(r"\bsqrt\s*\(((?:[^()]|\([^()]*\))*)\)", r"\\sqrt{\1}", text)
        text = re.sub(r"\bsqrt\s*(\d+|[a-z])\b", r"\\sqrt{\1}", text)
        text = re.sub(r"\b(pi|infty|theta|alpha|beta|sin|cos|tan|log|ln)\b", r"\\\1 ", text)
        text = re.sub(r"\b(?:infinity|inf|oo)\b", r"\\infty ", text)
        text = re.sub(r"\s*\b(?:U|union)\b\s*(?=[\[(])", r" \\cup ", text)
        text = text.replace("<=", r"\le ").replace(">=", r"\ge ").replace("*", r"\cdot ")
    else:
        text = text.replace("sqrt(", r"\sqrt(") if "\\sqrt" not in text else text
        text = re.sub(r"\\sqrt\(((?:[^()]|\([^()]*\))*)\)", r"\\sqrt{\1}", text)
    return re.sub(r"\^\(((?:[^()]|\([^()]*\))*)\)", r"^{\1}", text)


def bare(answer: str) -> str:
    """An answer without any white space, LaTeX's included."""
    text = _formula(answer)
    text = re.sub(r"\\(?:left|right|displaystyle|[,;:! ])|\{,\}|\s+|~", lambda m: "," if m[0] == "{,}" else "", text)
    return re.sub(r"\\[dt]frac", r"\\frac", text)


def _prose(answer: str) -> list[str] | None:
    r"""The words of an answer that is words, perhaps within ``\text{}``; ``None`` for one with formulas in it."""
    text = _TEXT.sub(r" \1 ", _formula(answer))
    if "\\" in text or re.search(r"[=<>^+*]", text):
        return None
    said = words(text)
    if all(word.isalpha() or word in "()[]" for word in said) and any(len(word) > 1 for word in said if word.isalpha()):
        return said
    letter = re.fullmatch(r"\s*[(\[]?\s*([A-Za-z])\s*[)\]]?\s*", text)
    return [letter[1].casefold()] if letter else None


@dataclass(frozen=True)
class Math:
    r"""The final answer of the text equals the prompt's as mathematics; needs ``t2fast[math]``.

    The final answer is the last ``\boxed{}``, what follows ``####`` or "the answer is", else the last formula, else the
    last line. Fractions, decimals, roots, sets, intervals, tuples, matrices and equations are compared by their values,
    whatever they are written like; units and ``x =`` before a value may be missing; words are compared as words.

    Parameters
    ----------
    timeout
        Seconds for one answer.

    Raises
    ------
    MissingExtraError
        Without math-verify.

    Examples
    --------
    >>> from t2fast.sampling import Prompt
    >>> half = Prompt("q", "?", answer=r"\frac{1}{2}")
    >>> Math()(half, r"So the probability is \boxed{0.5}.")  # doctest: +SKIP
    True
    """

    timeout: float = TIMEOUT

    def __post_init__(self) -> None:
        if importlib.util.find_spec("math_verify") is None:
            raise MissingExtraError("the verifier math needs math-verify: pip install 't2fast[math]'")

    def __call__(self, prompt: Prompt, text: str) -> bool:
        """Compare.

        Raises
        ------
        TimeoutError
            When its time is over.
        """
        answer = reference(prompt).strip()
        wanted = marked(answer)
        wanted = answer if wanted is None else wanted
        found = final_answer(text)
        if not found or len(found) > _LONGEST:
            return False
        if bare(found) == bare(wanted):
            return True
        numbers = read_number(wanted), read_number(found)
        if numbers[0] is not None and numbers[1] is not None:
            return same_number(numbers[0], numbers[1])
        if numbers[0] is not None and (number := read_number(read_value(found))) is not None:
            return same_number(numbers[0], number)
        prose = _prose(wanted)
        if prose is not None or _prose(found) is not None:
            # As products of letters, "dog" would equal "god".
            return prose is not None and _ending(prose, found)
        return _WORKERS.same(_formula(wanted), _formula(read_value(found)), self.timeout)


def _ending(wanted: list[str], found: str) -> bool:
    """Whether an answer is these words, or ends in them after "is"."""
    said = _prose(found)
    if said == wanted:
        return True
    tail = re.split(r"\b(?:is|are|was|be)\b", _TEXT.sub(r" \1 ", found))[-1]
    return words(tail) == wanted


def read_value(found: str) -> str:
    """The part of a sentence that can be the answer: all of a formula, the end of prose."""
    text = _TEXT.sub(r"\\text{\1}", found)
    plain = _TEXT.sub(" ", text)
    plain = re.sub(r"\\[A-Za-z]+", " ", plain)
    if not re.search(r"[A-Za-z]{3,}", plain):
        return found
    tail = re.split(r"\b(?:is|are|was|be|equals|to|get|have|obtain)\b\s*:?", text)[-1].strip()
    # "therefore 1/2"
    return re.sub(r"^(?:[A-Za-z]{3,},?\s+)+", "", tail) or found


class _Workers:
    """Processes that compare formulas, started when first needed and shared by all verifiers."""

    def __init__(self) -> None:
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._room = threading.Semaphore(_MOST_WORKERS)
        self._all: set[_Worker] = set()
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def same(self, wanted: str, found: str, timeout: float) -> bool:
        """Ask one of them."""
        with self._room:
            try:
                worker = self._idle.get_nowait()
            except queue.Empty:
                worker = _Worker()
                self._all.add(worker)
            kept = False
            try:
                said = worker.ask({"wanted": wanted, "found": found, "timeout": timeout}, timeout)
                kept = True
            finally:
                if kept:
                    self._idle.put(worker)
                else:
                    self._all.discard(worker)
                    worker.end()
        if "error" in said:
            raise T2Error(f"math-verify cannot compare {found!r} with {wanted!r}: {said['error']}")
        return bool(said["same"])

    def forget(self) -> None:
        """In a forked process: the workers are its parent's."""
        self._idle, self._all, self._room = queue.SimpleQueue(), set(), threading.Semaphore(_MOST_WORKERS)

    def close(self) -> None:
        """End them all."""
        while self._all:
            self._all.pop().end()


class _Worker:
    def __init__(self) -> None:
        script = Path(__file__).with_name("maths_worker.py")
        # -P: the script's folder has modules named as others are.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is ours to handle
        )
        self._said: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True, name="t2fast math")
        self._listener.start()
        self._ready = False

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError, OSError):
            for line in self._process.stdout:
                self._said.put(line)
        self._said.put(b"")

    def _hear(self, timeout: float) -> dict[str, Any]:
        try:
            line = self._said.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"math gave no verdict within {timeout:g} s") from None
        if not line:
            raise RuntimeError("math-verify's process ended: it took too much memory, or was killed")
        said: dict[str, Any] = json.loads(line)
        return said

    def ask(self, question: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Ask, and wait for the answer; a process that gave none must be ended."""
        if not self._ready:
            said = self._hear(_START)
            if "error" in said:
                raise MissingExtraError(f"math-verify cannot be imported: {said['error']}")
            self._ready = True
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        return self._hear(timeout)

    def end(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was written last never arrived
                if pipe is not None:
                    pipe.close()


_WORKERS = _Workers()
