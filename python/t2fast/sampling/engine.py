"""The sampler: k samples for each of many prompts, every prefix computed and stored once."""

from __future__ import annotations

import os
import time
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from t2fast.errors import T2Error
from t2fast.sampling.cache import Pool, Shape, probe, reading_pages
from t2fast.sampling.loading import fingerprint, load
from t2fast.sampling.request import FinishReason, Prompt, Sample, SamplingParams
from t2fast.sampling.runner import Graphs, Runner
from t2fast.sampling.schedule import Floats, Job, Row, Schedule, Tokens, build_tree, pages_for
from t2fast.sampling.text import ENDS, Endings, Tokenizer, eos_tokens
from t2fast.sampling.verify import Verifier
from t2fast.sampling.verify.judging import Judging

if TYPE_CHECKING:
    from t2fast.sampling.score import Score

__all__ = ["Sampler", "Stats"]

#: Nodes in a prefix's chain: a system prompt, examples, a question, and one to spare.
_LEVELS = 4
#: Share of the free memory that keys and values may take on a GPU, and on the CPU.
_SHARE = {"cuda": 0.85, "cpu": 0.5}


@dataclass
class Stats:
    """What a call of the sampler did so far."""

    #: Samples finished, and to draw in all (fewer, where prompts stop early).
    samples: int = 0
    total: int = 0
    #: Tokens generated.
    tokens: int = 0
    #: Tokens computed before: of each distinct prefix once, unless memory was short.
    prefilled: int = 0
    #: Decode steps, and rows in all of them together.
    steps: int = 0
    rows: int = 0
    #: Samples paused since memory was short.
    preemptions: int = 0
    #: Pages of keys and values: most in use so far, and in the pool; bytes of one.
    pages: int = 0
    pages_total: int = 0
    page_bytes: int = 0
    seconds: float = 0.0
    #: Of these, how long the host waited for the device. On a GPU, next to nothing means that the host is too slow.
    waited: float = 0.0


