"""The calibration finds the figures of a chip that behaves as the model says; its steps compute what they should."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from t2fast_kernels import CostModel, KernelError
from t2fast_kernels.tune import CHECKS, Chip, Step, calibrate, check, main

CPU = torch.device("cpu")
CHIP = CostModel(
    bandwidth=2e12,
    l2_bandwidth=4e12,
    l2_bytes=40e6,
    matrix_flops=200e12,
    processors=100,
    launch_seconds=5e-6,
    token_seconds=2e-8,
)
REST = 4e-6  # launch B, which the model leaves out


@pytest.fixture
def chip(monkeypatch):
    # Plans as for a GPU; nothing is launched.
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    return Chip(CPU)


def timer_of(chip, costs):
    def timer(step):
        if not step.prefix:
            return REST
        buffers = chip.buffers(step)
        found = costs.estimate(
            np.full(step.prompts, step.prefix),
            np.full(step.prompts, step.samples),
            n_kv_heads=buffers.n_kv_heads,
            group=buffers.group,
            head_dim=buffers.head_dim,
            itemsize=buffers.itemsize,
            block_m=buffers.block_m,
            split_sizes=(256, 512, 1024, 2048, 4096, 8192),
        )
        seconds = min(found.split.values(), default=None) if step.method == "split" else getattr(found, step.method)
        return REST + seconds

    return timer


def test_recovers_a_chip(chip):
    found = calibrate(chip, timer_of(chip, CHIP), CHIP.processors, CHIP.l2_bytes)
    assert found.token_seconds == pytest.approx(CHIP.token_seconds, rel=1e-6)
    assert found.launch_seconds == pytest.approx(CHIP.launch_seconds, rel=1e-6)
    for name in ("bandwidth", "l2_bandwidth", "matrix_flops"):
        assert getattr(found, name) == pytest.approx(getattr(CHIP, name), rel=0.05), name
    assert (found.processors, found.l2_bytes) == (CHIP.processors, CHIP.l2_bytes)


def test_then_chooses_the_fastest_way(chip):
    timer = timer_of(chip, CHIP)
    chip.costs = calibrate(chip, timer, CHIP.processors, CHIP.l2_bytes)
    found = list(check(chip, timer))
    assert len(found) == len(CHECKS)
    assert {chosen for _, chosen, _, _ in found} == {"shared", "split", "plain"}
    for step, chosen, model, measured in found:
        assert measured[chosen] <= 1.1 * min(measured.values()), step
        for way, seconds in model.items():
            assert seconds + REST == pytest.approx(measured[way], rel=0.1), (step, way)


def test_impossible_times_are_refused(chip):
    with pytest.raises(KernelError, match="anything else running"):
        calibrate(chip, lambda step: 1e-3 if step.method == "plain" else 5e-4, 100, 40e6)


@pytest.mark.parametrize("resident", [False, True])
def test_the_three_ways_agree(resident):
    chip = Chip(CPU, 4, 2, 16, torch.float32)
    outputs = []
    for method in ("shared", "split", "plain"):
        torch.manual_seed(0)
        (call,) = chip.calls(Step(3, 2, 40, method, resident))
        outputs.append(call())
    assert outputs[0].shape == (6, 4, 16)
    assert outputs[0].isfinite().all()
    for other in outputs[1:]:
        torch.testing.assert_close(outputs[0], other)


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="minutes in the interpreter")
def test_a_step_takes_time():
    assert Chip(CPU, 4, 2, 16, torch.float32).seconds(Step(2, 2, 32, "shared")) > 0


def test_what_was_measured_is_what_plans_rest_on(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = CostModel.path("NVIDIA H100 80GB HBM3")
    assert path == tmp_path / "t2fast-kernels" / "nvidia-h100-80gb-hbm3.json"
    path.parent.mkdir()
    CHIP.save(path)
    told = type("Properties", (), {"name": "NVIDIA H100 80GB HBM3", "multi_processor_count": 132})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: told)
    assert CostModel.of(torch.device("cuda")) == CHIP
    path.unlink()
    assert CostModel.of(torch.device("cuda")) == CostModel(processors=132)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu(capsys):
    assert main([]) == 2
    assert "No GPU" in capsys.readouterr().err
