"""Looking for a pattern in a text, within bounds of time."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from t2fast.errors import MissingExtraError, T2Error
from t2fast.sampling.prompts import Prompt
from t2fast.sampling.verify.verdict import TIMEOUT, reference

__all__ = ["Regex"]

#: Characters of a pattern; longer ones are generated, and take long to compile.
_LONGEST = 10_000


@dataclass(frozen=True)
class Regex:
    r"""The pattern occurs in the text; a group named ``answer`` must also equal the prompt's answer.

    Where it occurs more than once, the last counts.

    Parameters
    ----------
    pattern
        As the library ``regex`` reads it, of at most 10,000 characters.
    timeout
        Seconds for compiling the pattern, and for one answer.

    Examples
    --------
    >>> from t2fast.sampling import Prompt
    >>> Regex(r"Answer: (?P<answer>\d+)")(Prompt("q", "?", answer="7"), "Answer: 5. No! Answer: 7")
    True
    """

    pattern: str
    timeout: float = TIMEOUT
    _compiled: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", _compile(self.pattern, self.timeout))

    @property
    def compares(self) -> bool:
        """Whether the pattern names a group that is compared with the answer."""
        return "answer" in self._compiled.groupindex

    def __call__(self, prompt: Prompt, text: str) -> bool:
        """Search; raises TimeoutError when its time is over."""
        last = None
        # Other threads go on meanwhile.
        for last in self._compiled.finditer(text, timeout=self.timeout, concurrent=True):  # noqa: B007
            if not self.compares:
                break
        if last is None:
            return False
        return not self.compares or (last["answer"] or "").strip() == reference(prompt).strip()

    def last(self, text: str) -> str | None:
        """What the group ``answer``, else the first group, else the pattern holds where it occurs last; None if never.

        Raises
        ------
        TimeoutError
            When its time is over.
        """
        found = None
        for found in self._compiled.finditer(text, timeout=self.timeout, concurrent=True):  # noqa: B007
            pass
        if found is None:
            return None
        said = found["answer"] if self.compares else found[1] if self._compiled.groups else found[0]
        return (said or "").strip() or None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.pattern, self.timeout)


def _compile(pattern: str, timeout: float) -> Any:
    try:
        # Python's own re cannot be interrupted, and a pattern can take for ever on what a model writes.
        import regex  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise MissingExtraError("regex verifiers need regex: pip install 't2fast[sample]'") from None
    if len(pattern) > _LONGEST:
        raise T2Error(f"verifier regex:...: has {len(pattern)} characters; must have at most {_LONGEST}")
    shown = pattern if len(pattern) <= 60 else pattern[:57] + "..."
    done: list[Any] = []

    def work() -> None:
        try:
            done.append(regex.compile(pattern))
        except (regex.error, RecursionError, OverflowError, MemoryError, ValueError, KeyError) as error:
            done.append(error)

    # Compiling cannot be interrupted either; a thread that goes on does not keep the program from ending.
    thread = threading.Thread(target=work, daemon=True, name="t2fast pattern")
    thread.start()
    thread.join(timeout)
    if not done:
        raise T2Error(f"verifier regex:{shown}: compiling takes more than {timeout:g} s: simplify it")
    if isinstance(done[0], Exception):
        raise T2Error(f"verifier regex:{shown}: {done[0] or type(done[0]).__name__}")
    return done[0]
