"""Measure the planner's cost model on the GPU at hand: ``python -m t2fast_kernels.tune``.

Each figure of :class:`CostModel` comes from a decode step that it alone bounds, run by the kernels themselves: it is
what they reach, not what the card could. The result is written where :meth:`CostModel.of` looks for it. Then the three
ways of reading prefixes are timed on other shapes, to show what the model says of them and whether the planner chose
the fastest.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from t2fast_kernels.attention import prefix_decode
from t2fast_kernels.buffers import DecodeBuffers
from t2fast_kernels.choice import Method
from t2fast_kernels.costs import FOLD, CostModel
from t2fast_kernels.errors import KernelError
from t2fast_kernels.plan import Plan, plan
from t2fast_kernels.timing import Call, measure

__all__ = ["Chip", "Step", "calibrate", "main"]

PAGE = 16
#: Tokens that a row reads of its own; enough to be a decode step, too few to be seen in its time.
SUFFIX = 16
#: Seconds that a launch is taken to cost where it cannot be told from noise; main says so.
LEAST_LAUNCH = 1e-8


@dataclass(frozen=True)
class Step:
    """A decode step: ``prompts`` prefixes, each shared by ``samples`` rows.

    With ``resident``, all prefixes lie on the same few pages, which stay in the L2 cache.
    """

    prompts: int
    samples: int
    prefix: int
    method: Method = "auto"
    resident: bool = False

    def __str__(self) -> str:
        return f"{self.prompts}/{self.samples}/{self.prefix}"


#: Seconds of a step.
Timer = Callable[[Step], float]

#: Where the model is held to measurements it was not made from.
CHECKS = [
    Step(prompts, samples, prefix)
    for prompts, samples in ((1, 8), (1, 64), (8, 16), (64, 4), (64, 16))
    for prefix in (128, 512, 2048, 8192)
]


class Chip:
    """Runs steps on a device, for a model's heads and dtype."""

    def __init__(
        self, device: torch.device, n_q_heads: int = 32, n_kv_heads: int = 8, head_dim: int = 128,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:  # fmt: skip
        self.device, self.dtype = device, dtype
        self.n_q_heads, self.n_kv_heads, self.head_dim = n_q_heads, n_kv_heads, head_dim
        self.token_bytes = n_kv_heads * head_dim * 2 * dtype.itemsize
        #: What a choice left to the planner rests on.
        self.costs = CostModel()

    def buffers(self, step: Step) -> DecodeBuffers:
        """Buffers for a step."""
        return DecodeBuffers(
            step.prompts * step.samples,
            self.n_q_heads,
            self.n_kv_heads,
            self.head_dim,
            max_segments=step.prompts,
            device=self.device,
            itemsize=self.dtype.itemsize,
            costs=self.costs,
        )

    def plan(self, buffers: DecodeBuffers, step: Step) -> Plan:
        """Plan a step: one table per prefix, then one per row."""
        prompt = np.arange(step.prompts)
        zero = np.zeros_like(prompt)
        return plan(
            buffers,
            np.stack([prompt, zero, zero + step.prefix, zero], axis=1),
            np.repeat(prompt, step.samples)[:, None],
            step.prompts + np.arange(step.prompts * step.samples),
            0,
            step.prefix,
            method=step.method,
        )

    def calls(self, step: Step) -> list[Call]:
        """The step on several caches, together three times the size of the L2 cache, or on one with resident pages."""
        rows = step.prompts * step.samples
        buffers = self.buffers(step)
        self.plan(buffers, step)
        pages, own = -(-step.prefix // PAGE), -(-SUFFIX // PAGE)
        tables = torch.zeros(step.prompts + rows, max(pages, own), dtype=torch.int32)
        tables[: step.prompts, :pages] = torch.arange(step.prompts * pages).view(step.prompts, pages)
        tables[step.prompts :, :own] = step.prompts * pages + torch.arange(rows * own).view(-1, own)
        n_pages = step.prompts * pages + rows * own
        copies = 1
        if step.resident:
            n_pages = max(pages, own)
            tables %= n_pages
        elif self.device.type == "cuda":
            cache = torch.cuda.get_device_properties(self.device).L2_cache_size
            copies = min(max(2, -(-3 * cache // (n_pages * PAGE * self.token_bytes))), 64)
        tables = tables.to(self.device)
        lens = torch.full((rows,), SUFFIX, dtype=torch.int32, device=self.device)
        q = torch.randn(rows, self.n_q_heads, self.head_dim, device=self.device, dtype=self.dtype)
        form = (copies, 2, n_pages, PAGE, self.n_kv_heads, self.head_dim)
        caches = torch.randn(form, device=self.device, dtype=self.dtype)
        return [partial(prefix_decode, q, k, v, tables, lens, buffers) for k, v in caches]

    def seconds(self, step: Step) -> float:
        """Median time of a step."""
        return measure(self.calls(step), self.device, seconds=0.05).median

    def properties(self) -> tuple[int, float]:
        """Processors, and bytes of L2 cache."""
        told = torch.cuda.get_device_properties(self.device)
        return told.multi_processor_count, float(told.L2_cache_size)

    def programs_per_processor(self) -> int | None:
        """Programs of launch A that fit a processor, by registers and shared memory of the kernel last compiled."""
        from t2fast_kernels.triton.attention import prefix_kernel

        told = torch.cuda.get_device_properties(self.device)
        try:
            kernel = list(prefix_kernel.device_caches[torch.cuda.current_device()][0].values())[-1]
            threads, registers, shared = 32 * kernel.metadata.num_warps, kernel.n_regs, kernel.metadata.shared
            most = min(
                told.regs_per_multiprocessor // (threads * -(-registers // 8) * 8),
                told.shared_memory_per_multiprocessor // (shared + 1024),
                told.max_threads_per_multi_processor // threads,
            )
        except (AttributeError, IndexError, KeyError, TypeError, ZeroDivisionError):
            return None  # Triton keeps its kernels elsewhere in this version
        return max(1, int(most))


def calibrate(chip: Chip, timer: Timer, processors: int, l2_bytes: float) -> CostModel:
    """The cost model that explains the times of a few steps.

    Raises
    ------
    KernelError
        Times that no card can have, such as two launches that take no longer than one: something else ran beside.
    """
    defaults = CostModel(processors=processors, l2_bytes=l2_bytes)
    token = chip.token_bytes
    timer(Step(1, 16, PAGE, "plain"))  # an idle chip runs slowly at first
    # One program per KV head, alone on the chip: how its time grows with the length is the latency of its loop.
    short, long = (Step(1, 1, prefix, "shared", resident=True) for prefix in (1024, 9216))
    token_seconds = (timer(long) - timer(short)) / (long.prefix - short.prefix)
    # The least prefix against none at all, less what reading it and folding its partial results counts for. Where
    # launches overlap next to nothing is left, which noise can take below 0.
    launch = timer(Step(1, 16, PAGE, "shared", resident=True)) - timer(Step(1, 16, 0, resident=True))
    launch = max(launch - (PAGE + FOLD) * token_seconds, LEAST_LAUNCH)
    # Every row reads a prefix of its own from memory; then all rows the same, from the L2 cache.
    alone = Step(4 * processors, 1, 2048, "plain")
    bandwidth = alone.prompts * alone.prefix * token / timer(alone)
    together = Step(1, 4 * processors, 2048, "plain")
    l2_bandwidth = together.samples * together.prefix * token / timer(together)
    # Full tiles on one prefix: what more tokens take, so that what a row takes by itself does not count.
    few, many = (Step(1, 1024, prefix, "shared") for prefix in (4096, 8192))
    buffers = chip.buffers(many)
    tiles = -(-many.samples // max(1, buffers.block_m // buffers.group))
    padded = 4 * chip.n_kv_heads * chip.head_dim * buffers.block_m * tiles * (many.prefix - few.prefix)
    more = timer(many) - timer(few)
    matrix_flops = padded / more if more else 0.0
    try:
        return replace(
            defaults,
            bandwidth=bandwidth,
            l2_bandwidth=l2_bandwidth,
            matrix_flops=matrix_flops,
            launch_seconds=launch,
            token_seconds=token_seconds,
        )
    except KernelError as reason:
        raise KernelError(f"{reason}; is anything else running on the GPU?") from reason


def check(chip: Chip, timer: Timer) -> Iterator[tuple[Step, str, dict[str, float], dict[str, float]]]:
    """For shapes not calibrated on: what the planner chooses, and the model's and the measured seconds of each way."""
    for step in CHECKS:
        chosen = chip.plan(chip.buffers(step), step)
        found = chosen.estimates
        if found is None:
            continue
        model = {"shared": found.shared, "plain": found.plain}
        if found.split:
            model["split"] = min(found.split.values())
        measured = {name: timer(replace(step, method=name)) for name in model}  # type: ignore[arg-type]
        yield step, chosen.method, model, measured


def main(words: list[str] | None = None) -> int:
    """The command; 2 without a GPU."""
    parser = argparse.ArgumentParser(
        prog="python -m t2fast_kernels.tune", description="Measure the planner's cost model on this GPU."
    )
    parser.add_argument("--heads", default="32/8/128", help="query heads / KV heads / head size, %(default)s")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--out", type=Path, help="file to write instead of the one that the planner loads by itself")
    given = parser.parse_args(words)
    if not torch.cuda.is_available():
        print(f"No GPU: torch {torch.__version__} sees none, and the cost model is a GPU's.", file=sys.stderr)
        return 2
    try:
        n_q_heads, n_kv_heads, head_dim = (int(part) for part in given.heads.split("/"))
    except ValueError:
        parser.error(f"--heads {given.heads}: give three numbers such as 32/8/128")
    name = torch.cuda.get_device_name()
    with torch.inference_mode():
        chip = Chip(torch.device("cuda"), n_q_heads, n_kv_heads, head_dim, getattr(torch, given.dtype))
        costs = calibrate(chip, chip.seconds, *chip.properties())
        fitting = chip.programs_per_processor()
        if fitting is None:
            print(f"programs_per_processor: could not be read, {costs.programs_per_processor} assumed")
        else:
            costs = replace(costs, programs_per_processor=fitting)
        if costs.launch_seconds <= LEAST_LAUNCH:
            print("launch_seconds: too short to be told from noise, next to nothing assumed")
        chip.costs = costs
        path = given.out or CostModel.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        costs.save(path)
        print(f"{name}, heads {given.heads}, {given.dtype}\n{path.read_text(encoding='utf-8')}written to {path}\n")
        print("prompts/samples/prefix   chosen     measured us (model's, for the prefixes alone)")
        lost = []
        for step, chosen, model, measured in check(chip, chip.seconds):
            ways = "   ".join(f"{way} {measured[way] * 1e6:7.1f} ({model[way] * 1e6:7.1f})" for way in measured)
            print(f"{step!s:24} {chosen:9}  {ways}", flush=True)
            lost.append(measured[chosen] / min(measured.values()))
    right = sum(ratio < 1.05 for ratio in lost)
    print(
        f"\nThe choice is within 5% of the fastest on {right} of {len(lost)} shapes; at worst {max(lost):.2f} times it."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
