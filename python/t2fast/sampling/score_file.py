"""How likely a model finds the reference answers, as the table that ``t2fast fit`` reads."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from t2fast.errors import T2Error
from t2fast.results import Progress, Report, Result
from t2fast.sampling.manifest import described_model
from t2fast.sampling.prompts import Prompt
from t2fast.sampling.store import StoreError
from t2fast.text import columns, warning_lines

if TYPE_CHECKING:
    from t2fast.sampling.engine.score import Score

__all__ = ["ScoredFile", "score_to_file"]


class _Scores(Protocol):
    """What scores: :class:`Sampler`."""

    def score(self, prompts: Sequence[Prompt]) -> Iterator[Score]:
        """The scores of each prompt's answers one after the other, prompt by prompt."""

    def identity(self) -> dict[str, Any]:
        """What the scores depend on."""


@dataclass(frozen=True, repr=False)
class ScoredFile(Result):
    """How likely a model finds the right answers; :func:`score_to_file` makes it.

    Attributes
    ----------
    path
        The table.
    n_problems
        Problems, one row each.
    nll, nll_per_token
        Mean negative log-likelihood of the right answers in nats: per answer, and per token of all answers together.
        Infinite where an answer is impossible.
    probability
        Mean probability of the right answers.
    greedy
        Share of problems whose right answer is what greedy decoding gives.
    likeliest
        Share of problems whose likeliest choice is the right one, among those with choices; None where there are none.
    warnings
        What to know.

    Examples
    --------
    >>> ScoredFile("scores.jsonl", 20, 4.5, 4.5, 0.03, 0.0, None)
    <ScoredFile: scores.jsonl, 20 problems, 4.5000 nats per answer>
    """

    path: str
    n_problems: int
    nll: float
    nll_per_token: float
    probability: float
    greedy: float
    likeliest: float | None
    warnings: tuple[str, ...] = ()

    def headline(self) -> str:
        """The file and its mean."""
        return f"{self.path}, {self.n_problems} problems, {self.nll:.4f} nats per answer"

    def summary(self) -> str:
        """The result as a table of at most 80 columns."""
        rows = [
            ("problems", str(self.n_problems), ""),
            ("-ln p", f"{self.nll:.4f}", f"nats per answer, {self.nll_per_token:.4f} per token"),
            ("p", f"{self.probability:.4g}", "mean probability of the right answer"),
            ("greedy", f"{self.greedy:.2%}", "of answers are what greedy decoding gives"),
        ]
        if self.likeliest is not None:
            rows.append(("likeliest", f"{self.likeliest:.2%}", "of problems: the likeliest choice is the right one"))
        return "\n".join(
            [self.path, *("  " + line for line in columns(rows, left=(0, 2))), *warning_lines(self.warnings)]
        )

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON data; what is not finite is None, which JSON has a word for."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__} | {"warnings": list(self.warnings)}
        return {name: _json(value) for name, value in fields.items()}


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def score_to_file(
    sampler: _Scores,
    prompts: Sequence[Prompt],
    out: str | Path,
    *,
    name: str | None = None,
    benchmark: str = "",
    n_params: float | None = None,
    n_tokens: float | None = None,
    progress: Report | None = None,
) -> ScoredFile:
    """Score the reference answer of every prompt into a table, JSON Lines with a row per problem.

    Tables of several checkpoints, one after the other in one file, are what ``t2fast fit --law t2-loss`` reads: its
    ``probability`` is exp(-nll) of the whole right answer, p_i of problem i.

    Parameters
    ----------
    sampler
        A :class:`Sampler`.
    prompts
        Each with an answer; where there are choices, all are scored.
    out
        The table; it appears when it is complete.
    name, benchmark, n_params, n_tokens
        As in :func:`sample_to_file`.
    progress
        Called with the problems done.

    Raises
    ------
    T2Error
        When a prompt has no answer, or the table cannot be written.

    Examples
    --------
    With ``sampler = Sampler.from_pretrained("my-model")``::

        score_to_file(sampler, read_prompts("prompts.jsonl"), "scores.jsonl", n_tokens=2e9)
    """
    for prompt in prompts:
        if prompt.answer is None:
            raise T2Error(f"prompt {prompt.id!r}: has no answer to score")
    out = Path(out)
    if out.suffix not in (".jsonl", ".ndjson"):
        raise T2Error(f"{out}: the name must end in .jsonl, which is what it holds")
    model = described_model(sampler.identity(), name, n_params, n_tokens)
    new = out.with_name(out.name + ".new")
    try:
        with new.open("w", encoding="utf-8", errors="backslashreplace") as file:
            scores = _write(file.write, sampler, prompts, str(out), model, benchmark, progress)
        new.replace(out)
    except OSError as error:
        raise StoreError(f"{out}: cannot be written: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
    return scores


def _write(
    write: Callable[[str], object],
    sampler: _Scores,
    prompts: Sequence[Prompt],
    path: str,
    model: Mapping[str, Any],
    benchmark: str,
    progress: Report | None,
) -> ScoredFile:
    nll: list[float] = []
    tokens = greedy = choosing = likeliest = lost = 0
    for prompt_id, group in itertools.groupby(sampler.score(prompts), key=lambda one: one.prompt_id):
        scores = list(group)
        right = next(one for one in scores if one.correct)
        row: dict[str, Any] = {
            "model": model["name"],
            "benchmark": benchmark,
            "n_params": model["n_params"],
            "n_tokens": model["n_tokens"],
            "problem_id": prompt_id,
            "probability": math.exp(-right.nll),
            "log_probability": _json(-right.nll),
            "n_answer_tokens": right.n_answer_tokens,
            "greedy": right.greedy,
        }
        if len(scores) > 1:
            best = min(scores, key=lambda one: one.nll)
            row["likeliest"] = best is right
            choosing += 1
            likeliest += best is right
        write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        nll.append(right.nll)
        tokens += right.n_answer_tokens
        greedy += right.greedy
        lost += row["probability"] == 0
        if progress is not None:
            progress(Progress(len(nll), len(prompts), "problems"))
    if len(nll) != len(prompts):
        raise T2Error(f"{len(nll)} of {len(prompts)} prompts were scored")
    warnings = []
    if model["n_tokens"] is None:
        warnings.append("n_tokens is not known: t2fast fit needs it of every checkpoint; give n_tokens (--n-tokens)")
    if lost:
        warnings.append(f"{lost} probabilities are below the smallest number and are 0; log_probability has them")
    return ScoredFile(
        path,
        len(nll),
        math.fsum(nll) / len(nll),
        math.fsum(nll) / tokens,
        math.fsum(math.exp(-one) for one in nll) / len(nll),
        greedy / len(nll),
        likeliest / choosing if choosing else None,
        tuple(warnings),
    )
