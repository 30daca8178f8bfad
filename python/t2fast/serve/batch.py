"""The thread that owns the sampler: requests wait here for a place in the one batch that all of them share."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import queue
import secrets
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from t2fast.errors import T2Error
from t2fast.sampling.engine.live import Live
from t2fast.sampling.engine.sampler import Sampler
from t2fast.sampling.engine.tree import Floats, Tokens
from t2fast.sampling.prompts import Prompt
from t2fast.sampling.samples import Sample
from t2fast.serve.increments import Increments
from t2fast.serve.limits import Limits
from t2fast.serve.metrics import Metrics
from t2fast.serve.refusals import Refusal
from t2fast.serve.requests import DrawRequest

__all__ = ["Batch", "End", "Piece", "Ticket", "prompt_id"]

#: Counters that the sampler keeps, by their names there.
_COUNTED = {"prefilled": "prefilled_tokens", "tokens": "generated_tokens", "samples": "samples", "steps": "steps",
            "cancelled": "cancelled_samples", "rows": "rows", "preemptions": "preemptions"}  # fmt: skip
#: Seconds between two looks at the gauges while the batch runs.
_OFTEN = 0.1


def prompt_id(token_ids: Sequence[int]) -> str:
    """What stands for a prompt in the key of its random numbers: with it the sampler draws what the server draws.

    Choice j of a request with a seed is sample j of ``Prompt(prompt_id(ids), token_ids=ids)`` under that seed.

    Examples
    --------
    >>> prompt_id([17, 3]) == prompt_id((17, 3)) != prompt_id([3, 17])
    True
    """
    return hashlib.sha256(np.asarray(token_ids, "<i4").tobytes()).hexdigest()[:16]


class Piece(NamedTuple):
    """More of a choice: text that is sure by now, and the tokens since the last piece."""

    choice: int
    text: str
    tokens: Tokens
    logprobs: Floats
    top: Tokens


class End(NamedTuple):
    """A choice is finished: the text not sent yet, how many tokens were sent, and the whole sample."""

    choice: int
    text: str
    sent: int
    sample: Sample
    prompt_top: tuple[Tokens, Floats] | None


class Ticket:
    """A request from both sides: the batch puts in what is drawn, whoever answers takes it out.

    Parameters
    ----------
    request
        What is asked for.
    prompts
        Its prompts as tokens.
    """

    def __init__(self, request: DrawRequest, prompts: Sequence[Prompt]) -> None:
        self.request, self.prompts = request, tuple(prompts)
        self.seeds = [secrets.randbits(64) if request.seed is None else request.seed for _ in prompts]
        self.loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        self._events: deque[Piece | End | Refusal] = deque()
        #: The prompt to join next, the places of those under way, and choices that are not finished.
        self.next, self.places = 0, {}  # type: int, dict[int, int]
        self.over = False

    def put(self, event: Piece | End | Refusal) -> None:
        """Add what happened."""
        self._events.append(event)

    def wake(self) -> None:
        """Let whoever answers look at it; in the thread of its loop."""
        self._wake.set()

    async def take(self) -> list[Piece | End | Refusal]:
        """What has happened since the last time; waits for something."""
        while not self._events:
            self._wake.clear()
            if not self._events:
                await self._wake.wait()
        found = []
        while self._events:
            found.append(self._events.popleft())
        return found


class _Choices:
    """The choices of one of a request's prompts: what the batch tells of them."""

    def __init__(self, batch: Batch, ticket: Ticket, number: int) -> None:
        self._batch, self._ticket, self._number = batch, ticket, number
        params = ticket.request.params
        self.follows = ticket.request.stream
        self._first, self._left = number * params.k, params.k
        self._increments: dict[int, Increments] = {}
        #: By sample: how many of its tokens were told of.
        self._told: dict[int, int] = {}

    def _increment(self, sample: int) -> Increments:
        if sample not in self._increments:
            params, asked = self._ticket.request.params, self._ticket.prompts[self._number].token_ids
            self._increments[sample] = Increments(
                self._batch.tokenizer, np.asarray(asked, np.int32), params.stop, params.skip_special_tokens
            )
        return self._increments[sample]

    def tokens(self, sample: int, tokens: Tokens, logprobs: Floats, top: Tokens) -> None:
        new = slice(self._told.get(sample, 0), len(tokens))
        self._told[sample] = len(tokens)
        found = tokens[new].copy(), logprobs[new].copy(), top[new].copy()
        self._batch.tell(self._ticket, Piece(self._first + sample, self._increment(sample).push(tokens), *found))

    def finished(self, sample: Sample, prompt_top: tuple[Tokens, Floats] | None) -> None:
        text, sent = sample.text, 0
        if self.follows:
            one = self._increment(sample.sample)
            text, sent = one.close(text), self._told.pop(sample.sample, 0)
            del self._increments[sample.sample]
        self._left -= 1
        if not self._left:
            del self._ticket.places[self._number]
        self._batch.tell(self._ticket, End(self._first + sample.sample, text, sent, sample, prompt_top))

    def failed(self, message: str) -> None:
        self._batch.fail(self._ticket, Refusal(message, 500, code="failed"))


