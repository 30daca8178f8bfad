"""Majority votes of several models, from the answers in their logs: a rule for choosing among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2fast.choosing.models import model_of
from t2fast.data import Counts, read_trials
from t2fast.errors import DataError
from t2fast.passk import maj_of_tallies

__all__ = ["majority_tables"]

#: Most samples of a vote: what is exact takes the fourth power.
_MOST = 64


def majority_tables(
    files: Sequence[str | Path],
    counts: Counts,
    *,
    max_k: int | None = None,
    extract: Callable[[str], str | None] | None = None,
    **reading: Any,
) -> dict[str, NDArray[np.float64]]:
    r"""For each model and problem the chance that a vote among 1, 2, ... samples is right.

    Parameters
    ----------
    files
        What :func:`t2fast.data.read_trials` reads: verdicts, and answers or texts. All correct samples vote together;
        wrong ones with those of the same answer.
    counts
        What :func:`read_models` makes of the same files: it decides on names and the order of problems.
    max_k
        Samples per vote at most; by default 64, and never more than the fewest of a problem.
    extract
        Finds the answer in a text, as :func:`t2fast.sampling.load_extractor` makes it; by default answers stand in a
        column of their own.
    **reading
        What :func:`read_models` was given to read the files.

    Raises
    ------
    DataError
        As :func:`t2fast.data.read_trials`, and for a file that lacks a problem.

    Examples
    --------
    >>> from pathlib import Path
    >>> from t2fast.choosing import read_models
    >>> lines = [("a", "4", True), ("a", "4", True), ("a", "5", False), ("b", "7", False), ("b", "9", True)]
    >>> lines += [("b", "7", False)]
    >>> text = "".join(f'{{"problem_id": "{p}", "answer": "{a}", "correct": {str(c).lower()}}}\n' for p, a, c in lines)
    >>> _ = Path("small.jsonl").write_text(text)
    >>> majority_tables(["small.jsonl"], read_models(["small.jsonl"]))["small"].round(3)
    array([[0.667, 0.667, 1.   ],
           [0.333, 0.333, 0.   ]])
    """
    order = sorted(set(zip(counts.benchmark, counts.problem_id, strict=True)))
    tables: dict[str, NDArray[np.float64]] = {}
    for file in files:
        trials = read_trials([file], ["answers"], extract=extract, **reading)
        held = trials.counts
        places: dict[str, dict[tuple[str, str], int]] = {}
        for row, (name, *key) in enumerate(zip(held.model, held.benchmark, held.problem_id, strict=True)):
            places.setdefault(model_of(name, file), {})[key[0], key[1]] = row
        for model, known in places.items():
            lacking = [problem for problem in order if problem not in known]
            if lacking:
                raise DataError(f"{file}: has no answer to problem {lacking[0][1]!r}")
            rows = np.array([known[problem] for problem in order], np.int64)
            most = min(int(held.n_samples[rows].min()), _MOST if max_k is None else max_k)
            tables[model] = maj_of_tallies(trials.tallies(rows), np.arange(1, most + 1)).value
    return tables
