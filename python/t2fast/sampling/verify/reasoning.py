"""Cutting the reasoning part off a text before another verifier sees it."""

from __future__ import annotations

from dataclasses import dataclass

from t2fast.sampling.prompts import Prompt
from t2fast.sampling.verify.verdict import Verifier

__all__ = ["AfterReasoning"]


@dataclass(frozen=True)
class AfterReasoning:
    """What follows the reasoning part of the text is judged; a text whose reasoning never ends has no answer.

    Parameters
    ----------
    verifier
        Who judges.
    end
        What ends the reasoning part; the last one counts.

    Examples
    --------
    >>> from t2fast.sampling import Prompt
    >>> from t2fast.sampling.verify import Exact
    >>> paris = Prompt("q", "Capital of France?", answer="Paris")
    >>> AfterReasoning(Exact())(paris, "<think>London? No.</think> Paris")
    True
    >>> AfterReasoning(Exact())(paris, "Paris")
    False
    """

    verifier: Verifier
    end: str = "</think>"

    def __call__(self, prompt: Prompt, text: str) -> bool | float:
        """Compare what follows; the empty text, where the reasoning does not end."""
        return self.verifier(prompt, text.rpartition(self.end)[2] if self.end in text else "")
