"""What goes into the sampler and what comes out: settings, prompts, samples. Nothing here needs torch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from t2fast.errors import DataError, T2Error

__all__ = ["FinishReason", "Prompt", "Sample", "SamplingParams", "digest", "read_prompts"]

#: Why a sample ended: a stop token or string, ``max_new_tokens``, or the model's context.
FinishReason = Literal["stop", "length", "context"]
_FINISH_REASONS = ("stop", "length", "context")


def _whole(name: str, value: Any, least: int, why: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise T2Error(f"{name} = {value!r}: must be a whole number, at least {least}{why}")


def _number(name: str, value: Any, good: bool, range_: str) -> None:
    # ``good`` is computed by the caller on the value, or False where it is no number.
    if not good:
        raise T2Error(f"{name} = {value!r}: must be {range_}")


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class SamplingParams:
    """How samples are drawn.

    The controls act in this order: penalties, temperature, top-k, top-p, min-p.

    Raises
    ------
    T2Error
        When a value is out of its range; the message names it.
    """

    #: Samples for every prompt.
    k: int = 1
    #: Divides the logits; 0 takes the likeliest token always.
    temperature: float = 1.0
    #: Only the ``top_k`` likeliest tokens remain; None for all.
    top_k: int | None = None
    #: Only the likeliest tokens that together reach this probability remain, in (0, 1].
    top_p: float = 1.0
    #: Only tokens at least this many times as likely as the likeliest remain, in [0, 1].
    min_p: float = 0.0
    #: Divides positive and multiplies negative logits of tokens seen in prompt or answer; above 0.
    repetition_penalty: float = 1.0
    #: Taken from the logits of tokens seen in the answer.
    presence_penalty: float = 0.0
    #: Taken from the logits once for every time that the token was seen in the answer.
    frequency_penalty: float = 0.0
    #: Longest answer, in tokens.
    max_new_tokens: int = 256
    #: Texts that end a sample; they are not part of its text.
    stop: tuple[str, ...] = ()
    #: Tokens that end a sample, beside those of the model.
    stop_token_ids: tuple[int, ...] = ()
    #: Whether each sample carries the log-probabilities of its tokens.
    logprobs: bool = False
    #: Whether a prompt ends with its first sample, in the order of their numbers, that the verifier accepts: those
    #: before it are drawn to their end, those after it don't count.
    stop_on_success: bool = False

    def __post_init__(self) -> None:
        for name in ("stop", "stop_token_ids"):
            value = getattr(self, name)
            if isinstance(value, list):  # as JSON has it
                object.__setattr__(self, name, tuple(value))
            elif isinstance(value, str) and name == "stop":
                object.__setattr__(self, name, (value,))
        _whole("k", self.k, 1, "")
        _whole("max_new_tokens", self.max_new_tokens, 1, "")
        if self.top_k is not None:
            _whole("top_k", self.top_k, 1, "; None keeps every token")
        t, p, m, r = self.temperature, self.top_p, self.min_p, self.repetition_penalty
        _number("temperature", t, _real(t) and t >= 0, "a number, at least 0")
        _number("top_p", p, _real(p) and 0 < p <= 1, "above 0 and at most 1")
        _number("min_p", m, _real(m) and 0 <= m <= 1, "between 0 and 1")
        _number("repetition_penalty", r, _real(r) and r > 0, "a number above 0; 1 has no effect")
        for name in ("presence_penalty", "frequency_penalty"):
            _number(name, getattr(self, name), _real(getattr(self, name)), "a finite number; 0 has no effect")
        for name in ("logprobs", "stop_on_success"):
            if not isinstance(getattr(self, name), bool):
                raise T2Error(f"{name} = {getattr(self, name)!r}: must be true or false")
        if not isinstance(self.stop, tuple) or not all(isinstance(text, str) and text for text in self.stop):
            raise T2Error(f"stop = {self.stop!r}: must be texts, none of them empty")
        if not isinstance(self.stop_token_ids, tuple):
            raise T2Error(f"stop_token_ids = {self.stop_token_ids!r}: must be a list of token ids")
        for token in self.stop_token_ids:
            _whole("stop_token_ids", token, 0, "")

    def override(self, changes: Mapping[str, Any]) -> SamplingParams:
        """Change some settings, as a prompt may.

        Raises
        ------
        T2Error
            When a name is unknown or a value out of its range.
        """
        known = [one.name for one in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise T2Error(f"{name!r} is no sampling parameter; there are {', '.join(known)}")
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as JSON holds them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}


@dataclass(frozen=True)
class Prompt:
    """One question: exactly one of text, messages, token_ids says what the model reads.

    Raises
    ------
    T2Error
        When it has no id, none or several of the three, or overrides that no sampler takes.
    """

    #: Unique among the prompts; with the seed it settles every random draw.
    id: str
    #: What the model continues, as it is.
    text: str | None = None
    #: A chat, ``{"role": ..., "content": ...}`` each, put into the model's chat template.
    messages: tuple[dict[str, Any], ...] | None = None
    #: Tokens, taken as they are.
    token_ids: tuple[int, ...] | None = None
    #: The reference answer, for verifiers and scoring.
    answer: str | None = None
    #: The answers to choose from, for verifiers and scoring.
    choices: tuple[str, ...] | None = None
    #: Settings of this prompt alone: any field of :class:`SamplingParams`.
    overrides: Mapping[str, Any] = field(default_factory=dict)
    #: Whatever else the caller keeps with it.
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise T2Error(f"id = {self.id!r}: must be a text, not empty")
        if not self.id.isprintable():
            # It becomes part of messages and tables.
            raise T2Error(f"id = {self.id!r}: must be printable")
        given = [name for name in ("text", "messages", "token_ids") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise T2Error(f"prompt {self.id!r}: needs exactly one of text, messages, token_ids; it has {found}")
        if not getattr(self, given[0]):
            raise T2Error(f"prompt {self.id!r}: its {given[0]} is empty")
        if self.text is not None and not isinstance(self.text, str):
            raise T2Error(f"prompt {self.id!r}: text must be a text")
        for message in self.messages or ():
            if not isinstance(message, dict) or not isinstance(message.get("role"), str) or "content" not in message:
                raise T2Error(f"prompt {self.id!r}: each of its messages needs role and content")
        for token in self.token_ids or ():
            if isinstance(token, bool) or not isinstance(token, int) or token < 0:
                raise T2Error(f"prompt {self.id!r}: token_ids must be whole numbers, at least 0; found {token!r}")
        if self.answer is not None and not isinstance(self.answer, str):
            raise T2Error(f"prompt {self.id!r}: answer must be a text")
        if self.choices is not None and not (
            self.choices and all(isinstance(choice, str) and choice for choice in self.choices)
        ):
            raise T2Error(f"prompt {self.id!r}: choices must be texts, none of them empty")
        try:
            self.params(SamplingParams())
        except T2Error as error:
            raise T2Error(f"prompt {self.id!r}: {error}") from None

    def params(self, params: SamplingParams) -> SamplingParams:
        """Give the settings that hold for this prompt."""
        return params.override(self.overrides) if self.overrides else params

    def to_dict(self) -> dict[str, Any]:
        """Give the prompt as a line of prompts.jsonl holds it."""
        named = {
            "id": self.id,
            "text": self.text,
            "messages": self.messages and list(self.messages),
            "token_ids": self.token_ids and list(self.token_ids),
            "answer": self.answer,
            "choices": self.choices and list(self.choices),
            "params": dict(self.overrides) or None,
        }
        return {k: v for k, v in named.items() if v is not None} | dict(self.metadata)


@dataclass(frozen=True)
class Sample:
    """One answer of the model and what became of it."""

    #: :attr:`Prompt.id`.
    prompt_id: str
    #: Its number among the samples of the prompt, from 0 to k - 1.
    sample: int
    #: The answer, without the stop string or token that ended it.
    text: str
    #: Its tokens, the stop token included.
    token_ids: tuple[int, ...]
    #: Why it ended.
    finish_reason: FinishReason
    #: Length of the prompt in tokens.
    n_prompt_tokens: int
    #: Natural logarithms of the probabilities with which the tokens were drawn, one for each.
    logprobs: tuple[float, ...] | None = None
    #: What the verifier said, if it answers with yes or no.
    correct: bool | None = None
    #: What the verifier said, if it answers with a number.
    score: float | None = None
    #: Why the verifier gave no verdict, if it failed.
    verifier_error: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the verifier said yes, or gave a score of 1: what ``t2fast passk`` counts as correct."""
        return self.correct is True or (self.score is not None and self.score >= 1 - 1e-6)

    def to_dict(self) -> dict[str, Any]:
        """Give the sample as a line of samples.jsonl holds it: ``t2fast passk`` reads such lines."""
        line: dict[str, Any] = {"problem": self.prompt_id, "sample": self.sample}
        if self.verifier_error is not None:
            line["correct"] = None  # for readers: a verdict is missing, not unasked for
        for name in ("correct", "score", "verifier_error"):
            if getattr(self, name) is not None:
                line[name] = getattr(self, name)
        line |= {
            "finish_reason": self.finish_reason,
            "tokens": len(self.token_ids),
            "prompt_tokens": self.n_prompt_tokens,
            "text": self.text,
            "token_ids": list(self.token_ids),
        }
        if self.logprobs is not None:
            line["logprobs"] = list(self.logprobs)
        return line

    @classmethod
    def from_dict(cls, line: Mapping[str, Any]) -> Sample:
        """Read what :meth:`to_dict` gives.

        Raises
        ------
        DataError
            When something is missing or impossible.
        """
        try:
            logprobs = line.get("logprobs")
            sample = cls(
                prompt_id=line["problem"],
                sample=line["sample"],
                text=line["text"],
                token_ids=tuple(line["token_ids"]),
                finish_reason=line["finish_reason"],
                n_prompt_tokens=line["prompt_tokens"],
                logprobs=None if logprobs is None else tuple(logprobs),
                correct=line.get("correct"),
                score=line.get("score"),
                verifier_error=line.get("verifier_error"),
            )
        except KeyError as error:
            raise DataError(f"no {error.args[0]!r} in this sample") from None
        except (TypeError, AttributeError):
            raise DataError("this is no sample of t2fast") from None
        if not isinstance(sample.prompt_id, str) or type(sample.sample) is not int or sample.sample < 0:
            raise DataError(f"problem {sample.prompt_id!r}, sample {sample.sample!r}: not a sample's name")
        if sample.finish_reason not in _FINISH_REASONS:
            raise DataError(f"finish_reason {sample.finish_reason!r}: must be one of {', '.join(_FINISH_REASONS)}")
        return sample


