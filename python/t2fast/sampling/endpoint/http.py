"""Requests to a server: JSON in, JSON out, repeated while that may help."""

from __future__ import annotations

import http.client
import ipaddress
import json
import random
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from t2fast.errors import T2Error

__all__ = ["EndpointError", "Half", "Server", "Stop", "Stopped"]

#: Answers after which the same request may succeed later.
_PASSING = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529))
#: Longest pause between two attempts, in seconds.
_LONGEST = 60.0


class EndpointError(T2Error):
    """A server refuses a request, or cannot be reached; what arrived before is kept."""


class Half(Exception):  # noqa: N818 -- an answer rather than an error
    """An answer that is not whole: worth another attempt."""


class Stopped(Exception):  # noqa: N818 -- the caller's wish
    """The caller does not want the answer any more."""


class Stop:
    """Says, from any thread, that answers are not wanted any more, and breaks off the connections that wait for them.

    Examples
    --------
    >>> stop = Stop()
    >>> stop.set()
    >>> stop.is_set()
    True
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[Any] = set()

    def is_set(self) -> bool:
        """Whether answers are no longer wanted."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, unless that is said before; whether it was."""
        return self._event.wait(seconds)

    def set(self) -> None:
        """Say so. A server that is told to compute sees its client leave, and need not go on."""
        with self._lock:
            self._event.set()
            for one in self._sockets:
                _hang_up(one)

    @contextmanager
    def watching(self) -> Iterator[Any]:
        """Give a function that takes sockets: they are shut down when this is set, until the block ends."""
        ours: list[Any] = []

        def watch(one: Any) -> None:
            with self._lock:
                ours.append(one)
                self._sockets.add(one)
                if self._event.is_set():
                    _hang_up(one)

        try:
            yield watch
        finally:
            with self._lock:
                self._sockets.difference_update(ours)


def _hang_up(one: Any) -> None:
    # Not the method of a TLS socket, which would take away what another thread reads with.
    with suppress(OSError):
        socket.socket.shutdown(one, socket.SHUT_RDWR)


@dataclass(frozen=True)
class Server:
    """A server and how patiently it is asked.

    Parameters
    ----------
    url
        Such as ``http://localhost:8000/v1``.
    key
        Sent as a bearer token; empty for none.
    timeout
        Seconds until an answer must be whole.
    retries
        Attempts after the first.
    pause
        Seconds before the second attempt; it doubles from attempt to attempt, with chance in it, so that many do not
        come back at once. ``Retry-After`` of the server comes before it.
    """

    url: str
    key: str = ""
    timeout: float = 600.0
    retries: int = 8
    pause: float = 0.5

    def __repr__(self) -> str:  # never the key
        return f"Server({self.url!r})"

    def ask(self, path: str, body: Mapping[str, Any] | None, stop: Stop, check: Any = None) -> Any:
        """Give what the server answers, after ``check`` has found it whole.

        Parameters
        ----------
        path
            Below the URL.
        body
            Sent as JSON; None to only look.
        stop
            Once set, no more attempts are made, and the one under way is broken off.
        check
            Called with the answer; raises :class:`Half` if it is not whole.

        Raises
        ------
        EndpointError
            When the server refuses the request, or all attempts failed.
        Stopped
            When ``stop`` was set meanwhile.
        """
        attempt = 0
        while not stop.is_set():
            try:
                found = self._once(path, body, stop)
                if check is not None:
                    check(found)
                return found
            except urllib.error.HTTPError as error:
                reason = f"{error.code} {_message(error)}"
                if error.code not in _PASSING:
                    raise EndpointError(f"{self.url}{path}: {reason}{_hint(error.code)}") from None
                wait = _after(error.headers.get("Retry-After"))
            except (OSError, http.client.HTTPException, Half, ValueError) as error:
                # Refused, reset, timed out; cut off in the middle; no JSON.
                reason, wait = str(getattr(error, "reason", None) or error) or type(error).__name__, None
            if stop.is_set():
                break
            if attempt >= self.retries:
                raise EndpointError(
                    f"{self.url}{path}: failed {attempt + 1} times, at last with: {' '.join(reason.split())}"
                )
            pause = min(_LONGEST, self.pause * 2.0**attempt) * random.uniform(0.5, 1.0)
            attempt += 1
            stop.wait(max(pause, wait or 0.0))
        raise Stopped

    def _once(self, path: str, body: Mapping[str, Any] | None, stop: Stop) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method="GET" if data is None else "POST")
        begun = time.monotonic()
        with stop.watching() as watch, _opener(self.url, watch).open(request, timeout=self.timeout) as answer:
            parts = []
            # The time-out is for the whole answer, not for each of its parts.
            while part := answer.read1(1 << 16):
                parts.append(part)
                if time.monotonic() - begun > self.timeout:
                    raise Half(f"no whole answer within {self.timeout:g} s")
            if answer.length:
                raise Half(f"the connection ended {answer.length} bytes before the answer did")
        return json.loads(b"".join(parts))


class _Stay(urllib.request.HTTPRedirectHandler):
    """Does not follow redirects, which would take the key elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _watched(kind: type[http.client.HTTPConnection], watch: Any) -> Any:
    """A kind of connection that shows its socket."""

    class Watched(kind):  # type: ignore[misc,valid-type]
        def connect(self) -> None:
            super().connect()
            watch(self.sock)

    return Watched


class _Plain(urllib.request.HTTPHandler):
    def __init__(self, watch: Any) -> None:
        super().__init__()
        self._kind = _watched(http.client.HTTPConnection, watch)

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._kind, req)


class _Secure(urllib.request.HTTPSHandler):
    def __init__(self, watch: Any) -> None:
        super().__init__()
        self._kind = _watched(http.client.HTTPSConnection, watch)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._kind, req, context=self._context)  # type: ignore[attr-defined]


def _opener(url: str, watch: Any) -> urllib.request.OpenerDirector:
    # A proxy cannot reach what is on this machine.
    handlers: list[Any] = [_Stay, _Plain(watch), _Secure(watch)]
    if _is_local(urllib.parse.urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _message(error: urllib.error.HTTPError) -> str:
    """What the server says about an error, in one line."""
    try:
        text = error.read(10_000).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return str(error.reason)
    try:
        found = json.loads(text)
        inner = found.get("error", found) if isinstance(found, dict) else found
        text = inner.get("message") or inner.get("detail") or text if isinstance(inner, dict) else str(inner)
    except (ValueError, AttributeError):
        pass
    return " ".join(str(text).split())[:300] or str(error.reason)


def _hint(code: int) -> str:
    if code in (401, 403):
        return " (the key comes from the environment variable that --api-key-env names)"
    if code in (301, 302, 307, 308):
        return " (redirects are not followed; give the address it leads to)"
    if code == 404:
        return " (needs the address of an OpenAI-compatible API, such as http://localhost:8000/v1)"
    return ""


def _after(value: str | None) -> float | None:
    """The seconds of a Retry-After header; dates are left to our own pauses."""
    try:
        return min(_LONGEST, max(0.0, float(value or "")))
    except ValueError:
        return None
