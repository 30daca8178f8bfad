"""Benchmarks of code: evalplus, Hugging Face's code_eval, LiveCodeBench, MultiPL-E."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from t2fast.data.tally import BadLineError, Tally, Told
from t2fast.errors import DataError

__all__ = [
    "claims_code_eval",
    "claims_evalplus",
    "claims_multipl_e",
    "read_code_eval",
    "read_evalplus",
    "read_multipl_e",
]


def claims_evalplus(document: Mapping[str, Any]) -> bool:
    """Whether a document is ``eval_results.json`` of evalplus."""
    tasks = document.get("eval")
    return isinstance(tasks, dict) and "status" not in document


def read_evalplus(document: Mapping[str, Any], tally: Tally) -> None:
    """Count ``eval[task][i]``: base_status, and with metric="plus" base_status and plus_status together.

    The extra tests run apart from the base ones, and evalplus counts a success where both pass.
    """
    tally.formats["evalplus"] = None
    metric = tally.options.metric or "base"
    if metric not in ("base", "plus"):
        raise DataError(f"metric = {metric!r}: evalplus has base and plus")
    for task, trials in document["eval"].items():
        tally.place = f"task {task}"
        key = tally.key(None, None, task)
        if isinstance(trials, dict) and "nfiles" in trials:
            trials = [{"base_status": one[0], "plus_status": None} for one in trials.get("base", ())]
        if not isinstance(trials, list):
            raise DataError("holds no list of trials")
        if not trials:
            tally.no_trials(key)
        for trial in trials:
            try:
                if tally.options.details is not None and tally.options.details.cheap:
                    # The extra tests are the trusted verdict on what the base tests accept.
                    cheap = _evalplus_verdict(trial, "base")
                    tally.trial(key, _evalplus_verdict(trial, "plus"), told=Told(cheap=cheap))
                else:
                    tally.trial(key, _evalplus_verdict(trial, metric), told=Told(trial.get("solution")))
            except BadLineError as error:
                tally.bad(error)


def _evalplus_verdict(trial: Mapping[str, Any], metric: str) -> Any:
    if "base_status" not in trial:
        raise BadLineError("a trial without base_status")
    base = trial["base_status"]
    if metric == "base":
        return base
    if trial.get("plus_status") is None:
        raise DataError("no plus_status: only the base tests were run; use metric='base'")
    return "pass" if base == "pass" and trial["plus_status"] == "pass" else None if base is None else "fail"


def claims_code_eval(document: Mapping[str, Any]) -> bool:
    """Whether a document is what code_eval returns as its second result: ``{task: [[i, {passed: ...}], ...]}``."""
    trials = [one for found in document.values() for one in (found if isinstance(found, list) and found else [None])]
    return bool(trials) and all(
        isinstance(one, list) and len(one) == 2 and isinstance(one[1], dict) and "passed" in one[1] for one in trials
    )


def read_code_eval(document: Mapping[str, Any], tally: Tally) -> None:
    """Count code_eval's results."""
    tally.formats["code_eval"] = None
    for task, trials in document.items():
        tally.place = f"task {task}"
        for number, result in trials:
            try:
                tally.trial(tally.key(None, None, task), result["passed"], (result.get("completion_id", number),))
            except BadLineError as error:
                tally.bad(error)


def claims_multipl_e(document: Mapping[str, Any]) -> bool:
    """Whether a document is a results file of MultiPL-E: one problem, its completions run."""
    results = document.get("results")
    return isinstance(results, list) and "name" in document and (
        not results or (isinstance(results[0], dict) and "status" in results[0])
    )  # fmt: skip


def read_multipl_e(document: Mapping[str, Any], tally: Tally) -> None:
    """Count a problem: a completion succeeds with status OK and exit code 0, as MultiPL-E's pass_k.py has it."""
    tally.formats["MultiPL-E"] = None
    # A file holds one problem; the folder is named after model and settings.
    tally.model = Path(tally.file).parent.name if tally.model else ""
    language = document.get("language")
    condition = f"language={language}" if language else ""
    key = tally.key(None, None, document["name"], condition)
    results: Sequence[Mapping[str, Any]] = document["results"]
    if not results:
        tally.no_trials(key)
    for place, result in enumerate(results):
        tally.place = f"result {place}"
        ok = result.get("status") == "OK" and result.get("exit_code", 0) == 0
        tally.trial(key, ok)
