"""Drawing samples from a server: many requests at once, every sample once, in order where a prompt stops early."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import urllib.parse
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from t2fast import arguments
from t2fast.errors import T2Error
from t2fast.sampling.cancelling import Cancellable
from t2fast.sampling.endpoint.http import EndpointError, Server, Stop, Stopped
from t2fast.sampling.endpoint.messages import check, refuse, request, samples_of, seed_of
from t2fast.sampling.params import SamplingParams
from t2fast.sampling.prompts import Prompt, unique
from t2fast.sampling.samples import Sample
from t2fast.sampling.verify import Verifier, judge

__all__ = ["Endpoint"]

#: Most numbers of one prompt that are under way while it may stop early.
_AHEAD = 64


class Endpoint(Cancellable):
    """Draws samples from an OpenAI-compatible server: vLLM, SGLang, llama.cpp, ``t2fast serve``, a vendor.

    It does what :class:`Sampler` does for a model that runs here: :func:`sample_to_file` takes either.

    Parameters
    ----------
    url
        Of the API, such as ``http://localhost:8000/v1``.
    model
        The model's name there; None where the server has only one.
    concurrency
        Requests under way at once.
    per_request
        Samples of one request. More than one saves the server work where it has no prefix cache; but a seed is then one
        for all of them, so that a resumed run draws others than an undisturbed one.
    seeds
        Whether to send seeds. Where the server honours them, sample j of a prompt is the same in every run.
    api_key_env
        The environment variable that holds the key; it is read when needed and never stored.
    timeout
        Seconds until an answer must be whole.
    retries
        Attempts after the first, on 429, 5xx, dropped connections, time-outs and half answers, with growing pauses.

    Raises
    ------
    T2Error
        When an argument cannot be used.

    Examples
    --------
    ::

        endpoint = Endpoint("http://localhost:8000/v1", "my-model", concurrency=64)
        sample_to_file(endpoint, read_prompts("prompts.jsonl"), SamplingParams(k=64), "samples.jsonl")
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        concurrency: int = 16,
        per_request: int = 1,
        seeds: bool = True,
        api_key_env: str = "OPENAI_API_KEY",
        timeout: float = 600.0,
        retries: int = 8,
    ) -> None:
        super().__init__()
        parts = urllib.parse.urlsplit(url if isinstance(url, str) else "")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise T2Error(f"endpoint = {arguments.shown(url)}: must be an address such as http://localhost:8000/v1")
        if parts.username or parts.password or parts.query:
            raise T2Error("endpoint: must not hold a key or a password; set the environment variable of api_key_env")
        self.server = Server(
            url.rstrip("/"),
            os.environ.get(api_key_env, ""),
            arguments.number("timeout", timeout, low=0, low_open=True),
            arguments.whole("retries", retries),
        )
        self.concurrency = arguments.whole("concurrency", concurrency, least=1, most=4096)
        self.per_request = arguments.whole("per_request", per_request, least=1, most=1024)
        self.seeds = seeds
        #: What the server counted, by field of its usage.
        self.usage: dict[str, int] = {}
        #: Tokens that arrived in the latest call.
        self.tokens = 0
        self.warnings: tuple[str, ...] = ()
        self._model = model
        self._limit = "max_tokens"
        self._lock = threading.Lock()

    @property
    def model(self) -> str:
        """The model's name; asks the server where none was given."""
        if self._model is None:
            names = self._served()
            if len(names) != 1:
                raise T2Error(f"--model: the server has {', '.join(names) or 'no list of models'}: say which")
            self._model = names[0]
        return self._model

    def _served(self) -> list[str]:
        answer = self.server.ask("/models", None, Stop())
        data = answer.get("data") if isinstance(answer, dict) else None
        return [str(one["id"]) for one in data or () if isinstance(one, dict) and "id" in one]

    def identity(self) -> dict[str, Any]:
        """What the samples depend on, as far as a server tells; ``reproducible`` says what a seed can promise."""
        if not self.seeds:
            promise = "no: no seeds were sent"
        elif self.per_request == 1:
            promise = "sample by sample, where the server honours seeds"
        else:
            promise = f"request by request of {self.per_request} samples, where the server honours seeds"
        return {"name": self.model, "engine": "endpoint", "endpoint": self.server.url, "reproducible": promise}

    def memory(self) -> int:
        """Highest memory use: that of the server is not known."""
        return 0

    def sample(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams | None = None,
        *,
        seed: int = 0,
        verifier: Verifier | None = None,
        skip: Callable[[str], Collection[int]] | None = None,
        progress: Callable[[Endpoint], object] | None = None,
    ) -> Iterator[Sample]:
        """Draw samples and give each as soon as it has arrived and was judged.

        Parameters
        ----------
        prompts, params, seed, verifier, skip
            As for :meth:`Sampler.sample`.
        progress
            Called with this object, whose ``tokens`` are those that arrived.

        Raises
        ------
        EndpointError
            When the server refuses a request, or fails again and again; samples given before are whole.
        """
        params = params or SamplingParams()
        unique(prompts)
        seed = arguments.seed(seed)
        for prompt in prompts:
            refuse(prompt, prompt.params(params))
        if verifier is None and any(one.params(params).stop_on_success for one in prompts):
            raise T2Error("stop_on_success = True: needs a verifier that says what success is")
        work = _Work(prompts, params, skip or (lambda _: ()), self.per_request)
        self.tokens, self.usage = 0, {}
        self._begins(work)
        return self._drawn(work, seed, verifier, progress)

    def _drawn(
        self, work: _Work, seed: int, verifier: Verifier | None, progress: Callable[[Endpoint], object] | None
    ) -> Iterator[Sample]:
        found: queue.Queue[list[Sample] | Exception | None] = queue.Queue(4 * self.concurrency)
        # Daemons: a server that hangs must not keep the program from ending.
        workers = [
            threading.Thread(target=self._ask_all, args=(work, seed, verifier, found), daemon=True)
            for _ in range(min(self.concurrency, max(1, work.requests)))
        ]
        for worker in workers:
            worker.start()
        running = len(workers)
        try:
            while running:
                try:
                    # A wait without end could not be interrupted everywhere.
                    got = found.get(timeout=0.2)
                except queue.Empty:
                    continue
                if got is None:
                    running -= 1
                elif isinstance(got, Exception):
                    raise got
                else:
                    for sample in got:
                        self.tokens += sample.n_answer_tokens
                        yield from work.arrived(sample)
                    if progress is not None:
                        progress(self)
        finally:
            work.end()
            self._ends(work)

    def _ask_all(self, work: _Work, seed: int, verifier: Verifier | None, found: queue.Queue[Any]) -> None:
        stop = work.stop

        def put(what: Any) -> None:
            while not stop.is_set():
                with contextlib.suppress(queue.Full):
                    found.put(what, timeout=0.2)
                    return

        try:
            while not stop.is_set() and (part := work.next()) is not None:
                prompt, settings, numbers = part
                with work.asking(prompt) as wish:
                    while numbers:
                        samples = self._ask(prompt, settings, numbers, seed, wish)
                        if verifier is not None:
                            samples = [_judged(one, prompt, verifier) for one in samples]
                        put(samples)
                        # A server may give fewer than were asked for.
                        numbers = numbers[len(samples) :]
        except Exception as error:
            put(error)
        put(None)

    def _ask(self, prompt: Prompt, params: SamplingParams, numbers: list[int], seed: int, stop: Stop) -> list[Sample]:
        key = seed_of(seed, prompt.id, numbers[0]) if self.seeds else None
        try:
            answer = self.server.ask(*request(self.model, prompt, params, len(numbers), key, self._limit), stop, check)
        except EndpointError as error:
            # What OpenAI's newer models call it, who say so.
            if self._limit == "max_tokens" and "max_completion_tokens" in str(error):
                self._limit = "max_completion_tokens"
                return self._ask(prompt, params, numbers, seed, stop)
            raise EndpointError(f"prompt {prompt.id!r}: {error}") from None
        samples = samples_of(prompt, params, numbers, answer)
        usage = answer.get("usage")
        with self._lock:
            for name, count in (usage if isinstance(usage, dict) else {}).items():
                if isinstance(count, int) and not isinstance(count, bool):
                    self.usage[name] = self.usage.get(name, 0) + count
        return samples


