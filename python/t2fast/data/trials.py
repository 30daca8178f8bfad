"""Single trials with their answers, scores and second verdicts: what votes and erring verifiers are made of."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from t2fast import arguments
from t2fast.data.counts import Array, Counts, Integers
from t2fast.data.reading import settled, tallied
from t2fast.data.tally import Details, Kept, Options
from t2fast.errors import DataError
from t2fast.files import replacing
from t2fast.results import Result

__all__ = ["Tallies", "Trials", "read_trials"]

_WANTED = ("answers", "scores", "cheap", "verdicts")


class Tallies(NamedTuple):
    """Votes of each problem: how many samples are right, and how many gave each wrong answer.

    Examples
    --------
    >>> Tallies.of([3, 0], [[2, 1], [4]]).votes(0).tolist()
    [3, 2, 1]
    """

    #: Samples that are right, shape (problems,); they are one answer, however it is spelled.
    right: Integers
    #: Samples of each distinct wrong answer, problem after problem.
    wrong: Integers
    #: Where each problem begins in ``wrong``, shape (problems + 1,).
    starts: Integers

    @classmethod
    def of(cls, right: npt.ArrayLike, wrong: Sequence[Sequence[int]]) -> Tallies:
        """Tallies from the right samples of each problem and the counts of its wrong answers.

        Raises
        ------
        T2Error
            When lengths differ, a count is below 0, or a problem has no sample.
        """
        ns = arguments.integers("right", right, ndim=1)
        if len(wrong) != len(ns):
            raise DataError(f"right and wrong have lengths {len(ns)} and {len(wrong)}: they must be equal")
        parts = [arguments.integers("wrong", list(part), ndim=1) for part in wrong]
        starts = np.cumsum([0, *map(len, parts)]).astype(np.int64)
        flat = np.concatenate([np.empty(0, np.int64), *parts]).astype(np.int64)
        found = cls(ns, flat, starts)
        if (ns < 0).any() or (flat < 0).any():
            raise DataError("votes below 0: must be counts of samples")
        if len(ns) and (found.n_samples == 0).any():
            raise DataError(f"problem {int(np.argmin(found.n_samples))} has no sample")
        return found

    @property
    def n_samples(self) -> Integers:
        """Samples of each problem, shape (problems,)."""
        cumulated = np.concatenate([[0], np.cumsum(self.wrong)])
        found: Integers = self.right + (cumulated[self.starts[1:]] - cumulated[self.starts[:-1]])
        return found

    def top_shares(self) -> Array:
        """The commonest wrong answer's share of each problem's wrong samples, NaN where none is wrong."""
        found = np.full(len(self.right), np.nan)
        some = np.flatnonzero(np.diff(self.starts))
        if some.size:
            top = np.maximum.reduceat(self.wrong, self.starts[some])
            found[some] = top / (self.n_samples - self.right)[some]
        return found

    def votes(self, problem: int) -> Integers:
        """The votes of a problem, the right answer's first."""
        part = self.wrong[self.starts[problem] : self.starts[problem + 1]]
        return np.concatenate([self.right[problem : problem + 1], part])


