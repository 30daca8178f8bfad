"""One call of the sampler: the loop around schedule and runner, and who gets which sample when."""

from __future__ import annotations

import time
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from t2fast import arguments
from t2fast.errors import T2Error
from t2fast.sampling.engine.drawn import Step, top_of
from t2fast.sampling.engine.endings import ENDS, Endings
from t2fast.sampling.engine.memory import Memory
from t2fast.sampling.engine.pages import pages_for
from t2fast.sampling.engine.prepared import Prepared
from t2fast.sampling.engine.runner import ROWS_OF_STATE, Runner
from t2fast.sampling.engine.schedule import Job, Row, Schedule
from t2fast.sampling.engine.thinking import Thinking
from t2fast.sampling.engine.tree import Tokens, build_tree
from t2fast.sampling.params import SamplingParams
from t2fast.sampling.prompts import Prompt, unique
from t2fast.sampling.samples import FinishReason, Sample
from t2fast.sampling.verify import Verifier
from t2fast.sampling.verify.judging import Judging

__all__ = ["Call", "Launched", "Stats"]


@dataclass
class Stats:
    """What a call of the sampler did so far.

    Attributes
    ----------
    samples, total
        Samples finished, and to draw in all (fewer, where prompts stop early).
    tokens
        Tokens generated.
    prefilled
        Tokens computed before: of each distinct prefix once, unless memory was short.
    steps, rows
        Decode steps, and rows in all of them together.
    preemptions
        Samples paused since memory was short.
    cancelled
        Samples dropped because their prompt was cancelled; ``total`` falls by them.
    pages, pages_used, pages_total, page_bytes
        Pages of keys and values: most in use so far, in use now, and in the pool; bytes of one.
    seconds, waited
        Time so far, and how much of it the host waited for the device. On a GPU, next to no waiting means that the host
        is too slow.

    Examples
    --------
    >>> Stats(samples=3, total=8).samples
    3
    """

    samples: int = 0
    total: int = 0
    tokens: int = 0
    prefilled: int = 0
    steps: int = 0
    rows: int = 0
    preemptions: int = 0
    cancelled: int = 0
    pages: int = 0
    pages_used: int = 0
    pages_total: int = 0
    page_bytes: int = 0
    seconds: float = 0.0
    waited: float = 0.0


