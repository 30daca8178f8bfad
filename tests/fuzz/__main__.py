"""Fuzz for as long as asked; exit code 1 if anything was found."""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path


def site(error: Exception) -> str:
    """Where of ours it came from."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/t2fast/" in frame.filename]
    where = f"{ours[-1].filename.split('/t2fast/')[-1]}:{ours[-1].lineno}" if ours else "?"
    return f"{type(error).__name__} at {where}"


class Finds:
    """What was tried, and what was found: each place with its shortest input."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.tried: collections.Counter[str] = collections.Counter()
        self.times: collections.Counter[str] = collections.Counter()
        self.shortest: dict[str, bytes] = {}

    def try_one(self, target: str, content: bytes) -> None:
        """Give one input to a target."""
        from tests.fuzz.targets import raised

        self.tried[target] += 1
        error = raised(target, content, self.folder)
        if error is None:
            return
        place = f"{target}: {site(error)}: {str(error)[:120]!r}"
        place = place if place in self.times or len(self.times) < 100 else f"{target}: more"
        if not self.times[place]:
            print(f"FOUND {place}\n  {content[:300]!r}", flush=True)
        self.times[place] += 1
        self.shortest[place] = min(self.shortest.get(place, content), content, key=len)

    def report(self) -> int:
        """Print the sum; the exit code."""
        for place, count in sorted(self.times.items()):
            print(f"{count} times {place}\n  {self.shortest[place]!r}")
        inputs = ", ".join(f"{target} {n:,}" for target, n in self.tried.items())
        print(f"{self.tried.total():,} inputs, {len(self.times)} places: {inputs}", flush=True)
        return 1 if self.times else 0


def mutations(finds: Finds, targets: list[str], seconds: float, seed: int) -> None:
    """Mutations of the seeds, each from the numbers that name it."""
    from tests.fuzz.mutate import mutated
    from tests.fuzz.seeds import SEEDS

    started, index = time.monotonic(), 0
    while time.monotonic() - started < seconds:
        for target in targets:
            rng = random.Random(f"{seed}/{target}/{index}")
            finds.try_one(target, mutated(rng.choice(SEEDS[target]), SEEDS[target], rng))
        index += 1


def guided(finds: Finds, targets: list[str], seconds: float, seed: int, corpus: Path | None) -> None:
    """Inputs that atheris chooses by what they reach; the first byte chooses the target. Does not return."""
    import atheris
    from tests.fuzz.mutate import mutated
    from tests.fuzz.seeds import SEEDS

    corpus = corpus or finds.folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, target in enumerate(targets):
        for place, content in enumerate(SEEDS[target]):
            (corpus / f"{number}-{place}").write_bytes(bytes([number]) + content)
    until = time.monotonic() + seconds

    def call(data: bytes) -> None:
        if data:
            finds.try_one(targets[data[0] % len(targets)], data[1:])
        if time.monotonic() > until:
            os._exit(finds.report())  # libFuzzer's own end is not Python's

    def mutate(data: bytes, longest: int, mutation: int) -> bytes:
        """Every other change is one of ours, which knows JSON: changes of bytes alone stop at the parser."""
        if not data or mutation % 2:
            return bytes(atheris.Mutate(data, longest))
        seeds = SEEDS[targets[data[0] % len(targets)]]
        return data[:1] + mutated(data[1:], seeds, random.Random(mutation))[: longest - 1]

    options = [f"-seed={seed + 1}", "-max_len=20000", "-print_final_stats=0"]
    atheris.Setup([sys.argv[0], str(corpus), *options], call, custom_mutator=mutate)
    atheris.Fuzz()


def main() -> int:
    """Read the command line and fuzz."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="time for all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", action="append", help="name of one; default: all")
    parser.add_argument("--coverage", action="store_true", help="let atheris choose the inputs")
    parser.add_argument(
        "--corpus", type=Path, help="folder where --coverage keeps inputs, for the next run to start from"
    )
    asked = parser.parse_args()
    instrumented: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    if asked.coverage:
        import atheris

        instrumented = atheris.instrument_imports(include=["t2fast"])
    with instrumented:
        from tests.fuzz.targets import TARGETS
    targets = asked.target or list(TARGETS)
    if unknown := sorted(set(targets) - set(TARGETS)):
        parser.error(f"no target {unknown[0]}; there are {', '.join(TARGETS)}")
    # In memory where there is such a place: the disk would be what is tested.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        finds = Finds(Path(name))
        if asked.coverage:
            guided(finds, targets, asked.seconds, asked.seed, asked.corpus)
        mutations(finds, targets, asked.seconds, asked.seed)
        return finds.report()


if __name__ == "__main__":
    sys.exit(main())
