"""A call without end: prompts join it while others run, and all of them share its batch and its tree of prefixes."""

from __future__ import annotations

import time
import zlib
from collections import deque
from collections.abc import Collection
from typing import Protocol

import numpy as np

from t2fast.errors import T2Error
from t2fast.sampling.engine.call import Call, Launched, Stats
from t2fast.sampling.engine.endings import Endings
from t2fast.sampling.engine.live_runner import LiveRunner
from t2fast.sampling.engine.live_schedule import LiveSchedule
from t2fast.sampling.engine.memory import Memory
from t2fast.sampling.engine.pages import pages_for
from t2fast.sampling.engine.prepared import Prepared
from t2fast.sampling.engine.runner import ROWS_OF_STATE
from t2fast.sampling.engine.schedule import Job
from t2fast.sampling.engine.thinking import Thinking
from t2fast.sampling.engine.tree import Floats, Tokens
from t2fast.sampling.params import SamplingParams
from t2fast.sampling.prompts import Prompt
from t2fast.sampling.samples import Sample
from t2fast.sampling.verify.judging import Judging

__all__ = ["Listener", "Live"]


class Listener(Protocol):
    """Who gets what is drawn for a prompt; called by the thread that runs the call."""

    #: Whether it wants tokens as they are drawn.
    follows: bool

    def tokens(self, sample: int, tokens: Tokens, logprobs: Floats, top: Tokens) -> None:
        """A sample that goes on has these tokens, with their log-probabilities and likeliest ones, as ``Step.top``."""

    def finished(self, sample: Sample, prompt_top: tuple[Tokens, Floats] | None) -> None:
        """A sample is finished; sample 0 comes with the likeliest tokens of the prompt where they were asked for."""

    def failed(self, message: str) -> None:
        """Nothing more can be drawn."""


