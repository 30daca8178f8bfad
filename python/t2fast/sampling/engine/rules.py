"""Which tokens a row may draw besides what sampling controls say: biases, allowed and forbidden ones, no early end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t2fast.errors import T2Error
from t2fast.sampling.engine.endings import ENDS, Endings
from t2fast.sampling.engine.text import Tokenizer
from t2fast.sampling.params import SamplingParams

__all__ = ["Rules"]


class Rules:
    """What is added to logits before anything else.

    Parameters
    ----------
    settings
        By prompt.
    endings
        Which tokens end samples.
    vocab, device
        Of the model.

    Raises
    ------
    T2Error
        When a token is not in the vocabulary, or none remains.
    """

    def __init__(self, settings: Sequence[SamplingParams], endings: Endings, vocab: int, device: torch.device) -> None:
        kinds: dict[Any, int] = {}
        keys = [
            (
                one.logit_bias,
                one.allowed_token_ids,
                int(endings.kind[i]) if one.min_new_tokens else -1,
                _forbidden(one, endings.tokenizer),
            )
            for i, one in enumerate(settings)
        ]
        #: By prompt: its row of the tables; and how many tokens it has before an end token may come.
        self.kind = np.array([kinds.setdefault(key, len(kinds)) for key in keys], np.int32)
        self.least = np.array([one.min_new_tokens for one in settings], np.int32)
        #: Whether there is anything to do.
        self.needed = set(kinds) != {((), None, -1, ())}
        #: How many of a row's latest tokens :meth:`apply` has to know.
        self.reach = max(len(one) - 1 for key in [*kinds, ((), None, -1, ((0,),))] for one in (key[3] or ((0,),)))
        if not self.needed:
            return
        bias = np.zeros((len(kinds), vocab), np.float32)
        ends = np.zeros((len(kinds), vocab), bool)
        sequences: dict[tuple[int, ...], int] = {}
        for (biases, allowed, ending, forbidden), kind in kinds.items():
            if allowed is not None:
                _known("allowed_token_ids", allowed, vocab)
                bias[kind] = -np.inf
                bias[kind, list(allowed)] = 0.0
            _known("logit_bias", [token for token, _ in biases], vocab)
            for token, value in biases:
                bias[kind, token] += value
            for one in forbidden:
                _known("bad_words", one, vocab)
                if len(one) == 1:
                    bias[kind, one[0]] = -np.inf
                else:
                    sequences.setdefault(one, len(sequences))
            if ending >= 0:
                ends[kind] = endings.table[ending] & ENDS != 0
            if not np.isfinite(np.where(ends[kind], -np.inf, bias[kind])).any():
                raise T2Error("logit_bias, allowed_token_ids, bad_words and min_new_tokens leave no token to draw")
        # Sequences of several tokens: what must come before, -2 where anything may; the last; and whose they are.
        before = np.full((len(sequences), self.reach), -2, np.int64)
        applies = np.zeros((len(kinds), len(sequences)), bool)
        for one, i in sequences.items():
            before[i, self.reach - len(one) + 1 :] = one[:-1]
            for key, kind in kinds.items():
                applies[kind, i] = one in key[3]
        self._sequences = len(sequences)
        self._before = torch.from_numpy(before).to(device)
        self._last = torch.tensor([one[-1] for one in sequences], dtype=torch.int64, device=device)
        self._applies = torch.from_numpy(applies).to(device)
        self._bias = torch.from_numpy(bias).to(device)
        self._ends = torch.from_numpy(ends).to(device)

    def apply(self, logits: Tensor, kind: Tensor, step: Tensor, least: Tensor, recent: Tensor | None) -> Tensor:
        """The logits ``[rows, vocab]`` of rows of these kinds, in these steps, after the rules.

        ``recent`` are the rows' latest :attr:`reach` tokens, -1 before the first.
        """
        kind = kind.long()
        out = logits.float() + self._bias[kind]
        if self._sequences and recent is not None:
            same = (recent[:, None, :] == self._before) | (self._before == -2)
            met = same.all(-1) & self._applies[kind]
            off = torch.zeros_like(met, dtype=out.dtype).masked_fill_(met, -torch.inf)
            out = out.scatter_add(1, self._last.expand(len(out), -1), off)
        early = (step < least)[:, None] & self._ends[kind]
        return out.masked_fill(early, -torch.inf)


def _forbidden(settings: SamplingParams, tokenizer: Tokenizer) -> tuple[tuple[int, ...], ...]:
    """The sequences of tokens that settings forbid."""
    found = dict.fromkeys(settings.bad_token_ids)
    for word in settings.bad_words:
        for text in (word, " " + word.lstrip()):
            found[tuple(int(i) for i in tokenizer.tokenizer(text, add_special_tokens=False)["input_ids"])] = None
    return tuple(one for one in found if one)


def _known(name: str, tokens: Sequence[int], vocab: int) -> None:
    unknown = [token for token in tokens if token >= vocab]
    if unknown:
        raise T2Error(f"{name}: token {unknown[0]} is not among the model's {vocab}")
