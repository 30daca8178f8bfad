"""Text as it grows: what may be sent now, so that nothing that was sent has to be taken back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from t2fast.sampling.engine.text import CONTEXT, Tokenizer
from t2fast.sampling.engine.tree import Tokens

__all__ = ["Increments"]

#: Tokens in a row after each of which the rest of a character may be missing, before they are taken for whole.
_LONGEST = 256


class Increments:
    """The text of one choice, piece by piece.

    Held back is what may be the beginning of a stop text, and bytes that are not yet a character.

    Parameters
    ----------
    tokenizer, asked
        Decodes; and the prompt's tokens.
    stops
        Texts that end the choice.
    visible
        Whether special tokens are left out.
    """

    def __init__(self, tokenizer: Tokenizer, asked: Tokens, stops: Sequence[str], visible: bool) -> None:
        self._tokenizer, self._stops, self._visible = tokenizer, stops, visible
        self._asked = asked[-CONTEXT:]
        # A stop text with a special token in it is looked for in another text than the one sent.
        self._whole = any(map(tokenizer.holds_special, stops))
        #: Tokens that end with a whole character; characters of those behind them that are sure; text that may begin a
        #: stop text; characters sent.
        self._read, self._sure, self._held, self._sent = 0, 0, "", 0

    def push(self, tokens: Tokens) -> str:
        """The text to send when there are these tokens, the last of which has not ended the choice."""
        if self._whole:
            return ""
        before = np.concatenate([self._asked, tokens[: self._read]])[-CONTEXT:]
        piece = self._tokenizer.decode(before, tokens[self._read :], skip_special=self._visible)
        if piece.endswith("\ufffd") and len(tokens) - self._read < _LONGEST:
            # The last one may become a character.
            self._held += piece[self._sure : -1]
            self._sure = max(self._sure, len(piece) - 1)
        else:
            self._held += piece[self._sure :]
            self._read, self._sure = len(tokens), 0
        keep = max((_begun(self._held, stop) for stop in self._stops), default=0)
        text, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        self._sent += len(text)
        return text

    def close(self, text: str) -> str:
        """What is left to send, given the whole text of the choice."""
        return text[self._sent :]


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of a text may begin the stop text."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)
