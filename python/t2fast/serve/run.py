"""Serving until told to end: the socket, and an end in good order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from t2fast.errors import T2Error
from t2fast.sampling.engine.sampler import Sampler
from t2fast.sampling.params import SamplingParams
from t2fast.serve.app import Service
from t2fast.serve.limits import Limits

__all__ = ["serve"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Server(uvicorn.Server):
    """Ends in good order: requests under way get the time of grace, and an error object when it is over."""

    service: Service
    stop: threading.Event | None

    async def on_tick(self, counter: int) -> bool:
        """Whether to end now, asked ten times a second."""
        return await super().on_tick(counter) or (self.stop is not None and self.stop.is_set())

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # As uvicorn's, but signals are not raised again afterwards: an end in good order is no failure.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, self.handle_exit) for one in _SIGNALS}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Told to end: the first time in good order, the second time at once."""
        if self.should_exit:
            self.force_exit = True
        super().handle_exit(sig, frame)
        self.service.ending = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: what runs has its time, then it is refused."""
        self.service.ending = True
        ends = asyncio.ensure_future(self._end())
        try:
            await super().shutdown(sockets)
        finally:
            ends.cancel()
            await asyncio.get_running_loop().run_in_executor(None, self.service.close)

    async def _end(self) -> None:
        await asyncio.sleep(self.service.limits.grace)
        self.service.batch.stop(wait=None)


def serve(
    sampler: Sampler,
    model: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits | None = None,
    params: SamplingParams | None = None,
    key: str | None = None,
    ready: Callable[[str], object] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Serve a model until SIGTERM or SIGINT, or until ``stop`` is set.

    Requests under way then have ``limits.grace`` seconds to end; new ones are refused, and a second signal ends at
    once.

    Parameters
    ----------
    sampler
        Draws; nobody else may use it meanwhile.
    model
        The model's name for clients.
    host, port
        Where to listen; port 0 takes a free one. By default nobody but this machine is heard.
    limits
        What is refused.
    params
        Settings where requests have none.
    key
        What clients must present as a bearer token; None serves everybody who can connect.
    ready
        Called with the address once clients can connect.
    stop
        Ends the server in good order when another thread sets it. Signals reach a server of the main thread alone.

    Raises
    ------
    T2Error
        When the address cannot be listened on, the key is empty, or nothing can be drawn any more.

    Examples
    --------
    ::

        serve(Sampler.from_pretrained("./m"), "m", port=8000)
    """
    if key is not None and not key.strip():
        raise T2Error("the API key is empty: give one, or none at all")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE) if _known(host) else []
    if not found:
        raise T2Error(f"--host {host}: no such address")
    family, _, _, _, address = found[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    with contextlib.closing(listening):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
        except OSError as error:
            raise T2Error(f"--host {host} --port {port}: {error.strerror}") from None
        port = listening.getsockname()[1]
        _run(sampler, model, listening, limits or Limits(), params, key, host, port, ready, stop)


def _run(
    sampler: Sampler,
    model: str,
    listening: socket.socket,
    limits: Limits,
    params: SamplingParams | None,
    key: str | None,
    host: str,
    port: int,
    ready: Callable[[str], object] | None,
    stop: threading.Event | None,
) -> None:
    failed = threading.Event()
    server: _Server

    def fail() -> None:
        failed.set()
        server.should_exit = True

    local = host in ("localhost", "127.0.0.1", "::1")
    service = Service(sampler, model, limits=limits, params=params, key=key, local=local, on_failure=fail)
    try:
        config = uvicorn.Config(
            service.app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=limits.connections,
            # After the time of grace, for the refusals to arrive.
            timeout_graceful_shutdown=int(limits.grace) + 5,
            timeout_keep_alive=30,
        )
        server = _Server(config)
        server.service, server.stop = service, stop
        if ready is not None:
            original = server.startup

            async def startup(sockets: list[socket.socket] | None = None) -> None:
                await original(sockets)
                ready(f"http://{f'[{host}]' if ':' in host else host}:{port}/v1")

            server.startup = startup  # type: ignore[method-assign]
        server.run(sockets=[listening])
    finally:
        service.close()
    if failed.is_set():
        raise T2Error("nothing can be drawn any more: see above")
    sys.stderr.flush()


def _known(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except OSError:
        return False
