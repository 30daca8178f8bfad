"""Counts while files are read: each trial once, whatever files, copies and retries bring it along."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from t2fast import _core
from t2fast.data.verdicts import UnclearError, verdict
from t2fast.errors import DataError

__all__ = ["BadLineError", "Details", "Key", "Options", "Tally", "Told", "identified"]

#: Between the parts of a trial's name.
BETWEEN = "\x1f"
#: Stands for that, and for itself, within a part; `t2fast_core::passk::records` does the same.
_ESCAPE = "\x1e"
#: The largest count that the estimates take.
MOST = 2**50


def joined(parts: Iterable[str]) -> str:
    """One name of several parts; other parts give another name, also where they hold what stands between."""
    parts = list(parts)
    name = BETWEEN.join(parts)
    if _ESCAPE in name or name.count(BETWEEN) >= len(parts):
        return BETWEEN.join(part.replace(_ESCAPE, f"{_ESCAPE}0").replace(BETWEEN, f"{_ESCAPE}1") for part in parts)
    return name


class BadLineError(ValueError):
    """A line or record that cannot be read, and may be left out if the caller wants that."""


class Key(NamedTuple):
    """What a row of counts is about."""

    model: str
    benchmark: str
    #: Settings under which samples were drawn, ``temperature=0.8``: kept apart where there are several.
    condition: str
    problem: str


class Told(NamedTuple):
    """What a log tells of a trial beside its verdict, as the log has it."""

    text: Any = None
    answer: Any = None
    score: Any = None
    cheap: Any = None


@dataclass(frozen=True)
class Details:
    """What the caller of :func:`read_trials` wants of each trial."""

    answers: bool = False
    scores: bool = False
    cheap: bool = False
    #: Whether trials need a verdict: the best score among k does not.
    verdicts: bool = True
    #: Finds the answer in a text; None where it has none.
    extract: Callable[[str], str | None] | None = None


class Kept(NamedTuple):
    """A trial as :func:`read_trials` holds it."""

    correct: bool
    answer: str | None
    score: float
    cheap: bool


@dataclass(frozen=True)
class Options:
    """What the caller of :func:`read_counts` wants."""

    model: str | None = None
    benchmark: str | None = None
    missing: str = "error"
    malformed: str = "error"
    threshold: float | None = None
    metric: str | None = None
    filter: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    #: What to keep of single trials; None where counts are all that is wanted.
    details: Details | None = None


@dataclass(slots=True)
class Row:
    """Counts of one problem."""

    n: int = 0
    c: int = 0
    copies: int = 0
    #: A bit for each file.
    files: int = 0


def identified(value: Any) -> str | None:
    """A value as part of a trial's identity: a whole number or a short text; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    text = _text(value).strip()
    return text if 0 < len(text) <= 200 else None


