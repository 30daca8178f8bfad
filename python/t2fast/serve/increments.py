"""Text as it grows: what may be sent now, so that nothing that was sent has to be taken back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from t2fast.sampling.engine.text import CONTEXT, Tokenizer
from t2fast.sampling.engine.tree import Tokens

__all__ = ["Increments"]

#: Tokens that may lack the rest of a character before they are shown as they are.
_LONGEST = 8


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
        #: Tokens that were looked at, and the text of those that has not been sent.
        self.read, self._held, self._sent = 0, "", 0

    def push(self, tokens: Tokens) -> str:
        """The text to send when there are these tokens, the last of which has not ended the choice."""
        if self._whole:
            return ""
        before = np.concatenate([self._asked, tokens[: self.read]])[-CONTEXT:]
        piece = self._tokenizer.decode(before, tokens[self.read :], skip_special=self._visible)
        if piece.endswith("\ufffd") and len(tokens) - self.read < _LONGEST:
            return ""
        self.read = len(tokens)
        self._held += piece
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
