"""Majority votes of several models, from the answers in their logs: a rule for choosing among them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2fast import passk
from t2fast.data import Counts
from t2fast.errors import DataError

__all__ = ["majority_tables"]

#: What logs call these.
_PROBLEM = ("problem", "problem_id", "task_id", "question_id", "doc_id", "id")
_ANSWER = ("answer", "extracted_answer", "final_answer", "prediction", "pred", "parsed_answer")
_CORRECT = ("correct", "is_correct", "passed")
#: Most samples of a vote: what is exact takes the fourth power.
_MOST = 64


def majority_tables(
    files: Sequence[str | Path], counts: Counts, *, max_k: int | None = None
) -> dict[str, NDArray[np.float64]]:
    r"""For each model and problem the chance that a vote among 1, 2, ... samples is right.

    Parameters
    ----------
    files
        JSON Lines, a sample per line and a model per file: the problem, whether the sample is ``correct``, and its
        ``answer``, or the ``text`` whose final answer is taken. All correct samples vote together; wrong ones with
        those of the same answer.
    counts
        What :func:`read_models` makes of the same files: it decides on names and the order of problems.
    max_k
        Samples per vote at most; by default 64, and never more than the fewest of a problem.

    Raises
    ------
    DataError
        For a file that is no such log, or holds more than one model.

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
    models = list(dict.fromkeys(counts.model))
    if len(models) != len(files):
        raise DataError(f"majority votes need one file per model: {len(files)} files hold {len(models)} models")
    order = sorted(set(zip(counts.benchmark, counts.problem_id, strict=True)))
    names = [problem for _, problem in order]
    if len(set(names)) < len(names):
        raise DataError("majority votes need one benchmark: problems of several have the same name")
    tables = {}
    for model, file in zip(models, files, strict=True):
        votes = _votes(Path(file))
        lacking = [name for name in names if name not in votes]
        if lacking:
            raise DataError(f"{file}: has no answer to problem {lacking[0]!r}")
        answers = [votes[name] for name in names]
        most = min(min(map(len, answers)), _MOST if max_k is None else max_k)
        # Answers are (right, what it says): all that are right are one.
        votes_won = passk.maj_at_k(answers, [(True, "")] * len(answers), np.arange(1, most + 1)).value
        tables[model] = np.clip(votes_won, 0.0, 1.0)  # sums of many terms end a rounding beyond
    return tables


def _votes(file: Path) -> dict[str, list[tuple[bool, str]]]:
    votes: dict[str, list[tuple[bool, str]]] = {}
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise DataError(f"{file}: line {number} is not a JSON object; majority votes need JSON Lines")
        problem, correct = _field(record, _PROBLEM), _field(record, _CORRECT)
        if problem is None or not isinstance(correct, bool | int | float) or correct not in (0, 1):
            raise DataError(f"{file}: line {number}: needs a problem and whether the sample is correct (true or false)")
        votes.setdefault(str(problem), []).append((True, "") if correct else (False, _said(record, file, number)))
    if not votes:
        raise DataError(f"{file}: holds no samples")
    return votes


def _field(record: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((record[name] for name in names if record.get(name) is not None), None)


def _said(record: Mapping[str, Any], file: Path, number: int) -> str:
    """What a wrong sample says, in one form."""
    answer = _field(record, _ANSWER)
    if answer is None:
        text = record.get("text")
        if not isinstance(text, str):
            raise DataError(f"{file}: line {number}: has no answer to vote with; add a field answer")
        from t2fast.sampling.verify.answers import final_answer

        answer = final_answer(text)
    return " ".join(str(answer).split()).casefold().rstrip(".")
