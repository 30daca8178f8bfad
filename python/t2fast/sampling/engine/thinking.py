"""The budget of thinking: when it is spent, the text that ends thinking is forced, token by token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from t2fast.errors import T2Error
from t2fast.sampling.engine.schedule import Row, Schedule
from t2fast.sampling.engine.text import Tokenizer
from t2fast.sampling.engine.tree import Tokens
from t2fast.sampling.params import SamplingParams

__all__ = ["Thinking", "force"]

#: Tokens at the end of a prompt among which the end of thinking is looked for.
_TAIL = 64


def force(logits: Tensor, forced: Tensor) -> Tensor:
    """Logits ``[rows, vocab]`` that leave the token in ``forced`` alone, where there is one (not below 0)."""
    only = torch.arange(logits.shape[1], device=logits.device) == forced[:, None]
    alone = torch.zeros_like(logits).masked_fill_(~only, -torch.inf)
    return torch.where((forced >= 0)[:, None], alone, logits)


class Thinking:
    """Says which tokens of which samples are forced.

    Parameters
    ----------
    tokenizer
        Encodes what ends thinking, and decodes what was drawn.
    settings, asked
        By prompt: ``max_thinking_tokens`` and ``thinking_end``; and its tokens.

    Raises
    ------
    T2Error
        When the end of thinking has no tokens.
    """

    def __init__(self, tokenizer: Tokenizer, settings: Sequence[SamplingParams], asked: Sequence[Tokens]) -> None:
        self._tokenizer, self._settings, self._asked = tokenizer, settings, asked
        self._ends: dict[int, tuple[int, ...]] = {}
        for i, one in enumerate(settings):
            if one.max_thinking_tokens is None:
                continue
            ids = tokenizer.tokenizer(one.thinking_end, add_special_tokens=False)["input_ids"]
            ends = tuple(int(token) for token in ids)
            if not ends or max(ends) >= tokenizer.vocab:
                raise T2Error(f"thinking_end = {one.thinking_end!r}: has no tokens that the model knows")
            before = tokenizer.decode(asked[i][:0], asked[i][-_TAIL:], skip_special=False)
            # A chat template that asks for no thinking closes it in the prompt.
            if not before.rstrip().endswith(one.thinking_end):
                self._ends[i] = ends
        #: Whether there is anything to do.
        self.needed = bool(self._ends)
        self._at = np.empty(0, np.int64)

    def spent(self, prompt: int, tokens: Tokens) -> bool:
        """Whether the budget is spent by these tokens, without an end of the thinking."""
        one = self._settings[prompt]
        if prompt not in self._ends or len(tokens) != one.max_thinking_tokens:
            return False
        return one.thinking_end not in self._tokenizer.decode(self._asked[prompt], tokens, skip_special=False)

    def forced(self, prompt: int, since: int, step: int) -> int:
        """The token forced in a step, if tokens are forced from step ``since`` on; or -1."""
        ends = self._ends.get(prompt, ())
        return ends[step - since] if 0 <= step - since < len(ends) else -1

    def span(self, prompt: int, since: int | None, length: int) -> tuple[int, int] | None:
        """Which of a sample's tokens were forced."""
        if since is None or not 0 <= since < length:
            return None
        return since, min(length, since + len(self._ends[prompt]))

    # ------------------------------------------------------------------------------------------------ in the batch

    def begin(self, rows: Iterable[Row], slots: int) -> None:
        """Rows come into slots, for the first time or again."""
        if len(self._at) < slots:
            self._at = np.full(slots, -1, np.int64)
        for row in rows:
            budget = self._settings[row.job.index].max_thinking_tokens
            if row.job.index not in self._ends or budget is None or row.forced == -1:
                self._at[row.slot] = -1
            else:
                self._at[row.slot] = max(budget, len(row.tokens))

    def due(self, schedule: Schedule) -> bool:
        """Whether the text of some row must be looked at before the next step: all of it must then be recorded."""
        return any(schedule.running[slot].forced is None for slot in self._now(schedule))

    def _now(self, schedule: Schedule) -> list[int]:
        return np.flatnonzero(schedule.occupied & (self._at == schedule.count)).tolist()

    def next(self, schedule: Schedule) -> Iterator[tuple[int, int]]:
        """Slots where the next step's forced token is another than before, with that token, or -1 for none."""
        for slot in self._now(schedule):
            row, step = schedule.running[slot], int(schedule.count[slot])
            index = row.job.index
            if row.forced is None:
                row.forced = step if self.spent(index, schedule.tokens[slot, :step]) else -1
            token = -1 if row.forced < 0 else self.forced(index, row.forced, step)
            self._at[slot] = step + 1 if token >= 0 else -1
            if row.forced >= 0:
                yield slot, token
