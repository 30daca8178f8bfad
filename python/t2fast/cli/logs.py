"""Options that say how logs of evaluations are read, for every command that reads some."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from t2fast.errors import T2Error

__all__ = ["Missing", "logs", "reading_option"]

_READING = "Reading"


class Missing(StrEnum):
    """What a trial without a verdict is."""

    error = "error"
    drop = "drop"
    fail = "fail"


def reading_option(flag: str, text: str, **more: Any) -> Any:
    """An option on how logs are read."""
    return typer.Option(flag, help=text, rich_help_panel=_READING, **more)


def logs(
    benchmark: Annotated[str | None, reading_option("--benchmark", "Benchmark's name instead of the file's.")] = None,
    missing: Annotated[Missing, reading_option("--missing", "What a trial without a verdict is.")] = Missing.error,
    skip_malformed: Annotated[
        bool, reading_option("--skip-malformed", "Leave malformed lines out and count them.")
    ] = False,
    threshold: Annotated[float | None, reading_option("--threshold", "Least score that counts as correct.")] = None,
    verdict: Annotated[
        str | None, reading_option("--verdict", "Which verdict of a log to count: its metric, scorer or column.")
    ] = None,
    column: Annotated[
        list[str] | None,
        reading_option(
            "--column",
            "What a column is: problem=NAME, verdict, answer, score, n, c, trial ...; may be repeated.",
            metavar="ROLE=NAME",
        ),
    ] = None,
    log_filter: Annotated[str | None, reading_option("--filter", "Filter of lm-evaluation-harness to take.")] = None,
) -> dict[str, Any]:
    """What :func:`t2fast.data.read_counts` takes."""
    return {
        "benchmark": benchmark, "missing": missing.value, "malformed": "skip" if skip_malformed else "error",
        "threshold": threshold, "metric": verdict, "filter": log_filter,
        "columns": dict(_pair(one) for one in column or ()),
    }  # fmt: skip


def _pair(text: str) -> tuple[str, str]:
    role, equals, name = text.partition("=")
    if not equals:
        raise T2Error(f"--column {text!r}: write ROLE=NAME, for example problem=task")
    return role.strip(), name
