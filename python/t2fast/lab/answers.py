"""All answers that the models of a laboratory gave, counted: question x answer x count, small enough to ship.

What a vote, a verifier or the tail of wrong answers needs is exact: how many samples are right, and how many gave each
wrong answer. What the wrong answers were is kept where more than a few samples gave them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2fast.data import Tallies
from t2fast.errors import DataError
from t2fast.files import replacing

__all__ = ["ANSWERS", "VOTES", "Answers", "chosen", "load_answers"]

Integers = NDArray[np.int64]
#: What a run keeps of its samples: each problem's distinct answers, and how many samples gave them.
VOTES = "votes.csv"
#: All of them, beside the table of a laboratory.
ANSWERS = "answers.npz"
#: Written into every file; a reader refuses what it does not know.
SCHEMA = "t2fast.answers/1"


@dataclass(frozen=True, eq=False)
class Answers:
    """Counted answers of several runs to the problems of a laboratory.

    Parameters
    ----------
    problem_ids
        The problems.
    runs
        Names of the runs.
    tallies
        The votes, run after run, each in the order of the problems.
    labels
        For each wrong answer of ``tallies`` its text; empty where it is not kept.
    """

    problem_ids: tuple[str, ...]
    runs: tuple[str, ...]
    tallies: Tallies
    labels: tuple[str, ...]

    @classmethod
    def of_runs(cls, folder: Path, runs: Sequence[str], problem_ids: Sequence[str]) -> Answers:
        """Gather the tallies that runs keep beside their models.

        Raises
        ------
        DataError
            When a run has none, or of other problems.
        """
        place = {name: i for i, name in enumerate(problem_ids)}
        right, wrong, starts, labels = [], [], [0], []
        for run in runs:
            path = folder / run / VOTES
            if not path.is_file():
                raise DataError(f"{path}: no such file: the run kept no answers")
            given: list[list[tuple[str, int]]] = [[] for _ in problem_ids]
            correct = np.zeros(len(problem_ids), np.int64)
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    if row["problem_id"] not in place:
                        raise DataError(f"{path}: unknown problem {row['problem_id']!r}")
                    i = place[row["problem_id"]]
                    if row["correct"] == "1":
                        correct[i] += int(row["votes"])
                    else:
                        given[i].append((row["answer"], int(row["votes"])))
            right.append(correct)
            for one in given:
                # The commonest first; between equals by their text, so that the file does not depend on chance.
                one.sort(key=lambda told: (-told[1], told[0]))
                wrong += [votes for _, votes in one]
                labels += [answer for answer, _ in one]
                starts.append(len(wrong))
        tallies = Tallies(
            np.concatenate(right) if right else np.empty(0, np.int64),
            np.asarray(wrong, np.int64),
            np.asarray(starts, np.int64),
        )
        return cls(tuple(problem_ids), tuple(runs), tallies, tuple(labels))

    def of(self, runs: Iterable[str]) -> Tallies:
        """The votes of some runs, run after run, each in the order of the problems.

        Raises
        ------
        DataError
            For a run that is not among them.
        """
        place = {name: i for i, name in enumerate(self.runs)}
        each = len(self.problem_ids)
        wanted = list(runs)
        if missing := [run for run in wanted if run not in place]:
            raise DataError(f"the answers of run {missing[0]!r} are not among those kept")
        rows = [np.arange(place[run] * each, (place[run] + 1) * each) for run in wanted]
        return chosen(self.tallies, np.concatenate(rows) if rows else np.empty(0, np.int64))

    def write(self, path: str | Path, named: int = 1) -> None:
        """Write a compressed file; texts of wrong answers that fewer than ``named`` samples gave are left out."""
        kept = [label if votes >= named else "" for label, votes in zip(self.labels, self.tallies.wrong, strict=True)]
        words = sorted({word for label in kept for word in label.split()})
        number = {word: i + 1 for i, word in enumerate(words)}
        spelled = [[number[word] for word in label.split()] for label in kept]
        lengths = [len(one) for one in spelled]
        head = {"schema": SCHEMA, "problem_ids": self.problem_ids, "runs": self.runs, "words": words}
        arrays: dict[str, NDArray[Any]] = {
            "head": np.frombuffer(json.dumps(head).encode(), np.uint8),
            "right": self.tallies.right.astype(np.uint16),
            "answers": np.diff(self.tallies.starts).astype(np.uint16),
            "votes": self.tallies.wrong.astype(np.uint16),
            "lengths": np.asarray(lengths, np.uint8),
            "spelled": np.asarray([word for one in spelled for word in one], np.uint16),
        }
        with replacing(path) as beside, beside.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    @staticmethod
    def read(path: str | Path) -> Answers:
        """Read what :meth:`write` writes.

        Raises
        ------
        DataError
            When the file is missing or no such file.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                head = json.loads(file["head"].tobytes())
                if head["schema"] != SCHEMA:
                    raise DataError(f"{path}: schema = {head['schema']!r}: this version reads {SCHEMA!r}")
                words = ["", *head["words"]]
                ends = np.cumsum(file["lengths"], dtype=np.int64)
                spelled = [words[i] for i in file["spelled"].tolist()]
                labels = tuple(
                    " ".join(spelled[end - n : end])
                    for end, n in zip(ends.tolist(), file["lengths"].tolist(), strict=True)
                )
                tallies = Tallies(
                    file["right"].astype(np.int64),
                    file["votes"].astype(np.int64),
                    np.concatenate([[0], np.cumsum(file["answers"], dtype=np.int64)]),
                )
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except (OSError, ValueError, KeyError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path}: not the answers of a laboratory: {error}") from None
        return Answers(tuple(head["problem_ids"]), tuple(head["runs"]), tallies, labels)


def load_answers(name: str) -> Answers | None:
    """The answers of a suite that comes with t2fast; None where they were not kept, as of the first study.

    Examples
    --------
    >>> answers = load_answers("small")
    >>> len(answers.runs), int(answers.of(["planned-0"]).right.sum())
    (95, 34390)
    >>> load_answers("tiny") is None
    True
    """
    shipped = resources.files("t2fast").joinpath("lab", "tables", f"{name}-{ANSWERS}")
    if not shipped.is_file():
        return None
    with resources.as_file(shipped) as path:
        return Answers.read(path)


def chosen(tallies: Tallies, rows: Integers) -> Tallies:
    """The votes of some rows, in that order."""
    lengths = np.diff(tallies.starts)[rows]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    at = np.repeat(tallies.starts[rows] - starts[:-1], lengths) + np.arange(starts[-1])
    return Tallies(tallies.right[rows], tallies.wrong[at], starts)
