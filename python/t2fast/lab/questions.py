"""What every made-up world of questions has in common: words, problems held out, and text that does not ask them.

Texts are rows of token numbers, padded with :data:`PAD`: a corpus of millions of sentences is made by a few array
operations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "END",
    "PAD",
    "Problem",
    "Tasks",
    "Tokens",
    "joined",
    "left",
    "made_up_words",
    "mixed",
    "widened",
    "zipf",
]

Tokens = NDArray[np.int32]

#: Fills rows of token numbers up to equal length; no token.
PAD = -1
#: Ends every text and starts every prompt.
END = "<end>"
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


@dataclass(frozen=True)
class Problem:
    """A problem held out from the training text: prompt and answer as words, its family and how hard it is made."""

    id: str
    family: str
    prompt: str
    answer: str
    grade: int = 0


class Tasks(ABC):
    """A world to ask about. Each family is a method ``_FAMILY`` that makes questions and their answers."""

    #: Families of questions.
    families: ClassVar[tuple[str, ...]]

    seed: int
    #: Every word, the end mark first; the number of those that stand for themselves, and of the first of each kind.
    vocabulary: tuple[str, ...]
    _number: dict[str, int]
    _start: dict[str, int]
    #: How often each of a kind is spoken of.
    _often: dict[str, NDArray[np.float64]]
    #: By family the prompts, answers and grades of what is held out.
    _secret: dict[str, tuple[Tokens, Tokens, NDArray[np.int64]]]

    def problems(self) -> list[Problem]:
        """The held-out problems, family by family."""
        return [
            Problem(f"{family}/{i}", family, self.words(prompt), self.words(answer), int(grade))
            for family in self.families
            for i, (prompt, answer, grade) in enumerate(zip(*self._secret[family], strict=True))
        ]

    def prompts(self) -> list[Tokens]:
        """The prompts of the held-out problems as token numbers, in the order of :meth:`problems`."""
        return [row[row != PAD] for family in self.families for row in self._secret[family][0]]

    def words(self, tokens: Sequence[int] | Tokens) -> str:
        """Token numbers as words, without padding and end marks."""
        return " ".join(self.vocabulary[i] for i in tokens if i not in (PAD, 0))

    @abstractmethod
    def text(self, random: np.random.Generator, n_texts: int) -> Tokens:
        """Texts for training, one per row, in random order; none asks a held-out question.

        Rows hold the prompt, its answer and the end mark.
        """

    def lessons(self, random: np.random.Generator, count: int, family: str | None = None) -> tuple[Tokens, Tokens]:
        """Questions and their answers, of all families in equal parts or of one, none of those held out."""
        families = self.families if family is None else (family,)
        # Twice as many as needed, since some are held out.
        parts = [self._ask(one, random, -(-2 * count // len(families))) for one in families]
        order = random.permutation(sum(len(prompt) for prompt, _ in parts))[:count]
        prompts, answers = (
            np.concatenate([widened(part[i], max(one[i].shape[1] for one in parts)) for part in parts])[order]
            for i in range(2)
        )
        return prompts, answers

    @abstractmethod
    def _make(self, family: str, random: np.random.Generator, count: int) -> tuple[Tokens, Tokens]:
        """Questions as the training text asks them, with their answers."""

    def _ask(self, family: str, random: np.random.Generator, count: int) -> tuple[Tokens, Tokens]:
        """Questions with their answers, those held out left out."""
        prompt, answer = self._make(family, random, count)
        known = {row.tobytes() for row in widened(self._secret[family][0], prompt.shape[1])}
        allowed = np.array([row.tobytes() not in known for row in prompt], dtype=bool)
        return prompt[allowed], answer[allowed]


def mixed(random: np.random.Generator, parts: Sequence[Tokens], n_texts: int) -> Tokens:
    """Rows of several kinds in random order, with room for an end mark."""
    width = max(rows.shape[1] for rows in parts) + 1
    rows = np.concatenate([widened(part, width) for part in parts])
    return rows[random.permutation(len(rows))[:n_texts]]


def made_up_words(random: np.random.Generator) -> Any:
    """Words of two or three syllables, each once, in random order."""
    syllables = [c + v for c in _CONSONANTS for v in _VOWELS]
    pairs = [a + b for a in syllables for b in syllables]
    for i in random.permutation(len(pairs)):
        yield pairs[i]


def zipf(random: np.random.Generator, count: int, power: float) -> NDArray[np.float64]:
    """Frequencies that fall as rank to a power, in random order."""
    weight = np.arange(1, count + 1) ** -power
    return np.asarray(random.permutation(weight / weight.sum()))


def joined(count: int, *parts: int | NDArray[Any]) -> Tokens:
    """Words side by side: single numbers repeat in every row."""
    columns = [np.broadcast_to(np.asarray(part).reshape(-1, 1) if np.ndim(part) < 2 else part,
                               (count, np.shape(part)[1] if np.ndim(part) == 2 else 1)) for part in parts]  # fmt: skip
    return np.concatenate(columns, axis=1).astype(np.int32)


def left(rows: Tokens) -> Tokens:
    """Move padding to the end of every row."""
    return np.take_along_axis(rows, np.argsort(rows == PAD, axis=1, kind="stable"), axis=1)


def widened(rows: Tokens, width: int) -> Tokens:
    """Rows of token numbers, padded to a width."""
    wide = np.full((len(rows), width), PAD, dtype=np.int32)
    wide[:, : rows.shape[1]] = rows
    return wide
