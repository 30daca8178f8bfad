"""No more samples of one prompt while others go on: what everything that draws has in common."""

from __future__ import annotations

import weakref
from collections.abc import Collection
from typing import Protocol

__all__ = ["Cancellable"]


class UnderWay(Protocol):
    """One call that draws samples."""

    @property
    def cancelled(self) -> Collection[str]:
        """Prompts that were cancelled, and so lack samples; it grows while the call is under way."""

    def cancel(self, prompt_id: str) -> bool:
        """Ask, from any thread, for no more samples of a prompt; whether this call has it."""


class Cancellable:
    """What draws samples of several prompts, in several threads at once, and can be asked to leave one out."""

    def __init__(self) -> None:
        #: Prompts of the latest call that were cancelled, and so lack samples.
        self.cancelled: Collection[str] = ()
        # Weak: a call that was begun and never drawn from ends with whoever holds it.
        self._calls: weakref.WeakSet[UnderWay] = weakref.WeakSet()

    def _begins(self, call: UnderWay) -> None:
        self.cancelled = call.cancelled
        self._calls.add(call)

    def _ends(self, call: UnderWay) -> None:
        self._calls.discard(call)

    def cancel(self, prompt_id: str) -> bool:
        """Draw no more samples of a prompt.

        Samples that are finished are given, once they are judged. Those that run end before the next step in a
        :class:`Sampler`, and their pages with them, or in the worker that draws them; after the step under way in a
        :class:`GenerateSampler`; with their connection in an :class:`Endpoint`, whose server sees its client leave.
        From any thread or callback; calls in other threads that draw the same prompt stop with it.

        Parameters
        ----------
        prompt_id
            :attr:`Prompt.id`.

        Returns
        -------
        bool
            Whether a call is under way that has this prompt. Once the call ends, ``cancelled`` holds the prompt if
            samples were dropped; the ``stats.cancelled`` of samplers counts them.

        Examples
        --------
        ::

            for sample in sampler.sample(prompts, params):
                if sample.text.startswith("I cannot"):
                    sampler.cancel(sample.prompt_id)
        """
        return sum(call.cancel(prompt_id) for call in list(self._calls)) > 0
