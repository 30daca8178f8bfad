"""Where samples end: the model's end tokens, stop tokens and stop texts."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from t2fast.errors import T2Error
from t2fast.sampling.engine.text import CONTEXT, Tokenizer
from t2fast.sampling.engine.tree import Tokens
from t2fast.sampling.params import SamplingParams

__all__ = ["ENDS", "MAY_END", "Endings", "end_tokens"]

#: What a token means for the end of a sample: it ends it; or it may complete a stop text.
ENDS, MAY_END = 1, 2


@dataclass(frozen=True)
class _Stops:
    """The stop texts of some prompts."""

    texts: tuple[str, ...]
    #: Whether a special token is part of one, so that they are looked for in text that shows them.
    raw: bool


class Endings:
    """Where samples end: end tokens, stop tokens and stop texts of every prompt.

    Parameters
    ----------
    tokenizer
        Decodes.
    settings
        By prompt.
    eos
        Tokens that end a sample, except where ``ignore_eos`` says otherwise.

    Raises
    ------
    T2Error
        When a stop token is not in the vocabulary.
    """

    def __init__(self, tokenizer: Tokenizer, settings: Sequence[SamplingParams], eos: Sequence[int]) -> None:
        self.tokenizer, self.settings = tokenizer, settings
        self._kinds = kinds = {}  # type: dict[tuple[tuple[str, ...], tuple[int, ...], bool], int]
        #: Which row of the table a prompt goes by.
        self.kind = np.array([kinds.setdefault(_key(one), len(kinds)) for one in settings], np.int32)
        #: uint8 [kinds, vocabulary]: ENDS, MAY_END or both.
        self.table = np.zeros((len(kinds), tokenizer.vocab), np.uint8)
        self._stops: list[_Stops] = []
        for (stops, ids, ignore_eos), kind in kinds.items():
            unknown = [token for token in ids if token >= tokenizer.vocab]
            if unknown:
                raise T2Error(f"stop_token_ids: token {unknown[0]} is not among the model's {tokenizer.vocab}")
            # What is a token of its own is invisible in text, and ends a sample as that token.
            special = {stop: tokenizer.special_token(stop) for stop in stops}
            tokens = [token for token in special.values() if token is not None]
            self.table[kind, [*ids, *tokens, *(() if ignore_eos else eos)]] |= ENDS
            texts = tuple(stop for stop in stops if special[stop] is None)
            self._stops.append(_Stops(texts, any(map(tokenizer.holds_special, texts))))
            if texts:
                self.table[kind] |= MAY_END * self._completing(texts)

    def _completing(self, stops: tuple[str, ...]) -> npt.NDArray[np.uint8]:
        """Which tokens may be the last of a stop text: they hold its last character, or part of one."""
        found = self.tokenizer.with_character("\ufffd").copy()
        for last in {stop[-1] for stop in stops}:
            # Tokenizers swallow blanks at the start of a text, and a token by itself is one.
            found |= self.tokenizer.with_character(last) if last != " " else np.uint8(1)
        return found

    def take(self, prompt: int, settings: SamplingParams) -> bool:
        """Let another prompt come in the place of one; False where its endings are not in the table yet."""
        kind = self._kinds.get(_key(settings))
        if kind is not None:
            self.kind[prompt] = kind
        return kind is not None

    def text(self, prompt: int, asked: Tokens, tokens: Tokens) -> tuple[str, bool]:
        """The text of an answer, and whether a stop text ended it."""
        stops, visible = self._stops[self.kind[prompt]], self.settings[prompt].skip_special_tokens
        ended = bool(self.table[self.kind[prompt], tokens[-1]] & ENDS)
        tokens = tokens[:-1] if ended else tokens
        text = self.tokenizer.decode(asked, tokens, skip_special=visible and not stops.raw)
        cuts = [at for at in map(text.find, stops.texts) if at >= 0]
        text = text[: min(cuts)] if cuts else text
        if stops.raw and visible:
            text = self.tokenizer.without_special(text)
        return text, bool(cuts)

    def completed(self, prompt: int, asked: Tokens, tokens: Tokens) -> bool:
        """Whether the last token completed a stop text."""
        stops, visible = self._stops[self.kind[prompt]], self.settings[prompt].skip_special_tokens
        if not stops.texts:
            return False
        # A stop text of n bytes has at most n tokens, but for some that are no text; so its end is looked at first.
        reach = max(len(stop.encode()) for stop in stops.texts) + 16
        if len(tokens) > 2 * reach:
            tail = self.tokenizer.decode(
                tokens[-reach - CONTEXT : -reach], tokens[-reach:], skip_special=visible and not stops.raw
            )
            if not any(stop in tail for stop in stops.texts):
                return False
        return self.text(prompt, asked, tokens)[1]


def _key(settings: SamplingParams) -> tuple[tuple[str, ...], tuple[int, ...], bool]:
    return settings.stop, settings.stop_token_ids, settings.ignore_eos


def end_tokens(model: Any, tokenizer: Any, vocab: int) -> tuple[int, ...]:
    """Tokens that end a text: those of the model's generation settings and of the tokenizer that the model has.

    Ids outside the vocabulary are no tokens: -1 is how some configurations say that there is none.
    """
    found: set[int] = set()
    for source in (getattr(model, "generation_config", None), tokenizer):
        ids: Any = getattr(source, "eos_token_id", None)
        if hasattr(ids, "tolist"):  # a tensor
            ids = ids.tolist()
        listed = ids if isinstance(ids, Iterable) and not isinstance(ids, str) else () if ids is None else (ids,)
        for one in listed:
            if not isinstance(one, numbers.Integral):
                raise T2Error(f"eos_token_id = {ids!r}: must be a token id or a list of token ids")
            found.add(int(one))
    return tuple(sorted(i for i in found if 0 <= i < vocab))