@dataclass(frozen=True)
class _Stop:
    """The batch is to end."""

    refusal: Refusal


class Batch:
    """Draws for all clients in one batch.

    Parameters
    ----------
    sampler
        It is this object's from now on.
    limits
        How many requests may wait.
    metrics
        Counts what is done.
    on_failure
        Called when the batch fails and cannot begin anew.
    """

    def __init__(
        self, sampler: Sampler, limits: Limits, metrics: Metrics, on_failure: Callable[[], object] = lambda: None
    ) -> None:
        self._sampler, self._limits, self._metrics, self._on_failure = sampler, limits, metrics, on_failure
        self.tokenizer = sampler.tokenizer
        self.live = self._open()
        self._inbox: queue.SimpleQueue[tuple[bool, Ticket] | _Stop] = queue.SimpleQueue()
        self._waiting: deque[Ticket] = deque()
        self._running: set[Ticket] = set()
        self._touched: set[Ticket] = set()
        self._lock, self._n_waiting = threading.Lock(), 0
        self._ended: Refusal | None = None
        self._counted = dict.fromkeys(_COUNTED, 0)
        self._published = 0.0
        self._thread = threading.Thread(target=self._run, name="t2fast batch", daemon=True)
        self._thread.start()

    def _open(self) -> Live:
        return self._sampler.live(most_context=self._limits.context)

    # ------------------------------------------------------------------------------------------------ from outside

    def encode(self, request: DrawRequest) -> list[Prompt]:
        """The prompts of a request as tokens; may take a while.

        Raises
        ------
        Refusal
            When one cannot be drawn from.
        """
        found = []
        try:
            for tokens in self.tokenizer.encode(request.prompts, request.params):
                message = self.live.refusal(len(tokens), request.params.max_new_tokens)
                if message is not None:
                    raise Refusal(message, code="context_length_exceeded")
                ids = tuple(tokens.tolist())
                found.append(Prompt(prompt_id(ids), token_ids=ids))
        except Refusal:
            raise
        except T2Error as error:
            raise Refusal(str(error).removeprefix("prompt 'prompt': ")) from None
        return found

    def submit(self, ticket: Ticket) -> None:
        """Let a request wait for its place.

        Raises
        ------
        Refusal
            When too many wait, or the batch has ended.
        """
        with self._lock:
            if self._ended is not None:
                raise self._ended
            if self._n_waiting >= self._limits.waiting:
                soon = min(60.0, max(1.0, self._metrics.usual))
                raise Refusal(
                    f"{self._n_waiting} requests are waiting, and that is the most: ask again in {soon:.0f} s",
                    429, code="too_many_requests", retry_after=soon,
                )  # fmt: skip
            self._n_waiting += 1
            self._inbox.put((True, ticket))

    def cancel(self, ticket: Ticket) -> None:
        """Nobody wants the answer any more."""
        self._inbox.put((False, ticket))

    def stop(self, message: str = "the server is shutting down", wait: float | None = 10.0) -> None:
        """End: requests that are not answered are told so."""
        self._inbox.put(_Stop(Refusal(message, 503, code="shutting_down", retry_after=1.0)))
        if wait is not None:
            self._thread.join(wait)

    @property
    def alive(self) -> bool:
        """Whether it draws."""
        return self._ended is None and self._thread.is_alive()

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return bool(self._running or self._n_waiting)

    # ------------------------------------------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            while self._take():
                try:
                    self._join()
                    self.live.step()
                except Exception as error:  # whatever a device may raise
                    self._recover(error)
                # Whoever has an answer finds it counted.
                self._publish(now=any(ticket.over for ticket in self._touched))
                self._hand_over()
        except Exception as error:
            traceback.print_exc()
            self._end(Refusal(f"the server has failed: {error}", 503, code="failed"))
            self._on_failure()

    def _take(self) -> bool:
        """Take in what has arrived; waits for something where nothing runs. False when it is time to end."""
        idle = not (self._running or self._waiting)
        if idle:
            self._publish(now=True)
        while True:
            try:
                item = self._inbox.get(block=idle)
            except queue.Empty:
                return True
            idle = False
            if isinstance(item, _Stop):
                self._end(item.refusal)
                return False
            begins, ticket = item
            if begins:
                self._waiting.append(ticket)
            elif not ticket.over:
                self._leave(ticket)

    def _join(self) -> None:
        """Give places to those that wait, as long as there are as many prompts as rows at most."""
        while self._waiting and self.live.n_prompts < self.live.schedule.slots:
            ticket = self._waiting[0]
            number = ticket.next
            prompt, request = ticket.prompts[number], ticket.request
            self._running.add(ticket)
            try:
                place = self.live.join(prompt, request.params, ticket.seeds[number], _Choices(self, ticket, number))
            except T2Error as error:
                self.fail(ticket, Refusal(str(error)))
                continue
            ticket.places[number] = place
            self._metrics.add("prompt_tokens", len(prompt.token_ids or ()))
            ticket.next += 1
            if ticket.next == len(ticket.prompts):
                self._waited(ticket)

    def _waited(self, ticket: Ticket) -> None:
        """A request waits no longer."""
        with contextlib.suppress(ValueError):
            self._waiting.remove(ticket)
            with self._lock:
                self._n_waiting -= 1

    def tell(self, ticket: Ticket, event: Piece | End) -> None:
        """Hand on what happened to a choice."""
        ticket.put(event)
        self._touched.add(ticket)
        if isinstance(event, End) and not ticket.places and ticket.next == len(ticket.prompts):
            ticket.over = True
            self._running.discard(ticket)

    def fail(self, ticket: Ticket, refusal: Refusal) -> None:
        """Nothing more comes of a request."""
        if not ticket.over:
            self._leave(ticket)
            ticket.put(refusal)
            self._touched.add(ticket)

    def _leave(self, ticket: Ticket) -> None:
        ticket.over = True
        self._waited(ticket)
        self._running.discard(ticket)
        for place in ticket.places.values():
            self.live.leave(place)
        ticket.places.clear()
        self._publish(now=True)

    def _recover(self, error: Exception) -> None:
        """Tell those in the batch that it failed, and begin a new one."""
        traceback.print_exception(error)
        sys.stderr.write("t2fast: the batch failed and is begun anew\n")
        with contextlib.suppress(Exception):
            self.live.memory.drop()  # there may not be room for both
        self._counted = dict.fromkeys(_COUNTED, 0)
        self.live = self._open()
        self._metrics.add("restarts")
        for ticket in list(self._running):
            ticket.places.clear()
            self.fail(ticket, Refusal(f"drawing failed: {' '.join(str(error).split())[:200]}", 500, code="failed"))

    def _end(self, refusal: Refusal) -> None:
        with self._lock:
            self._ended = refusal
        while True:
            with contextlib.suppress(queue.Empty):
                item: Any = self._inbox.get_nowait()
                if not isinstance(item, _Stop) and item[0]:
                    self._waiting.append(item[1])
                continue
            break
        for ticket in [*self._running, *self._waiting]:
            self.fail(ticket, refusal)
        self._hand_over()

    def _hand_over(self) -> None:
        """Wake those whose choices went on."""
        loops: dict[asyncio.AbstractEventLoop, list[Ticket]] = {}
        for ticket in self._touched:
            loops.setdefault(ticket.loop, []).append(ticket)
        self._touched.clear()
        for loop, tickets in loops.items():
            with contextlib.suppress(RuntimeError):  # a loop that is closed
                loop.call_soon_threadsafe(_wake_all, tickets)

    def _publish(self, *, now: bool = False) -> None:
        if not now and time.monotonic() < self._published + _OFTEN:
            return
        self._published = time.monotonic()
        stats, schedule = self.live.stats, self.live.schedule
        for ours, theirs in _COUNTED.items():
            value = getattr(stats, ours)
            self._metrics.add(theirs, value - self._counted[ours])
            self._counted[ours] = value
        cached = schedule.idle_pages
        self._metrics.set(
            requests_running=len(self._running),
            requests_waiting=self._n_waiting,
            rows_running=len(schedule.running),
            pages_used=schedule.pages.taken - cached,
            pages_cached=cached,
            pages_total=schedule.pages.total,
            page_bytes=stats.page_bytes,
        )


def _wake_all(tickets: Sequence[Ticket]) -> None:
    for ticket in tickets:
        ticket.wake()
