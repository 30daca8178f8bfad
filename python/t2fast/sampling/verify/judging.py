"""Asking the verifier while the model goes on."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Iterator

from t2fast.sampling.prompts import Prompt
from t2fast.sampling.samples import Sample
from t2fast.sampling.verify.verdict import Verifier, judge

__all__ = ["Judging"]

_Question = tuple[int, Prompt, Sample]


class Judging:
    """Verifies samples in threads; without a verifier, hands them on as they are.

    The threads are daemons: a verifier that hangs must not keep the program from ending. Time limits are the verifier's
    own (:func:`t2fast.sampling.load_verifier` gives any one).
    """

    def __init__(self, verifier: Verifier | None, threads: int = 8) -> None:
        self._verifier, self._threads = verifier, threads
        self._asked: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        self._answered: queue.SimpleQueue[tuple[int, Sample]] = queue.SimpleQueue()
        self._started = 0
        #: Samples asked about and not yet given back.
        self.outstanding = 0

    def ask(self, index: int, prompt: Prompt, sample: Sample) -> None:
        """Have a sample of the prompt with this index judged."""
        self.outstanding += 1
        if self._verifier is None:
            self._answered.put((index, sample))
            return
        if self._started < min(self._threads, self.outstanding):
            self._started += 1
            threading.Thread(target=self._work, args=(self._verifier,), daemon=True).start()
        self._asked.put((index, prompt, sample))

    def ready(self, *, wait: bool = False) -> Iterator[tuple[int, Sample]]:
        """Give what is judged by now; with ``wait``, at least one, unless none comes for a while."""
        while self.outstanding:
            try:
                # A wait without end could not be interrupted everywhere.
                answer = self._answered.get(timeout=0.2) if wait else self._answered.get_nowait()
            except queue.Empty:
                return
            wait = False
            self.outstanding -= 1
            yield answer

    def close(self) -> None:
        """Let the threads end."""
        for _ in range(self._started):
            self._asked.put(None)

    def _work(self, verifier: Verifier) -> None:
        while (question := self._asked.get()) is not None:
            index, prompt, sample = question
            verdict = judge(verifier, prompt, sample.text)
            self._answered.put(
                (
                    index,
                    dataclasses.replace(
                        sample, correct=verdict.correct, score=verdict.score, verifier_error=verdict.error
                    ),
                )
            )
