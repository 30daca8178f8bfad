"""lm-evaluation-harness: ``MODEL/samples_TASK_DATE.jsonl``, a line per document and filter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2fast.data.averages import aggregate, correct_of
from t2fast.data.roles import ROLES, plain
from t2fast.data.tally import BadLineError, Key, Tally, Told, joined
from t2fast.errors import DataError

__all__ = ["Samples", "claims"]

_NAME = re.compile(r"samples_(.+?)_(\d{4}-\d{2}-\d{2}T[0-9.\-:]+?)(?:\.jsonl.*)?$")


def claims(record: Mapping[str, Any]) -> bool:
    """Whether a record is a line of a samples file."""
    return "doc_id" in record and ("filtered_resps" in record or "resps" in record)


class Samples:
    """The lines of one file."""

    def __init__(self, path: Path, tally: Tally) -> None:
        self.tally = tally
        self.filter = tally.options.filter
        name = _NAME.match(path.name)
        self.benchmark = name.group(1) if name else None
        #: Runs of one task are told apart by their date.
        self.run = name.group(2) if name else path.name
        self.model = path.parent.name.replace("__", "/") if name and path.parent.name else None
        self.documents: dict[str, str] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        """Count a document's samples."""
        tally = self.tally
        tally.formats["lm-evaluation-harness"] = None
        if not self._filtered(record.get("filter")):
            return
        name = self._metric(record)
        key = tally.key(self.model, self.benchmark, record["doc_id"])
        content = str(record.get("doc_hash") or "")
        if content and self.documents.setdefault(key.problem, content) != content:
            raise DataError(
                f"document {key.problem} occurs twice with different content (doc_hash): files of two tasks?"
            )
        answers = record.get("resps") or [[]]
        n = len(answers[0]) if isinstance(answers[0], list) else 1
        value = record[name]
        k = aggregate(name)
        if k is None and n > 1 and _is_mean(value, n, record.get("filtered_resps")):
            k = 1  # a filter that keeps all repeats: the metric is the mean over them
        text = str(record.get("resps"))
        if tally.options.details is not None:
            self._trials(key, name, record, n)
            return
        if isinstance(value, list):
            self._list(key, name, value, n, text)
        elif n <= 1:
            tally.trial(key, value, (self.run,), text)
        elif k is not None:
            if not tally.options.missing and value is None:
                raise BadLineError(f"{name} is missing")
            c = correct_of(n, k, value, name)
            # One line counts all samples of a document: a copy of the line is a copy of them.
            seen = tally.log.add([joined([*key, self.run])], [bool(c)], [text])[0]
            if seen == 2:
                raise tally.conflict(key.problem, [self.run])
            tally.count(key, *((0, 0, n) if seen else (n, c)))
        else:
            tally.warnings[
                f"lm-evaluation-harness keeps one verdict of {name} per document, however many repeats were sampled: "
                "n = 1 per line"
            ] = None
            tally.trial(key, value, (self.run,), text)

    def _trials(self, key: Key, name: str, record: Mapping[str, Any], n: int) -> None:
        """Count a document's samples one by one, each with its answer."""
        tally, value, target = self.tally, record[name], record.get("target")
        texts = _flat(record.get("resps"))
        answers = [_chosen(one) for one in _flat(record.get("filtered_resps"))]
        if len(answers) == 1 and not isinstance(value, list) and aggregate(name) is None:
            # The filter kept one of the samples, and this one was judged.
            verdicts, texts = [value], texts[:1]
        elif isinstance(value, list):
            verdicts = value
        else:
            verdicts = [str(answer).strip() == str(target).strip() for answer in answers]
            k = aggregate(name) or (1 if _is_mean(value, n, record.get("filtered_resps")) else None)
            right = None if k is None else correct_of(n, k, value, name)
            if right is None or len(answers) != n or sum(verdicts) != right:
                raise DataError(
                    f"{name} = {value} of {n} samples does not say which were right, and comparing their answers with "
                    "the target gives another count: log a verdict for each sample, for example with repeats in runs "
                    "of their own"
                )
        if len(verdicts) != len(answers) or len(texts) != len(answers):
            raise DataError(
                f"{name} has {len(verdicts)} values, and there are {len(texts)} samples and {len(answers)} filtered "
                "answers: choose a filter that keeps all samples with filter="
            )
        for place, (verdict, answer, text) in enumerate(zip(verdicts, answers, texts, strict=True)):
            tally.trial(key, verdict, (self.run, place), str(text), Told(text, answer, verdict))

    def _list(self, key: Any, name: str, values: list[Any], n: int, text: str) -> None:
        if len(values) != n and len(values) != 1:
            raise DataError(
                f"{name} has {len(values)} values for {n} samples: they judge parts of an answer, not trials; choose "
                "another with metric="
            )
        for place, value in enumerate(values):
            self.tally.trial(key, value, (self.run, place), text)

    def _filtered(self, used: Any) -> bool:
        if self.tally.options.filter is not None:
            return bool(used == self.tally.options.filter)
        if used is not None:
            if self.filter is None:
                self.filter = used
            elif used != self.filter:
                raise DataError(f"filters {self.filter} and {used} judge the same documents: choose one with filter=")
        return True

    def _metric(self, record: Mapping[str, Any]) -> str:
        metrics = record.get("metrics")
        names = list(metrics) if isinstance(metrics, list) else [m for m in record if plain(m) in ROLES["verdict"]]
        wanted = self.tally.options.metric
        if wanted is not None:
            if wanted not in record:
                raise DataError(f"no metric {wanted}; metrics are {', '.join(names) or 'not named'}")
            if (aggregate(wanted) or 1) > 1 and "pass@1" in record:
                # Any of them stands for the counts behind all, and this one tells them exactly.
                return "pass@1"
            return wanted
        if names and all(aggregate(name) is not None for name in names):
            return min(names, key=lambda name: aggregate(name) or 0)
        if len(names) != 1 or names[0] not in record:
            raise DataError(f"metrics are {', '.join(names) or 'not named'}: choose one with metric=")
        return names[0]


def _is_mean(value: Any, n: int, filtered: Any) -> bool:
    """Whether a metric of a document is the mean over its n repeats: all were kept, and it is a share of n."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or len(_flat(filtered)) != n:
        return False
    return 0 <= value <= 1 and abs(value * n - round(value * n)) < 1e-6 * n


def _flat(responses: Any) -> list[Any]:
    """The samples of a document: one list for each request, of which documents that are sampled have one."""
    if not isinstance(responses, list):
        return [responses]
    if len(responses) == 1 and isinstance(responses[0], list):
        return list(responses[0])
    if len(responses) > 1 and all(isinstance(one, list) for one in responses):
        return [responses]  # the likelihoods of choices
    return list(responses)


def _chosen(answer: Any) -> Any:
    """The answer itself; of choices with their likelihoods the place of the likeliest."""
    if not isinstance(answer, list):
        return answer
    try:
        likelihoods = [float(one[0] if isinstance(one, list) else one) for one in answer]
    except (TypeError, ValueError, IndexError):
        raise DataError("filtered_resps holds lists: neither answers nor likelihoods of choices") from None
    return str(likelihoods.index(max(likelihoods)))