def _text(value: Any) -> str:
    """A name as text that has an encoding: half a surrogate, which JSON can hold, becomes its escape."""
    text = str(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass
class Tally:
    """Counts, and what is known of the trials behind them."""

    options: Options
    rows: dict[Key, Row] = field(default_factory=dict)
    log: _core.TrialLog = field(default_factory=_core.TrialLog)
    sizes: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    stopped: set[Key] = field(default_factory=set)
    formats: dict[str, None] = field(default_factory=dict)
    warnings: dict[str, None] = field(default_factory=dict)
    #: Trials without a verdict that have an identity: a retry may bring one. Name of the trial: key, file's bit, place.
    waiting: dict[str, tuple[Key, int, str]] = field(default_factory=dict)
    #: Whether a verdict was a number or a word, which a threshold may concern.
    scored: bool = False
    skipped: int = 0
    absent: int = 0
    superseded: int = 0
    #: Problems without any trial, left out.
    empty: dict[Key, None] = field(default_factory=dict)
    #: Single trials of each problem, where the caller wants them.
    kept: dict[Key, list[Kept]] = field(default_factory=dict)
    #: The file at hand: its bit, what it is called in messages, what its records are called where they don't say, and
    #: whether a record made use of that.
    bit: int = 1
    file: str = ""
    model: str = ""
    benchmark: str = ""
    unnamed: bool = False
    #: Where in the file reading has come to.
    place: str = ""

    def key(self, model: Any, benchmark: Any, problem: Any, condition: str = "") -> Key:
        """The row of a problem, under the names that the caller, the record or the file gives."""
        if self.options.model is not None:
            model = self.options.model
        elif model is None or model == "":
            model, self.unnamed = self.model, True
        if self.options.benchmark is not None:
            benchmark = self.options.benchmark
        elif benchmark is None or benchmark == "":
            benchmark = self.benchmark
        return Key(_text(model), _text(benchmark), _text(condition), _text(problem))

    def row(self, key: Key) -> Row:
        """The row of a problem, marked with the file at hand."""
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = Row()
        row.files |= self.bit
        return row

    def count(self, key: Key, n: int, c: int, copies: int = 0) -> None:
        """Add trials that are counted already."""
        if self.options.details is not None and n:
            raise DataError(
                "holds counts of samples, not the samples: each needs a record of its own with "
                + self._wanted(self.options.details)
            )
        self._add(key, n, c, copies)

    @staticmethod
    def _wanted(details: Details) -> str:
        names = ["its verdict" if details.verdicts else "", "its answer" if details.answers else "",
                 "its score" if details.scores else "", "a second verdict" if details.cheap else ""]  # fmt: skip
        return " and ".join(filter(None, names))

    def _add(self, key: Key, n: int, c: int, copies: int = 0) -> None:
        row = self.row(key)
        row.n += n
        row.c += c
        row.copies += copies

    def trial(
        self,
        key: Key,
        value: Any,
        identity: Sequence[Any] = (),
        text: Any = None,
        told: Told | None = None,
        times: int = 1,
    ) -> None:
        """Count one trial, unless one of the same identity and content has been.

        Parameters
        ----------
        key
            The problem.
        value
            The verdict as the file has it.
        identity
            What tells the trial from others of its problem: number, epoch, uuid; parts that are None don't count.
        text
            The sample, where the file has it: trials of one identity must agree in it.
        told
            What else the file says of the trial.
        times
            How many trials of the problem are just like this one.

        Raises
        ------
        BadLineError
            When the value is no verdict.
        DataError
            When it is missing and the caller chose no policy, is a score without a threshold, or contradicts a trial of
            the same identity.
        """
        details = self.options.details
        self.scored = self.scored or not (value is None or isinstance(value, bool))
        try:
            found = False if details is not None and not details.verdicts else verdict(value, self.options.threshold)
        except UnclearError as error:
            if error.fraction:
                raise DataError(f"{error}: give threshold=, the least score that counts as correct") from None
            raise BadLineError(str(error)) from None
        parts = [part for part in map(identified, identity) if part is not None]
        name = joined([*key, *parts]) if parts else ""
        if found is None:
            if name:
                self.waiting.setdefault(name, (key, self.bit, f"{self.file}:{self.place}: "))
                self.row(key)
                return
            found = self.without_verdict()
            if found is None:
                self.row(key)
                return
            # A trial that crashed says nothing else.
            told = Told() if details is not None and self.options.missing == "fail" else told
            self._count(key, found, told, times, crashed=True)
            return
        if name:
            seen = self.log.add([name], [found], [text] if isinstance(text, str) and text else None)[0]
            if seen == 2:
                raise self.conflict(key.problem, parts)
            if seen == 1:
                self.row(key).copies += 1
                return
        self._count(key, found, told, times)

    def _count(self, key: Key, correct: bool, told: Told | None, times: int, crashed: bool = False) -> None:
        details = self.options.details
        if details is not None:
            one = self._keep(details, correct, told or Told(), crashed)
            self.kept.setdefault(key, []).extend([one] * times)
        self._add(key, times, times * int(correct))

    def _keep(self, details: Details, correct: bool, told: Told, crashed: bool) -> Kept:
        """A trial with what is wanted of it.

        Raises
        ------
        DataError
            When the file does not hold it.
        """
        answer, score, cheap = None, math.nan, False
        if details.answers and not crashed:
            answer = _answer(details, told)
        if details.scores:
            score = -math.inf if crashed else _score(told.score)
        if details.cheap and not crashed:
            try:
                found = verdict(told.cheap)
            except UnclearError as error:
                raise BadLineError(f"the cheap verdict: {error}") from None
            if found is None:
                raise DataError("a trial has no cheap verdict: name its column with columns={'cheap': '...'}")
            cheap = found
        return Kept(correct, answer, score, cheap)

    def conflict(self, problem: str, parts: Sequence[str]) -> DataError:
        """What to raise where two trials have one identity."""
        return DataError(
            f"problem {problem!r}, trial {' '.join(parts)} occurs twice with different content: stale output, or two "
            "runs? Read each run by itself, or name the column that tells trials apart with columns={'trial': '...'} "
            "('-' if there is none)"
        )

    def without_verdict(self, place: str = "") -> bool | None:
        """What a trial without a verdict counts: nothing, a failure, or an error."""
        if self.options.missing == "error":
            raise DataError(
                f"{place}a trial has no verdict: choose missing='drop' to leave it out or missing='fail' to count it "
                "as incorrect"
            )
        self.absent += 1
        return None if self.options.missing == "drop" else False

    def no_trials(self, key: Key) -> None:
        """Note a problem that has an empty list of verdicts."""
        if self.options.missing != "drop":
            raise DataError(
                f"problem {key.problem!r} has an empty list of verdicts: missing='drop' leaves such problems out"
            )
        self.empty[key] = None

    def bad(self, error: BadLineError) -> None:
        """Stop at a line that cannot be read, or leave it out if the caller asked for that."""
        if self.options.malformed == "error":
            raise DataError(f"{error}; malformed='skip' leaves such lines out and counts them") from None
        self.skipped += 1

    def sized(self, key: Key, size: tuple[float, float]) -> None:
        """Note a model's parameters and tokens; NaN where they are unknown."""
        if all(map(math.isnan, size)):
            return
        group = (key.model, key.benchmark)
        known = self.sizes.get(group, size)
        for old, new, what in zip(known, size, ("parameters", "tokens"), strict=True):
            if not (math.isnan(old) or math.isnan(new) or old == new):
                raise DataError(
                    f"model {key.model!r} has two sizes, {old:g} and {new:g} {what}: give each checkpoint a name of "
                    "its own"
                )
        both = zip(known, size, strict=True)
        merged = tuple(new if math.isnan(old) else old for old, new in both)
        self.sizes[group] = (merged[0], merged[1])

    def settle(self) -> None:
        """Decide what becomes of trials without a verdict, now that no retry can follow."""
        for name, (key, bit, place) in self.waiting.items():
            if name in self.log:
                self.superseded += 1
                continue
            found = self.without_verdict(place)
            if found is not None:
                self._count(key, found, None, 1, crashed=True)
                self.rows[key].files |= bit
        self.waiting.clear()


def _answer(details: Details, told: Told) -> str | None:
    """The answer of a trial, as votes compare answers."""
    if details.extract is not None and isinstance(told.text, str):
        return details.extract(told.text)
    if told.answer is None or told.answer == "":
        if told.text is None and told.answer is None:
            raise DataError("a sample has no answer to vote with: name its column with columns={'answer': '...'}")
        if told.answer is None:
            raise DataError(
                "holds texts, not answers: say how to find the answer in a text with extract=, or name the column of "
                "answers with columns={'answer': '...'}"
            )
        return None
    if details.extract is not None:
        return details.extract(str(told.answer))
    return " ".join(str(told.answer).split()).casefold().rstrip(".")


def _score(value: Any) -> float:
    """A sample's score; the mean of a list, such as the log-probabilities of its tokens."""
    if value is None:
        raise DataError("a sample has no score: name its column with columns={'score': '...'}")
    try:
        if isinstance(value, list):
            return math.fsum(map(float, value)) / len(value)
        found = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        raise BadLineError(f"score {str(value)[:40]!r}: must be a number") from None
    if math.isnan(found):
        raise BadLineError("score is NaN: every sample needs a number")
    return found
