"""How much the server does for its clients at most."""

from __future__ import annotations

from dataclasses import dataclass

from t2fast.arguments import number, whole

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """What the server refuses to go beyond.

    Parameters
    ----------
    body
        Bytes of a request.
    choices
        Choices of one request: prompts times ``n``.
    tokens
        Longest answer, in tokens; by default what the context holds.
    context
        Longest prompt and answer together, in tokens; by default the model's own limit.
    waiting
        Requests that wait for a place in the batch; more are answered with 429 and ``Retry-After``.
    connections
        Open connections; more are answered with 503.
    body_seconds
        Time in which a request must have arrived.
    send_seconds
        Time in which a client must take what is sent to it, each time.
    grace
        Seconds that requests have to end when the server is told to.

    Raises
    ------
    T2Error
        When a value is out of its range.

    Examples
    --------
    >>> Limits(choices=64).choices
    64
    """

    body: int = 4 << 20
    choices: int = 256
    tokens: int | None = None
    context: int | None = None
    waiting: int = 512
    connections: int = 1024
    body_seconds: float = 30.0
    send_seconds: float = 60.0
    grace: float = 30.0

    def __post_init__(self) -> None:
        for name in ("body", "choices", "waiting", "connections"):
            whole(name, getattr(self, name), least=1)
        for name in ("tokens", "context"):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name), least=1)
        for name in ("body_seconds", "send_seconds"):
            number(name, getattr(self, name), low=0, low_open=True)
        number("grace", self.grace, low=0)
