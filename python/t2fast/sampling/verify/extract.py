"""What a text answers, in one form for all spellings: the verifiers' own way to an answer, for votes among samples."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

from t2fast.errors import DataError, T2Error
from t2fast.sampling.manifest import manifest_path
from t2fast.sampling.verify.answers import final_answer
from t2fast.sampling.verify.choice import named_choice
from t2fast.sampling.verify.maths import bare, read_value
from t2fast.sampling.verify.numeric import final_number, read_number
from t2fast.sampling.verify.pattern import Regex
from t2fast.sampling.verify.text import words
from t2fast.text import near

__all__ = ["EXTRACTORS", "load_extractor", "usual_extractor"]

Extractor = Callable[[str], str | None]
#: Letters that name choices, where nothing says how many there are.
_LETTERS = "ABCDEFGH"


def load_extractor(name: str) -> Extractor:
    r"""Make a function from a text to its answer, None where it has none, from the name of a verifier.

    Two texts that a verifier takes for the same answer give the same result, as far as that can be told without the
    reference: ``math`` gives numbers by their value and other formulas by their spelling without white space, so that
    ``x+1`` and ``1+x`` are two answers.

    Parameters
    ----------
    name
        ``"exact"``, ``"normalised"``, ``"numeric"``, ``"math"``, ``"choice"`` (by letter) or ``"regex:PATTERN"`` (the
        first group, or all that matches, of the last match).

    Raises
    ------
    T2Error
        When there is no such extractor.

    Examples
    --------
    >>> extract = load_extractor("numeric")
    >>> extract("8 x 9 = 72, so the answer is $72."), extract("72.0"), extract("no idea")
    ('72', '72', None)
    >>> load_extractor("math")(r"Thus \boxed{\frac{1}{2}}."), load_extractor("math")("It is 0.5")
    ('1/2', '1/2')
    """
    if not isinstance(name, str):
        raise T2Error(f"extract = {name!r}: must be the name of an extractor: {', '.join(EXTRACTORS)}")
    if name in _PLAIN:
        return _PLAIN[name]
    if name.startswith("regex:"):
        return Regex(name.removeprefix("regex:")).last
    raise T2Error(f"extract = {name!r}: {near(name, EXTRACTORS)}")


def _exact(text: str) -> str | None:
    return text.strip() or None


def _normalised(text: str) -> str | None:
    return " ".join(words(text)) or None


def _numeric(text: str) -> str | None:
    found = final_number(text)
    return None if found is None else _written(found)


def _written(number: Fraction) -> str:
    return str(number)


def _choice(text: str) -> str | None:
    place = named_choice(text, _LETTERS)
    return None if place is None else _LETTERS[place]


def _math(text: str) -> str | None:
    found = final_answer(text)
    if not found:
        return None
    said = re.split(r"\b(?:is|are|was|be|equals)\b", found)[-1]
    number = read_number(found) or read_number(read_value(found)) or read_number(said)
    return _written(number[0]) if number is not None else bare(found)


_PLAIN: dict[str, Extractor] = {
    "exact": _exact,
    "normalised": _normalised,
    "numeric": _numeric,
    "math": _math,
    "choice": _choice,
}
EXTRACTORS: Sequence[str] = (*_PLAIN, "regex:PATTERN")


def usual_extractor(paths: Sequence[str | Path]) -> str | None:
    """Name the extractor of the verifier that judged some files of samples, as their manifests say it.

    Returns
    -------
    None where a file has no manifest, or was judged by another verifier than the others, or by none that extracts.

    Raises
    ------
    DataError
        For a manifest that is none.

    Examples
    --------
    >>> usual_extractor(["log.jsonl"]) is None
    True
    """
    found = set()
    for path in paths:
        place = manifest_path(path)
        try:
            name = json.loads(place.read_bytes())["verifier"]
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{place}: not a manifest of t2fast sample: {error!r}") from None
        found.add(name)
    name = found.pop() if len(found) == 1 else None
    known = isinstance(name, str) and (name in _PLAIN or name.startswith("regex:"))
    return name if known else None
