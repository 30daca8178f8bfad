"""Comparing the final numbers of texts."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from t2fast.errors import T2Error
from t2fast.sampling.prompts import Prompt
from t2fast.sampling.verify.verdict import reference

__all__ = ["Numeric", "final_number", "is_number"]

_NUMBER = re.compile(
    r"(?:(?<![\w.)])-\$?|\$)?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|(?<!\w)-?\.\d+"
)


def is_number(text: str) -> bool:
    """Whether a text is one number and nothing else."""
    return _NUMBER.fullmatch(text.strip()) is not None


def final_number(text: str) -> Decimal | None:
    """The number that a text ends with, or the first after ``####``; None where there is none."""
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
        wanted = final_number(reference(prompt))
        if wanted is None:
            raise T2Error(f"prompt {prompt.id!r}: its answer {prompt.answer!r} holds no number")
        return final_number(text) == wanted
