"""The device's side of the sampler: the state of the batch, prefill, and the decode step with its CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from t2fast.errors import T2Error
from t2fast.sampling.engine.asked import Asked
from t2fast.sampling.engine.cache import Decode, on_device
from t2fast.sampling.engine.drawn import Drawn, Step
from t2fast.sampling.engine.endings import Endings
from t2fast.sampling.engine.memory import Captured, Memory, capture, graph_memory
from t2fast.sampling.engine.prefill import Text, forward_texts, places
from t2fast.sampling.engine.prepared import Prepared
from t2fast.sampling.engine.rules import Rules
from t2fast.sampling.engine.schedule import Job, Row, Schedule
from t2fast.sampling.engine.thinking import force
from t2fast.sampling.engine.tree import Node
from t2fast.sampling.params import SamplingParams
from t2fast_kernels.plan import plan
from t2fast_kernels.sample import sample as draw

__all__ = ["ROWS_OF_STATE", "Runner", "controls", "launch_size"]

#: Rows of the device's int32 state.
_SLOT, _TABLE, _INDEX, _POSITION, _PROMPT, _SAMPLE, _TOP_K, _RULE, _LEAST, _FORCED = range(10)
_INTS = 10
#: Settings that each row has a float32 of, in the order of their rows; and the value that leaves each off.
_SETTINGS = {
    "temperature": None,
    "top_p": 1.0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
_PENALTIES = tuple(_SETTINGS)[3:]
#: Numbers that the device has of each row.
ROWS_OF_STATE = _INTS + len(_SETTINGS)
#: Where an idle row writes: below 0, and so far that counting up never reaches a place.
_NOWHERE = -(1 << 30)
#: Logits of prompts computed at a time, in elements.
_LOGITS = 1 << 26


def launch_size(n: int) -> int:
    """Rows that a step of ``n`` is launched and captured with: 1, 2, 4, then multiples of 8; the rest idles.

    Few sizes mean few graphs; powers of two would let the model and the sampler run over up to twice the rows.
    """
    return 1 << (n - 1).bit_length() if n <= 8 else -(-n // 8) * 8


def controls(settings: Sequence[SamplingParams]) -> dict[str, float | None]:
    """The sampling operator's settings: what all prompts leave off is left out; None where prompts differ."""
    given: dict[str, float | None] = {}
    for name, off in (*_SETTINGS.items(), ("top_k", None)):
        values = {getattr(one, name) for one in settings}
        if len(values) > 1:
            given[name] = None
        elif (value := values.pop()) != off and value is not None:
            given[name] = float(value) if name != "top_k" else value
    return given