class Call:
    """One call of :meth:`Sampler.sample`.

    Parameters
    ----------
    prepared
        The model.
    prompts, params, seed, verifier, skip, on_tokens, progress
        As for :meth:`Sampler.sample`.
    kept
        Memory of an earlier call that nobody uses now.

    Raises
    ------
    T2Error
        When a prompt cannot be drawn from, or memory does not hold a single sample.
    """

    def __init__(
        self,
        prepared: Prepared,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        seed: int = 0,
        verifier: Verifier | None = None,
        skip: Callable[[str], Collection[int]] | None = None,
        on_tokens: Callable[[Prompt, int, Sequence[int]], None] | None = None,
        progress: Callable[[Stats], None] | None = None,
        kept: Memory | None = None,
    ) -> None:
        self.prepared, self.prompts, self.on_tokens, self.progress = prepared, list(prompts), on_tokens, progress
        unique(self.prompts)
        seed = arguments.seed(seed)
        self.settings = [prompt.params(params) for prompt in self.prompts]
        if verifier is None and any(one.stop_on_success for one in self.settings):
            raise T2Error("stop_on_success = True: needs a verifier that says what success is")
        config, shape = prepared.config, prepared.shape
        self.endings = Endings(prepared.tokenizer, self.settings, prepared.eos)
        self.jobs = self._jobs(params, skip or (lambda _: ()))
        self.thinking = Thinking(prepared.tokenizer, self.settings, [job.tokens for job in self.jobs])
        #: Prompts cancelled so far; and those that wait to be, by index.
        self.cancelled: set[str] = set()
        self._to_cancel: deque[int] = deque()
        leaves = build_tree([job.tokens[:-1] for job in self.jobs], 2 * config.page_size, config.levels)
        for job, leaf in zip(self.jobs, leaves, strict=True):
            job.leaf = leaf
        total = sum(job.wanted() for job in self.jobs)
        slots = max(1, min(prepared.max_batch, total))
        if kept is not None:
            slots = max(slots, kept.slots)
        page = config.page_size
        longest = max((node.end - node.begin for job in self.jobs for node in job.chain()), default=1)
        width = pages_for(max(longest, *(job.limit + 1 for job in self.jobs)), page)
        #: What the device holds; whoever makes the next call may hand it on.
        self.memory = Memory.fitting(
            kept, prepared, slots, width, self._pages_needed(slots), rows_of_state=ROWS_OF_STATE
        )
        n_pages = self.memory.n_pages
        self.schedule = Schedule(
            self.jobs,
            n_pages=n_pages,
            page_size=page,
            slots=self.memory.slots,
            node_tables=self.memory.node_tables,
            n_top=max(one.top_logprobs for one in self.settings),
        )
        size = shape.page_bytes(page)
        if self.schedule.least_pages() > n_pages:
            raise T2Error(
                f"kv_memory: {n_pages * size} bytes cannot hold the longest prompt with one sample of it, "
                f"which need {self.schedule.least_pages() * size}; give more or draw shorter answers"
            )
        keys = np.array([zlib.crc32(prompt.id.encode()) for prompt in self.prompts], np.uint32).view(np.int32)
        self.runner = Runner(
            prepared,
            self.schedule,
            self.memory,
            self.jobs,
            self.settings,
            keys,
            self.endings,
            seed - (1 << 64) if seed >= 1 << 63 else seed,
            forces=self.thinking.needed,
        )
        prepared.pack()
        self.judging = Judging(verifier)
        self.pending: deque[Launched] = deque()
        #: Finished samples of prompts that stop at their first success, until it is their turn.
        self.waiting: dict[int, dict[int, Sample]] = {}
        self.turn = {i: job.upcoming() for i, job in enumerate(self.jobs) if self.settings[i].stop_on_success}
        self.kind = np.zeros(self.memory.slots, np.int32)
        self._uploaded = -1
        self.stats = Stats(total=total, pages_total=n_pages, page_bytes=size)
        self.begun = time.monotonic()

    def _jobs(self, params: SamplingParams, skip: Callable[[str], Collection[int]]) -> list[Job]:
        context = self.prepared.context
        jobs = []
        for i, tokens in enumerate(self.prepared.tokenizer.encode(self.prompts, params)):
            prompt, settings = self.prompts[i], self.settings[i]
            if len(tokens) >= context:
                raise T2Error(
                    f"prompt {prompt.id!r}: has {len(tokens)} tokens, and the model's context of {context} "
                    "must hold it and at least one more"
                )
            limit = min(settings.max_new_tokens, context - len(tokens))
            jobs.append(Job(i, tokens, settings.k, limit, frozenset(skip(prompt.id))))
        return jobs

    def _pages_needed(self, slots: int) -> int:
        """Pages beyond which more would not help."""
        page = self.prepared.config.page_size
        sizes = {node: pages_for(node.end - node.begin, page) for job in self.jobs for node in job.chain()}
        longest = max(sum(sizes[node] for node in job.chain()) for job in self.jobs)
        own = most = max(pages_for(job.limit + 1, page) for job in self.jobs)
        if reach := self.prepared.shape.reach:
            own = min(most, pages_for(reach, page) + 1)
        # One sample that was paused needs all of its pages at once, whatever it reads later.
        return max(min(sum(sizes.values()), slots * longest) + slots * (own + 1), longest + most + 1)

    # ------------------------------------------------------------------------------------------------ the loop

    def steps(self) -> Iterator[list[Sample]]:
        """Run to the end; whenever samples are finished and judged, give them."""
        while self._step():
            if found := self._judged():
                yield found
        while self.judging.outstanding:
            if found := self._judged(wait=True):
                yield found
        if any(self.waiting.values()):
            raise AssertionError("samples wait for others that were never drawn")

    def _step(self) -> bool:
        """Let samples begin, launch a step and take in an earlier one; False when there is nothing left to run."""
        schedule, runner, stats = self.schedule, self.runner, self.stats
        while self._to_cancel:
            self._drop(self._to_cancel.popleft())
        nodes, rows = schedule.admit()
        if rows:
            stats.prefilled += runner.begin(nodes, rows)
            self.kind[[row.slot for row in rows]] = self.endings.kind[[row.job.index for row in rows]]
            self.thinking.begin(rows, schedule.slots)
        if self.prepared.shape.reach:
            for row in schedule.leave(self.prepared.shape.reach):
                runner.reads(row)
        if len(schedule.needy()) > schedule.pages.free or (self.thinking.needed and self.thinking.due(schedule)):
            # Who pauses must have all of its tokens, and who has ended need not pause others.
            self._drain()
        schedule.grow()
        if self.thinking.needed:
            for slot, token in self.thinking.next(schedule):
                runner.force(slot, token)
                self._uploaded = -1
        stats.preemptions, stats.pages_used = schedule.preemptions, schedule.pages.taken
        stats.pages = max(stats.pages, stats.pages_used)
        if schedule.running:
            if self._uploaded != schedule.moves:
                runner.upload()
                self._uploaded = schedule.moves
            slots = runner.rows
            at = schedule.count[slots]
            self.pending.append(Launched(slots, schedule.serial[slots], at, runner.step()))
            schedule.count[slots] += 1
            stats.steps += 1
            stats.rows += len(slots)
        elif not self.pending:
            return False
        while len(self.pending) > (self.prepared.ahead if schedule.running else 0):
            self._look(self.pending.popleft())
        return True

    def cancel(self, prompt_id: str) -> bool:
        """Ask, from any thread, for no more samples of a prompt; whether this call has it."""
        for index, prompt in enumerate(self.prompts):
            if prompt.id == prompt_id:
                self._to_cancel.append(index)
                return True
        return False

    def _drop(self, index: int) -> None:
        """Let go of all samples of a prompt that have not ended."""
        job, turn = self.jobs[index], self.turn.get(index)
        if index in self.turn:
            dropped = 0 if turn is None else sum(1 for j in range(turn, job.end) if j not in job.skip)
            self.turn[index] = None
            self.waiting.pop(index, None)
        else:
            begun = sum(1 for j in range(min(job.next, job.end)) if j not in job.skip)
            dropped = job.wanted() - (begun - job.active)
        if not dropped:
            return
        self.cancelled.add(self.prompts[index].id)
        self.stats.cancelled += dropped
        self.stats.total -= dropped
        if not job.over:
            self.schedule.stop(job, 0)
        self.stats.pages_used = self.schedule.pages.taken

    def close(self) -> None:
        """Stop asking the verifier."""
        self.judging.close()
        self.stats.seconds = time.monotonic() - self.begun

    def _drain(self) -> None:
        while self.pending:
            self._look(self.pending.popleft())

    def _look(self, launched: Launched) -> None:
        """Take in what a step drew: record it, and end the samples that it ended."""
        schedule = self.schedule
        begun = time.monotonic()
        tokens, logprobs, top = launched.wait()
        self.stats.waited += time.monotonic() - begun
        slots, steps = launched.slots, launched.steps
        # A row may have ended, or been stopped, while this step was in flight.
        alive = schedule.serial[slots] == launched.serials
        if (broken := np.flatnonzero(alive & (tokens < 0))).size:
            self._broken({schedule.running[slot].job for slot in slots[broken].tolist() if slot in schedule.running})
            alive = schedule.serial[slots] == launched.serials
        if not alive.all():
            slots, steps, tokens, logprobs, top = (one[alive] for one in (slots, steps, tokens, logprobs, top))
        if not len(slots):
            return
        schedule.record(slots, steps, tokens, logprobs, top)
        means = self.endings.table[self.kind[slots], tokens]
        ended = (means & ENDS != 0) | (steps + 1 >= schedule.limit[slots])
        self._tell(slots, steps)
        for i in np.flatnonzero(ended | (means != 0)).tolist():
            row = schedule.running[int(slots[i])]
            drawn = schedule.tokens[row.slot, : steps[i] + 1]
            if ended[i] or self.endings.completed(row.job.index, row.job.tokens, drawn):
                self._finish(row, drawn, bool(means[i] & ENDS))
        self.stats.seconds = time.monotonic() - self.begun

    def _broken(self, jobs: Collection[Job]) -> None:
        """Nothing could be drawn for samples of these prompts."""
        prompt = self.prompts[min(job.index for job in jobs)].id
        raise T2Error(
            f"prompt {prompt!r}: the model's logits are not finite: its weights are broken, or its dtype, "
            f"{str(self.prepared.shape.dtype).removeprefix('torch.')}, is too narrow (try bfloat16 or float32)"
        )

    def _tell(self, slots: npt.NDArray[np.int64], steps: Tokens) -> None:
        """Tell whoever follows the samples what they are so far."""
        if self.on_tokens is not None:
            for slot, step in zip(slots.tolist(), steps.tolist(), strict=True):
                row = self.schedule.running[slot]
                self.on_tokens(self.prompts[row.job.index], row.sample, self.schedule.tokens[slot, : step + 1].tolist())

    def _finish(self, row: Row, tokens: Tokens, by_token: bool) -> None:
        job, n = row.job, len(tokens)
        prompt, settings = self.prompts[job.index], self.settings[job.index]
        text, by_text = self.endings.text(job.index, job.tokens, tokens)
        reason: FinishReason = "length" if job.limit == settings.max_new_tokens else "context"
        logprobs = self.schedule.logprobs[row.slot, :n]
        ids, values = (
            top_of(self.schedule.top[row.slot, :n], settings.top_logprobs) if settings.top_logprobs else ((), ())
        )
        sample = Sample(
            prompt_id=prompt.id,
            sample=row.sample,
            text=text,
            token_ids=tuple(tokens.tolist()),
            finish_reason="stop" if by_token or by_text else reason,
            n_prompt_tokens=len(job.tokens),
            logprobs=tuple(logprobs.tolist()) if settings.logprobs else None,
            top_token_ids=tuple(map(tuple, ids)) if settings.top_logprobs else None,
            top_logprobs=tuple(map(tuple, values)) if settings.top_logprobs else None,
            prompt_logprobs=self.runner.asked.of(job.index) if row.sample == 0 else None,
            forced=self.thinking.span(job.index, row.forced, n),
        )
        self.schedule.finish(row)
        self.stats.tokens += len(tokens)
        self._finished(job, sample)

    def _finished(self, job: Job, sample: Sample) -> None:
        self.judging.ask(job.index, self.prompts[job.index], sample)

    def _judged(self, *, wait: bool = False) -> list[Sample]:
        """The samples whose verdict has come and whose turn it is."""
        found: list[Sample] = []
        for index, sample in self.judging.ready(wait=wait):
            if index in self.turn:
                found += self._in_turn(index, sample)
            else:
                found.append(sample)
        self.stats.samples += len(found)
        if self.progress is not None:
            self.progress(self.stats)
        return found

    def _in_turn(self, index: int, sample: Sample) -> Iterator[Sample]:
        """Samples up to the first accepted one by number, so that what is kept doesn't depend on who ended first."""
        job, turn = self.jobs[index], self.turn[index]
        if turn is None or sample.sample >= job.end:
            return
        waiting = self.waiting.setdefault(index, {})
        waiting[sample.sample] = sample
        if sample.accepted:
            before = job.wanted()
            self.schedule.stop(job, sample.sample + 1)
            self.stats.total -= before - job.wanted()
        while turn is not None and turn in waiting:
            yield waiting.pop(turn)
            turn = next((j for j in range(turn + 1, job.end) if j not in job.skip), None)
        self.turn[index] = turn
        if turn is None:
            waiting.clear()


@dataclass(frozen=True)
class Launched:
    """A step in flight."""

    slots: npt.NDArray[np.int64]
    #: Who was in the slots.
    serials: npt.NDArray[np.int64]
    #: Which of its steps this is for each.
    steps: Tokens
    wait: Callable[[], Step]
