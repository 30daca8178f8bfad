"""Looking for a pattern in a text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from t2fast.errors import MissingExtraError, T2Error
from t2fast.sampling.prompts import Prompt
from t2fast.sampling.verify.verdict import TIMEOUT, reference

__all__ = ["Regex"]


@dataclass(frozen=True)
class Regex:
    """The pattern occurs in the text; a group named ``answer`` must also equal the prompt's answer.

    Where it occurs more than once, the last counts.
    """

    pattern: str
    timeout: float = TIMEOUT
    _compiled: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            # Python's own re cannot be interrupted, and a pattern can take for ever on what a model writes.
            import regex  # type: ignore[import-untyped, unused-ignore]
        except ImportError:
            raise MissingExtraError("regex verifiers need regex: pip install 't2fast[sample]'") from None
        try:
            object.__setattr__(self, "_compiled", regex.compile(self.pattern))
        except regex.error as error:
            raise T2Error(f"verifier regex:{self.pattern}: {error}") from None

    @property
    def compares(self) -> bool:
        """Whether the pattern names a group that is compared with the answer."""
        return "answer" in self._compiled.groupindex

    def __call__(self, prompt: Prompt, text: str) -> bool:
        """Search."""
        last = None
        # Other threads go on meanwhile.
        for last in self._compiled.finditer(text, timeout=self.timeout, concurrent=True):  # noqa: B007
            if not self.compares:
                break
        if last is None:
            return False
        return not self.compares or (last["answer"] or "").strip() == reference(prompt).strip()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.pattern, self.timeout)
