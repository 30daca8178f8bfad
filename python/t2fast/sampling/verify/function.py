"""Asking a function of the user's own, within a time limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from t2fast.sampling.prompts import Prompt
from t2fast.sampling.verify.verdict import TIMEOUT

__all__ = ["Timed"]

#: Calls that may hang before no more are made.
_MOST_HANGING = 32


class Timed:
    """A callable of one's own, under a time limit.

    Python cannot end a thread: a call that hangs is left alone, and after 32 of them the verifier is not asked again.
    """

    def __init__(self, function: Callable[[Prompt, str], bool | float], timeout: float = TIMEOUT) -> None:
        self.function = function
        self.timeout = timeout
        self._hanging: list[threading.Thread] = []

    def __call__(self, prompt: Prompt, text: str) -> bool | float:
        """Ask it."""
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if len(self._hanging) >= _MOST_HANGING:
            raise TimeoutError(f"not asked: {len(self._hanging)} calls of the verifier hang")
        answer: list[Any] = []
        failure: list[BaseException] = []

        def call() -> None:
            try:
                answer.append(self.function(prompt, text))
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=call, daemon=True, name="t2fast verifier")
        thread.start()
        thread.join(self.timeout)
        if failure:
            # SystemExit too: a verifier does not end the run.
            raise RuntimeError(f"{type(failure[0]).__name__}: {failure[0]}") from failure[0]
        if not answer:
            self._hanging.append(thread)
            raise TimeoutError(f"the verifier gave no verdict within {self.timeout:g} s")
        return answer[0]  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.function, self.timeout)
