"""Medians and quartiles of device time, over graph replays on a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

Call = Callable[[], object]
#: A replay should last this long, so that launching the graph (a few microseconds) stays under a percent of it.
REPLAY_SECONDS = 1e-3


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds per call: median and quartiles over repetitions; ``graph`` says whether they were graph replays."""

    median: float
    low: float
    high: float
    repeats: int
    graph: bool


def measure(calls: Sequence[Call], device: torch.device, seconds: float = 0.2, least: int = 11) -> Timing:
    """Time calls in turn, the same work on different buffers, each repetition going through all of them.

    One call repeats on what the previous left in the cache: warm. Calls over more memory than the cache holds come
    round when it has forgotten them: cold, as the layers of a model find it in a decode step.
    """
    if device.type == "cuda":
        return _on_gpu(calls, seconds, least)
    for call in calls:
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        for call in calls:
            call()
        times.append((time.perf_counter() - start) / len(calls))
    return _quartiles(times, graph=False)


def _on_gpu(calls: Sequence[Call], seconds: float, least: int) -> Timing:
    for call in [*calls[:2]] * 2:  # compiles, and fills what the method caches
        call()
    once = _elapsed(lambda: [call() for call in calls], 3) / len(calls)
    rounds = max(1, min(int(REPLAY_SECONDS / max(once * len(calls), 1e-7)), 256 // len(calls)))
    graph = capture(calls, rounds)
    run: Call = graph.replay if graph else lambda: [call() for _ in range(rounds) for call in calls]
    run()
    inside = rounds * len(calls)
    repeats = max(least, min(int(seconds / max(_elapsed(run, 3), 1e-7)), 400))
    marks = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
    for start, end in marks:
        start.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return _quartiles([start.elapsed_time(end) * 1e-3 / inside for start, end in marks], graph=graph is not None)


def capture(calls: Sequence[Call], rounds: int = 1) -> torch.cuda.CUDAGraph | None:
    """A CUDA graph of all calls in turn, ``rounds`` times; ``None`` when a call waits for the GPU, which no graph can.

    That is found out before the capture, which would leave the context unusable by failing.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.cuda.stream(side):
            calls[0]()
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        return None
    finally:
        torch.cuda.set_sync_debug_mode(before)
        torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(rounds):
            for call in calls:
                call()
    return graph


def _elapsed(run: Call, times: int) -> float:
    """Seconds per run, roughly."""
    torch.cuda.synchronize()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(times):
        run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) * 1e-3 / times


def _quartiles(times: list[float], *, graph: bool) -> Timing:
    low, median, high = np.percentile(times, [25, 50, 75]).tolist()
    return Timing(median, low, high, len(times), graph)
