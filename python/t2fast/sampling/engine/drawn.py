"""Tokens of the latest steps, on their way from the device to the host."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from t2fast.sampling.engine.tree import Floats, Tokens

__all__ = ["Drawn"]


class Drawn:
    """Tokens and log-probabilities of the latest steps, on their way to the host."""

    def __init__(self, slots: int, device: torch.device) -> None:
        self._device = torch.zeros(2, slots, dtype=torch.int32, device=device)
        cuda = device.type == "cuda"
        # One more than are in flight, so that none is overwritten before it was read.
        self._hosts = [torch.zeros(2, slots, dtype=torch.int32).pin_memory() for _ in range(3)] if cuda else []
        self._turn = 0

    def keep(self, tokens: Tensor, logprobs: Tensor) -> None:
        """Keep what a step drew: part of the step, so on the device and captured with it."""
        n = len(tokens)
        self._device[0, :n] = tokens
        self._device[1, :n].view(torch.float32).copy_(logprobs)

    def fetch(self, n: int) -> Callable[[], tuple[Tokens, Floats]]:
        """Begin to copy what is kept; what it returns waits for that."""
        if not self._hosts:
            got = self._device[:, :n].numpy().copy()
            return lambda: (got[0], got[1].view(np.float32))
        self._turn = (self._turn + 1) % len(self._hosts)
        host = self._hosts[self._turn]
        host.copy_(self._device, non_blocking=True)
        done = torch.cuda.Event()
        done.record()

        def wait() -> tuple[Tokens, Floats]:
            done.synchronize()
            found = host[:, :n].numpy()
            return found[0].copy(), found[1].copy().view(np.float32)

        return wait
