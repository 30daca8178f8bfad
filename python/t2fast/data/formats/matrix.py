"""Matrices of 0 and 1: a row per problem, a column per trial."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from t2fast.data.averages import aggregate
from t2fast.data.roles import find
from t2fast.data.tally import BadLineError, Tally
from t2fast.data.verdicts import WORDS

__all__ = ["count_row", "is_bare", "names_problems", "titles_trials"]


def is_bare(cells: Sequence[str]) -> bool:
    """Whether a first row holds verdicts instead of names."""
    return (
        len(cells) > 0 and all(cell.strip().lower() in WORDS for cell in cells) and any(cell.strip() for cell in cells)
    )


def titles_trials(names: Sequence[str]) -> bool:
    """Whether names number the trials of a matrix: ``s0, s1, s2``."""
    found = [re.fullmatch(r"(\D{0,20})\d+", name.strip()) for name in names]
    prefixes = {one.group(1) for one in found if one}
    return bool(found) and all(found) and len(prefixes) == 1 and not any(map(aggregate, names))


def names_problems(names: Sequence[str]) -> bool | None:
    """Whether a header's first column names the problems of a matrix; None for a header of something else.

    An empty name is what pandas writes over a table's index.
    """
    first = names[0].strip().lower()
    if first == "" or re.fullmatch(r"unnamed: \d+|index|row|problem_?\w*", first) or find(names[:1], "problem"):
        return True if titles_trials(names[1:]) else None
    return False if titles_trials(names) else None


def count_row(trials: Sequence[Any], problem: object, tally: Tally) -> None:
    """Count the trials of one problem."""
    if not len(trials):
        raise BadLineError("a row without trials")
    tally.formats["matrix"] = None
    key = tally.key(None, None, problem)
    for value in trials:
        if isinstance(value, (list, dict)):
            raise BadLineError("a matrix holds verdicts, not lists or objects")
        tally.trial(key, value)
