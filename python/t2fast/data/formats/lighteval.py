"""lighteval's details: Parquet files with a row per document, its metrics in a column of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from t2fast.data.averages import aggregate, correct_of
from t2fast.data.tally import BadLineError, Tally
from t2fast.errors import DataError
from t2fast.files import real

__all__ = ["add", "claims", "needs"]


def claims(row: Mapping[str, Any]) -> bool:
    """Whether a row is one of lighteval's details."""
    return ("metric" in row or "metrics" in row) and isinstance(row.get("metric", row.get("metrics")), dict) and (
        "doc" in row or "example" in row or "full_prompt" in row
    )  # fmt: skip


def needs(names: Sequence[str]) -> list[str]:
    """The columns that are looked at."""
    return [name for name in names if name in ("metric", "metrics", "doc", "model_response", "example", "predictions")]


def add(row: Mapping[str, Any], number: int, tally: Tally) -> None:
    """Count a document: its verdict, or the counts behind an average over its samples."""
    tally.formats["lighteval"] = None
    given = row.get("metric") or row.get("metrics") or {}
    metrics = {name: value for name, value in given.items() if value is not None}
    wanted = tally.options.metric
    if wanted is None and len(metrics) == 1:
        wanted = next(iter(metrics))
    if wanted is None or wanted not in metrics:
        raise DataError(f"metrics are {', '.join(metrics) or 'not there'}: choose one with metric=")
    doc = row.get("doc") if isinstance(row.get("doc"), dict) else {}
    assert doc is not None
    key = tally.key(_model(tally.file), doc.get("task_name"), doc.get("id") or number)
    response = row.get("model_response")
    answers = (response or {}).get("text") if isinstance(response, dict) else row.get("predictions")
    n = len(answers) if isinstance(answers, list) else 1
    k = _k(wanted)
    if k is None or n == 1:
        if n > 1 and not isinstance(metrics[wanted], (int, float)):
            raise BadLineError(f"metric {wanted} is not a number")
        if n > 1:
            raise DataError(
                f"metric {wanted} is one number for {n} samples: it does not say how many were correct; choose pass@1"
            )
        tally.trial(key, metrics[wanted])
        return
    tally.count(key, n, correct_of(n, k, metrics[wanted], wanted))


def _model(file: str) -> str | None:
    """The model of ``details/ORG/MODEL/DATE/details_TASK_DATE.parquet``: the file itself does not name it."""
    folders = real(file).parts[:-2]
    if "details" not in folders:
        return None
    last = len(folders) - 1 - folders[::-1].index("details")
    return "/".join(folders[last + 1 :]) or None


def _k(metric: str) -> int | None:
    # lighteval writes pass@k:k=1&n=16, math_pass@1:8_samples and the like.
    head, _, rest = metric.partition(":")
    settings = dict(part.split("=", 1) for part in rest.split("&") if "=" in part)
    return (
        int(settings["k"])
        if head == "pass@k" and settings.get("k", "").isdigit()
        else aggregate(head.replace("_pass", "/pass"))
    )
