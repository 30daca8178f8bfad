r"""Which of its choices a text names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from t2fast.errors import T2Error
from t2fast.sampling.prompts import Prompt
from t2fast.sampling.verify.answers import after_reasoning, before_run_on, end_of, marked, without_emphasis
from t2fast.sampling.verify.text import words
from t2fast.sampling.verify.verdict import reference

__all__ = ["Choice", "named_choice"]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_OPEN = r"(?:\$|\\\(|\\text(?:bf)?\{|\\mathrm\{|\\mathbf\{|[\"'\u2018\u201c])*\s*"
#: A letter by itself, perhaps in brackets, LaTeX or quotes; in brackets it may be small.
_LETTER = rf"{_OPEN}(?:[(\[{{]\s*([A-Za-z])\s*[)\]}}]|([A-Z])(?!['\u2019]?\w))"
_BEST = r"(?:is|was)\s+(?:the\s+|also\s+)?(?:correct|right|best|true|most)\b"
_SAYS = (
    r"(?:\s+(?:is|would be|must be|should be|was)\b|\s*(?:=|:|\s[-\u2013]\s))[ \t]*:?\s*"
    r"(?:most likely|probably|clearly|therefore)?\s*(?:option|choice|letter|answer)?[\s:]*"
)
#: From the surest sign of a choice to the least sure; the last match of the surest kind counts.
_CHOSEN = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        rf"(?i:\b(?:correct|right|best|final)?\s*(?:answer|option|choice))\b[^.\n:=]{{0,60}}?(?i:{_SAYS}){_LETTER}",
        rf"(?i:\banswer)[\s:]+(?i:is\s+)?{_LETTER}",
        rf"(?i:\b(?:choose|select|pick|go with)\s+(?:option|choice|answer)?)\s*{_LETTER}",
        rf"(?<![\w'\u2019]){_LETTER}[\s)\]]+(?i:{_BEST})",
        rf"(?<![\w'\u2019]){_LETTER}[).:](?:(?!\b[A-Z][).:])[^.\n]){{1,80}}?\s(?i:{_BEST})",
        rf"(?i:\bit(?:['\u2019]s| is| must be)\s+(?:option|choice)?)\s*{_LETTER}(?=[.)\s]*$)",
        r"^[ \t>]*(?:[(\[]\s*([A-Za-z])\s*[)\]]|([A-Z])(?=[).:]|\s*$))",
        rf"(?i:\b(?:option|choice))\s+{_LETTER}(?=[.)\s]*$)",
        r"[(\[]\s*([A-Z])()\s*[)\]]",
    )
)


def _letter(found: re.Match[str], n_choices: int) -> int | None:
    letter = next((part for part in found.groups() if part), "").upper()
    place = _LETTERS.index(letter)
    return place if place < n_choices else None


def _alone(text: str, choices: Sequence[str]) -> int | None:
    """The choice that a text is, in its words or by its letter, and nothing else."""
    said = words(text)
    same = [i for i, choice in enumerate(choices) if words(choice) == said]
    if same:
        return same[0]
    label = re.match(
        r"\s*(?:option|choice|answer)?\s*[(\[{]?([A-Za-z])[)\]}.:,]*(?:\s+|$)", _undressed(text), re.IGNORECASE
    )
    if label and (place := _LETTERS.find(label[1].upper())) < len(choices):
        rest = _undressed(text)[label.end() :]
        # "B" or "B. green"; "a green one" is no letter.
        if not rest.strip() or words(rest) == words(choices[place]):
            return place
    return None


def _undressed(text: str) -> str:
    text = re.sub(r"\\(?:text(?:bf|it)?|mathrm|mathbf|mathbb|boxed)\s*\{([^{}]*)\}", r"\1", without_emphasis(text))
    return text.strip().strip("$").strip()


def named_choice(text: str, choices: Sequence[str]) -> int | None:
    """The place of the choice that a text names, by its letter or in its words; None where it names none.

    Examples
    --------
    >>> named_choice("The answer is **(B)**.", ("red", "green"))
    1
    """
    text = end_of(before_run_on(after_reasoning(text)))
    place = _alone(text, choices)
    if place is None and (found := marked(text)) is not None:
        place = _alone(found, choices)
        if place is not None:
            return place
    if place is not None:
        return place
    plain = without_emphasis(text)
    for pattern in _CHOSEN:
        matches = [place for found in pattern.finditer(plain) if (place := _letter(found, len(choices))) is not None]
        if matches:
            return matches[-1]
    return _said(plain, choices)


def _said(text: str, choices: Sequence[str]) -> int | None:
    """The choice whose words are what "the answer is ..." says, where it names none by its letter."""
    for found in reversed(list(re.finditer(rf"(?i:\b(?:answer|option|choice))\b(?i:{_SAYS})([^\n]+)", text))):
        said = words(found[1])
        same = [i for i, choice in enumerate(choices) if words(choice) == said]
        if same:
            return same[0]
    return None


@dataclass(frozen=True)
class Choice:
    """The text chooses the right one of the prompt's choices, by its letter (A is the first) or in its words.

    The prompt's answer is one of its choices, or the letter of one. Letters are found in Markdown, brackets, boxes and
    tags; what follows a next question does not count.

    Examples
    --------
    >>> from t2fast.sampling import Prompt
    >>> prompt = Prompt("q", "Grass is", answer="green", choices=("red", "green"))
    >>> Choice()(prompt, "I think the answer is **(B)**."), Choice()(prompt, "Green!"), Choice()(prompt, "A. red")
    (True, True, False)
    """

    def __call__(self, prompt: Prompt, text: str) -> bool:
        """Compare."""
        return named_choice(text, prompt.choices or ()) == self.right(prompt)

    def right(self, prompt: Prompt) -> int:
        """Give the place of the right choice.

        Raises
        ------
        T2Error
            Where the prompt doesn't say.
        """
        answer = reference(prompt).strip()
        # Choices are often written as models continue with them: after a blank.
        choices = [choice.strip() for choice in prompt.choices or ()]
        if answer in choices:
            return choices.index(answer)
        place = _LETTERS.find(answer) if len(answer) == 1 else -1
        if not 0 <= place < len(choices):
            raise T2Error(
                f"prompt {prompt.id!r}: its answer {answer!r} is not one of its choices, nor the letter of one"
            )
        return place
