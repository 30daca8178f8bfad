"""The routes: who may ask, reading bodies, and answers that end when their client leaves."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import ipaddress
import json
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from t2fast.sampling.engine.sampler import Sampler
from t2fast.sampling.params import SamplingParams
from t2fast.serve.answers import Answer, TokenTexts
from t2fast.serve.batch import Batch, Ticket
from t2fast.serve.limits import Limits
from t2fast.serve.metrics import Metrics
from t2fast.serve.refusals import Refusal
from t2fast.serve.requests import parse, read_json

__all__ = ["Service"]


class _Left(Exception):  # noqa: N818 -- what clients do
    """The client left, or does not take what is sent to it."""


class Service:
    """The server without its socket: an ASGI application over one batch.

    Parameters
    ----------
    sampler
        Draws; it is the service's from now on.
    model
        The model's name for clients.
    limits
        What is refused.
    params
        Settings where requests have none.
    key
        What clients must present as a bearer token; None serves everybody.
    local
        Whether only names of this machine are taken for the server's, so that no page of a browser that points its own
        name here can ask.
    on_failure
        Called when nothing can be drawn any more.

    Examples
    --------
    ::

        service = Service(Sampler.from_pretrained("./m"), "m")
        uvicorn.run(service.app, port=8000)
    """

    def __init__(
        self,
        sampler: Sampler,
        model: str,
        *,
        limits: Limits | None = None,
        params: SamplingParams | None = None,
        key: str | None = None,
        local: bool = True,
        on_failure: Callable[[], object] = lambda: None,
    ) -> None:
        self.model, self.limits, self.params = model, limits or Limits(), params or SamplingParams()
        self.metrics, self._local = Metrics(), local and key is None
        self._key = None if key is None else hashlib.sha256(key.encode()).digest()
        identity = sampler.identity()
        self._fingerprint = f"t2fast-{identity['weights'][:12]}"
        self.batch = Batch(sampler, self.limits, self.metrics, on_failure)
        self._texts, self._created = TokenTexts(sampler.tokenizer), int(time.time())
        #: Reads prompts beside the loop; one at a time, so that nobody's long one slows all the others.
        self._reader = ThreadPoolExecutor(1, "t2fast reader")
        #: Set when the server is to end: nothing new is begun.
        self.ending = False
        routes = [
            Route("/health", self._health),
            Route("/metrics", self._metrics),
            Route("/v1/models", self._models),
            Route("/v1/models/{name:path}", self._one_model),
            Route("/v1/completions", _Posted(self, False), methods=["POST"]),
            Route("/v1/chat/completions", _Posted(self, True), methods=["POST"]),
        ]
        handlers: Any = {HTTPException: _no_such, Refusal: _refused, Exception: _failed}
        #: The ASGI application.
        self.app: ASGIApp = _Guard(self, Starlette(routes=routes, exception_handlers=handlers))

    def close(self, message: str = "the server is shutting down") -> None:
        """End; whoever waits is told so."""
        self.ending = True
        self.batch.stop(message)
        self._reader.shutdown(wait=False, cancel_futures=True)

    def check(self, scope: Scope) -> None:
        """See that a client may ask.

        Raises
        ------
        Refusal
            When it may not.
        """
        headers = {name: value for name, value in scope["headers"] if name in (b"host", b"authorization")}
        if self._local and not _is_local(headers.get(b"host", b"").decode("latin-1")):
            raise Refusal("Host: this server is asked by the names of this machine alone, such as localhost", 403)
        if self._key is None or scope["path"] == "/health":
            return
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        # Digests are of one length, and their comparison takes the same time wherever they differ.
        same = hmac.compare_digest(hashlib.sha256(given.strip()).digest(), self._key)
        if kind.lower() != b"bearer" or not same:
            raise Refusal("the API key is missing or wrong", 401, code="invalid_api_key")

    async def _health(self, _: Request) -> Response:
        well = self.batch.alive and not self.ending
        return JSONResponse({"status": "ok" if well else "ending"}, 200 if well else 503)

    async def _metrics(self, _: Request) -> Response:
        return PlainTextResponse(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._described()]})

    async def _one_model(self, request: Request) -> Response:
        if request.path_params["name"] != self.model:
            raise Refusal(f"this server has {self.model!r}", 404, param="model", code="model_not_found")
        return JSONResponse(self._described())

    def _described(self) -> dict[str, Any]:
        context = self.batch.live.context
        return {"id": self.model, "object": "model", "created": self._created, "owned_by": "t2fast",
                "max_model_len": context}  # fmt: skip

    async def ticket(self, scope: Scope, receive: Receive, chat: bool) -> Ticket:
        """Read a request and let it wait for its place.

        Raises
        ------
        Refusal
            When it cannot be answered.
        """
        body = read_json(await _body(scope, receive, self.limits))
        if self.ending:
            raise Refusal("the server is shutting down", 503, code="shutting_down", retry_after=1.0)
        request = parse(body, chat=chat, model=self.model, limits=self.limits, params=self.params)
        del body
        loop = asyncio.get_running_loop()
        ticket = Ticket(request, await loop.run_in_executor(self._reader, self.batch.encode, request))
        self.batch.submit(ticket)
        return ticket

    def answer(self, ticket: Ticket) -> Answer:
        """What writes the answer to a request."""
        return Answer(
            ticket,
            model=self.model,
            fingerprint=self._fingerprint,
            texts=self._texts,
            tokenizer=self.batch.tokenizer,
        )


class _Guard:
    """Lets in who may ask, and counts what is answered."""

    def __init__(self, service: Service, inner: ASGIApp) -> None:
        self._service, self._inner = service, inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        begun, status = time.monotonic(), 499  # as others have it, of clients that leave

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            try:
                self._service.check(scope)
                await self._inner(scope, receive, counted)
            except Refusal as refusal:
                await _response(refusal)(scope, receive, counted)
            except _Left:
                status = 499
        finally:
            known = scope["path"].removeprefix("/v1/")
            known = known if known in ("completions", "chat/completions", "models") else "other"
            self._service.metrics.answered(known, status, time.monotonic() - begun)


class _Posted:
    """Answers completions, of texts or chats."""

    def __init__(self, service: Service, chat: bool) -> None:
        self._service, self._chat = service, chat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        ticket = await service.ticket(scope, receive, self._chat)
        gone = asyncio.ensure_future(_gone(receive))
        try:
            if ticket.request.stream:
                await self._stream(ticket, gone, send)
            else:
                await self._whole(ticket, gone, scope, receive, send)
        except _Left:
            service.metrics.add("disconnects")
            raise
        finally:
            gone.cancel()
            if not ticket.over:
                service.batch.cancel(ticket)

    async def _events(self, ticket: Ticket, gone: asyncio.Future[None]) -> list[Any]:
        """What happened next; raises _Left when the client leaves before."""
        taken = asyncio.ensure_future(ticket.take())
        try:
            both: set[asyncio.Future[Any]] = {taken, gone}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not taken.done():
                raise _Left
            return taken.result()
        finally:
            taken.cancel()

    async def _whole(
        self, ticket: Ticket, gone: asyncio.Future[None], scope: Scope, receive: Receive, send: Send
    ) -> None:
        answer = self._service.answer(ticket)
        while not answer.whole:
            events = await self._events(ticket, gone)
            for event in events:
                if isinstance(event, Refusal):
                    raise event
            answer.take(events)
        response = Response(_json(answer.body()), media_type="application/json")
        await self._within(response(scope, receive, send))

    async def _stream(self, ticket: Ticket, gone: asyncio.Future[None], send: Send) -> None:
        answer = self._service.answer(ticket)
        # Before the first byte there is still a status to say that it cannot be answered.
        events = await self._events(ticket, gone)
        if isinstance(events[0], Refusal):
            raise events[0]
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"),
                   (b"x-accel-buffering", b"no")]  # fmt: skip
        await self._within(send({"type": "http.response.start", "status": 200, "headers": headers}))
        await self._send(send, *answer.begin())
        while True:
            refusal = next((event for event in events if isinstance(event, Refusal)), None)
            if refusal is not None:
                await self._send(send, refusal.body(), more=False)
                return
            await self._send(send, *answer.chunks(events))
            if answer.whole:
                break
            events = await self._events(ticket, gone)
        await self._send(send, *answer.end(), "[DONE]", more=False)

    async def _send(self, send: Send, *parts: Any, more: bool = True) -> None:
        data = b"".join(
            b"data: " + (part.encode() if isinstance(part, str) else _json(part)) + b"\n\n" for part in parts
        )
        if data:
            await self._within(send({"type": "http.response.body", "body": data, "more_body": more}))

    async def _within(self, sending: Awaitable[None]) -> None:
        """Wait until what was sent was taken, as long as clients may."""
        try:
            async with asyncio.timeout(self._service.limits.send_seconds):
                await sending
        except (TimeoutError, OSError):
            raise _Left from None


async def _body(scope: Scope, receive: Receive, limits: Limits) -> bytes:
    """Read the body of a request."""
    headers = dict(scope["headers"])
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
        # A page of a browser may send other types anywhere without asking.
        raise Refusal("Content-Type: must be application/json", 415)
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise Refusal("Content-Encoding: bodies must not be compressed", 415)
    too_long = Refusal(f"the body has more than {limits.body} bytes", 413, code="body_too_large")
    with contextlib.suppress(ValueError):
        if int(headers.get(b"content-length", b"0")) > limits.body:
            raise too_long
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise _Left
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > limits.body:
                    raise too_long
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise Refusal(f"the body did not arrive within {limits.body_seconds:g} s", 408) from None


async def _gone(receive: Receive) -> None:
    """Wait until the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _json(data: Any) -> bytes:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _response(refusal: Refusal) -> Response:
    headers = {} if refusal.retry_after is None else {"Retry-After": f"{max(1, round(refusal.retry_after))}"}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(_json(refusal.body()), refusal.status, headers, "application/json")


async def _refused(_: Request, refusal: Refusal) -> Response:
    return _response(refusal)


async def _failed(_: Request, error: Exception) -> Response:
    return _response(Refusal(f"the server has an error: {type(error).__name__}", 500, code="internal_error"))


async def _no_such(request: Request, error: HTTPException) -> Response:
    if error.status_code == 404:
        error_body = Refusal(f"there is no {request.url.path} here", 404, code="not_found")
    else:
        error_body = Refusal(f"{request.method} {request.url.path}: {error.detail}", error.status_code)
    response = _response(error_body)
    response.headers.update(error.headers or {})
    return response


def _is_local(host: str) -> bool:
    """Whether a Host header names this machine."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.strip("[]").rstrip(".").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
