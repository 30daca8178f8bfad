"""From what was drawn to the answers of OpenAI's API: whole ones, and pieces of streams."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from t2fast.sampling.engine.drawn import top_of
from t2fast.sampling.engine.text import Tokenizer
from t2fast.sampling.samples import Sample
from t2fast.serve.batch import End, Piece, Ticket

__all__ = ["Answer", "TokenTexts"]

_REASONS = {"stop": "stop", "length": "length", "context": "length", "filter": "content_filter"}
#: What stands for a log-probability that JSON cannot hold.
_NEVER = -9999.0


class TokenTexts:
    """The text of each token, as it is in the middle of a text; ``token_id:N`` where it is no whole character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer, self._known = tokenizer, {}  # type: Tokenizer, dict[int, str]
        self._before = np.asarray(tokenizer.tokenizer("a", add_special_tokens=False)["input_ids"][-1:], np.int32)

    def __call__(self, token: int) -> str:
        """Its text."""
        if token not in self._known:
            text = self._tokenizer.decode(self._before, np.array([token], np.int32), skip_special=False)
            self._known[token] = f"token_id:{token}" if "\ufffd" in text else text
        return self._known[token]


class Answer:
    """Writes the answer to one request.

    Parameters
    ----------
    ticket
        The request.
    model, fingerprint
        The model's name, and what stands for its weights.
    texts
        Of tokens.
    tokenizer
        Writes prompts that were given as tokens.
    """

    def __init__(
        self, ticket: Ticket, *, model: str, fingerprint: str, texts: TokenTexts, tokenizer: Tokenizer
    ) -> None:
        self._ticket, self._request, self._texts = ticket, ticket.request, texts
        chat, stream = self._request.chat, self._request.stream
        self._head = {
            "id": ("chatcmpl-" if chat else "cmpl-") + secrets.token_hex(12),
            "object": ("chat.completion" + ".chunk" * stream) if chat else "text_completion",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": fingerprint,
        }
        self._tokenizer = tokenizer
        self._ends: dict[int, End] = {}
        #: Characters and tokens sent of each choice.
        self._offsets: dict[int, int] = {}

    @property
    def whole(self) -> bool:
        """Whether all choices are finished."""
        return len(self._ends) == len(self._ticket.prompts) * self._request.params.k

    def take(self, events: Iterable[Piece | End]) -> None:
        """Take in what happened."""
        for event in events:
            if isinstance(event, End):
                self._ends[event.choice] = event

    # ------------------------------------------------------------------------------------------------ at once

    def body(self) -> dict[str, Any]:
        """The whole answer."""
        choices = [self._choice(self._ends[index]) for index in range(len(self._ends))]
        return {**self._head, "choices": choices, "usage": self.usage()}

    def usage(self) -> dict[str, int]:
        """Tokens read and drawn."""
        read = sum(len(prompt.token_ids or ()) for prompt in self._ticket.prompts)
        drawn = 0 if self._request.silent else sum(len(end.sample.token_ids) for end in self._ends.values())
        return {"prompt_tokens": read, "completion_tokens": drawn, "total_tokens": read + drawn}

    def _choice(self, end: End) -> dict[str, Any]:
        request, sample = self._request, end.sample
        reason = "length" if request.silent else _REASONS[sample.finish_reason]
        found: dict[str, Any] = {"index": end.choice, "finish_reason": reason, "logprobs": None}
        tokens = () if request.silent else sample.token_ids
        if request.logprobs is not None:
            drawn = _told(sample) if tokens else []
            if request.chat:
                found["logprobs"] = {"content": [self._token(*one) for one in drawn], "refusal": None}
            else:
                found["logprobs"] = self._columns([*self._asked(end.choice), *drawn] if request.echo else drawn, 0)
        if request.token_ids:
            found["token_ids"] = list(tokens)
            found["prompt_token_ids"] = list(self._prompt_of(end.choice))
        text = "" if request.silent else sample.text
        if request.chat:
            return {**found, "message": {"role": "assistant", "content": text, "refusal": None}}
        return {**found, "text": self._echo(end.choice) + text}

    def _prompt_of(self, choice: int) -> Sequence[int]:
        return self._ticket.prompts[choice // self._request.params.k].token_ids or ()

    def _echo(self, choice: int) -> str:
        if not self._request.echo:
            return ""
        text = self._request.prompts[choice // self._request.params.k].text
        if text is not None:
            return text
        nothing = np.empty(0, np.int32)
        return self._tokenizer.decode(nothing, np.asarray(self._prompt_of(choice), np.int32), skip_special=False)

    def _asked(self, choice: int) -> list[tuple[int, float | None, list[tuple[int, float]]]]:
        """The prompt's tokens; the first has no log-probability."""
        ids = self._prompt_of(choice)
        first = self._ends[choice - choice % self._request.params.k]
        logprobs = (None, *(first.sample.prompt_logprobs or ()))
        found = []
        for i, (token, logprob) in enumerate(zip(ids, logprobs, strict=True)):
            top: list[tuple[int, float]] = []
            if i and first.prompt_top is not None:
                top = list(zip(*(part[i - 1].tolist() for part in first.prompt_top), strict=True))
            found.append((token, logprob, top))
        return found

    # ------------------------------------------------------------------------------------------------ in pieces

    def begin(self) -> Iterator[dict[str, Any]]:
        """The first pieces: who speaks, or the prompt."""
        for choice in range(len(self._ticket.prompts) * self._request.params.k):
            if self._request.chat:
                yield self._chunk([{"index": choice, "delta": {"role": "assistant", "content": ""}, "logprobs": None,
                                    "finish_reason": None}])  # fmt: skip
            elif self._request.echo:
                yield self._chunk([self._part(choice, self._echo(choice), [], None)])

    def chunks(self, events: Sequence[Piece | End]) -> Iterator[dict[str, Any]]:
        """What happened, as pieces; those of one choice that came together are one."""
        self.take(events)
        pieces: dict[int, list[Piece]] = {}
        for event in events:
            if isinstance(event, Piece):
                pieces.setdefault(event.choice, []).append(event)
        done = {event.choice: event for event in events if isinstance(event, End)}
        parts = []
        for choice in dict.fromkeys((*pieces, *done)):
            text = "".join(piece.text for piece in pieces.get(choice, ()))
            told = [one for piece in pieces.get(choice, ()) for one in self._told_in(piece)]
            end = done.get(choice)
            if end is not None:
                text, told = text + end.text, told + _told(end.sample)[end.sent :]
            if self._request.silent:
                text, told = "", []
            reason = None if end is None else "length" if self._request.silent else _REASONS[end.sample.finish_reason]
            if text or reason is not None or (told and (self._request.logprobs is not None or self._request.token_ids)):
                parts.append(self._part(choice, text, told, reason))
        if parts:
            yield self._chunk(parts)

    def end(self) -> Iterator[dict[str, Any]]:
        """The last piece, where it is asked for."""
        if self._request.usage:
            yield {**self._chunk([]), "usage": self.usage()}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._head, "choices": choices, **({"usage": None} if self._request.usage else {})}

    def _told_in(self, piece: Piece) -> list[tuple[int, float | None, list[tuple[int, float]]]]:
        ids, values = top_of(piece.top, self._request.params.top_logprobs)
        tops = [list(zip(a, b, strict=True)) for a, b in zip(ids, values, strict=True)]
        return list(zip(piece.tokens.tolist(), piece.logprobs.tolist(), tops, strict=True))

    def _part(self, choice: int, text: str, told: Any, reason: str | None) -> dict[str, Any]:
        found: dict[str, Any] = {"index": choice, "finish_reason": reason, "logprobs": None}
        if self._request.token_ids:
            found["token_ids"] = [token for token, _, _ in told]
        if self._request.chat:
            if self._request.logprobs is not None and told:
                found["logprobs"] = {"content": [self._token(*one) for one in told], "refusal": None}
            return {**found, "delta": {"content": text} if text else {}}
        if self._request.logprobs is not None and told:
            found["logprobs"] = self._columns(told, self._offsets.get(choice, 0))
        self._offsets[choice] = self._offsets.get(choice, 0) + len(text)
        return {**found, "text": text}

    # ------------------------------------------------------------------------------------------------ tokens

    def _token(self, token: int, logprob: float | None, top: list[tuple[int, float]]) -> dict[str, Any]:
        """A token of a chat."""
        likeliest = [{**self._named(one), "logprob": _finite(value)} for one, value in top]
        return {**self._named(token), "logprob": _finite(logprob), "top_logprobs": likeliest}

    def _named(self, token: int) -> dict[str, Any]:
        text = self._texts(token)
        return {"token": text, "bytes": None if text.startswith("token_id:") else list(text.encode())}

    def _columns(
        self, told: Sequence[tuple[int, float | None, list[tuple[int, float]]]], offset: int
    ) -> dict[str, list[Any]]:
        """The tokens of a completion."""
        tokens = [self._texts(token) for token, _, _ in told]
        offsets = []
        for text in tokens:
            offsets.append(offset)
            offset += len(text)
        tops: list[dict[str, float] | None] = []
        for (token, logprob, top), text in zip(told, tokens, strict=True):
            if logprob is None:
                tops.append(None)
                continue
            found: dict[str, float] = {}
            for one, value in top:
                found.setdefault(self._texts(one), _finite(logprob if one == token else value))
            found.setdefault(text, _finite(logprob))  # the token itself is told, too
            tops.append(found)
        return {
            "tokens": tokens,
            "token_logprobs": [None if logprob is None else _finite(logprob) for _, logprob, _ in told],
            "top_logprobs": tops,
            "text_offset": offsets,
        }


def _told(sample: Sample) -> list[tuple[int, float | None, list[tuple[int, float]]]]:
    """A sample's tokens with their log-probabilities and likeliest ones."""
    n = len(sample.token_ids)
    tops: Sequence[Any] = [[] for _ in range(n)]
    if sample.top_token_ids is not None and sample.top_logprobs is not None:
        tops = [list(zip(a, b, strict=True)) for a, b in zip(sample.top_token_ids, sample.top_logprobs, strict=True)]
    return list(zip(sample.token_ids, sample.logprobs or (None,) * n, tops, strict=True))


def _finite(value: float | None) -> float:
    return _NEVER if value is None or not math.isfinite(value) else value
