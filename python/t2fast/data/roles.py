"""What a column of a table can be, and the names that it goes by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from t2fast.data.deciding import NAMES

__all__ = ["ROLES", "all_of", "find", "plain"]

#: What a column can be, with the names it goes by, the better one first; compared as :func:`plain` writes them.
ROLES: Mapping[str, tuple[str, ...]] = {
    "model": ("model", "model_name", "model_id", "policy", "agent"),
    "benchmark": ("benchmark", "benchmark_name", "dataset", "dataset_name", "eval", "eval_name", "task_name"),
    "problem": (
        "problem_id", "task_id", "problem", "problem_idx", "problem_index", "question_id", "doc_id", "instance_id",
        "orig_dset_idx", "sample_id", "uid", "id", "question", "prompt", "name", "index", "idx", "input",
    ),
    "n": (
        "n_samples", "n", "num_samples", "num_samples_total", "total_samples", "n_trials", "num_trials", "n_attempts",
        "num_attempts", "total", "trials", "attempts", "samples",
    ),
    "c": (
        "n_correct", "c", "num_correct", "correct_count", "num_samples_correct", "correct_samples", "n_passed",
        "num_passed", "n_success", "num_success", "successes", "passes",
    ),
    "verdict": (
        "passed", "correct", "is_correct", "verdict", "success", "resolved", "solved", "reward", "score", "exact_match",
        "acc", "is_corrects", "corrects", "graded_list", "symbolic_correct", "judge_correct", "is_passed", "is_solved",
        "is_resolved", "is_success", "rewards", "scores", "verdicts",
    ),
    "trial": (
        "trial", "trial_id", "trial_index", "trial_idx", "sample", "sample_index", "sample_idx", "sample_number",
        "sample_id", "completion_id", "completion_index", "epoch", "attempt", "attempt_id", "repeat", "repetition",
        "rollout", "rollout_id", "generation", "generation_id", "replicate", "uuid", "sample_uuid", "run", "run_id",
        "seed", "log_id", "eval_id", "random_seed",
    ),
    "text": ("completion", "response", "generation", "output", "text", "answer", "solution", "prediction"),
    "answer": (
        "extracted_answer", "parsed_answer", "final_answer", "answer", "prediction", "pred",
    ),
    "score": ("score", "scores", "reward", "rewards", "verifier_score", "rm_score", "reward_score", "confidence"),
    "cheap": ("cheap", "cheap_verdict", "accepted", "base_passed", "weak_verdict"),
    "votes": ("votes", "n_votes"),
    "n_params": ("n_params",),
    "n_tokens": ("n_tokens",),
    "stopped": ("stop_on_success",),
    "condition": (
        "condition", "temperature", "top_p", "setting", "variant", "prompt_template", "prompt_version", "step",
        "global_step", "checkpoint", "language", "lang", "reasoning_effort", *NAMES,
    ),
}  # fmt: skip


def plain(name: str) -> str:
    """A column's name as names are compared: lower case, with underscores for whatever is no letter or digit.

    Examples
    --------
    >>> plain("Num. Samples Correct")
    'num_samples_correct'
    """
    return re.sub(r"[^0-9a-z]+", "_", name.strip().lower()).strip("_")


def find(names: Iterable[str], role: str) -> str | None:
    """The column that goes by the best name of a role."""
    known: dict[str, str] = {}
    for name in names:
        known.setdefault(plain(name), name)
    return next((known[alias] for alias in ROLES[role] if alias in known), None)


def all_of(names: Iterable[str], role: str) -> list[str]:
    """All columns that go by a name of a role, the best first."""
    known: dict[str, list[str]] = {}
    for name in names:
        known.setdefault(plain(name), []).append(name)
    return [name for alias in ROLES[role] for name in known.get(alias, ())]