class Sampler:
    """Draws samples from a Hugging Face model.

    Every distinct prefix is computed once, stored once, and read once per step for all of its samples. Samples of all
    prompts run together in one batch, which is refilled as they end.

    Parameters
    ----------
    model
        A decoder-only model of transformers whose attention can be replaced. While it draws it is in evaluation mode
        and has t2fast's attention; whenever it does not it is as before, so a model in training can be given. Its
        weights are read anew in every call.
    tokenizer
        Its tokenizer.
    kv_memory
        Bytes for keys and values; by default 85% of what is free on the GPU, or half of what is free on the CPU, but no
        more than needed.
    max_batch
        Most samples drawn together; by default 256 on a GPU and 64 on the CPU.
    page_size
        Tokens in a page of memory.
    graphs
        How steps are launched: "cuda" graphs, "compile" (torch.compile), "none"; "auto" takes graphs on a GPU.
    prefill_tokens
        Most tokens of prefixes computed at once.

    Raises
    ------
    T2Error
        When the model or the tokenizer cannot be used; the message says why.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        kv_memory: int | None = None,
        max_batch: int | None = None,
        page_size: int = 16,
        graphs: Graphs = "auto",
        prefill_tokens: int = 1024,
        name: str | None = None,
    ) -> None:
        for label, value in (("kv_memory", kv_memory), ("max_batch", max_batch), ("page_size", page_size),
                             ("prefill_tokens", prefill_tokens)):  # fmt: skip
            if value is not None and (not isinstance(value, int) or value < 1):
                raise T2Error(f"{label} = {value!r}: must be a whole number, at least 1")
        devices = {p.device for p in model.parameters()}
        if len(devices) != 1 or getattr(model, "tp_size", None) not in (None, 1):
            raise T2Error(f"the model lies on {len(devices)} devices: t2fast runs models that fit on one, unsharded")
        self.model, self.device = model, devices.pop()
        if self.device.type not in _SHARE:
            raise T2Error(f"the model lies on {self.device}: t2fast runs on cuda and cpu")
        if graphs not in ("auto", "cuda", "compile", "none"):
            raise T2Error(f"graphs = {graphs!r}: must be auto, cuda, compile or none")
        on_gpu = self.device.type == "cuda"
        if graphs == "cuda" and not on_gpu:
            raise T2Error(f"graphs = 'cuda': the model is on {self.device}; CUDA graphs need a GPU")
        self.graphs: Graphs = ("cuda" if on_gpu else "none") if graphs == "auto" else graphs
        self.kv_memory, self.page_size, self.prefill_tokens = kv_memory, page_size, prefill_tokens
        self.max_batch = max_batch or (256 if on_gpu else 64)
        self.shape: Shape = probe(model, self.device)
        self.tokenizer = Tokenizer(tokenizer, self.shape.vocab)
        self.eos = eos_tokens(model, tokenizer)
        self.context = context_length(model)
        self.name = name or str(getattr(model.config, "_name_or_path", "") or type(model).__name__)
        self.levels = _LEVELS
        #: Steps launched before the host has looked at the last: on a GPU one, so that it need not wait for the host.
        self.ahead = int(on_gpu)
        #: What the latest call did.
        self.stats = Stats()

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
        trust_remote_code: bool = False,
        **options: Any,
    ) -> Sampler:
        """Load model and tokenizer from a folder, or by their name on the Hub.

        Parameters
        ----------
        path
            A folder with config.json, safetensors and tokenizer; other kinds of weights are refused, since loading them
            can run code.
        dtype
            Such as "bfloat16"; by default what the files hold.
        device
            By default the GPU if there is one.
        trust_remote_code
            Whether Python files that come with the model may run.
        **options
            As for :class:`Sampler`.

        Raises
        ------
        T2Error
            When files are missing or incomplete, or the model cannot be used.
        """
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        model, tokenizer = load(path, dtype=dtype, device=where, trust_remote_code=trust_remote_code)
        return cls(model, tokenizer, **{"name": str(path), **options})

    def identity(self) -> dict[str, Any]:
        """Tell what the samples depend on: model, weights, number type, tokenizer."""
        parameters = list(self.model.parameters())
        return {
            "name": self.name,
            "architecture": type(self.model).__name__,
            "weights": fingerprint(self.model),
            "dtype": str(self.shape.dtype).removeprefix("torch."),
            "tokenizer": self.tokenizer.fingerprint(),
            "n_params": sum(p.numel() for p in {id(p): p for p in parameters}.values()),
        }

    # ------------------------------------------------------------------------------------------------ sampling

    def sample(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams | None = None,
        *,
        seed: int = 0,
        verifier: Verifier | None = None,
        on_sample: Callable[[Sample], None] | None = None,
        on_tokens: Callable[[Prompt, int, Sequence[int]], None] | None = None,
        skip: Callable[[str], Collection[int]] | None = None,
        progress: Callable[[Stats], None] | None = None,
    ) -> Iterator[Sample]:
        """Draw samples and give each as soon as it is finished; their order is not fixed.

        Sample j of a prompt depends on the seed, the prompt's id and j, and on nothing else that is drawn, but for what
        the model's matrix products owe to the number of rows: see docs/sample-engine.md.

        Parameters
        ----------
        prompts, params
            What to draw, and how; prompts may have settings of their own.
        seed
            Key of the random numbers, 64 bits.
        verifier
            Asked about every answer, in threads of its own; samples carry its verdict. A prompt with
            ``stop_on_success`` gives its samples in the order of their numbers and ends with the first accepted one.
        on_sample
            Called with every sample before it is given.
        on_tokens
            Called with a prompt, the number of a sample and its tokens so far, after each step: for streaming.
        skip
            Tells which samples of a prompt (by its id) nobody needs, such as those that an earlier run stored.
        progress
            Called with :attr:`stats` after every step.

        Raises
        ------
        T2Error
            When a prompt cannot be drawn from (no tokens, too long, no chat template), ids are repeated, memory does
            not hold a single sample, or the model computes NaN.
        """
        if not prompts:
            return iter(())
        skip = skip or (lambda _: ())
        run = _Call(self, prompts, params or SamplingParams(), seed, verifier, skip, on_tokens, progress)
        return self._iterate(run, on_sample)

    def _iterate(self, run: _Call, on_sample: Callable[[Sample], None] | None) -> Iterator[Sample]:
        with closing(run):
            steps = run.steps()
            while True:
                # Whoever takes the samples finds the model as it was.
                with reading_pages(self.model):
                    samples = next(steps, None)
                if samples is None:
                    return
                for sample in samples:
                    if on_sample is not None:
                        on_sample(sample)
                    yield sample

    def score(self, prompts: Sequence[Prompt]) -> Iterator[Score]:
        """Give the negative log-likelihood of reference answers; see :func:`t2fast.sampling.score.score`."""
        from t2fast.sampling.score import score

        return score(self, prompts)

    def pool(self, needed: int) -> Pool:
        """Memory for keys and values: ``needed`` pages, or as many as the budget has."""
        page = self.shape.page_bytes(self.page_size)
        budget = self.kv_memory or int(_SHARE[self.device.type] * _free_memory(self.device))
        return Pool(self.shape, max(1, min(needed, budget // page)), self.page_size, self.device)


def context_length(model: Any) -> int:
    """Most tokens that a text may have."""
    config = model.config.get_text_config()
    length = int(getattr(config, "max_position_embeddings", None) or 1 << 30)
    rope = getattr(config, "rope_parameters", None) or {}
    for one in [rope, *(value for value in rope.values() if isinstance(value, dict))]:
        # These turn all tokens of a batch by the longest text in it: only up to here is a sample its own.
        if one.get("rope_type") in ("dynamic", "longrope"):
            length = min(length, int(one.get("original_max_position_embeddings") or length))
    return length


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    known = getattr(os, "sysconf_names", {})
    for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"):  # macOS tells the second only
        if name in known:
            return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    return 8 << 30


class _Call:
    """One call of :meth:`Sampler.sample`: the loop around schedule and runner."""

    def __init__(
        self,
        sampler: Sampler,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        seed: int,
        verifier: Verifier | None,
        skip: Callable[[str], Collection[int]],
        on_tokens: Callable[[Prompt, int, Sequence[int]], None] | None,
        progress: Callable[[Stats], None] | None,
    ) -> None:
        self.sampler, self.prompts, self.on_tokens, self.progress = sampler, list(prompts), on_tokens, progress
        if len({prompt.id for prompt in self.prompts}) < len(self.prompts):
            seen: set[str] = set()
            twice = next(p.id for p in self.prompts if p.id in seen or seen.add(p.id))  # type: ignore[func-returns-value]
            raise T2Error(f"two prompts have the id {twice!r}: ids must differ")
        if not -(1 << 63) <= seed < 1 << 64:
            raise T2Error(f"seed = {seed}: must fit 64 bits")
        self.settings = [prompt.params(params) for prompt in self.prompts]
        if verifier is None and any(one.stop_on_success for one in self.settings):
            raise T2Error("stop_on_success = True: needs a verifier that says what success is")
        self.endings = Endings(sampler.tokenizer, self.settings, sampler.eos)
        self.jobs = self._jobs(skip)
        levels = sampler.levels
        leaves = build_tree([job.tokens[:-1] for job in self.jobs], 2 * sampler.page_size, levels)
        for job, leaf in zip(self.jobs, leaves, strict=True):
            job.leaf = leaf
        total = sum(job.wanted() for job in self.jobs)
        slots = max(1, min(sampler.max_batch, total))
        needed = self._pages_needed(slots)
        self.pool = sampler.pool(needed)
        n_pages = self.pool.data.shape[2]
        self.schedule = Schedule(
            self.jobs, n_pages=n_pages, page_size=sampler.page_size, slots=slots, node_tables=(slots + 1) * levels
        )
        if self.schedule.least_pages() > n_pages:
            page = sampler.shape.page_bytes(sampler.page_size)
            raise T2Error(
                f"kv_memory: {n_pages * page} bytes don't hold the longest prompt with one sample of it, "
                f"which need {self.schedule.least_pages() * page}; give more or draw shorter"
            )
        keys = np.array([zlib.crc32(prompt.id.encode()) for prompt in self.prompts], np.uint32).view(np.int32)
        self.runner = Runner(
            sampler.model, sampler.shape, sampler.device, self.schedule, self.pool, self.jobs, self.settings, keys,
            seed=seed - (1 << 64) if seed >= 1 << 63 else seed, graphs=sampler.graphs, chunk=sampler.prefill_tokens,
            levels=levels,
        )  # fmt: skip
        self.verdicts = Judging(verifier)
        self.pending: deque[_Launched] = deque()
        #: Finished samples of prompts that stop at their first success, until it is their turn.
        self.waiting: dict[int, dict[int, Sample]] = {}
        self.turn = {i: job.upcoming() for i, job in enumerate(self.jobs) if self.settings[i].stop_on_success}
        self.kind = np.zeros(slots, np.int32)
        self.stats = sampler.stats = Stats(
            total=total, pages_total=n_pages, page_bytes=sampler.shape.page_bytes(sampler.page_size)
        )
        self.begun = time.monotonic()

    def _jobs(self, skip: Callable[[str], Collection[int]]) -> list[Job]:
        context = self.sampler.context
        jobs = []
        for i, tokens in enumerate(self.sampler.tokenizer.encode(self.prompts)):
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
        page = self.sampler.page_size
        sizes = {node: pages_for(node.end - node.begin, page) for job in self.jobs for node in job.chain()}
        longest = max(sum(sizes[node] for node in job.chain()) for job in self.jobs)
        own = max(pages_for(job.limit + 1, page) for job in self.jobs)
        return min(sum(sizes.values()), slots * longest) + slots * (own + 1)

    # ------------------------------------------------------------------------------------------------ the loop

    def steps(self) -> Iterator[list[Sample]]:
        """Run to the end; whenever samples are finished and judged, give them."""
        schedule, runner, stats = self.schedule, self.runner, self.stats
        uploaded = -1
        while True:
            nodes, rows = schedule.admit()
            if rows:
                stats.prefilled += runner.begin(nodes, rows)
                self.kind[[row.slot for row in rows]] = self.endings.kind[[row.job.index for row in rows]]
            if len(schedule.needy()) > schedule.pages.free:
                # Who pauses must have all of its tokens, and who has ended need not pause others.
                self._drain()
            schedule.grow()
            stats.preemptions, stats.pages = schedule.preemptions, max(stats.pages, schedule.pages.taken)
            if schedule.running:
                if uploaded != schedule.moves:
                    runner.upload()
                    uploaded = schedule.moves
                slots = runner.rows
                at = schedule.count[slots]
                self.pending.append(_Launched(slots, schedule.serial[slots], at, runner.step()))
                schedule.count[slots] += 1
                stats.steps += 1
                stats.rows += len(slots)
            elif not self.pending:
                break
            while len(self.pending) > (self.sampler.ahead if schedule.running else 0):
                self._look(self.pending.popleft())
            if found := self._judged():
                yield found
        while self.verdicts.outstanding:
            if found := self._judged(wait=True):
                yield found
        if any(self.waiting.values()):
            raise AssertionError("samples wait for others that were never drawn")

    def close(self) -> None:
        """Stop asking the verifier."""
        self.verdicts.close()
        self.stats.seconds = time.monotonic() - self.begun

    def _drain(self) -> None:
        while self.pending:
            self._look(self.pending.popleft())

    def _look(self, launched: _Launched) -> None:
        """Take in what a step drew: record it, and end the samples that it ended."""
        schedule = self.schedule
        begun = time.monotonic()
        tokens, logprobs = launched.wait()
        self.stats.waited += time.monotonic() - begun
        slots, steps = launched.slots, launched.steps
        # A row may have ended, or been stopped, while this step was in flight.
        alive = schedule.serial[slots] == launched.serials
        if not alive.all():
            slots, steps, tokens, logprobs = slots[alive], steps[alive], tokens[alive], logprobs[alive]
        if not len(slots):
            return
        if tokens.min() < 0:
            prompt = self.prompts[schedule.running[int(slots[tokens.argmin()])].job.index].id
            raise T2Error(
                f"prompt {prompt!r}: the model's logits are not finite; its weights are broken or its dtype, "
                f"{str(self.sampler.shape.dtype).removeprefix('torch.')}, is too narrow: try bfloat16 or float32"
            )
        schedule.record(slots, steps, tokens, logprobs)
        means = self.endings.table[self.kind[slots], tokens]
        ended = (means & ENDS != 0) | (steps + 1 >= schedule.limit[slots])
        if self.on_tokens is not None:
            for slot, step in zip(slots.tolist(), steps.tolist(), strict=True):
                row = schedule.running[slot]
                self.on_tokens(self.prompts[row.job.index], row.sample, schedule.tokens[slot, : step + 1].tolist())
        for i in np.flatnonzero(ended | (means != 0)).tolist():
            row = schedule.running[int(slots[i])]
            drawn = schedule.tokens[row.slot, : steps[i] + 1]
            if ended[i] or self.endings.completed(row.job.index, row.job.tokens, drawn):
                self._finish(row, drawn, schedule.logprobs[row.slot, : steps[i] + 1], bool(means[i] & ENDS))
        self.stats.seconds = time.monotonic() - self.begun

    def _finish(self, row: Row, tokens: Tokens, logprobs: Floats, by_token: bool) -> None:
        job = row.job
        prompt, settings = self.prompts[job.index], self.settings[job.index]
        text, by_text = self.endings.text(job.index, job.tokens, tokens)
        reason: FinishReason = "length" if job.limit == settings.max_new_tokens else "context"
        sample = Sample(
            prompt_id=prompt.id,
            sample=row.sample,
            text=text,
            token_ids=tuple(tokens.tolist()),
            finish_reason="stop" if by_token or by_text else reason,
            n_prompt_tokens=len(job.tokens),
            logprobs=tuple(logprobs.tolist()) if settings.logprobs else None,
        )
        self.schedule.finish(row)
        self.stats.tokens += len(tokens)
        self.verdicts.ask(job.index, prompt, sample)

    def _judged(self, *, wait: bool = False) -> list[Sample]:
        """The samples whose verdict has come and whose turn it is."""
        found: list[Sample] = []
        for index, sample in self.verdicts.ready(wait=wait):
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
class _Launched:
    """A step in flight."""

    slots: npt.NDArray[np.int64]
    #: Who was in the slots.
    serials: npt.NDArray[np.int64]
    #: Which of its steps this is for each.
    steps: Tokens
    wait: Callable[[], tuple[Tokens, Floats]]