def _prompt(line: Any) -> Prompt:
    """One line of prompts.jsonl; raises T2Error with the reason when it cannot be read."""
    if not isinstance(line, dict):
        raise T2Error('must be an object such as {"id": "q1", "prompt": "..."}')
    fields = dict(line)
    if "prompt" in fields:
        if "text" in fields:
            raise T2Error("has both prompt and text, which mean the same")
        fields["text"] = fields.pop("prompt")
    for one in dataclasses.fields(SamplingParams):
        if one.name in fields:
            raise T2Error(f'{one.name} belongs into params: {{"params": {{"{one.name}": ...}}}}')
    if "id" not in fields:
        raise T2Error("has no id")
    name = fields.pop("id")
    name = str(name) if isinstance(name, int) and not isinstance(name, bool) else name
    overrides = fields.pop("params", None) or {}
    if not isinstance(overrides, dict):
        raise T2Error(f'params must be an object such as {{"k": 8}}, not {overrides!r}')
    answer = fields.pop("answer", None)
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        answer = str(answer)
    lists = {}
    for key in ("messages", "token_ids", "choices"):
        value = fields.pop(key, None)
        if value is not None and not isinstance(value, list):
            raise T2Error(f"{key} must be a list")
        lists[key] = None if value is None else tuple(value)
    return Prompt(name, fields.pop("text", None), answer=answer, overrides=overrides, metadata=fields, **lists)


