"""Between text and tokens: prompts and reference answers into tokens, drawn tokens into text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from t2fast.errors import T2Error
from t2fast.sampling.engine.tree import Tokens
from t2fast.sampling.params import SamplingParams
from t2fast.sampling.prompts import Prompt

__all__ = ["Tokenizer"]

#: Tokens before an answer with which it is decoded: some tokenizers write what begins a text otherwise.
CONTEXT = 8
#: Texts before an answer, to learn how it is tokenized where it does not begin a text.
_BEFORE = ("a", "\n", ".", ":", "0", ")", "-", "Q:", "\u6f22")
#: Arguments of the chat template that decide what comes out rather than what it says.
_OURS = ("conversation", "tokenize", "return_dict", "return_tensors", "padding", "truncation", "max_length", "messages",
         "add_generation_prompt", "continue_final_message", "tools")  # fmt: skip


class Tokenizer:
    """A tokenizer of transformers, as the sampler needs it.

    Parameters
    ----------
    tokenizer
        Anything that is called on texts and has ``decode``, as tokenizers of transformers do. Chats need its
        ``apply_chat_template``.
    vocab
        Size of the model's vocabulary. The tokenizer may know more tokens, as long as they do not occur.

    Raises
    ------
    T2Error
        When it is no tokenizer.
    """

    def __init__(self, tokenizer: Any, vocab: int) -> None:
        if not callable(tokenizer) or not callable(getattr(tokenizer, "decode", None)):
            raise T2Error(
                f"tokenizer = {type(tokenizer).__name__}: must be a tokenizer of transformers, for example "
                "AutoTokenizer.from_pretrained(...)"
            )
        self.tokenizer, self.vocab = tokenizer, vocab

    # ------------------------------------------------------------------------------------------------ into tokens

    def encode(self, prompts: Sequence[Prompt], params: SamplingParams | None = None) -> list[Tokens]:
        """The tokens of each prompt; a chat goes through the template.

        Raises
        ------
        T2Error
            When a token is not in the vocabulary, or the tokenizer cannot do chats.
        """
        params = params or SamplingParams()
        found: list[Tokens] = []
        # Most texts are of one kind, and tokenizers are quickest with many at once.
        plain = [
            prompt.text for prompt in prompts
            if prompt.text is not None and self._adds(prompt.text, prompt.params(params).add_special_tokens)
        ]  # fmt: skip
        encoded = iter(self._call(plain, True) if plain else [])
        for prompt in prompts:
            if prompt.text is not None:
                special = prompt.params(params).add_special_tokens
                ids = next(encoded) if self._adds(prompt.text, special) else self._ids(prompt.text, special)
            elif prompt.messages is not None:
                ids = self._chat(prompt)
            else:
                ids = list(prompt.token_ids or ())
            if not ids:
                raise T2Error(f"prompt {prompt.id!r}: has no tokens; begin it with a token such as the tokenizer's bos")
            self._known(prompt, ids)
            found.append(np.asarray(ids, np.int32))
        return found

    def _known(self, prompt: Prompt, ids: Sequence[int]) -> None:
        if max(ids) >= self.vocab:
            raise T2Error(
                f"prompt {prompt.id!r}: token {max(ids)} is not among the model's {self.vocab}: do tokenizer and model "
                "belong together?"
            )

    def _adds(self, text: str, special: bool | None) -> bool:
        """Whether a text simply gets the tokenizer's special tokens."""
        return special or (special is None and not text.startswith(self._special_texts))

    def _ids(self, text: str, special: bool | None = None) -> list[int]:
        """The tokens of a text; by default with special ones, but not a first one that the text has already."""
        if self._adds(text, special):
            return list(self._call(text, True))
        plain: list[int] = self._call(text, False)
        if special is None and (first := self._call("", True)[:1]) and plain[:1] != first:
            return list(self._call(text, True))  # it begins with another one than the tokenizer adds
        return plain

    def _call(self, text: Any, special: bool) -> Any:
        """The tokens of a text, or of each of several."""
        try:
            return self.tokenizer(text, add_special_tokens=special)["input_ids"]
        except (TypeError, ValueError, KeyError) as error:
            raise T2Error(f"the tokenizer cannot encode this text: {' '.join(str(error).split())}") from None

    @cached_property
    def _special_texts(self) -> tuple[str, ...]:
        """The texts of special tokens, which :meth:`decode` hides."""
        added = getattr(self.tokenizer, "added_tokens_decoder", None)
        # Mistral's own tokenizer has a method of that name, which only raises.
        values = added.values() if isinstance(added, Mapping) else ()
        names = [str(one) for one in values if getattr(one, "special", False)]
        names += [str(one) for one in getattr(self.tokenizer, "all_special_tokens", None) or ()]
        return tuple(sorted({name for name in names if name}))

    def special_token(self, text: str) -> int | None:
        """The id of the special token that is this text, if there is one."""
        if text not in self._special_texts:
            return None
        token = self.tokenizer.convert_tokens_to_ids(text)
        return int(token) if isinstance(token, int) and 0 <= token < self.vocab else None

    def holds_special(self, text: str) -> bool:
        """Whether there is a special token in a text, so that :meth:`decode` would hide part of it."""
        return any(one in text for one in self._special_texts)

    def without_special(self, text: str) -> str:
        """A text without the special tokens in it."""
        for one in self._special_texts:
            text = text.replace(one, "")
        return text

    # ------------------------------------------------------------------------------------------------ chats

    def _chat(self, prompt: Prompt) -> list[int]:
        template = getattr(self.tokenizer, "apply_chat_template", None)
        if template is None:
            raise T2Error(
                f"prompt {prompt.id!r}: has messages, but the tokenizer has no chat template; give text instead"
            )
        taken = [name for name in prompt.chat_template_kwargs if name in _OURS]
        if taken:
            raise T2Error(f"prompt {prompt.id!r}: chat_template_kwargs cannot set {taken[0]}")
        messages = [dict(message) for message in prompt.messages or ()]
        if any(not isinstance(one.get("content"), str | None) for one in messages) and not self._takes_parts:
            messages = [{**one, "content": _joined(one.get("content"))} for one in messages]
        keywords: dict[str, Any] = dict(prompt.chat_template_kwargs)
        keywords["continue_final_message" if prompt.continues else "add_generation_prompt"] = True
        if prompt.tools:
            keywords["tools"] = [dict(tool) for tool in prompt.tools]
        try:
            # The template writes the special tokens itself.
            return self._rendered(template, messages, keywords)
        except Exception as error:  # jinja2's, and whatever a template raises on purpose
            reason = " ".join(str(error).split())
            if "chat_template" in reason and not getattr(self.tokenizer, "chat_template", None):
                reason = "the tokenizer has no chat template; give text instead"
            raise T2Error(f"prompt {prompt.id!r}: the chat template refuses it: {reason}") from None

    def _rendered(self, template: Callable[..., Any], messages: list[Any], keywords: dict[str, Any]) -> list[int]:
        ids = template(messages, tokenize=True, return_dict=False, **keywords)
        if isinstance(ids, str):
            return list(self._call(ids, False))
        if isinstance(ids, Mapping):
            ids = ids["input_ids"]
        ids = ids.tolist() if hasattr(ids, "tolist") else list(ids)
        return [int(i) for i in (ids[0] if ids and isinstance(ids[0], list) else ids)]

    @cached_property
    def _takes_parts(self) -> bool:
        """Whether the chat template reads a content that is a list of parts, rather than print the list."""
        mark = "t2fast reads parts"
        parts = [{"role": "user", "content": [{"type": "text", "text": mark}]}]
        try:
            text = self.tokenizer.apply_chat_template(parts, tokenize=False)
        except Exception:  # whatever a template raises
            return False
        return isinstance(text, str) and mark in text and "'type'" not in text and '"type"' not in text

    # ------------------------------------------------------------------------------------------------ answers

    def continuation(self, prompt: Prompt, asked: Tokens, answer: str, params: SamplingParams | None = None) -> Tokens:
        """The tokens of an answer that follows the prompt, whose own tokens are ``asked``.

        After a text they are what the two together have beyond the prompt's tokens. Where the prompt is a chat or
        tokens, or its last token would become another one with the answer behind it, the answer is tokenized by itself,
        as it is written in the middle of a text: prompt and answer together always decode to their texts.

        Raises
        ------
        T2Error
            When no tokens do that.
        """
        if prompt.text is not None:
            special = prompt.params(params or SamplingParams()).add_special_tokens
            both = self._ids(prompt.text + answer, special)
            if both[: len(asked)] == asked.tolist():
                return self._checked(prompt, both[len(asked) :])
        head = self._raw(asked.tolist())
        alone = self._call(answer, False)
        candidates = [alone]
        for before in _BEFORE:
            first, whole = self._call(before, False), self._call(before + answer, False)
            if whole[: len(first)] == first:
                candidates.append(whole[len(first) :])
        for ids in candidates:
            if self._raw(asked.tolist() + ids) == head + answer:
                return self._checked(prompt, ids)
        if self._raw(alone).strip() == answer.strip():
            raise T2Error(
                f"prompt {prompt.id!r}: no tokens continue it with the answer {answer!r}; move the end of the prompt "
                "into the answer"
            )
        return self._checked(prompt, alone)  # a tokenizer that changes texts, such as to lower case

    def _checked(self, prompt: Prompt, ids: list[int]) -> Tokens:
        if ids:
            self._known(prompt, ids)
        return np.asarray(ids, np.int32)

    # ------------------------------------------------------------------------------------------------ into text

    def decode(self, prompt: Tokens, tokens: Tokens, *, skip_special: bool = True) -> str:
        """The text of an answer as it continues the prompt."""
        before = prompt[-CONTEXT:].tolist()
        decode = self._visible if skip_special else self._raw
        head = decode(before)
        whole = decode(before + tokens.tolist())
        return whole[len(head) :] if whole.startswith(head) else decode(tokens.tolist())

    def _visible(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _raw(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False)
        return text

    @cached_property
    def pieces(self) -> list[str]:
        """The text of every token by itself, special ones included."""
        return [self._raw([i]) for i in range(min(len(self.tokenizer), self.vocab))]

    def with_character(self, character: str) -> npt.NDArray[np.uint8]:
        """By token: 1 where its text has this character."""
        known = self._with_character
        found = known.get(character)
        if found is None or len(found) != self.vocab:
            if len(known) >= 64:
                known.pop(next(iter(known)))
            found = np.zeros(self.vocab, np.uint8)
            pieces = self.pieces[: self.vocab]
            found[: len(pieces)] = [character in piece for piece in pieces]
            known[character] = found
        return found

    @cached_property
    def _with_character(self) -> dict[str, npt.NDArray[np.uint8]]:
        return {}

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that differ for tokenizers that write other tokens."""
        backend: Any = getattr(self.tokenizer, "backend_tokenizer", None)
        if hasattr(backend, "to_str"):
            state = backend.to_str()
        else:
            vocab: dict[Any, Any] = getattr(self.tokenizer, "get_vocab", dict)()
            state = json.dumps(sorted((str(name), int(i)) for name, i in vocab.items()))
        template = str(getattr(self.tokenizer, "chat_template", None))
        return hashlib.sha256(f"{state}\0{template}".encode()).hexdigest()[:16]


def _joined(content: Any) -> Any:
    """Text parts as one text, a line each, as other engines join them."""
    if content is None or isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content)