class Live(Call):
    """Draws samples of prompts that come and go; everything in it is done by one thread.

    Sample j of a prompt is what ``Sampler.sample`` draws for a prompt with its id, seed and settings.

    Parameters
    ----------
    prepared
        The model.
    most_context
        Longest prompt and answer together, in tokens.
    most_top
        Most of the likeliest tokens that a prompt may want.

    Examples
    --------
    ::

        live = Live(prepared, most_context=4096)
        handle = live.join(Prompt("q1", token_ids=(17, 3)), SamplingParams(k=8), 0, listener)
        while live.step():
            ...
    """

    def __init__(self, prepared: Prepared, *, most_context: int, most_top: int = 20) -> None:
        self.prepared, config, shape = prepared, prepared.config, prepared.shape
        self.context = min(most_context, prepared.context)
        # The first place is nobody's: it stands for what is the most, and where nothing is asked for.
        none = SamplingParams(top_logprobs=min(most_top, shape.vocab))
        self.settings = [none]
        self.jobs = [Job(0, np.zeros(1, np.int32), 0, 1)]
        self.prompts = [Prompt("none", token_ids=(0,))]
        self._listeners: list[Listener | None] = [None]
        self._keys, self._seeds, self._vacant = [np.int32(0)], [0], []  # type: list[np.int32], list[int], list[int]
        self.on_tokens = self.progress = None
        self.endings = Endings(prepared.tokenizer, self.settings, prepared.eos)
        self.thinking = Thinking(prepared.tokenizer, self.settings, [job.tokens for job in self.jobs])
        self.cancelled, self._to_cancel = set(), deque()
        page, slots = config.page_size, prepared.max_batch
        width = pages_for(self.context + 1, page)
        needed = slots * (2 * width + config.levels)
        self.memory = Memory(prepared, slots, width, needed, rows_of_state=ROWS_OF_STATE)
        self.schedule: LiveSchedule = LiveSchedule(
            n_pages=self.memory.n_pages, page_size=page, slots=slots, node_tables=self.memory.node_tables,
            n_top=none.top_logprobs, width=width, levels=config.levels, cuts=not shape.reach,
        )  # fmt: skip
        self.runner: LiveRunner = LiveRunner(
            prepared, self.schedule, self.memory, self.jobs, self.settings, self._keys, self.endings, 0,
            seeds=self._seeds,
        )  # fmt: skip
        prepared.pack()
        self.judging = Judging(None)
        self.pending, self.waiting, self.turn = deque(), {}, {}
        self.kind = np.zeros(slots, np.int32)
        self._uploaded = -1
        self.stats = Stats(pages_total=self.memory.n_pages, page_bytes=shape.page_bytes(page))
        self.begun = time.monotonic()

    @property
    def n_prompts(self) -> int:
        """Prompts under way."""
        return len(self.jobs) - 1 - len(self._vacant)

    def refusal(self, n_tokens: int, max_new_tokens: int) -> str | None:
        """Why a prompt of this many tokens cannot be drawn from; None where it can."""
        if n_tokens >= self.context:
            return f"the prompt has {n_tokens} tokens, and the context of {self.context} must hold it and one more"
        limit = min(max_new_tokens, self.context - n_tokens)
        need = self.schedule.pages_of(Job(0, np.zeros(n_tokens, np.int32), 1, limit))
        if need > self.schedule.pages.total:
            return f"memory holds {self.schedule.pages.total} pages of keys and values, and one sample may need {need}"
        return None

    def join(self, prompt: Prompt, settings: SamplingParams, seed: int, listener: Listener) -> int:
        """Let a prompt in, given as tokens; returns a number by which it can leave.

        Raises
        ------
        T2Error
            When its settings cannot be used with this model.
        """
        tokens = np.asarray(prompt.token_ids, np.int32)
        if (message := self.refusal(len(tokens), settings.max_new_tokens)) is not None:
            raise T2Error(message)
        limit = min(settings.max_new_tokens, self.context - len(tokens))
        index = self._place()
        job = Job(index, tokens, settings.k, limit)
        self.jobs[index], self.prompts[index], self.settings[index] = job, prompt, settings
        self._keys[index] = np.uint32(zlib.crc32(prompt.id.encode())).view(np.int32)
        self._seeds[index] = seed - (1 << 64) if seed >= 1 << 63 else seed
        try:
            self._rule(index, settings)
        except T2Error:
            self._vacate(index)
            self._rule(index, self.settings[index])
            raise
        self._listeners[index] = listener
        nodes, rows = self.schedule.join(job, alone=settings.prompt_logprobs)
        for node in nodes:
            self.runner.placed(node)
        for row in rows:
            self.runner.reads(row)
        if settings.prompt_logprobs:
            self.runner.asked.take_in(job, settings.top_logprobs)
        self.stats.total += settings.k
        return index

    def leave(self, index: int) -> None:
        """Draw no more for a prompt: what runs leaves, and its pages with it."""
        job = self.jobs[index]
        if job.over or self._listeners[index] is None:
            return
        self.stats.cancelled += job.end - job.next + job.active
        self._listeners[index] = None
        self.schedule.stop(job, 0)
        self._over(job)
        self.stats.pages_used = self.schedule.pages.taken

    def step(self) -> bool:
        """Run a step; False when there was nothing to run."""
        with self.prepared.running():
            return self._step()

    def close(self, message: str = "the server is shutting down") -> None:
        """Let everybody go, and the memory."""
        for index, listener in enumerate(self._listeners):
            if listener is not None:
                self._listeners[index] = None
                listener.failed(message)
        self.memory.drop()

    # ------------------------------------------------------------------------------------------------ places

    def _place(self) -> int:
        """A place for a prompt; those of prompts that are gone are taken again."""
        if not self._vacant:
            # As many again at once: tables of settings are made anew with every one.
            for index in range(len(self.jobs), 2 * len(self.jobs) + 8):
                for some, one in ((self.jobs, self.jobs[0]), (self.prompts, self.prompts[0])):
                    some.append(one)  # type: ignore[arg-type]
                self.settings.append(self.settings[0])
                self._listeners.append(None)
                self._keys.append(np.int32(0))
                self._seeds.append(0)
                self._vacant.append(index)
            self._renew()
        return self._vacant.pop()

    def _vacate(self, index: int) -> None:
        self.jobs[index], self.prompts[index] = self.jobs[0], self.prompts[0]
        self.settings[index], self._listeners[index] = self.settings[0], None
        self._vacant.append(index)

    def _rule(self, index: int, settings: SamplingParams) -> None:
        """Take in which tokens end the samples of a prompt, and which they may have."""
        some = settings.logit_bias, settings.min_new_tokens, settings.bad_words, settings.bad_token_ids
        ruled = any(some) or settings.allowed_token_ids is not None
        if ruled or self.runner.rules.needed or not self.endings.take(index, settings):
            self._renew()

    def _renew(self) -> None:
        """Make the tables of settings anew, of those alone that are there."""
        self._drain()
        self.endings = Endings(self.prepared.tokenizer, self.settings, self.prepared.eos)
        for slot, row in self.schedule.running.items():
            self.kind[slot] = self.endings.kind[row.job.index]
        self.runner.rule(self.endings)
        self._uploaded = -1

    # ------------------------------------------------------------------------------------------------ what is drawn

    def _look(self, launched: Launched) -> None:
        super()._look(launched)
        schedule = self.schedule
        # Those that have ended are told of as a whole: the last token may not be part of the text.
        alive = schedule.serial[launched.slots] == launched.serials
        for slot, step in zip(launched.slots[alive].tolist(), launched.steps[alive].tolist(), strict=True):
            row = schedule.running[slot]
            listener = self._listeners[row.job.index]
            if listener is not None and listener.follows:
                n = step + 1
                listener.tokens(
                    row.sample, schedule.tokens[slot, :n], schedule.logprobs[slot, :n], schedule.top[slot, :n]
                )

    def _finished(self, job: Job, sample: Sample) -> None:
        self.stats.samples += 1
        top = self.runner.asked.top_of(job.index) if sample.sample == 0 else None
        listener = self._listeners[job.index]
        if job.over:
            self._over(job)
        if listener is not None:
            listener.finished(sample, top)

    def _broken(self, jobs: Collection[Job]) -> None:
        for job in jobs:
            listener = self._listeners[job.index]
            self.leave(job.index)
            if listener is not None:
                listener.failed("nothing can be drawn: the model's logits are not finite, or no token is allowed")

    def _over(self, job: Job) -> None:
        if self.settings[job.index].prompt_logprobs:
            self.runner.asked.forget(job)
        self._vacate(job.index)
