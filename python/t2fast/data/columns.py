"""What the columns of a table of trials or counts are: found by their names, or named by the caller."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from t2fast.data.averages import aggregate, correct_of
from t2fast.data.cells import MISSING
from t2fast.data.cells import number as cell_number
from t2fast.data.deciding import OneRule, is_named
from t2fast.data.roles import ROLES, all_of, find, plain
from t2fast.data.tally import MOST, BadLineError, Key, Options, Tally, Told, identified
from t2fast.errors import DataError
from t2fast.text import near

__all__ = ["Columns"]

#: Names that say "correct" of a trial, and beside a number of samples may say how many were.
_EITHER = ("correct", "passed", "success", "solved", "resolved", "passes", "successes")
#: Identities that are numbers; a text under such a name is the sample itself, or a label.
_NUMBERED = frozenset(
    {"trial", "trial_index", "trial_idx", "sample", "sample_index", "sample_idx", "sample_number", "epoch", "attempt",
     "repeat", "repetition", "rollout", "generation", "replicate", "seed", "random_seed", "completion_index"}
)  # fmt: skip
#: What is a set of problems and never one: a row about it counts problems.
_BENCHMARKS = frozenset(
    {"humaneval", "humaneval_plus", "mbpp", "mbpp_plus", "gsm8k", "math", "math500", "math_500", "aime", "aime24",
     "aime25", "aime_2024", "aime_2025", "mmlu", "mmlu_pro", "gpqa", "gpqa_diamond", "livecodebench", "bigcodebench",
     "arc", "hellaswag", "swe_bench", "swebench", "swe_bench_verified", "ifeval", "bbh", "drop", "apps"}
)  # fmt: skip


class Columns:
    """Where a table holds what; made from its header and its first row.

    Raises
    ------
    DataError
        When something is missing, all of it in one message; and where two columns could be the verdict.
    """

    def __init__(self, names: Sequence[str], first: Mapping[str, Any], options: Options) -> None:
        self.names = names
        wanted = _named(names, options)
        self.model = wanted.get("model") or find(names, "model")
        self.n, self.c, self.verdict = wanted.get("n"), wanted.get("c"), wanted.get("verdict")
        if self.verdict is None and options.metric is not None:
            self.verdict = next(
                (name for name in names if name == options.metric or plain(name) == options.metric), None
            )
            if self.verdict is None:
                raise DataError(
                    f"metric={options.metric!r}: there is no such column of verdicts; {near(options.metric, names)}"
                )
        self.rate: tuple[str, int] | None = None
        self.taken: str | None = None
        if self.verdict is None:
            self._counts(first)
        if self.n is None or (self.c is None and self.rate is None):
            self.n = self.c = self.rate = None
            if options.details is not None and not options.details.verdicts:
                self.verdict = wanted.get("score") or find(names, "score")
            self.verdict = self.verdict or self._verdict(first, wanted, options)
        self._problem(wanted)
        self.n_params, self.n_tokens = find(names, "n_params"), find(names, "n_tokens")
        self.stopped = find(names, "stopped")
        used = {self.problem, self.model, self.benchmark, self.verdict, self.n, self.c}
        self.condition = [name for name in all_of(names, "condition") if name not in used]
        #: Those of them that may say how answers were chosen, which must be one way.
        self.deciding = [name for name in self.condition if is_named(name)]
        self._one_rule = OneRule("these are not one quantity, so keep the rows of one")
        self.identity = self._identity(wanted, first, used)
        texts = [name for name in all_of(names, "text") if name not in used and name not in self.identity]
        self.text = wanted.get("text") or next((name for name in texts if isinstance(first.get(name), str)), None)
        #: How many trials a row stands for, where it is a tally of equal ones.
        self.votes = None if self.counts else wanted.get("votes") or find(names, "votes")
        #: What else is wanted of each trial: text, answer, score and cheap verdict.
        self.told = self._details(wanted, options)
        self._complete()

    @property
    def counts(self) -> bool:
        """Whether rows hold counts instead of trials."""
        return self.n is not None

    def _counts(self, first: Mapping[str, Any]) -> None:
        self.n = self.n or find(self.names, "n")
        self.c = self.c or find(self.names, "c")
        if self.n is None or self.c is not None or _is_list(first.get(self.n)):
            return
        either = [name for name in self.names if plain(name) in _EITHER]
        if len(either) == 1 and _is_number(first.get(either[0])):
            self.c = either[0]
            return
        rates = [(name, k) for name in self.names if (k := aggregate(name)) is not None]
        self.rate = min(rates, key=lambda rate: rate[1], default=None)

    def _verdict(self, first: Mapping[str, Any], wanted: Mapping[str, str], options: Options) -> str | None:
        taken = {wanted.get("cheap"), wanted.get("score")}
        candidates = [name for name in all_of(self.names, "verdict") if name not in taken]
        if len(candidates) > 1 and options.details is not None and options.details.scores:
            # What is called a score is one, where something else can be the verdict.
            scores = set(all_of(self.names, "score"))
            candidates = [name for name in candidates if name not in scores] or candidates
        if len(candidates) > 1:
            # Booleans and lists of them say what numbers beside them only may.
            sure = [name for name in candidates if _is_flag(first.get(name))]
            if len(sure) == 1:
                self.taken = sure[0]
                return sure[0]
            raise DataError(
                f"columns {' and '.join(candidates)} could each be the verdict: choose one with "
                f"columns={{'verdict': '{candidates[0]}'}}"
            )
        return candidates[0] if candidates else None

    def _problem(self, wanted: Mapping[str, str]) -> None:
        self.problem = wanted.get("problem") or find(self.names, "problem")
        self.benchmark = wanted.get("benchmark") or find(self.names, "benchmark")
        taken = {self.n, self.c, self.verdict, self.model}
        task = next((name for name in self.names if plain(name) == "task" and name not in taken), None)
        # Agents' benchmarks call their problems tasks; others their benchmarks.
        if self.problem is None:
            self.problem = task
        elif self.benchmark is None and task != self.problem:
            self.benchmark = task
        #: Rows of each model and benchmark, where nothing names the problem.
        self.unnamed: dict[tuple[str, str], int] = {}

    def _identity(self, wanted: Mapping[str, str], first: Mapping[str, Any], used: set[str | None]) -> list[str]:
        if "trial" in wanted:
            return [] if wanted["trial"] in ("", "-") else [wanted["trial"]]
        if self.counts:
            return []
        return [
            name
            for name in all_of(self.names, "trial")
            if name not in used and (plain(name) not in _NUMBERED or _is_whole(first.get(name)))
            and identified(first.get(name)) is not None
        ]  # fmt: skip

    def _details(self, wanted: Mapping[str, str], options: Options) -> Told | None:
        details = options.details
        if details is None:
            return None
        taken = {self.problem, self.model, self.benchmark}
        beside = [name for name in self.names if name not in taken and name != self.verdict]
        answer = (wanted.get("answer") or find(beside, "answer")) if details.answers else None
        texts = ("text", "completion", "response", "generation", "output", "solution")
        text = wanted.get("text") or next((name for name in texts if name in self.names), None)
        score = (wanted.get("score") or find(beside, "score")) if details.scores else None
        if details.scores and score is None and self.verdict in all_of(self.names, "score"):
            # One column may be both: a score, and with a threshold the verdict.
            score = self.verdict
        if details.scores and score is None:
            raise DataError(
                f"no column of scores ({', '.join(ROLES['score'])}): name it with columns={{'score': '...'}}"
            )
        cheap = (wanted.get("cheap") or find(beside, "cheap")) if details.cheap else None
        if details.cheap and cheap is None:
            raise DataError("no column of cheap verdicts: name it with columns={'cheap': '...'}")
        if cheap is not None and cheap == self.verdict:
            raise DataError(
                f"column {cheap} is both the cheap and the trusted verdict: name the trusted one with "
                "columns={'verdict': '...'}"
            )
        return Told(text, answer, score, cheap)

    def _complete(self) -> None:
        lacking = []
        if self.n is None and self.verdict is None:
            averages = [name for name in self.names if aggregate(name) is not None]
            if averages:
                raise DataError(
                    f"{', '.join(averages)} are averages over samples, not verdicts, and no column says how many "
                    "samples there were: pass@k cannot be worked out from them"
                )
            lacking.append(("verdict", "passed, correct, reward, score; or counts n_samples and n_correct"))
        if self.problem is None and not self.counts:
            lacking.append(("problem", "problem_id, task_id, question_id, instance_id, id"))
        if lacking:
            shown = ", ".join(str(name)[:40] for name in self.names[:20]) + (", ..." if len(self.names) > 20 else "")
            needs = " and ".join(f"no column for the {role} ({usual})" for role, usual in lacking)
            how = ", ".join(f"'{role}': ..." for role, _ in lacking)
            raise DataError(f"{needs}; columns are {shown}. Name them with columns={{{how}}}")

    def finish(self, tally: Tally) -> None:
        """Refuse rows that count problems instead of samples, and say whose results they are, now that all are seen."""
        if (self.model or self.benchmark) and 1 in self.unnamed.values():
            model, benchmark = next(group for group, rows in self.unnamed.items() if rows == 1)
            raise DataError(
                f"one row for {' on '.join(filter(None, (model, benchmark)))}, and no column names the problem: "
                f"counts of solved problems say nothing about pass@k. It needs {self.n} and {self.c} of each problem"
            )
        for name, (rule, cell, _) in self._one_rule.first.items():
            if rule != "pass@k":
                tally.warnings[f"column {name} says {cell!r}: pass@k is then of results of {rule}, not of samples"] = (
                    None
                )

    def key(self, row: Mapping[str, Any], number: int, tally: Tally) -> Key:
        """The row's problem."""
        problem = number if self.problem is None else row[self.problem]
        if problem is None or problem == "":
            raise BadLineError(f"column {self.problem} is empty: the trial belongs to no problem")
        if isinstance(problem, dict):
            raise BadLineError(f"column {self.problem} holds an object, not the name of a problem")
        if isinstance(problem, float) and problem.is_integer():
            problem = int(problem)
        if isinstance(problem, list):
            problem = str(problem)
        model = None if self.model is None else row[self.model]
        benchmark = None if self.benchmark is None else row[self.benchmark]
        condition = ", ".join(f"{plain(name)}={row[name]}" for name in self.condition) if self.condition else ""
        key = tally.key(model, benchmark, problem, condition)
        if self.problem is None:
            group = (key.model, key.benchmark)
            self.unnamed[group] = self.unnamed.get(group, 0) + 1
        return key

    def add(self, row: Mapping[str, Any], number: int, tally: Tally) -> None:
        """Count a row."""
        for name in self.deciding:
            self._one_rule.see(name, row[name], number)
        key = self.key(row, number, tally)
        if self.n is not None:
            self._add_counts(key, row, tally)
        else:
            value = row[self.verdict or ""]
            identity = [row.get(name) for name in self.identity]
            told = None if self.told is None else Told(*(name and row.get(name) for name in self.told))
            if _is_list(value):
                self._add_list(key, value, identity, tally, told)
            else:
                text = row.get(self.text) if self.text is not None else None
                tally.trial(key, value, identity, text, told, self._times(row))
        self.attributes(key, row, tally)

    def _times(self, row: Mapping[str, Any]) -> int:
        if self.votes is None:
            return 1
        times = _whole(self.votes, row[self.votes])
        if times < 1:
            raise BadLineError(f"{self.votes} = {times}: must be at least 1")
        return times

    def attributes(self, key: Key, row: Mapping[str, Any], tally: Tally) -> None:
        """Note what a row says of its model beside counts."""
        if self.n_params is not None or self.n_tokens is not None:
            tally.sized(key, (_size(row, self.n_params), _size(row, self.n_tokens)))
        if self.stopped is not None and row[self.stopped] not in (None, "", 0, False, "0", "False", "false"):
            tally.stopped.add(key)

    def used(self) -> list[str]:
        """The columns that are looked at."""
        names = [self.model, self.benchmark, self.problem, self.verdict, self.n, self.c, self.rate and self.rate[0],
                 self.n_params, self.n_tokens, self.stopped, self.votes, *self.condition, *self.identity,
                 *(self.told or ())]  # fmt: skip
        if self.identity:
            names.append(self.text)
        return [name for name in dict.fromkeys(names) if name is not None]

    def _add_counts(self, key: Key, row: Mapping[str, Any], tally: Tally) -> None:
        if self.problem is not None and plain(self.problem) == "task" and plain(key.problem) in _BENCHMARKS:
            raise DataError(
                f"{key.problem} is a benchmark: this row counts its problems, not samples of one problem, and says "
                "nothing about pass@k"
            )
        n = _whole(self.n or "", row[self.n or ""])
        if self.rate is not None:
            c = correct_of(n, self.rate[1], row[self.rate[0]], self.rate[0])
        else:
            c = _whole(self.c or "", row[self.c or ""])
        if not 0 <= c <= n or n == 0:
            raise BadLineError(
                f"{self.c} = {c}, {self.n} = {n}: must satisfy 0 <= {self.c} <= {self.n}, and {self.n} >= 1"
            )
        tally.count(key, n, c)

    def _add_list(
        self, key: Key, values: Sequence[Any], identity: Sequence[Any], tally: Tally, told: Told | None
    ) -> None:
        if len(values) == 0:
            tally.no_trials(key)
        for place, value in enumerate(values):
            if _is_list(value):
                raise BadLineError(f"column {self.verdict} holds lists of lists: one verdict per trial is needed")
            known = any(part is not None for part in map(identified, identity))
            one = None
            if told is not None:
                one = Told(*(_item(part, place, len(values)) for part in told))
            tally.trial(key, value, [*identity, place] if known else (), told=one)


