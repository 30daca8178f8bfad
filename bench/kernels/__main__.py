"""``python -m bench.kernels``: every method on every shape, as tables and CSV."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import platform
import sys
from pathlib import Path

import torch
from rich.console import Console

from bench.kernels.case import Budget, Case
from bench.kernels.ceilings import measure_ceilings
from bench.kernels.counting import unshared
from bench.kernels.report import Origin, losses, table, write
from bench.kernels.run import Runner
from bench.kernels.shapes import CPU_LOGITS, CPU_SHAPES, LLAMA_8B, LOGITS, SHAPES, Heads, Logits, Shape
from bench.machine import commit, cpu

#: What a group's share of the time is worth. A shape has eleven methods to set up, a batch of logits four; the first of
#: either kind compiles for all.
WEIGHTS = {Shape: 8.0, Logits: 1.0}
FIRST = {Shape: 16.0, Logits: 10.0}


def arguments(words: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.kernels", description=__doc__)
    parser.add_argument(
        "--device", default="cuda", choices=["cuda", "cpu"], help="cpu: reference operators, small shapes"
    )
    parser.add_argument(
        "--shape", action="append", default=[], help="prompts/samples/prefix/suffix, instead of the list"
    )
    parser.add_argument("--heads", default=str(LLAMA_8B), help="query/kv/dim of the shapes given, %(default)s")
    parser.add_argument("--logits", action="append", default=[], help="rows/vocab, instead of the list")
    parser.add_argument("--top-p", type=float, help="filter for the logits given; none by default")
    parser.add_argument(
        "--dtype", choices=["bfloat16", "float16", "float32"], help="bfloat16 on a GPU, float32 on a CPU"
    )
    parser.add_argument("--page-size", type=int, default=16, help="tokens per page, %(default)s")
    parser.add_argument("--minutes", type=float, default=8.0, help="time for the whole run, %(default)g")
    parser.add_argument("--csv", type=Path, help="write the results to this file; one that exists is replaced")
    given = parser.parse_args(words)
    try:
        given.shapes = [Shape.parse(text, Heads.parse(given.heads)) for text in given.shape]
        given.batches = [Logits.parse(text, given.top_p) for text in given.logits]
        for shape in given.shapes:
            if given.page_size < 1 or shape.prefix % given.page_size:
                parser.error(f"--shape {shape}: the prefix must be a multiple of --page-size {given.page_size}")
    except ValueError as reason:
        parser.error(str(reason))
    if not given.shapes and not given.batches:
        on_cpu = given.device == "cpu"
        given.shapes, given.batches = (CPU_SHAPES, CPU_LOGITS) if on_cpu else (SHAPES, LOGITS)
    given.dtype = getattr(torch, given.dtype or ("float32" if given.device == "cpu" else "bfloat16"))
    return given


def versions() -> str:
    """What took part."""
    names = ["t2fast-kernels", "torch", "triton", "flashinfer-python", "numpy"]
    found = []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    toolkit = (
        f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}" if torch.version.hip else ""
    )
    return ", ".join([*found, f"Python {platform.python_version()}", *filter(None, [toolkit])])


def main(words: list[str] | None = None) -> int:
    """Run, print, and write; 2 when there is no GPU to run on."""
    given = arguments(words)
    if given.device == "cuda" and not torch.cuda.is_available():
        print(
            f"No GPU: torch {torch.__version__} sees none. Run this on a machine with one (and a PyTorch built for it), or\n"
            "  python -m bench.kernels --device cpu\n"
            "to check the operators and this program on small shapes with the PyTorch reference.",
            file=sys.stderr,
        )
        return 2
    terminal = Console()
    # Piped into a file, the tables get the width they need.
    out = terminal if terminal.is_terminal else Console(width=140)
    log = Console(stderr=True)
    groups: list[Shape | Logits] = [*given.shapes, *given.batches]
    kinds = [type(group) for group in groups]
    weights = [(WEIGHTS if kind in kinds[:i] else FIRST)[kind] for i, kind in enumerate(kinds)]
    budget = Budget(60 * given.minutes, weights)
    device = torch.device(given.device)
    if given.csv:
        given.csv.parent.mkdir(parents=True, exist_ok=True)
        given.csv.unlink(missing_ok=True)
    with log.status("copy bandwidth and matrix rate") as status, torch.inference_mode():
        ceilings = measure_ceilings(device, given.dtype)
        name = torch.cuda.get_device_name() if device.type == "cuda" else cpu()
        date = datetime.datetime.now(datetime.UTC).date().isoformat()
        origin = Origin(name, ceilings, versions(), date, commit())
        out.print(f"{origin.device}; {origin.versions}; {origin.date}, commit {origin.commit}", highlight=False)
        out.print(
            f"ceilings measured: copy {ceilings.bandwidth / 1e12:.3g} TB/s, "
            f"{str(given.dtype).removeprefix('torch.')} matrix product {ceilings.matrix / 1e12:.3g} TFLOP/s\n",
            highlight=False,
        )
        runner = Runner(device, given.dtype, given.page_size, status.update)
        everything: list[Case] = []
        for group in groups:
            deadline = budget.open()
            try:
                cases = (
                    runner.attention(group, deadline) if isinstance(group, Shape) else runner.sampling(group, deadline)
                )
            except torch.cuda.OutOfMemoryError:
                out.print(f"{group}: the inputs alone do not fit the GPU's memory\n", highlight=False)
                continue
            alone = unshared(group, given.dtype.itemsize).floor(ceilings) if isinstance(group, Shape) else None
            out.print(table(cases, ceilings, alone))
            if given.csv:
                write(given.csv, cases, origin)
            everything += cases
    lost = losses(everything)
    out.print("Faster than t2fast:" if lost else "Nothing measured was faster than t2fast.", highlight=False)
    for line in lost:
        out.print(f"  {line}", highlight=False)
    return (
        1 if any(case.method.startswith("t2fast") and case.status in ("wrong", "failed") for case in everything) else 0
    )


if __name__ == "__main__":
    sys.exit(main())