def digest(prompts: Sequence[Prompt]) -> str:
    """Give the SHA-256 of what prompts say, whatever file they came from and however it was written."""
    total = hashlib.sha256()
    for prompt in prompts:
        total.update(json.dumps(prompt.to_dict(), sort_keys=True).encode() + b"\n")
    return total.hexdigest()


def read_prompts(path: str | Path) -> list[Prompt]:
    """Read a file of prompts, one JSON object per line.

    Each has an ``id`` and one of ``prompt`` (or ``text``), ``messages``, ``token_ids``; it may have ``answer``,
    ``choices`` and ``params``, settings of its own. Everything else is kept as metadata. Empty lines are passed over.

    Raises
    ------
    DataError
        When the file cannot be read, a line is malformed, an id appears twice, or there is no prompt at all.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    prompts: list[Prompt] = []
    first: dict[str, int] = {}
    for number, raw in enumerate(content.split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            prompt = _prompt(json.loads(raw))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            reason = (
                f"not JSON: {error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
            )
            raise DataError(f"{path}, line {number}: {reason}") from None
        except T2Error as error:
            raise DataError(f"{path}, line {number}: {error}") from None
        if prompt.id in first:
            raise DataError(f"{path}, line {number}: id {prompt.id!r} was used in line {first[prompt.id]} already")
        first[prompt.id] = number
        prompts.append(prompt)
    if not prompts:
        raise DataError(f"{path}: holds no prompt")
    return prompts
