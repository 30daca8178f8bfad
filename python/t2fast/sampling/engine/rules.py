"""Which tokens a row may draw besides what sampling controls say: biases, allowed tokens, no end before its time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t2fast.errors import T2Error
from t2fast.sampling.engine.endings import ENDS, Endings
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
            (one.logit_bias, one.allowed_token_ids, int(endings.kind[i]) if one.min_new_tokens else -1)
            for i, one in enumerate(settings)
        ]
        #: By prompt: its row of the tables; and how many tokens it has before an end token may come.
        self.kind = np.array([kinds.setdefault(key, len(kinds)) for key in keys], np.int32)
        self.least = np.array([one.min_new_tokens for one in settings], np.int32)
        #: Whether there is anything to do.
        self.needed = set(kinds) != {((), None, -1)}
        if not self.needed:
            return
        bias = np.zeros((len(kinds), vocab), np.float32)
        ends = np.zeros((len(kinds), vocab), bool)
        for (biases, allowed, ending), kind in kinds.items():
            if allowed is not None:
                _known("allowed_token_ids", allowed, vocab)
                bias[kind] = -np.inf
                bias[kind, list(allowed)] = 0.0
            _known("logit_bias", [token for token, _ in biases], vocab)
            for token, value in biases:
                bias[kind, token] += value
            if ending >= 0:
                ends[kind] = endings.table[ending] & ENDS != 0
            if not np.isfinite(np.where(ends[kind], -np.inf, bias[kind])).any():
                raise T2Error("logit_bias, allowed_token_ids and min_new_tokens together leave no token to draw")
        self._bias = torch.from_numpy(bias).to(device)
        self._ends = torch.from_numpy(ends).to(device)

    def apply(self, logits: Tensor, kind: Tensor, step: Tensor, least: Tensor) -> Tensor:
        """The logits ``[rows, vocab]`` of rows of these kinds, in these steps, after the rules."""
        kind = kind.long()
        out = logits.float() + self._bias[kind]
        early = (step < least)[:, None] & self._ends[kind]
        return out.masked_fill(early, -torch.inf)


def _known(name: str, tokens: Sequence[int], vocab: int) -> None:
    unknown = [token for token in tokens if token >= vocab]
    if unknown:
        raise T2Error(f"{name}: token {unknown[0]} is not among the model's {vocab}")