def _judged(sample: Sample, prompt: Prompt, verifier: Verifier) -> Sample:
    verdict = judge(verifier, prompt, sample.text)
    return replace(sample, correct=verdict.correct, score=verdict.score, verifier_error=verdict.error)


@dataclass
class _Turn:
    """A prompt that stops at its first success: samples wait here until it is their turn."""

    numbers: list[int]
    #: Samples given so far, and those that came before their turn.
    given: int = 0
    waiting: dict[int, Sample] = field(default_factory=dict)
    over: bool = False


class _Work:
    """What is left to ask for, handed out prompt by prompt to whoever is free."""

    def __init__(
        self, prompts: Sequence[Prompt], params: SamplingParams, skip: Callable[[str], Collection[int]], size: int
    ) -> None:
        self._lock = threading.Condition()
        self._turns: dict[str, _Turn] = {}
        self._parts: list[tuple[Prompt, SamplingParams, list[int]]] = []
        self.requests = 0
        #: Set when the call ends.
        self.stop = threading.Event()
        #: What breaks off each request under way, and its prompt.
        self._asking: dict[Stop, str] = {}
        #: Prompts that nobody wants; those of them that lack samples, when the call has ended.
        self._unwanted: set[str] = set()
        self.cancelled: set[str] = set()
        #: By prompt: how many samples it lacks.
        self._missing: dict[str, int] = {}
        for prompt in prompts:
            settings, there = prompt.params(params), frozenset(skip(prompt.id))
            numbers = [j for j in range(settings.k) if j not in there]
            self._missing[prompt.id] = len(numbers)
            if numbers:
                self._parts.append((prompt, settings, numbers))
                self.requests += -(-len(numbers) // size)
                if settings.stop_on_success:
                    self._turns[prompt.id] = _Turn(numbers)
        self._size, self._at, self._begun = size, 0, 0

    def cancel(self, prompt_id: str) -> bool:
        """Ask for no more samples of a prompt; whether this call has it."""
        if prompt_id not in self._missing:
            return False
        with self._lock:
            self._unwanted.add(prompt_id)
            under_way = [wish for wish, name in self._asking.items() if name == prompt_id]
            self._lock.notify_all()
        for wish in under_way:
            wish.set()
        return True

    def end(self) -> None:
        """Ask for nothing more, and break off what is under way."""
        with self._lock:
            self.stop.set()
            self.cancelled |= {one for one in self._unwanted if self._missing[one]}
            under_way = list(self._asking)
        for wish in under_way:
            wish.set()

    @contextlib.contextmanager
    def asking(self, prompt: Prompt) -> Iterator[Stop]:
        """Give what breaks off requests for a prompt, which ends the block."""
        wish = Stop()
        with self._lock:
            self._asking[wish] = prompt.id
            if self.stop.is_set() or prompt.id in self._unwanted:
                wish.set()
        try:
            yield wish
        except Stopped:
            pass
        finally:
            with self._lock:
                del self._asking[wish]

    def next(self) -> tuple[Prompt, SamplingParams, list[int]] | None:
        """The next samples to ask for; None when there are none left. Waits while a prompt may be about to stop."""
        with self._lock:
            while self._at < len(self._parts):
                prompt, settings, numbers = self._parts[self._at]
                turn = self._turns.get(prompt.id)
                over = prompt.id in self._unwanted or (turn is not None and turn.over)
                if self._begun >= len(numbers) or over:
                    self._at, self._begun = self._at + 1, 0
                    continue
                if turn is not None and self._begun - turn.given >= _AHEAD:
                    if self.stop.is_set():
                        return None
                    self._lock.wait(0.2)
                    continue
                some = numbers[self._begun : self._begun + self._size]
                self._begun += len(some)
                return prompt, settings, some
            return None

    def arrived(self, sample: Sample) -> list[Sample]:
        """The samples that may be given now: of a prompt that stops early, in the order of their numbers."""
        turn = self._turns.get(sample.prompt_id)
        if turn is None:
            self._missing[sample.prompt_id] -= 1
            return [sample]
        with self._lock:
            if turn.over:
                return []
            turn.waiting[sample.sample] = sample
            found = []
            while turn.given < len(turn.numbers) and turn.numbers[turn.given] in turn.waiting:
                one = turn.waiting.pop(turn.numbers[turn.given])
                found.append(one)
                turn.given += 1
                self._missing[sample.prompt_id] -= 1
                if one.accepted:
                    turn.over = True
                    self._missing[sample.prompt_id] = 0
                    turn.waiting.clear()
                    break
            self._lock.notify_all()
            return found
