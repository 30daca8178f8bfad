"""One scoring run: how likely a model finds the reference answers, as the table that ``t2fast fit`` reads."""

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
from t2fast.sampling.request import Prompt
from t2fast.sampling.run import sized
from t2fast.sampling.store import StoreError
from t2fast.text import columns, warning_lines

if TYPE_CHECKING:
    from t2fast.sampling.score import Score

__all__ = ["Scores", "write_scores"]


class Scorer(Protocol):
    """What scores: :class:`t2fast.sampling.Sampler`."""

    def score(self, prompts: Sequence[Prompt]) -> Iterator[Score]:
        """Give the scores of each prompt's answers one after the other, prompt by prompt."""

    def identity(self) -> dict[str, Any]:
        """Tell what the scores depend on."""


@dataclass(frozen=True)
class Scores:
    """How likely a model finds the right answers; :func:`write_scores` makes it."""

    #: The table.
    path: str
    #: Questions, one row each.
    questions: int
    #: Mean negative log likelihood of the right answers, nats per answer.
    nll: float
    #: The same per token of all answers together.
    nll_per_token: float
    #: Mean probability of the right answers.
    probability: float
    #: Share of questions whose right answer is what greedy decoding gives.
    greedy: float
    #: Share of questions whose likeliest choice is the right one, among those with choices; None where there are none.
    likeliest: float | None
    #: What to know.
    warnings: tuple[str, ...] = ()

    def summary(self) -> str:
        """Tell the result as a table of at most 80 columns."""
        rows = [
            ("questions", str(self.questions), ""),
            ("-ln p", f"{self.nll:.4f}", f"nats per answer, {self.nll_per_token:.4f} per token"),
            ("p", f"{self.probability:.4g}", "mean probability of the right answer"),
            ("greedy", f"{self.greedy:.2%}", "of answers are what greedy decoding gives"),
        ]
        if self.likeliest is not None:
            rows.append(("likeliest", f"{self.likeliest:.2%}", "of questions: the likeliest choice is the right one"))
        return "\n".join(
            [self.path, *("  " + line for line in columns(rows, left=(0, 2))), *warning_lines(self.warnings)]
        )

    __str__ = summary

    def to_dict(self) -> dict[str, Any]:
        """Give the result as JSON holds it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"warnings": list(self.warnings)}


def write_scores(
    sampler: Scorer,
    prompts: Sequence[Prompt],
    out: str | Path,
    *,
    name: str | None = None,
    benchmark: str = "",
    n_params: float | None = None,
    n_tokens: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Score the reference answer of every prompt into a table, JSON Lines with a row per question.

    Tables of several checkpoints, one after the other in one file, are what ``t2fast fit --law t2-loss`` reads: its
    ``probability`` is exp(-nll) of the whole right answer, p_i of question i.

    Parameters
    ----------
    sampler
        A :class:`t2fast.sampling.Sampler`.
    prompts
        Each with an answer; where there are choices, all are scored.
    out
        The table; it appears when it is complete.
    name, benchmark, n_params, n_tokens
        As in :func:`t2fast.sampling.draw`.
    progress
        Called with (questions done, questions in all).

    Raises
    ------
    T2Error
        When a prompt has no answer, or the table cannot be written.
    """
    for prompt in prompts:
        if prompt.answer is None:
            raise T2Error(f"prompt {prompt.id!r}: has no answer to score")
    model = sized(sampler.identity(), name, n_params, n_tokens)
    out = Path(out)
    if out.suffix not in (".jsonl", ".ndjson"):
        raise T2Error(f"{out}: the name must end in .jsonl, which is what it holds")
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
    sampler: Scorer,
    prompts: Sequence[Prompt],
    path: str,
    model: Mapping[str, Any],
    benchmark: str,
    progress: Callable[[int, int], None] | None,
) -> Scores:
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
            "question": prompt_id,
            "probability": math.exp(-right.nll),
            "log_probability": -right.nll,
            "answer_tokens": right.n_tokens,
            "greedy": right.greedy,
        }
        if len(scores) > 1:
            best = min(scores, key=lambda one: one.nll)
            row["likeliest"] = best is right
            choosing += 1
            likeliest += best is right
        write(json.dumps(row, ensure_ascii=False) + "\n")
        nll.append(right.nll)
        tokens += right.n_tokens
        greedy += right.greedy
        lost += row["probability"] == 0
        if progress is not None:
            progress(len(nll), len(prompts))
    if len(nll) != len(prompts):
        raise T2Error(f"{len(nll)} of {len(prompts)} prompts were scored")
    warnings = []
    if model["n_tokens"] is None:
        warnings.append("n_tokens is not known: t2fast fit needs it of every checkpoint; give n_tokens (--n-tokens)")
    if lost:
        warnings.append(f"{lost} probabilities are too small for a number and are 0; log_probability has them")
    return Scores(
        path,
        len(nll),
        math.fsum(nll) / len(nll),
        math.fsum(nll) / tokens,
        math.fsum(math.exp(-one) for one in nll) / len(nll),
        greedy / len(nll),
        likeliest / choosing if choosing else None,
        tuple(warnings),
    )
