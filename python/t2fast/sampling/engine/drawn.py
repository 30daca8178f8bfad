"""Tokens of the latest steps, on their way from the device to the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from t2fast.sampling.engine.tree import Floats, Tokens

__all__ = ["Drawn", "Step", "top_of"]


class Step(NamedTuple):
    """What the rows of a step drew."""

    tokens: Tokens
    logprobs: Floats
    #: int32 ``[rows, 2 n]``: the n likeliest tokens, then the bits of their log-probabilities.
    top: Tokens


def top_of(top: Tokens, n: int) -> tuple[list[list[int]], list[list[float]]]:
    """The first n likeliest tokens and their log-probabilities, without those that were not possible."""
    most = top.shape[1] // 2
    tokens, logprobs = top[:, :n], top[:, most:].view(np.float32)[:, :n]
    there = [int((one >= 0).sum()) for one in tokens]
    return (
        [one[:m].tolist() for one, m in zip(tokens, there, strict=True)],
        [one[:m].tolist() for one, m in zip(logprobs, there, strict=True)],
    )


class Drawn:
    """What the latest steps drew, on its way to the host: with the ``n`` likeliest tokens where they are wanted."""

    def __init__(self, slots: int, device: torch.device, n: int = 0) -> None:
        self._n = n
        self._device = torch.zeros(2 + 2 * n, slots, dtype=torch.int32, device=device)
        cuda = device.type == "cuda"
        # One more than are in flight, so that none is overwritten before it was read.
        self._hosts = [torch.zeros_like(self._device, device="cpu").pin_memory() for _ in range(3)] if cuda else []
        self._turn = 0

    def keep(self, tokens: Tensor, logprobs: Tensor, top_tokens: Tensor | None, top_logprobs: Tensor | None) -> None:
        """Keep what a step drew: part of the step, so on the device and captured with it."""
        n = len(tokens)
        self._device[0, :n] = tokens
        self._device[1, :n].view(torch.float32).copy_(logprobs)
        if top_tokens is not None and top_logprobs is not None:
            most = top_tokens.shape[1]  # of those wanted now
            self._device[2 : 2 + most, :n] = top_tokens.T
            self._device[2 + self._n : 2 + self._n + most, :n].view(torch.float32).copy_(top_logprobs.T)

    def fetch(self, n: int) -> Callable[[], Step]:
        """Begin to copy what is kept; what it returns waits for that."""
        if not self._hosts:
            step = _step(self._device[:, :n].numpy().copy())
            return lambda: step
        self._turn = (self._turn + 1) % len(self._hosts)
        host = self._hosts[self._turn]
        host.copy_(self._device, non_blocking=True)
        done = torch.cuda.Event()
        done.record()

        def wait() -> Step:
            done.synchronize()
            return _step(host[:, :n].numpy().copy())

        return wait


def _step(got: Tokens) -> Step:
    return Step(got[0], got[1].view(np.float32), np.ascontiguousarray(got[2:].T))
