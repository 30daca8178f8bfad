"""Many samplers at once: Ray actors draw, on as many GPUs and machines as there are, and one process stores.

A worker gives its samples as it finishes them. When one dies, those it gave are kept, and another takes its place and
draws what is missing. A machine that joins gets a worker. Since sample j of a prompt is the same wherever it is drawn,
so is the result.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from t2fast.cluster import Cluster, work_in
from t2fast.errors import T2Error
from t2fast.sampling.cancelling import Cancellable
from t2fast.sampling.params import SamplingParams
from t2fast.sampling.prompts import Prompt
from t2fast.sampling.sample_file import Draws, peak_memory
from t2fast.sampling.samples import Sample
from t2fast.sampling.verify import Verifier

__all__ = ["RayWorkers"]

#: Times that workers may die over the same prompts, or while they start, before that is to blame.
_MOST_DEATHS = 3
#: Seconds over which a worker gathers finished samples before it sends them.
_GATHER = 0.05
#: Seconds between two looks at whether machines have joined, and without a worker until it is said.
_SURVEY = 2.0
_ALONE = 10.0

_log = logging.getLogger(__name__)


class _Worker:
    """The actor: one sampler in a process of its own."""

    def __init__(self, load: Callable[[], Draws], folder: str) -> None:
        work_in(folder)
        self._load = load
        self._sampler: Draws | None = None
        self._lock = threading.Lock()
        #: All work of torch. Ray calls from threads that Python did not start, where torch 2.11 can wait for the very
        #: GIL that its thread holds.
        self._thread = ThreadPoolExecutor(1)
        #: Whether the sampler draws, and prompts that were cancelled before it did.
        self._drawing = False
        self._unwanted: list[str] = []

    def identity(self) -> dict[str, Any]:
        # Here rather than in __init__, whose errors Ray turns into the actor's death.
        if self._sampler is None:
            self._sampler = self._thread.submit(self._load).result()
        return self._sampler.identity()

    def sample(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        seed: int,
        verifier: Verifier | None,
        skip: Mapping[str, Collection[int]],
    ) -> Iterator[tuple[list[Sample], int, list[str]]]:
        """Draw; give samples as they come, the memory used, and at the end the prompts that were cancelled."""
        assert self._sampler is not None
        gathered: list[Sample] = []
        sent = time.monotonic()
        drawn = iter(
            self._thread.submit(
                self._sampler.sample, prompts, params, seed=seed, verifier=verifier, skip=skip.__getitem__
            ).result()
        )
        with self._lock:
            self._drawing = True
            for prompt_id in self._unwanted:
                self._sampler.cancel(prompt_id)
        try:
            while (sample := self._thread.submit(next, drawn, None).result()) is not None:
                gathered.append(sample)
                if time.monotonic() - sent >= _GATHER:
                    yield gathered, peak_memory(), []
                    gathered, sent = [], time.monotonic()
        finally:
            with self._lock:
                self._drawing = False
                self._unwanted.clear()
        yield gathered, peak_memory(), sorted(self._sampler.cancelled)

    def cancel(self, prompt_id: str) -> None:
        # In a thread of its own, beside the one that draws or is about to.
        with self._lock:
            if self._drawing:
                assert self._sampler is not None
                self._sampler.cancel(prompt_id)
            else:
                self._unwanted.append(prompt_id)


@dataclass
class _Task:
    """Prompts that a worker has in hand."""

    prompts: Sequence[Prompt]
    worker: Any = None
    deaths: int = 0


@dataclass(eq=False)
class _Call:
    """One call of :meth:`RayWorkers.sample`: what of it may be asked for by other threads."""

    prompts: frozenset[str]
    lock: threading.Lock = field(default_factory=threading.Lock)
    #: Tasks that workers have in hand, by what they give.
    running: dict[Any, _Task] = field(default_factory=dict)
    #: Prompts that nobody wants; those of them that lack samples.
    unwanted: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)

    def cancel(self, prompt_id: str) -> bool:
        """Ask, from any thread, for no more samples of a prompt; whether this call has it."""
        if prompt_id not in self.prompts:
            return False
        with self.lock:
            self.unwanted.add(prompt_id)
            for task in self.running.values():
                if any(prompt.id == prompt_id for prompt in task.prompts):
                    task.worker.cancel.options(concurrency_group="cancel").remote(prompt_id)
        return True


class _Starting:
    """Workers that were begun and have not said yet that they are there, by what they will say."""

    def __init__(self, workers: Sequence[Any]) -> None:
        self.workers: dict[Any, Any] = {}
        #: Those that died and have no other in their place yet.
        self.dead: list[Any] = []
        #: How many of them died in a row; when one last was there; when it was last looked for room.
        self.failed = 0
        self.since = self.surveyed = time.monotonic()
        self._said = False
        for worker in workers:
            self.add(worker)

    def add(self, worker: Any) -> None:
        self.workers[worker.identity.remote()] = worker

    def waited(self) -> None:
        """Say, once, that nothing goes on without another machine."""
        if not self._said and time.monotonic() - self.since > _ALONE:
            self._said = True
            _log.warning("no worker is at work: loading a model, or waiting for a machine to join the Ray cluster")


class RayWorkers(Cancellable):
    """Samplers in Ray actors, which together do what one :class:`Sampler` does.

    Parameters
    ----------
    load
        Makes a sampler; called once in every worker.
    workers
        How many; by default one per GPU of the cluster, or one per machine where there is no GPU, and more as machines
        join.
    address
        Of the cluster, as in ``ray.init``; by default the environment variable ``RAY_ADDRESS``, or a cluster of its own
        on this machine.

    Raises
    ------
    MissingExtraError
        When ray is not installed.
    T2Error
        When the cluster is too small, the workers don't load the same model, or no cluster answers.

    Examples
    --------
    ::

        with RayWorkers(partial(Sampler.from_pretrained, "my-model"), workers=8) as workers:
            sample_to_file(workers, prompts, SamplingParams(k=64), "samples.jsonl")
    """

    def __init__(self, load: Callable[[], Draws], *, workers: int | None = None, address: str | None = None) -> None:
        super().__init__()
        #: Tokens that arrived in the latest call.
        self.tokens = 0
        self._load = load
        self._memory = 0
        self._workers: list[Any] = []
        self._fixed = workers is not None
        self._cluster = Cluster(workers, address=address)
        self._died = (self._cluster.ray.exceptions.RayActorError, self._cluster.ray.exceptions.ObjectLostError)
        try:
            machines = self._cluster.machines()
            self._gpus = any(machine.get("GPU", 0) >= 1 for machine in machines)
            cpus = [int(machine.get("CPU", 0)) for machine in machines]
            room = self._room(machines) if self._gpus else sum(cpus)
            count = self._room(machines) if workers is None else workers
            if not 1 <= count <= room:
                has = f"{room} GPUs" if self._gpus else f"{room} CPUs"
                raise T2Error(f"workers = {count}: must lie between 1 and what the cluster has, {has}")
            self._cpus = 1 if self._gpus else _cpus_each(cpus, count)
            # A thread of its own, so that a worker hears of what is cancelled while it draws.
            self._actor: Any = self._cluster.ray.remote(
                num_cpus=self._cpus, num_gpus=int(self._gpus), concurrency_groups={"cancel": 1}
            )(_Worker)
            self._workers = [self._begin() for _ in range(count)]
            self._identity: dict[str, Any] | None = None
            self._start()
        except BaseException:
            self.close()
            raise

    def _room(self, machines: Sequence[Mapping[str, float]], cpus: int = 1) -> int:
        """How many workers the machines have room for: one per GPU, or one per machine."""
        if self._gpus:
            return sum(int(machine.get("GPU", 0)) for machine in machines)
        return sum(machine.get("CPU", 0) >= cpus for machine in machines)

    def _begin(self) -> Any:
        return self._actor.remote(self._load, os.getcwd())

    def _start(self) -> None:
        """Wait until all workers have loaded their model."""
        starting = _Starting(self._workers)
        while starting.workers or starting.dead:
            self._fill(starting, grow=False)
            ready = self._cluster.wait(list(starting.workers))
            if ready is None:
                starting.waited()
            else:
                self._started(ready, starting)

    def _started(self, ready: Any, starting: _Starting) -> Any:
        """The worker that has loaded its model; None if it died, and another begins in its place."""
        worker = starting.workers.pop(ready)
        try:
            identity = self._cluster.get(ready)
        except self._died:
            starting.failed += 1
            if starting.failed == _MOST_DEATHS:
                raise T2Error(f"{_MOST_DEATHS} workers died while they started; what arrived is kept") from None
            starting.dead.append(worker)
            return None
        starting.failed, starting.since = 0, time.monotonic()
        if self._identity is None:
            self._identity = identity
        elif identity != self._identity:
            raise T2Error("the workers' models differ: is the same model at the same place on every machine?")
        return worker

    def __len__(self) -> int:
        return len(self._workers)

    def identity(self) -> dict[str, Any]:
        """Tell what the samples depend on, as each worker's sampler does."""
        assert self._identity is not None
        return dict(self._identity)

    def memory(self) -> int:
        """Give the highest memory use of any worker, in bytes."""
        return self._memory

    def sample(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        *,
        seed: int = 0,
        verifier: Verifier | None = None,
        skip: Callable[[str], Collection[int]] | None = None,
        progress: Callable[[RayWorkers], None] | None = None,
    ) -> Iterator[Sample]:
        """Draw samples with all workers and give each as soon as it arrives.

        Raises
        ------
        T2Error
            What a worker's sampler raises; when workers die again and again over the same prompts; when the head of the
            cluster is lost.
        """
        call = _Call(frozenset(prompt.id for prompt in prompts))
        self.tokens = 0
        self._begins(call)
        return self._under_way(call, self._iterate(call, prompts, params, seed, verifier, skip, progress))

    def _under_way(self, call: _Call, samples: Iterator[Sample]) -> Iterator[Sample]:
        try:
            yield from samples
        finally:
            self._ends(call)

    def _iterate(
        self,
        call: _Call,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        seed: int,
        verifier: Verifier | None,
        skip: Callable[[str], Collection[int]] | None,
        progress: Callable[[RayWorkers], None] | None,
    ) -> Iterator[Sample]:
        left = deque(prompts)
        again: deque[_Task] = deque()
        # Each says first that it is there: the place of one that died may be empty since an earlier call.
        starting = _Starting(self._workers)
        idle: deque[Any] = deque()
        running = call.running
        given: dict[str, set[int]] = {}

        while True:
            while idle and (again or left):
                # Large parts first, small ones last, so that all workers end at about the same time.
                size = max(1, len(left) // (2 * len(self._workers)))
                task = again.popleft() if again else _Task([left.popleft() for _ in range(size)])
                stored = {one.id: {*(skip(one.id) if skip else ()), *given.get(one.id, ())} for one in task.prompts}
                with call.lock:
                    dropped = [one for one in task.prompts if one.id in call.unwanted]
                    call.cancelled.update(
                        one.id for one in dropped if not stored[one.id].issuperset(range(one.params(params).k))
                    )
                    task.prompts = [one for one in task.prompts if one.id not in call.unwanted]
                    if task.prompts:
                        task.worker = idle.popleft()
                        method = task.worker.sample.options(num_returns="streaming")
                        running[method.remote(task.prompts, params, seed, verifier, stored)] = task
            if not running and not again and not left:
                return
            self._fill(starting, grow=bool(again or left))
            ready = self._cluster.wait([*running, *starting.workers])
            if ready is None:
                if not running:
                    starting.waited()
                continue
            if ready in starting.workers:
                worker = self._started(ready, starting)
                if worker is not None:
                    idle.append(worker)
                continue
            task = running[ready]
            try:
                samples, memory, cancelled = self._cluster.get(next(ready))
            except StopIteration:
                with call.lock:
                    del running[ready]
                idle.append(task.worker)
                for prompt in task.prompts:
                    given.pop(prompt.id, None)
                continue
            except self._died:
                with call.lock:
                    del running[ready]
                if task.deaths + 1 == _MOST_DEATHS:
                    first, last = task.prompts[0].id, task.prompts[-1].id
                    raise T2Error(
                        f"{_MOST_DEATHS} workers died over the prompts from {first!r} to {last!r}; what arrived is "
                        "kept. Out of memory? Lower max_batch or kv_memory"
                    ) from None
                # Whoever is free first goes on with them: the place of a machine that is gone may stay empty.
                again.append(_Task(task.prompts, deaths=task.deaths + 1))
                starting.dead.append(task.worker)
                continue
            self._memory = max(self._memory, memory)
            call.cancelled.update(cancelled)
            for sample in samples:
                given.setdefault(sample.prompt_id, set()).add(sample.sample)
                self.tokens += sample.n_answer_tokens
                yield sample
            if progress is not None:
                progress(self)

    def _fill(self, starting: _Starting, grow: bool) -> None:
        """Begin workers in the places of those that died and, unless their number is fixed, on machines that joined."""
        grow = grow and not self._fixed and time.monotonic() - starting.surveyed > _SURVEY
        # Ray would wait for a head that is gone, and in the end end the process.
        if not (grow or starting.dead) or not self._cluster.look():
            return
        for dead in starting.dead:
            # It may only be out of reach, or have lost what it gave: its place is wanted.
            self._cluster.ray.kill(dead)
            worker = self._begin()
            self._workers[self._workers.index(dead)] = worker
            starting.add(worker)
        starting.dead.clear()
        if grow:
            starting.surveyed = time.monotonic()
            for _ in range(self._room(self._cluster.machines(), self._cpus) - len(self._workers)):
                worker = self._begin()
                self._workers.append(worker)
                starting.add(worker)

    def close(self) -> None:
        """End the workers, and the cluster if it was begun here."""
        for worker in self._workers if self._cluster.answers() else ():
            with contextlib.suppress(Exception):
                self._cluster.ray.kill(worker)
        self._workers = []
        self._cluster.close()

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _cpus_each(machines: Sequence[int], workers: int) -> int:
    """Most CPUs that so many workers can each have, none of them spread over two machines."""
    each = max(machines)
    while sum(cpus // each for cpus in machines) < workers:
        each -= 1
    return each