def _item(values: Any, place: int, of: int) -> Any:
    """What belongs to one verdict of a list."""
    if not _is_list(values):
        return None
    if len(values) != of:
        raise BadLineError(f"{of} verdicts and {len(values)} answers, texts or scores: they must be equally many")
    return values[place]


def _named(names: Sequence[str], options: Options) -> dict[str, str]:
    """The columns that the caller named."""
    found = {}
    for role, name in options.columns.items():
        if role not in ROLES:
            raise DataError(f"columns: {role!r} is no role; {near(role, ROLES)}")
        if role == "trial" and name in ("", "-"):
            found[role] = "-"
            continue
        match = [one for one in names if one == name] or [one for one in names if plain(one) == plain(name)]
        if not match:
            raise DataError(f"columns: no column {name!r} for the {role}; {near(name, names)}")
        found[role] = match[0]
    return found


def _whole(name: str, value: Any) -> int:
    try:
        number = int(value) if isinstance(value, str) and value.strip().isdigit() else cell_number(str(value))
    except ValueError:
        raise BadLineError(f"{name} = {str(value)[:40]!r}: must be a whole number") from None
    if number != int(number) or abs(number) > MOST:
        raise BadLineError(f"{name} = {str(value)[:40]}: must be a whole number of at most 2^50")
    return int(number)


def _size(row: Mapping[str, Any], name: str | None) -> float:
    value = None if name is None else row[name]
    if value is None or (isinstance(value, str) and value.strip().lower() in MISSING):
        return math.nan
    return float(value) if isinstance(value, (int, float)) else cell_number(str(value), name or "")


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _is_flag(value: Any) -> bool:
    if _is_list(value):
        return bool(value) and all(one is True or one is False for one in value)
    return value is True or value is False or (isinstance(value, str) and value.strip().lower() in ("true", "false"))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, (int, float)) or (isinstance(value, str) and _is_whole(value))


def _is_whole(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) or (
        isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+(\.0*)?\s*", value) is not None
    )
