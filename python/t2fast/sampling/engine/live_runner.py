"""The device's side of a call that prompts join while it runs: settings, seeds and rules follow the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from t2fast.sampling.engine.cache import on_device
from t2fast.sampling.engine.endings import Endings
from t2fast.sampling.engine.memory import Captured
from t2fast.sampling.engine.rules import Rules
from t2fast.sampling.engine.runner import _INTS, _POSITION, _RULE, Runner, controls

__all__ = ["LiveRunner"]

#: Sets of steps that differ in more than their rows and stay captured, the latest.
_MOST_CAPTURED = 4


class LiveRunner(Runner):
    """A runner whose prompts come and go.

    A step does what its rows need and no more: controls that all of them leave off are left out, and the likeliest
    tokens are looked for while one of them wants them. Each row draws with a seed of its own.

    Parameters
    ----------
    *arguments, **options
        As for :class:`Runner`. The first prompt's settings say what is the most: ``top_logprobs`` of all of them.
    seeds
        By prompt; the list changes as prompts come and go, as do ``jobs``, ``settings`` and ``keys``.
    """

    def __init__(self, *arguments: Any, seeds: list[int], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._most_top, self._seeds = self.n_top, seeds
        slots = self.memory.slots
        self._given_for: dict[str, float | None] = {}
        self._all_captured: dict[Any, Captured] = {}
        self._row_seeds = np.zeros(slots, np.int64)  # by slot
        self._seed = torch.zeros(slots, dtype=torch.int64, device=self.device)
        #: Penalties count tokens; whoever wants them begins with counts of its own.
        self._counts = None

    def begin(self, nodes: Any, rows: Any) -> int:
        """As :meth:`Runner.begin`."""
        for row in rows:
            self._row_seeds[row.slot] = self._seeds[row.job.index]
        self._steer()
        return super().begin(nodes, rows)

    def upload(self) -> None:
        """As :meth:`Runner.upload`, and what the rows that run now need of a step."""
        self._steer()
        super().upload()
        self._seed[: len(self.rows)] = on_device(self._row_seeds[self.rows], self.device)

    def _steer(self) -> None:
        settings = [self.settings[row.job.index] for row in self.schedule.running.values()] or self.settings[:1]
        constants = controls(settings)
        self.n_top = max(one.top_logprobs for one in settings) if self.schedule.running else 0
        self._given = self._controls(constants)
        penalised = any(name.endswith("_penalty") for name in constants)
        self._counts = self.memory.counts_of(self.prepared.shape.vocab) if penalised else None
        if self.graphs == "cuda":
            key = (*constants.items(), self.n_top)
            captured = self._all_captured.pop(key, None) or Captured()
            self._captured = self._all_captured[key] = captured
            if len(self._all_captured) > _MOST_CAPTURED:
                self._all_captured.pop(next(iter(self._all_captured)))

    def _launch(self, n: int) -> None:
        if self.rules.needed:  # their tables move
            self._decode(n)
        else:
            super()._launch(n)

    def rule(self, endings: Endings) -> None:
        """Take in the settings of all prompts anew. Everything that was drawn must have been recorded."""
        self.rules = Rules(self.settings, endings, self.prepared.shape.vocab, self.device)
        schedule, reach = self.schedule, self.rules.reach
        self._recent = None
        if self.rules.needed and reach:
            self._recent = torch.full((schedule.slots + 1, reach), -1, dtype=torch.int64, device=self.device)
        for slot, row in schedule.running.items():
            self._ints[_RULE - _POSITION : _INTS - _POSITION - 1, slot] = (
                self.rules.kind[row.job.index], self.rules.least[row.job.index],
            )  # fmt: skip
            tail = schedule.tokens[slot, : schedule.count[slot]][-reach:] if reach else ()
            if self._recent is not None and len(tail):
                self._recent[slot, -len(tail) :] = on_device(np.ascontiguousarray(tail), self.device).long()
