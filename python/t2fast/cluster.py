"""A Ray cluster: joined or begun, how many workers it has room for, whether its head still answers, and tasks on it."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from t2fast import arguments
from t2fast.errors import MissingExtraError, T2Error

__all__ = ["Cluster"]

#: Seconds that one look at the cluster may take, and between two looks at its head.
_LOOK = 1.0
#: Seconds without an answer after which the head is lost. Ray ends the whole process after 60.
_PATIENCE = 20.0
#: Attempts at a task whose process or machine dies.
_ATTEMPTS = 4

_log = logging.getLogger(__name__)


class Cluster:
    """A cluster of machines under `Ray <https://docs.ray.io>`_, for work that several processes share.

    t2fast must be installed on every machine, in the same version. A machine that dies is done without, one that joins
    is used, and no result depends on either. When the head is lost, so is the cluster: that is an error.

    Parameters
    ----------
    workers
        Most processes at work at once; by default as many as there is room for, one per GPU where there are GPUs.
    address
        Of the head, ``"host:port"``; by default the environment variable ``RAY_ADDRESS``, or a cluster of its own on
        this machine. A connection that the program has made already is used, and left open.

    Raises
    ------
    MissingExtraError
        When ray is not installed.
    T2Error
        When no cluster answers at the address.

    Examples
    --------
    >>> with Cluster() as cluster:  # doctest: +SKIP
    ...     boot = fit.bootstrap(10_000, cluster=cluster)
    """

    def __init__(self, workers: int | None = None, *, address: str | None = None) -> None:
        #: Most workers that were asked for.
        self.workers = None if workers is None else arguments.whole("workers", workers, least=1)
        try:
            self.ray: Any = importlib.import_module("ray")
        except ImportError:
            raise MissingExtraError("ray workers need ray: pip install 't2fast[ray]'") from None
        self._ours = not self.ray.is_initialized()
        if self._ours:
            try:
                self.ray.init(
                    address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
                )
            except (ConnectionError, RuntimeError, self.ray.exceptions.RayError) as error:
                why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise T2Error(f"no Ray cluster to work on: {why} (is RAY_ADDRESS the address of a head?)") from None
        #: Address of the head.
        self.head = str(self.ray.get_runtime_context().gcs_address)
        self._answered = self._looked = time.monotonic()
        self._warned = False

    def machines(self) -> list[Mapping[str, float]]:
        """What each machine that is alive has: ``"CPU"`` and ``"GPU"``, where it has any."""
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def answers(self) -> bool:
        """Whether the head can be reached."""
        host, _, port = self.head.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_LOOK).close()
        except OSError:
            return False
        return True

    def look(self) -> bool:
        """See to it that the head answers; whether it just did.

        Raises
        ------
        T2Error
            When it has not for 20 seconds.
        """
        self._looked = time.monotonic()
        if self.answers():
            self._answered, self._warned = time.monotonic(), False
            return True
        if not self._warned:
            self._warned = True
            _log.warning("the head of the Ray cluster at %s does not answer: waiting %g s for it", self.head, _PATIENCE)
        if time.monotonic() - self._answered > _PATIENCE:
            raise T2Error(
                f"the head of the Ray cluster at {self.head} does not answer: what arrived is kept; start it again, "
                "set RAY_ADDRESS to where it is now, and resume"
            )
        return False

    def wait(self, references: Sequence[Any]) -> Any:
        """The first of these that is ready; None if none is after a second.

        Raises
        ------
        T2Error
            When the head is lost.
        """
        if time.monotonic() - self._looked > _LOOK:
            self.look()
        if not references:
            time.sleep(_LOOK)
            return None
        ready, _ = self.ray.wait(list(references), num_returns=1, timeout=_LOOK)
        return ready[0] if ready else None

    def get(self, reference: Any) -> Any:
        """A result; an error of ours is raised as it was where it arose."""
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, T2Error):
                raise error.cause from None
            raise

    def run(self, function: Callable[..., Any], items: Sequence[Sequence[Any]], gpu: bool = False) -> Iterator[Any]:
        """Call a function with each of these arguments, and give number and result as they are done.

        A call whose process or machine dies is made again elsewhere.

        Raises
        ------
        T2Error
            What the function raises; when processes die again and again over the same call; when the head is lost.
        """
        share = {"num_cpus": 1, "num_gpus": int(gpu), "max_retries": _ATTEMPTS - 1}
        task = self.ray.remote(**share)(_beside)
        here = os.getcwd()
        left = iter(enumerate(items))
        running: dict[Any, int] = {}
        most = len(items) if self.workers is None else self.workers
        try:
            while True:
                while len(running) < most and (one := next(left, None)) is not None:
                    running[task.remote(here, function, *one[1])] = one[0]
                if not running:
                    return
                ready = self.wait(list(running))
                if ready is None:
                    continue
                number = running.pop(ready)
                try:
                    result = self.get(ready)
                except (self.ray.exceptions.WorkerCrashedError, self.ray.exceptions.NodeDiedError):
                    raise T2Error(
                        f"{_ATTEMPTS} processes died over the same part of the work: out of memory?"
                    ) from None
                yield number, result
        finally:
            for reference in running:
                with contextlib.suppress(Exception):
                    self.ray.cancel(reference, force=True)

    def close(self) -> None:
        """Leave the cluster, and end it if it was begun here; where the head is lost, Ray takes up to a minute."""
        if self._ours and self.ray.is_initialized():
            self.ray.shutdown()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def work_in(folder: str) -> None:
    """Go to the folder that the program was started in, where this machine has it: paths may be relative to it."""
    if os.path.isdir(folder):
        os.chdir(folder)


def _beside(folder: str, function: Callable[..., Any], *arguments: Any) -> Any:
    work_in(folder)
    return function(*arguments)
