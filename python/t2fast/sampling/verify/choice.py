"""Which of its choices a text names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from t2fast.errors import T2Error
from t2fast.sampling.prompts import Prompt
from t2fast.sampling.verify.text import words
from t2fast.sampling.verify.verdict import reference

__all__ = ["Choice"]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: From the surest sign of a choice to the least sure.
_CHOSEN = (
    re.compile(r"(?i:answer)[\s:*]*(?i:is)?[\s:*]*\(?([A-Z])\b(?!')"),
    re.compile(r"\\boxed\{\s*(?:\\text\{)?\(?([A-Z])\b"),
    re.compile(r"^\s*\(?([A-Z])(?:[).:]|\s*$)", re.MULTILINE),
    re.compile(r"\(([A-Z])\)"),
)


def _named_choice(text: str, choices: Sequence[str]) -> int | None:
    said = words(text)
    same = [i for i, choice in enumerate(choices) if words(choice) == said]
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
        answer = reference(prompt).strip()
        # Choices are often written as models continue with them: after a blank.
        choices = [choice.strip() for choice in prompt.choices or ()]
        if answer in choices:
            return choices.index(answer)
        place = _LETTERS.find(answer) if len(answer) == 1 else -1
        if not 0 <= place < len(choices):
            raise T2Error(f"prompt {prompt.id!r}: its answer {answer!r} is none of its choices, nor the letter of one")
        return place