class Runner:
    """Runs the model for one call of the sampler.

    The schedule says which sample is in which slot. The rows of a step are the occupied slots; what a row is (its
    sample, position, settings) is uploaded when rows come or go, and counted up on the device in between.

    Parameters
    ----------
    prepared
        The model and how it is run.
    schedule, memory
        Slots, tables and pages; and where on the device they are.
    jobs, settings, keys
        By prompt: what is drawn, how, and the key of its random numbers.
    endings
        Which tokens end samples.
    seed
        Of the draws.
    forces
        Whether tokens may be forced.
    """

    def __init__(
        self,
        prepared: Prepared,
        schedule: Schedule,
        memory: Memory,
        jobs: Sequence[Job],
        settings: Sequence[SamplingParams],
        keys: npt.NDArray[np.int32],
        endings: Endings,
        seed: int,
        *,
        forces: bool = False,
    ) -> None:
        self.prepared, self.model, self.schedule = prepared, prepared.model, schedule
        self.jobs, self.settings, self.keys = jobs, settings, keys
        self.chunk, self.graphs, self.device = prepared.config.prefill_tokens, prepared.graphs, prepared.device
        shape, levels, device = prepared.shape, prepared.config.levels, prepared.device
        slots, node_tables = memory.slots, memory.node_tables
        self.memory, self.pool, self.buffers = memory, memory.pool, memory.buffers
        # On the CPU the device's tables are the schedule's own, unless a graph has the address of others.
        self._apart = device.type == "cuda" or self.graphs == "cuda"
        self.tables = memory.tables if self._apart else torch.from_numpy(schedule.tables)
        # On the host, by slot: position of its first own token, prompt's key, number of the sample, top_k, its rules,
        # how many tokens it has before it may end, the token forced now; the other settings; its nodes. By node: table,
        # first token, end, position.
        self._ints = np.zeros((_INTS - _POSITION, slots), np.int32)
        self._floats = np.zeros((len(_SETTINGS), slots), np.float32)
        self._nodes = np.full((slots, levels), -1, np.int32)
        self._runs = np.zeros((node_tables, 4), np.int32)
        self._staged, self._state, self._copied = memory.staged, memory.state, memory.copied
        self._lens, self._last, self._drawn = memory.lens, memory.last, memory.drawn
        self._forces = forces
        self.n_top = max(one.top_logprobs for one in settings)
        if self.n_top > shape.vocab:
            raise T2Error(f"top_logprobs = {self.n_top}: the model has only {shape.vocab} tokens")
        if self.n_top:
            self._drawn = Drawn(slots, device, self.n_top)
        self.asked = Asked(jobs, settings)
        self._seed = memory.seed.fill_(seed)
        self.rules = Rules(settings, endings, shape.vocab, device)
        #: By slot: its latest tokens, where rules have to know them.
        self._recent: Tensor | None = None
        if self.rules.needed and self.rules.reach:
            self._recent = torch.full((slots + 1, self.rules.reach), -1, dtype=torch.int64, device=device)
        constants = controls(settings)
        self._given = self._controls(constants)
        self._counts = memory.counts_of(shape.vocab) if self._given.keys() & set(_PENALTIES) else None
        # Rules and likeliest tokens lie elsewhere in every call; other steps are the same in the next.
        self.lasting = not (self.rules.needed or self.n_top or forces)
        self._captured = Captured()
        if self.graphs == "cuda":
            memory.handle = memory.handle or graph_memory()
            if self.lasting:
                self._captured = memory.captured(self.model, tuple(constants.items()))
        if self.graphs == "compile":
            self._decoder: Callable[..., Any] = torch.compile(self.model, dynamic=False)
        else:
            self._decoder = self.model
        #: Slots of the rows of the next step.
        self.rows = np.empty(0, np.int64)

    def _controls(self, constants: dict[str, float | None]) -> dict[str, float | Tensor]:
        """The operator's settings: numbers, and where prompts differ what is read from the state."""
        floats = self._state[_INTS:].view(torch.float32)
        rows = dict(zip(_SETTINGS, floats, strict=True)) | {"top_k": self._state[_TOP_K]}
        return {name: rows[name] if value is None else value for name, value in constants.items()}

    # ------------------------------------------------------------------------------------------------ rows come and go

    @torch.no_grad()
    def begin(self, nodes: Sequence[Node], rows: Sequence[Row]) -> int:
        """Take in what :meth:`Schedule.admit` gives; returns the number of tokens that were computed for it."""
        texts = []
        chunk = self.chunk
        for node in nodes:
            length = node.end - node.begin
            self.placed(node)
            before = self._places([] if node.parent is None else node.parent.chain())
            tokens = self.jobs[node.prompt].tokens[node.begin : node.end] if node.tokens is None else node.tokens
            wanted = self.asked.wants(node)
            if wanted:
                chunk = max(1, min(chunk, _LOGITS // self.prepared.shape.vocab))
            texts.append(Text(tokens, self._place(node.table, length), before, wanted))
        for row in rows:
            job, slot, done = row.job, row.slot, len(row.tokens)
            chain, settings = job.chain(), self.settings[job.index]
            self._ints[:, slot] = (
                len(job.tokens) - 1, self.keys[job.index], row.sample, settings.top_k or 0,
                self.rules.kind[job.index], self.rules.least[job.index], -1,
            )  # fmt: skip
            self._floats[:, slot] = [getattr(settings, name) for name in _SETTINGS]
            self.reads(row)
            if done:
                own = np.concatenate([job.tokens[-1:], row.tokens[:-1]])
                texts.append(Text(own, self._place(slot, done), self._places(chain)))
        for parts, logits in forward_texts(self.model, self.pool, texts, chunk):
            for (i, a, b), some in zip(parts, logits.split([b - a for _, a, b in parts]), strict=True):
                self.asked.take(nodes[i], a, b, some)
        if rows:
            fed = [int(row.tokens[-1] if len(row.tokens) else row.job.tokens[-1]) for row in rows]
            into = on_device(np.array([[row.slot for row in rows], fed]), self.device)
            self._last[into[0]] = into[1]
        if self._recent is not None:
            for row in rows:
                tail = row.tokens[-self.rules.reach :]
                self._recent[row.slot] = -1
                if len(tail):
                    self._recent[row.slot, -len(tail) :] = on_device(tail, self.device).long()
        if self._counts is not None:
            self._count(rows, self._counts)
        return sum(len(text.tokens) for text in texts)

    def _place(self, table: int, length: int) -> npt.NDArray[np.int64]:
        return places(self.schedule.tables[table], self.pool.page_size, length)

    def _places(self, chain: Sequence[Node]) -> npt.NDArray[np.int64]:
        parts = [self._place(node.table, node.end - node.begin) for node in chain]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _count(self, rows: Sequence[Row], counts: Tensor) -> None:
        """Write down which tokens a row's prompt has (-1) and how often each was generated."""
        for row in rows:
            counts[row.slot] = 0
            if "repetition_penalty" in self._given:
                counts[row.slot, on_device(row.job.tokens, self.device).long()] = -1
            tokens, times = np.unique(row.tokens, return_counts=True)
            found = on_device(np.stack([tokens, times.astype(np.int32)]), self.device)
            counts[row.slot, found[0].long()] = found[1]

    def placed(self, node: Node) -> None:
        """Take in where a node lies."""
        self._runs[node.table - self.schedule.slots] = node.table, 0, node.end - node.begin, node.begin

    def reads(self, row: Row) -> None:
        """Take in which nodes a row reads: those of its prefix that are not behind all windows."""
        nodes = row.job.chain()[row.behind :]
        self._nodes[row.slot] = -1
        self._nodes[row.slot, : len(nodes)] = [node.table - self.schedule.slots for node in nodes]

    def force(self, slot: int, token: int) -> None:
        """Let the row in a slot draw this token alone from the next upload on; -1 for any."""
        self._ints[_FORCED - _POSITION, slot] = token

    def upload(self) -> None:
        """Tell the device which rows the next steps have, and plan what they read."""
        schedule = self.schedule
        self.rows = rows = np.flatnonzero(schedule.occupied)
        n = len(rows)
        if self._copied is not None:
            self._copied.synchronize()
        state = self._staged.numpy()
        state[_SLOT, :n], state[_SLOT, n:] = rows, schedule.slots
        state[_TABLE, :n], state[_TABLE, n:] = rows, -1
        state[_INDEX, :n], state[_INDEX, n:] = schedule.count[rows], _NOWHERE
        state[_POSITION:_INTS, :n] = self._ints[:, rows]
        state[_POSITION, :n] += schedule.count[rows]
        state[_POSITION, n:] = 0
        state[_INTS:].view(np.float32)[:, :n] = self._floats[:, rows]
        self._state.copy_(self._staged, non_blocking=True)
        if self._copied is not None:
            self._copied.record()
        nodes = self._nodes[rows]
        used, inverse = np.unique(nodes, return_inverse=True)
        absent = int(len(used) > 0 and used[0] < 0)
        of_rows = (inverse.reshape(nodes.shape) - absent).astype(np.int32)
        plan(self.buffers, self._runs[used[absent:]], of_rows, rows.astype(np.int32), 0, self._ints[0, rows])

    # ------------------------------------------------------------------------------------------------ a step

    def step(self) -> Callable[[], Step]:
        """Launch a step; what it returns waits for the rows' tokens and log-probabilities."""
        if self._apart and self.schedule.changed:
            tables = np.array(sorted(self.schedule.changed))
            new = on_device(self.schedule.tables[tables], self.device)
            self.tables[:, : new.shape[1]].index_copy_(0, on_device(tables, self.device), new)
        self.schedule.changed.clear()
        n = len(self.rows)
        padded = n if self.graphs == "none" else min(launch_size(n), self.schedule.slots)
        self._launch(padded)
        return self._drawn.fetch(n)

    def _launch(self, n: int) -> None:
        """Run a step of ``n`` rows: eagerly the first time, which also compiles; then captured; then replayed."""
        replays = self._captured.replays
        if self.graphs != "cuda" or n not in replays:
            self._decode(n)
            replays[n] = None
            return
        if (replay := replays[n]) is None:
            replay = replays[n] = capture(lambda: self._decode(n), self.memory.handle)
        replay()

    def warmup(self) -> list[int]:
        """Capture a step of every number of rows that steps are launched with; returns those numbers."""
        sizes = sorted({min(launch_size(n), self.memory.slots) for n in range(1, self.memory.slots + 1)})
        self.upload()  # no rows: all are idle
        # The largest first: smaller ones then find room in the memory that graphs share.
        for n in reversed(sizes):
            while self._captured.replays.get(n) is None:
                self._launch(n)
        return sizes

    @torch.no_grad()
    def _decode(self, n: int) -> None:
        state, slot = self._state[:, :n], self._state[_SLOT, :n].long()
        readings = self._captured.readings
        if n not in readings:
            readings[n] = Decode(self.pool, self.tables, state[_TABLE], state[_INDEX], self._lens[:n], self.buffers)
        torch.add(state[_INDEX], 1, out=self._lens[:n])
        logits = self._decoder(
            # -1 stands where nothing could be drawn; the host finds out a step later.
            input_ids=self._last[slot].clamp_(min=0)[None],
            position_ids=state[_POSITION].long()[None],
            use_cache=False,
            t2fast=readings[n],
        ).logits[0]
        given: dict[str, Any] = {k: v[:n] if isinstance(v, Tensor) else v for k, v in self._given.items()}
        counts = None if self._counts is None else self._counts[slot]
        if self.rules.needed:
            recent = None if self._recent is None else self._recent[slot]
            logits = self.rules.apply(logits, state[_RULE], state[_INDEX], state[_LEAST], recent)
        if self._forces:
            logits = force(logits, state[_FORCED])
        tokens, logprobs, *top = draw(
            logits,
            self._seed if len(self._seed) == 1 else self._seed[:n],
            state[_PROMPT],
            state[_SAMPLE],
            state[_INDEX],
            counts=counts,
            n_logprobs=self.n_top,
            **given,
        )
        self._last[slot] = tokens
        if self._recent is not None:
            self._recent[slot] = torch.cat([self._recent[slot][:, 1:], tokens[:, None]], 1)
        if self._counts is not None:
            at = tokens.clamp(min=0)
            self._counts[slot, at] = self._counts[slot, at].clamp_(min=0) + 1
        state[_INDEX] += 1
        state[_POSITION] += 1
        self._drawn.keep(tokens, logprobs, *(top or (None, None)))
