"""What a verifier is, and what it said: a verdict, or why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from t2fast.errors import T2Error
from t2fast.sampling.prompts import Prompt

__all__ = ["TIMEOUT", "Verdict", "Verifier", "judge", "reference"]

#: Seconds that a verifier may take for one answer, unless told otherwise.
TIMEOUT = 30.0


class Verifier(Protocol):
    """What the sampler asks about every answer: any callable of a prompt and a text.

    Examples
    --------
    >>> def brief(prompt, text):
    ...     return len(text) < 10
    >>> brief(Prompt("q", "Be brief."), "Yes.")
    True
    """

    def __call__(self, prompt: Prompt, text: str, /) -> bool | float:
        """Tell whether the text answers the prompt, or how well."""


@dataclass(frozen=True)
class Verdict:
    """What a verifier said, or why it said nothing.

    Examples
    --------
    >>> judge(lambda prompt, text: text == prompt.answer, Prompt("q", "?", answer="7"), "7")
    Verdict(correct=True, score=None, error=None)
    """

    #: Where it answers with yes or no.
    correct: bool | None = None
    #: Where it answers with a number.
    score: float | None = None
    #: Why there is no answer.
    error: str | None = None


def judge(verifier: Verifier, prompt: Prompt, text: str) -> Verdict:
    """Ask a verifier and never raise: one that fails leaves a verdict without an answer, which says why.

    Examples
    --------
    >>> judge(lambda prompt, text: 1 / 0, Prompt("q", "?"), "7").error
    'ZeroDivisionError: division by zero'
    """
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


def reference(prompt: Prompt) -> str:
    """The answer of a prompt; raises T2Error where there is none."""
    if prompt.answer is None:
        raise T2Error(f"prompt {prompt.id!r} has no answer to compare with")
    return prompt.answer
