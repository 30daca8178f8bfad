"""Between text and tokens: prompts into tokens, answers into text, and where an answer ends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from t2fast.errors import T2Error
from t2fast.sampling.request import Prompt, SamplingParams
from t2fast.sampling.schedule import Tokens

__all__ = ["ENDS", "MAY_END", "Endings", "Tokenizer", "eos_tokens"]

#: What a token means for the end of a sample: it ends it; or it may complete a stop string.
ENDS, MAY_END = 1, 2
#: Tokens before an answer with which it is decoded: some tokenizers write what begins a text otherwise.
_CONTEXT = 8


class Tokenizer:
    """A Hugging Face tokenizer, as the sampler needs it.

    Parameters
    ----------
    tokenizer
        A ``PreTrainedTokenizerBase``.
    vocab
        Size of the model's vocabulary.

    Raises
    ------
    T2Error
        When it has tokens that the model doesn't.
    """

    def __init__(self, tokenizer: Any, vocab: int) -> None:
        self.tokenizer, self.vocab = tokenizer, vocab
        if len(tokenizer) > vocab:
            raise T2Error(
                f"tokenizer: it has {len(tokenizer)} tokens and the model {vocab}: they don't belong together"
            )

    def encode(self, prompts: Sequence[Prompt]) -> list[Tokens]:
        """Give the tokens of each prompt; a chat goes through the template.

        Raises
        ------
        T2Error
            When a token is not in the vocabulary, or there is no chat template.
        """
        found: list[Tokens] = []
        texts = [prompt.text for prompt in prompts if prompt.text is not None]
        encoded = iter(self.tokenizer(texts)["input_ids"] if texts else [])
        for prompt in prompts:
            if prompt.text is not None:
                ids = next(encoded)
            elif prompt.messages is not None:
                ids = self._chat(prompt)
            else:
                ids = prompt.token_ids
            tokens = np.asarray(ids, np.int64)
            if not len(tokens):
                raise T2Error(f"prompt {prompt.id!r}: has no tokens; begin it with a token such as the tokenizer's bos")
            if tokens.max() >= self.vocab:
                raise T2Error(f"prompt {prompt.id!r}: token {tokens.max()} is not among the model's {self.vocab}")
            found.append(tokens.astype(np.int32))
        return found

    def continuation(self, prompt: Prompt, asked: Tokens, answer: str) -> Tokens:
        """Give the tokens of an answer that follows the prompt, whose own tokens are ``asked``.

        After a text they are what the two together have beyond the prompt's tokens. Where the prompt is a chat or
        tokens, or its last token would become another one with the answer behind it, the answer is tokenized by itself.
        """
        if prompt.text is None:
            ids = self.tokenizer(answer, add_special_tokens=False)["input_ids"]
            return np.asarray(ids, np.int32)
        both = np.asarray(self.tokenizer(prompt.text + answer)["input_ids"], np.int32)
        if not np.array_equal(both[: len(asked)], asked):
            ids = self.tokenizer(answer, add_special_tokens=False)["input_ids"]
            return np.asarray(ids, np.int32)
        return both[len(asked) :]

    def _chat(self, prompt: Prompt) -> Sequence[int]:
        if not getattr(self.tokenizer, "chat_template", None):
            raise T2Error(f"prompt {prompt.id!r}: has messages, but the tokenizer no chat template; give text instead")
        try:
            text = self.tokenizer.apply_chat_template(
                [dict(message) for message in prompt.messages or ()], tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # jinja2's, and whatever a template raises on purpose
            raise T2Error(f"prompt {prompt.id!r}: the chat template refuses it: {error}") from None
        # The template writes the special tokens itself.
        ids: Sequence[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def decode(self, prompt: Tokens, tokens: Tokens) -> str:
        """Give the text of an answer as it continues the prompt."""
        before = prompt[-_CONTEXT:].tolist()
        head = self._text(before)
        whole = self._text(before + tokens.tolist())
        return whole[len(head) :] if whole.startswith(head) else self._text(tokens.tolist())

    def _text(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that differ for tokenizers that write other tokens."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        state = backend.to_str() if backend is not None else json.dumps(sorted(self.tokenizer.get_vocab().items()))
        template = str(getattr(self.tokenizer, "chat_template", None))
        return hashlib.sha256(f"{state}\0{template}".encode()).hexdigest()[:16]

    @cached_property
    def pieces(self) -> list[str]:
        """The text of every token by itself."""
        return [self._text([i]) for i in range(len(self.tokenizer))]


class Endings:
    """Where samples end: stop tokens and stop strings of every prompt.

    Parameters
    ----------
    tokenizer
        Decodes.
    settings
        By prompt.
    eos
        Tokens that always end a sample.
    """

    def __init__(self, tokenizer: Tokenizer, settings: Sequence[SamplingParams], eos: Sequence[int]) -> None:
        self.tokenizer, self.settings = tokenizer, settings
        kinds: dict[tuple[tuple[str, ...], tuple[int, ...]], int] = {}
        #: Which row of the table a prompt goes by.
        self.kind = np.array([kinds.setdefault((s.stop, s.stop_token_ids), len(kinds)) for s in settings], np.int32)
        #: uint8 [kinds, vocabulary]: ENDS, MAY_END or both.
        self.table = np.zeros((len(kinds), tokenizer.vocab), np.uint8)
        for (stops, ids), kind in kinds.items():
            unknown = [token for token in ids if token >= tokenizer.vocab]
            if unknown:
                raise T2Error(f"stop_token_ids: token {unknown[0]} is not among the model's {tokenizer.vocab}")
            self.table[kind, [*eos, *ids]] |= ENDS
            if stops:
                self.table[kind] |= MAY_END * self._completing(stops)

    def _completing(self, stops: tuple[str, ...]) -> npt.NDArray[np.uint8]:
        """Which tokens may be the last of a stop string: they hold its last character, or part of one."""
        last = {stop[-1] for stop in stops}
        found = np.zeros(self.tokenizer.vocab, np.uint8)
        # Tokenizers swallow blanks at the start of a text, and a token by itself is one.
        for i, piece in enumerate(self.tokenizer.pieces):
            found[i] = " " in last or "\ufffd" in piece or any(c in piece for c in last)
        return found

    def text(self, prompt: int, asked: Tokens, tokens: Tokens) -> tuple[str, bool]:
        """Give the text of an answer, and whether a stop string ended it."""
        settings = self.settings[prompt]
        ended = bool(self.table[self.kind[prompt], tokens[-1]] & ENDS)
        text = self.tokenizer.decode(asked, tokens[:-1] if ended else tokens)
        cuts = [at for at in map(text.find, settings.stop) if at >= 0]
        return (text[: min(cuts)], True) if cuts else (text, False)

    def completed(self, prompt: int, asked: Tokens, tokens: Tokens) -> bool:
        """Whether the last token completed a stop string."""
        stops = self.settings[prompt].stop
        # A stop string of n bytes has at most n tokens, but for some that are no text; so its end is looked at first.
        reach = max(len(stop.encode()) for stop in stops) + 16
        if len(tokens) > 2 * reach:
            tail = self.tokenizer.decode(tokens[-reach - _CONTEXT : -reach], tokens[-reach:])
            if not any(stop in tail for stop in stops):
                return False
        return self.text(prompt, asked, tokens)[1]


def eos_tokens(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Tokens that end a text: those of the model's generation settings and of the tokenizer."""
    found: set[int] = set()
    sources: list[Mapping[str, Any] | Any] = [getattr(model, "generation_config", None), tokenizer]
    for source in sources:
        ids = getattr(source, "eos_token_id", None)
        found.update([ids] if isinstance(ids, int) else ids or ())
    return tuple(sorted(found))
