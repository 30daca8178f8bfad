"""One line of the results, and the shares of time in which lines must fit."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from bench.kernels.counting import Ceilings, Work
from t2fast_kernels.timing import Timing


@dataclass(frozen=True)
class Case:
    """A method on a shape with cold or warm caches: its time, or why there is none.

    ``status`` is "ok", "wrong" (the result was, so that no time was taken), "missing", "skipped" or "failed"; ``note`` says
    how the method was set up, or what happened.
    """

    kind: str
    shape: str
    detail: str
    method: str
    cache: str
    status: str
    note: str
    work: Work
    timing: Timing | None = None

    def share(self, ceilings: Ceilings) -> float | None:
        """The floor over the time: 1 is as fast as the device can be."""
        return self.work.floor(ceilings) / self.timing.median if self.timing else None


class OutOfTime(BaseException):
    """A case took longer than its share. Not an Exception: compilers wrap those in their own."""


class Budget:
    """Seconds for everything; each group of cases gets what its weight is worth of what remains."""

    def __init__(self, seconds: float, weights: list[float]) -> None:
        self._end = time.monotonic() + seconds
        self._weights = weights

    def open(self) -> float:
        """The moment by which the next group must be done."""
        now = time.monotonic()
        share = self._weights[0] / sum(self._weights)
        del self._weights[0]
        return now + share * max(self._end - now, 0.0)


@contextmanager
def until(moment: float) -> Iterator[None]:
    """Raise :class:`OutOfTime` when the moment comes, in the middle of whatever Python then runs."""

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise OutOfTime

    left = moment - time.monotonic()
    if left <= 0:
        raise OutOfTime
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, left)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
