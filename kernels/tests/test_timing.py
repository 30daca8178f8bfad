"""Timing: every call as often as the others, quartiles in order, and on a GPU a graph wherever one is possible."""

from __future__ import annotations

import time

import pytest
import torch

from t2fast_kernels.timing import capture, measure

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def test_goes_through_all_calls():
    seen = [0, 0, 0]

    def call(i):
        seen[i] += 1
        time.sleep(1e-4 * (i + 1))

    timing = measure([lambda i=i: call(i) for i in range(3)], torch.device("cpu"), seconds=0.01, least=7)
    assert seen[0] == seen[1] == seen[2] > 7
    assert timing.repeats == seen[0] - 1  # the first round warms up
    assert 2e-4 <= timing.low <= timing.median <= timing.high  # the mean of 1, 2 and 3 tenths of a millisecond
    assert not timing.graph


@on_gpu
def test_a_graph_does_the_work_of_all_calls():
    x = torch.zeros(3, device="cuda")
    graph = capture([lambda i=i: x[i].add_(1) for i in range(3)], rounds=2)
    before = x.clone()
    graph.replay()
    torch.cuda.synchronize()
    assert (x - before).tolist() == [2, 2, 2]


@on_gpu
def test_on_a_gpu():
    a, b = (torch.randn(2048, 2048, device="cuda") for _ in range(2))
    product = measure([lambda: a @ b], a.device, seconds=0.05)
    assert product.graph
    assert product.low <= product.median <= product.high
    waiting = measure([lambda: (a @ b)[0, 0].item()], a.device, seconds=0.05)
    assert not waiting.graph
    assert waiting.median > product.median
    assert torch.cuda.get_sync_debug_mode() == 0
