"""Requests to a server: JSON in, JSON out, repeated while that may help."""

from __future__ import annotations

import http.client
import ipaddress
import json
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from t2fast.errors import T2Error

__all__ = ["EndpointError", "Half", "Server", "Stopped"]

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

    def ask(self, path: str, body: Mapping[str, Any] | None, stop: threading.Event, check: Any = None) -> Any:
        """Give what the server answers, after ``check`` has found it whole.

        Parameters
        ----------
        path
            Below the URL.
        body
            Sent as JSON; None to only look.
        stop
            Once set, no more attempts are made.
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
        while True:
            try:
                found = self._once(path, body)
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
            if attempt >= self.retries:
                raise EndpointError(
                    f"{self.url}{path}: failed {attempt + 1} times, at last with: {' '.join(reason.split())}"
                )
            pause = min(_LONGEST, self.pause * 2.0**attempt) * random.uniform(0.5, 1.0)
            attempt += 1
            if stop.wait(max(pause, wait or 0.0)):
                raise Stopped

    def _once(self, path: str, body: Mapping[str, Any] | None) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method="GET" if data is None else "POST")
        begun = time.monotonic()
        with _opener(self.url).open(request, timeout=self.timeout) as answer:
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


def _opener(url: str) -> urllib.request.OpenerDirector:
    # A proxy cannot reach what is on this machine.
    handlers: list[Any] = [_Stay]
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
