"""Samples: one answer of the model each, with its verdict; and reading the files that hold them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from t2fast.data.verdicts import accepted as is_accepted
from t2fast.errors import DataError

__all__ = ["FinishReason", "Sample", "read_records", "read_samples"]

#: Why a sample ended: a stop token or text, ``max_new_tokens``, the model's context, or a server's filter.
FinishReason = Literal["stop", "length", "context", "filter"]
_FINISH_REASONS = ("stop", "length", "context", "filter")
#: How earlier versions spelled keys of a line.
_OLD = {"problem_id": "problem", "n_prompt_tokens": "prompt_tokens"}


@dataclass(frozen=True)
class Sample:
    """One answer of the model and what became of it.

    Attributes
    ----------
    prompt_id, sample
        :attr:`Prompt.id`, and the sample's number among those of the prompt, from 0 to k - 1.
    text
        The answer, without the stop text or token that ended it.
    token_ids
        Its tokens, the stop token included.
    finish_reason
        ``"stop"`` (a stop token or text), ``"length"`` (``max_new_tokens``), ``"context"`` (the model's is full), or
        ``"filter"`` (a server held the answer back).
    n_prompt_tokens
        Length of the prompt in tokens.
    logprobs
        The log-probability of each token, in nats, if they were asked for. Of forced tokens it is 0.
    correct, score, verifier_error
        What the verifier said: yes or no, a number, or why it gave no verdict.
    n_counted
        Tokens of the answer where only their number is known, as servers tell it.
    top_token_ids, top_logprobs
        For each token the likeliest ones in its place and their log-probabilities, the likeliest first, if they were
        asked for; fewer where fewer were possible.
    prompt_logprobs
        Of sample 0, if they were asked for: the log-probability of each token of the prompt but the first.
    forced
        Where thinking was cut short: the places ``(first, end)`` of the tokens that were forced, not drawn.

    Examples
    --------
    >>> sample = Sample("q1", 0, "42", (17, 3), "stop", 5, correct=True)
    >>> Sample.from_dict(sample.to_dict()) == sample, sample.accepted
    (True, True)
    """

    prompt_id: str
    sample: int
    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    n_prompt_tokens: int
    logprobs: tuple[float, ...] | None = None
    correct: bool | None = None
    score: float | None = None
    verifier_error: str | None = None
    n_counted: int | None = None
    top_token_ids: tuple[tuple[int, ...], ...] | None = None
    top_logprobs: tuple[tuple[float, ...], ...] | None = None
    prompt_logprobs: tuple[float, ...] | None = None
    forced: tuple[int, int] | None = None

    @property
    def n_answer_tokens(self) -> int:
        """Tokens of the answer, as far as they are known."""
        return len(self.token_ids) or self.n_counted or 0

    @property
    def accepted(self) -> bool:
        """Whether the verifier said yes, or gave a score of 1: what ``t2fast passk`` counts as correct."""
        return is_accepted(self.correct, self.score)

    def to_dict(self) -> dict[str, Any]:
        """The sample as a line of samples.jsonl, which ``t2fast passk`` reads."""
        line: dict[str, Any] = {"problem_id": self.prompt_id, "sample": self.sample}
        if self.verifier_error is not None:
            line["correct"] = None  # for readers: a verdict is missing, not unasked for
        for name in ("correct", "score", "verifier_error"):
            if getattr(self, name) is not None:
                line[name] = getattr(self, name)
        line |= {
            "finish_reason": self.finish_reason,
            "n_prompt_tokens": self.n_prompt_tokens,
            "n_answer_tokens": self.n_answer_tokens,
            "text": self.text,
            "token_ids": list(self.token_ids),
        }
        for name in ("logprobs", "prompt_logprobs", "forced"):
            if getattr(self, name) is not None:
                line[name] = list(getattr(self, name))
        for name in ("top_token_ids", "top_logprobs"):
            if getattr(self, name) is not None:
                line[name] = [list(one) for one in getattr(self, name)]
        return line

    @classmethod
    def from_dict(cls, line: Mapping[str, Any]) -> Sample:
        """Read what :meth:`to_dict` gives; the spellings of earlier versions are read too.

        Raises
        ------
        DataError
            When something is missing or impossible.
        """

        def value(name: str) -> Any:
            if name not in line and name in _OLD:
                return line.get(_OLD[name]) if _OLD[name] in line else line[name]
            return line[name]

        def numbers(name: str) -> Any:
            return None if line.get(name) is None else tuple(line[name])

        def lists(name: str) -> Any:
            return None if line.get(name) is None else tuple(tuple(one) for one in line[name])

        try:
            sample = cls(
                prompt_id=value("problem_id"),
                sample=line["sample"],
                text=line["text"],
                token_ids=tuple(line["token_ids"]),
                finish_reason=line["finish_reason"],
                n_prompt_tokens=value("n_prompt_tokens"),
                logprobs=numbers("logprobs"),
                correct=line.get("correct"),
                score=line.get("score"),
                verifier_error=line.get("verifier_error"),
                n_counted=None if line["token_ids"] else line.get("n_answer_tokens") or None,
                top_token_ids=lists("top_token_ids"),
                top_logprobs=lists("top_logprobs"),
                prompt_logprobs=numbers("prompt_logprobs"),
                forced=numbers("forced"),
            )
        except KeyError as error:
            raise DataError(f"has no {error.args[0]!r}, which every sample needs") from None
        except (TypeError, AttributeError):
            raise DataError("not a line that t2fast sample wrote") from None
        if not isinstance(sample.prompt_id, str) or type(sample.sample) is not int or sample.sample < 0:
            raise DataError(
                f"problem_id {sample.prompt_id!r}, sample {sample.sample!r}: must be a text and a number from 0"
            )
        if sample.finish_reason not in _FINISH_REASONS:
            raise DataError(f"finish_reason {sample.finish_reason!r}: must be one of {', '.join(_FINISH_REASONS)}")
        return sample


def read_samples(path: str | Path) -> Iterator[Sample]:
    """Read the samples of a file one by one, in the order in which they were finished.

    Raises
    ------
    DataError
        When the file cannot be read or a line is not a sample; the message names the line.

    Examples
    --------
    >>> import json, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "samples.jsonl")
    >>> line = Sample("q1", 0, "42", (17, 3), "stop", 5, correct=True).to_dict()
    >>> _ = path.write_text(json.dumps(line))
    >>> [(sample.prompt_id, sample.text) for sample in read_samples(path)]
    [('q1', '42')]
    """
    for number, record in read_records(Path(path)):
        try:
            yield Sample.from_dict(record)
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None


def read_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read a file of samples as numbered JSON objects.

    Raises
    ------
    DataError
        When the file cannot be read or a line is no JSON object.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    raise DataError(
                        f"{path}:{number}: not JSON; if an interrupted run left the line, --resume repairs it"
                    ) from None
                if not isinstance(record, dict):
                    raise DataError(f"{path}:{number}: not a line that t2fast sample wrote")
                yield number, record
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
