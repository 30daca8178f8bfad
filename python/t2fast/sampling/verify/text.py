"""Comparing texts: letter by letter, or without case, punctuation and articles."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from t2fast.sampling.prompts import Prompt
from t2fast.sampling.verify.verdict import reference

__all__ = ["Exact", "Normalised", "words"]


@dataclass(frozen=True)
class Exact:
    """The text is the answer, but for white space around it."""

    def __call__(self, prompt: Prompt, text: str) -> bool:
        """Compare."""
        return text.strip() == reference(prompt).strip()


_WORDS = re.compile(r"(?:(?<!\w)[-+])?\d+(?:[.,]\d+)*|\w+")


def words(text: str) -> list[str]:
    """The words and numbers of a text, without case, punctuation and articles."""
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
        return words(text) == words(reference(prompt))