@dataclass(frozen=True, repr=False, eq=False)
class Trials(Result):
    r"""Single trials of models on problems; :func:`read_trials` makes it.

    Trials stand in the order of the rows of ``counts``; those of row i are ``starts[i]`` to ``starts[i + 1]``.

    Examples
    --------
    >>> from pathlib import Path
    >>> lines = ["problem,answer,correct", "a,4,1", "a,5,0", "a,5,0", "b,7,1"]
    >>> _ = Path("trials.csv").write_text("\n".join(lines))
    >>> read_trials("trials.csv", ["answers"])
    <Trials: 2 problems, 1 to 3 samples each, 2 of 4 correct; answers>
    """

    #: Samples and correct samples of each problem, and where they come from.
    counts: Counts
    #: Where each row's trials begin, shape (rows + 1,).
    starts: Integers
    #: The verdicts, shape (trials,).
    correct: npt.NDArray[np.bool_]
    #: The answer of each trial as its place in the row's ``labels``, -1 where it gave none; None where not asked for.
    answers: Integers | None = None
    #: The distinct answers of each row.
    labels: tuple[tuple[str, ...], ...] = ()
    #: The score of each trial, shape (trials,), minus infinity where it crashed; None where not asked for.
    scores: Array | None = None
    #: The cheap verdict of each trial, shape (trials,); None where not asked for.
    cheap: npt.NDArray[np.bool_] | None = None

    def tallies(self, rows: Integers | None = None) -> Tallies:
        """The votes of some rows, all by default. Trials without an answer vote together, for one wrong answer.

        Raises
        ------
        DataError
            When the trials were read without answers.
        """
        if self.answers is None:
            raise DataError("these trials were read without answers: read_trials(..., ['answers'])")
        chosen = range(len(self.starts) - 1) if rows is None else rows.tolist()
        right, wrong, starts = [], [], [0]
        for row in chosen:
            place = slice(self.starts[row], self.starts[row + 1])
            judged = self.correct[place]
            found = np.bincount(self.answers[place][~judged] + 1)
            found = found[found > 0]
            right.append(int(judged.sum()))
            wrong.append(found)
            starts.append(starts[-1] + len(found))
        flat = np.concatenate([np.empty(0, np.int64), *wrong]).astype(np.int64)
        return Tallies(np.asarray(right, np.int64), flat, np.asarray(starts, np.int64))

    def row(self, row: int) -> slice:
        """Where the trials of a row stand."""
        return slice(int(self.starts[row]), int(self.starts[row + 1]))

    def _held(self) -> str:
        held = [("answers", self.answers), ("scores", self.scores), ("cheap verdicts", self.cheap)]
        return ", ".join(name for name, value in held if value is not None)

    def headline(self) -> str:
        """What matters most, in one line: the body of the ``repr``."""
        return "; ".join(filter(None, (self.counts.headline(), self._held())))

    def summary(self) -> str:
        """What was read as a table of at most 80 columns."""
        return "\n".join(filter(None, (self.counts.summary(), self._held() and f"each trial with {self._held()}")))

    def rows(self) -> list[dict[str, Any]]:
        """One row per trial."""
        found = []
        counts = self.counts
        for row, (model, benchmark, problem) in enumerate(
            zip(counts.model, counts.benchmark, counts.problem_id, strict=True)
        ):
            for place in range(*self.row(row).indices(len(self.correct))):
                one: dict[str, Any] = {"model": model, "benchmark": benchmark, "problem_id": problem}
                if self.answers is not None:
                    code = int(self.answers[place])
                    one["answer"] = self.labels[row][code] if code >= 0 else None
                if self.scores is not None:
                    score = float(self.scores[place])
                    one["score"] = score if math.isfinite(score) else None
                if self.cheap is not None:
                    one["cheap"] = bool(self.cheap[place])
                found.append(one | {"correct": bool(self.correct[place])})
        return found

    def to_dict(self) -> dict[str, Any]:
        """The trials as JSON data."""
        return {"trials": self.rows(), "counts": self.counts.to_dict()}

    def write_votes(self, path: str | Path) -> None:
        """Write tallies as CSV: problem, answer, correct, and how many trials gave it; :func:`read_trials` reads it.

        Raises
        ------
        DataError
            When the trials were read without answers.
        T2Error
            When the file cannot be written.
        """
        if self.answers is None:
            raise DataError("these trials were read without answers: read_trials(..., ['answers'])")
        counts = self.counts
        with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["model", "benchmark", "problem_id", "answer", "correct", "votes"])
            for row, name in enumerate(zip(counts.model, counts.benchmark, counts.problem_id, strict=True)):
                codes = 2 * self.answers[self.row(row)] + self.correct[self.row(row)]
                for code, votes in zip(*np.unique(codes, return_counts=True), strict=True):
                    answer, judged = divmod(int(code), 2)
                    writer.writerow([*name, self.labels[row][answer] if answer >= 0 else "", judged, int(votes)])


