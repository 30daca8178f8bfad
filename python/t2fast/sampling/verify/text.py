"""Comparing texts: letter by letter, or without case, punctuation and articles."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from t2fast.sampling.prompts import Prompt
from t2fast.sampling.verify.answers import without_emphasis
from t2fast.sampling.verify.verdict import reference

__all__ = ["Exact", "Normalised", "words"]


@dataclass(frozen=True)
class Exact:
    r"""The text is the answer, but for white space around it.

    Examples
    --------
    >>> from t2fast.sampling import Prompt
    >>> Exact()(Prompt("q", "Capital of France?", answer="Paris"), " Paris\n")
    True
    """

    def __call__(self, prompt: Prompt, text: str) -> bool:
        """Compare."""
        return text.strip() == reference(prompt).strip()


_TOKEN = re.compile(r"(?:(?<![\w)\]}])[-+])?\d+(?:[.,]\d+)*|[^\W_]+|\S")
#: ASCII signs that mean something between or beside letters and digits.
_OPERATORS = frozenset("+-*/%#&@\\^<>=|~_!")
_BRACKETS = frozenset("()[]{}")
_ARTICLES = ("a", "an", "the")


def words(text: str) -> list[str]:
    """The words, numbers and operators of a text, without case, punctuation and articles.

    Examples
    --------
    >>> words("The well-known Eiffel  tower.")
    ['well', 'known', 'eiffel', 'tower']
    >>> words("x-1 > 0")
    ['x', '-', '1', '>', '0']
    """
    plain = unicodedata.normalize("NFKC", without_emphasis(text))
    plain = plain.replace("\u2212", "-").replace("\u2013", "-").casefold()
    tokens = [(found[0], found.start(), found.end()) for found in _TOKEN.finditer(plain)]
    prose = any(len(token) > 1 and token.isalpha() for token, *_ in tokens)
    kept = [token for token, start, end in tokens if _means(token, start, end, plain, prose)]
    # "A" may be the answer; as an article it has company.
    return [word for word in kept if word not in _ARTICLES] or kept or [plain.strip()]


def _means(token: str, start: int, end: int, text: str, prose: bool) -> bool:
    """Whether a token says something: a word, a number, or an operator where it is none of prose's signs."""
    if token[-1].isalnum():
        return True
    if token in _BRACKETS:
        return not prose
    left, right = _word_at(text, start, -1), _word_at(text, end, 1)
    if token == "!":
        return not prose and bool(left)
    if token in "-/_&":
        # Between words they are hyphens, slashes and the like; a dash that opens a list is none of what follows.
        if token == "-" and text[end : end + 1].isspace() and not text[:start].strip():
            return False
        return not (len(left) > 1 and left.isalpha() and (not right or (len(right) > 1 and right.isalpha()))) and not (
            prose and not left and not right
        )
    return (
        token in _OPERATORS
        or unicodedata.category(token) in ("Sm", "Sk", "So")
        or (unicodedata.category(token) == "Sc" and token != "$")
    )


def _word_at(text: str, place: int, step: int) -> str:
    """The letters and digits directly beside a place."""
    end = place
    while 0 <= (end - 1 if step < 0 else end) < len(text) and text[end - 1 if step < 0 else end].isalnum():
        end += step
    return text[end:place] if step < 0 else text[place:end]


@dataclass(frozen=True)
class Normalised:
    """The text is the answer, but for case, punctuation, articles, white space and forms of the same character.

    Operators, signs and decimal points count; brackets count where there are no words. For an answer at the end of a
    longer text, or one that may be written in several ways, use ``math``.

    Examples
    --------
    >>> from t2fast.sampling import Prompt
    >>> Normalised()(Prompt("q", "?", answer="Eiffel tower"), "The Eiffel Tower.")
    True
    >>> Normalised()(Prompt("q", "?", answer="x+1"), "x-1")
    False
    """

    def __call__(self, prompt: Prompt, text: str) -> bool:
        """Compare."""
        answer = reference(prompt)
        text = re.sub(r"\s+", " ", text)
        # So much punctuation has no answer.
        return len(text) <= 20_000 + 20 * len(answer) and words(text) == words(answer)
