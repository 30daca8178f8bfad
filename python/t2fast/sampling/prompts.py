"""Prompts: what the model reads, with the reference answer; and the file that holds them, one JSON object per line."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import operator
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t2fast.arguments import shown
from t2fast.errors import DataError, T2Error
from t2fast.files import read_content
from t2fast.sampling.params import SamplingParams, foreign_setting

__all__ = ["Prompt", "digest", "read_prompts", "unique"]

_SETTINGS = tuple(one.name for one in dataclasses.fields(SamplingParams))
#: Parts of a message's content that are text, by their type.
_TEXT_PARTS = ("text", "input_text", "output_text")


@dataclass(frozen=True)
class Prompt:
    """One problem: exactly one of text, messages, token_ids says what the model reads.

    Parameters
    ----------
    id
        Unique among the prompts; with the seed it settles every random draw.
    text
        What the model continues. The tokenizer's special tokens are added, except a first one that it begins with
        already; see ``add_special_tokens`` of :class:`SamplingParams`.
    messages
        A chat, ``{"role": ..., "content": ...}`` each, put into the model's chat template. A content may be a list of
        text parts, ``{"type": "text", "text": ...}``.
    token_ids
        Tokens, taken as they are.
    answer
        The reference answer, for verifiers and scoring.
    choices
        The answers to choose from, for verifiers and scoring.
    overrides
        Settings of this prompt alone: any field of :class:`SamplingParams`.
    metadata
        Whatever else the caller keeps with it; verifiers see it.
    tools
        Functions that the chat template describes to the model.
    chat_template_kwargs
        Further arguments of the chat template, such as ``{"enable_thinking": False}``.
    continue_final_message
        Whether the model continues the last message rather than begin a new one; by default it does so where that
        message is the assistant's, as transformers' pipelines do.

    Raises
    ------
    T2Error
        When it has no id, none or several of the three, or settings that do not exist.

    Examples
    --------
    >>> Prompt("q1", "2 + 2 =", answer="4", overrides={"k": 8}).params(SamplingParams()).k
    8
    >>> Prompt("q2", messages=[{"role": "user", "content": "What is 2 + 2?"}]).messages[0]["role"]
    'user'
    """

    id: str
    text: str | None = None
    messages: tuple[dict[str, Any], ...] | None = None
    token_ids: tuple[int, ...] | None = None
    answer: str | None = None
    choices: tuple[str, ...] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[dict[str, Any], ...] | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    continue_final_message: bool | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise T2Error(f"id = {shown(self.id)}: must be a text, not empty")
        if not self.id.isprintable():
            # It becomes part of messages and tables.
            raise T2Error(f"id = {shown(self.id)}: must be printable")
        try:
            self._check()
        except T2Error as error:
            raise T2Error(f"prompt {self.id!r}: {error}") from None

    def _check(self) -> None:
        given = [name for name in ("text", "messages", "token_ids") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise T2Error(f"needs exactly one of text, messages, token_ids; it has {found}")
        for name in ("messages", "choices", "tools"):
            value = getattr(self, name)
            if value is not None:
                if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
                    raise T2Error(f"{name} must be a list, not {shown(value)}")
                object.__setattr__(self, name, tuple(value))
        if self.token_ids is not None:
            object.__setattr__(self, "token_ids", _token_ids(self.token_ids))
        if not getattr(self, given[0]):
            raise T2Error(f"its {given[0]} is empty")
        _check_text("text", self.text)
        if self.answer is not None and not isinstance(self.answer, str):
            raise T2Error(f"answer must be a text, not {shown(self.answer)}")
        if self.choices is not None and not (self.choices and all(c and isinstance(c, str) for c in self.choices)):
            raise T2Error("choices must be texts, none of them empty")
        for message in self.messages or ():
            _check_message(message)
        for tool in self.tools or ():
            if not isinstance(tool, Mapping):
                raise T2Error(f"tools must be objects that describe functions, not {shown(tool)}")
        if not isinstance(self.chat_template_kwargs, Mapping):
            raise T2Error(f"chat_template_kwargs must be an object, not {shown(self.chat_template_kwargs)}")
        if self.messages is None:
            for name in ("tools", "chat_template_kwargs", "continue_final_message"):
                if getattr(self, name):
                    raise T2Error(f"{name} has no effect without messages: give messages, or leave it out")
        if self.continue_final_message not in (None, True, False):
            raise T2Error(f"continue_final_message must be true or false, not {shown(self.continue_final_message)}")
        for name in ("overrides", "metadata"):
            if not isinstance(getattr(self, name), Mapping):
                raise T2Error(f"{name} must be an object, not {shown(getattr(self, name))}")
        self.params(SamplingParams())

    @property
    def continues(self) -> bool:
        """Whether the model continues the last message of the chat."""
        if self.continue_final_message is None:
            return bool(self.messages) and (self.messages or ())[-1].get("role") == "assistant"
        return self.continue_final_message

    def params(self, params: SamplingParams) -> SamplingParams:
        """The settings that hold for this prompt.

        Examples
        --------
        >>> Prompt("q", "?", overrides={"top_k": 5}).params(SamplingParams(k=2)).top_k
        5
        """
        return params.override(self.overrides) if self.overrides else params

    def to_dict(self) -> dict[str, Any]:
        """The prompt as a line of prompts.jsonl holds it."""
        named = {
            "id": self.id,
            "text": self.text,
            "messages": self.messages and list(self.messages),
            "token_ids": self.token_ids and list(self.token_ids),
            "answer": self.answer,
            "choices": self.choices and list(self.choices),
            "params": dict(self.overrides) or None,
            "tools": self.tools and list(self.tools),
            "chat_template_kwargs": dict(self.chat_template_kwargs) or None,
            "continue_final_message": self.continue_final_message,
        }
        return {k: v for k, v in named.items() if v is not None} | dict(self.metadata)


def _check_text(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise T2Error(f"{name} must be a text, not {shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(value[error.start]):04x}"
        raise T2Error(f"{name} holds half of a character, {half} (a surrogate without its pair)") from None


def _token_ids(value: Any) -> tuple[int, ...]:
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise T2Error(f"token_ids must be a list of whole numbers, not {shown(value)}")
    found = []
    for token in value:
        try:
            if isinstance(token, bool):
                raise TypeError
            found.append(operator.index(token))
        except TypeError:
            raise T2Error(f"token_ids must be whole numbers, at least 0; found {str(token)[:60]}") from None
        if found[-1] < 0:
            raise T2Error(f"token_ids must be whole numbers, at least 0; found {found[-1]}")
    return tuple(found)


def _check_message(message: Any) -> None:
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise T2Error(
            f'each of its messages needs role and content, as {{"role": "user", "content": "..."}}: {message!r}'
        )
    content = message.get("content")
    if content is None:
        if "content" not in message and "tool_calls" not in message:
            raise T2Error(f"a message of {message['role']!r} has no content")
        return
    if isinstance(content, list | tuple):
        for part in content:
            kind = part.get("type") if isinstance(part, Mapping) else None
            if kind not in _TEXT_PARTS or not isinstance(part.get("text"), str):
                raise T2Error(f"a message has a content part of type {kind!r}: t2fast reads text parts only")
            _check_text("content", part["text"])
        return
    _check_text("content", content)


def unique(prompts: Iterable[Prompt]) -> None:
    """Check that no two prompts have one id.

    Raises
    ------
    T2Error
        When two have.
    """
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.id in seen:
            raise T2Error(f"two prompts have the id {prompt.id!r}: ids must differ")
        seen.add(prompt.id)


def _prompt(line: Any) -> Prompt:
    """One line of prompts.jsonl; raises T2Error with the reason when it cannot be read."""
    if not isinstance(line, dict):
        raise T2Error('must be an object such as {"id": "q1", "prompt": "..."}')
    fields = dict(line)
    if "prompt" in fields:
        if "text" in fields:
            raise T2Error("has both prompt and text, which mean the same")
        fields["text"] = fields.pop("prompt")
    if "id" not in fields:
        raise T2Error("has no id")
    name = fields.pop("id")
    name = str(name) if isinstance(name, int) and not isinstance(name, bool) else name
    overrides = fields.pop("params", None) or {}
    if not isinstance(overrides, dict):
        raise T2Error(f'params must be an object such as {{"k": 8}}, not {shown(overrides)}')
    answer = fields.pop("answer", None)
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        answer = str(answer)
    known = ("text", "messages", "token_ids", "choices", "tools", "continue_final_message")
    given = {key: fields.pop(key, None) for key in known}
    for key in ("messages", "token_ids", "choices", "tools"):
        if given[key] is not None and not isinstance(given[key], list):
            raise T2Error(f"{key} must be a list")
    kwargs = fields.pop("chat_template_kwargs", None) or {}
    metadata = fields.pop("metadata", {})
    if not isinstance(metadata, dict):
        metadata = {"metadata": metadata}
    for key in fields:
        _check_metadata(key)
    return Prompt(
        name, answer=answer, overrides=overrides, metadata=fields | metadata, chat_template_kwargs=kwargs, **given
    )


def _check_metadata(key: str) -> None:
    """Refuse settings at the top of a line: as metadata they would have no effect, and nothing would say so."""
    keep = f'or keep it as data: {{"metadata": {{"{key}": ...}}}}'
    if key in _SETTINGS:
        raise T2Error(f'{key} belongs into params: {{"params": {{"{key}": ...}}}}')
    if (hint := foreign_setting(key)) is not None:
        raise T2Error(f"{key} has no effect here: {hint}, {keep}")
    near = difflib.get_close_matches(key, [name for name in _SETTINGS if len(name) > 4], n=1, cutoff=0.85)
    if near:
        raise T2Error(f'{key} is not a key of prompts: {{"params": {{"{near[0]}": ...}}}} sets {near[0]}, {keep}')


def digest(prompts: Sequence[Prompt]) -> str:
    """The SHA-256 of what prompts say, whatever file they came from and however it was written."""
    total = hashlib.sha256()
    for prompt in prompts:
        total.update(json.dumps(prompt.to_dict(), sort_keys=True).encode() + b"\n")
    return total.hexdigest()


def read_prompts(path: str | Path) -> list[Prompt]:
    """Read a file of prompts, one JSON object per line; ``-`` is standard input.

    Each has an ``id`` and one of ``prompt`` (or ``text``), ``messages``, ``token_ids``; it may have ``answer``,
    ``choices``, ``tools``, ``chat_template_kwargs``, ``continue_final_message`` and ``params``, settings of its own.
    Everything else is kept as metadata, but names of settings, ours and other engines', are refused there. Empty lines
    are passed over.

    Raises
    ------
    DataError
        When the file cannot be read, a line is malformed, an id appears twice, or there is no prompt at all.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "prompts.jsonl")
    >>> _ = path.write_text('{"id": "q1", "prompt": "2 + 2 =", "answer": 4, "level": "easy"}')
    >>> [prompt] = read_prompts(path)
    >>> prompt.answer, prompt.metadata
    ('4', {'level': 'easy'})
    """
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else read_content(path, error=DataError)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    prompts: list[Prompt] = []
    first: dict[str, int] = {}
    for number, raw in enumerate(content.split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            prompt = _prompt(json.loads(raw))
        except T2Error as error:
            raise DataError(f"{path}, line {number}: {error}") from None
        except (ValueError, RecursionError) as error:
            reason = (
                f"not JSON: {error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
            )
            raise DataError(f"{path}, line {number}: {reason}") from None
        if prompt.id in first:
            raise DataError(f"{path}, line {number}: id {prompt.id!r} was used in line {first[prompt.id]} already")
        first[prompt.id] = number
        prompts.append(prompt)
    if not prompts:
        raise DataError(f"{path}: holds no prompt")
    return prompts