def read_trials(
    paths: str | Path | Sequence[str | Path],
    wanted: Sequence[str] = ("answers", "verdicts"),
    *,
    extract: Callable[[str], str | None] | None = None,
    model: str | None = None,
    benchmark: str | None = None,
    missing: Literal["error", "drop", "fail"] = "error",
    malformed: Literal["error", "skip"] = "error",
    threshold: float | None = None,
    metric: str | None = None,
    filter: str | None = None,  # noqa: A002 - lm-evaluation-harness calls it so
    columns: Mapping[str, str] | None = None,
) -> Trials:
    r"""Read single trials with what votes, best scores and erring verifiers need of each.

    Formats, copies and retries are those of :func:`read_counts`, but for formats that hold nothing of single samples.

    Parameters
    ----------
    paths
        A file, a folder or several; ``"-"`` is standard input.
    wanted
        ``"answers"``, ``"scores"``, ``"cheap"`` (a second, cheap verdict beside the trusted one), and ``"verdicts"``,
        which only the best score among k does without, and which the first and the third imply.
    extract
        Finds the answer in a text, None where there is none; by default answers stand in a column of their own.
    columns
        As in :func:`read_counts`, and the roles answer, score (a number, or a list whose mean is taken), cheap, and
        votes (how many trials a row stands for). In logs of inspect, score and cheap are scorers.
    model, benchmark, missing, malformed, threshold, metric, filter
        As in :func:`read_counts`.

    Raises
    ------
    DataError
        As :func:`read_counts`, and where a file lacks what is wanted.

    Examples
    --------
    >>> from pathlib import Path
    >>> lines = ["problem,completion,correct", "a,so 4,1", "a,or 5,0"]
    >>> _ = Path("texts.csv").write_text("\n".join(lines))
    >>> read_trials("texts.csv", extract=lambda text: text.split()[-1]).labels
    (('4', '5'),)
    """
    names = arguments.items("wanted", wanted, "words")
    for name in names:
        arguments.choice("wanted", name, _WANTED)
    if extract is not None and not callable(extract):
        raise DataError(f"extract = {arguments.shown(extract)}: must be a function from a text to its answer")
    judged = bool({"answers", "cheap", "verdicts"} & set(names))
    details = Details("answers" in names, "scores" in names, "cheap" in names, judged, extract)
    options = Options(model, benchmark, missing, malformed, threshold, metric, filter, dict(columns or {}), details)
    tally, files = tallied(paths, options)
    counts = settled(tally, files)
    kept = [tally.kept[key] for key, row in tally.rows.items() if row.n > 0]
    flat = [one for row in kept for one in row]
    starts = np.cumsum([0, *map(len, kept)]).astype(np.int64)
    correct = np.asarray([one.correct for one in flat], np.bool_)
    answers: Integers | None = None
    labels: tuple[tuple[str, ...], ...] = ()
    if details.answers:
        answers, labels = _coded(kept)
        _not_references(counts, starts, correct, answers)
    scores = np.asarray([one.score for one in flat], np.float64) if details.scores else None
    cheap = np.asarray([one.cheap for one in flat], np.bool_) if details.cheap else None
    return Trials(counts, starts, correct, answers, labels, scores, cheap)


def _coded(kept: list[list[Kept]]) -> tuple[Integers, tuple[tuple[str, ...], ...]]:
    """Answers as places among the distinct ones of their row, and those."""
    codes: list[int] = []
    labels = []
    for row in kept:
        known: dict[str, int] = {}
        codes += [-1 if one.answer is None else known.setdefault(one.answer, len(known)) for one in row]
        labels.append(tuple(known))
    return np.asarray(codes, np.int64), tuple(labels)


def _not_references(counts: Counts, starts: Integers, correct: npt.NDArray[np.bool_], answers: Integers) -> None:
    """Refuse a column that gives the right answer of each problem instead of the sample's."""
    mixed = 0
    for low, high in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        judged = correct[low:high]
        if judged.any() and not judged.all():
            mixed += 1
            if len(set(answers[low:high].tolist())) > 1:
                return
    if mixed > 1:
        raise DataError(
            f"{counts.files[0] if counts.files else 'the log'}: right and wrong samples of a problem all have the same "
            "answer: this is the reference answer; name the column of the samples' own with columns={'answer': '...'}"
        )
