"""The server in a thread of this process, with a tiny random model."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
from tests.support import tiny

pytest.importorskip("starlette", reason="needs the extra 'serve'")
uvicorn = pytest.importorskip("uvicorn", reason="needs the extra 'serve'")

from t2fast.sampling import Sampler  # noqa: E402
from t2fast.serve import Limits  # noqa: E402
from t2fast.serve.app import Service  # noqa: E402


class Serving:
    """A server that runs: its address, and what is inside."""

    def __init__(self, service, port):
        self.service, self.port = service, port
        self.root = f"http://127.0.0.1:{port}"
        self.url = self.root + "/v1"

    @property
    def batch(self):
        return self.service.batch

    def count(self, name):
        return self.service.metrics.counters[name]

    def settle(self, seconds=10.0):
        """Wait until nothing is under way; then all pages must be accounted for, and none be held."""
        until = time.monotonic() + seconds
        while self.batch.busy and time.monotonic() < until:
            time.sleep(0.01)
        assert not self.batch.busy
        time.sleep(0.05)
        schedule = self.batch.live.schedule
        assert schedule.check() == []
        assert not schedule.running
        assert schedule.pages.taken == schedule.idle_pages
        assert self.batch.live.n_prompts == 0


@contextlib.contextmanager
def serving(*, limits=None, key=None, model=None, tokenizer=None, params=None, **options):
    sampler = Sampler(model or tiny.model(), tokenizer or tiny.tokenizer(), **options)
    service = Service(sampler, "tiny", limits=limits or Limits(), key=key, params=params)
    config = uvicorn.Config(
        service.app, port=0, http="h11", ws="none", lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended before it began"
        time.sleep(0.005)
    try:
        yield Serving(service, server.servers[0].sockets[0].getsockname()[1])
    finally:
        service.close()
        server.should_exit = True
        thread.join(10)
