"""Fuzz for as long as asked; exit code 1 if anything was found."""

from __future__ import annotations

import argparse
import collections
import contextlib
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.fuzz.mutate import mutated
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS, raised


def site(error: Exception) -> str:
    """Where of ours it came from."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/t2fast/" in frame.filename]
    where = f"{ours[-1].filename.split('/t2fast/')[-1]}:{ours[-1].lineno}" if ours else "?"
    return f"{type(error).__name__} at {where}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="time for all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=TARGETS, action="append", help="default: all")
    parser.add_argument(
        "--coverage", action="store_true", help="let atheris choose the inputs, one target after another"
    )
    asked = parser.parse_args()
    targets = asked.target or list(TARGETS)
    found: dict[str, tuple[int, bytes, str]] = {}
    tried: collections.Counter[str] = collections.Counter()
    # In memory where there is such a place: the disk would be what is tested.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        folder = Path(name)

        def one(target: str, content: bytes) -> None:
            tried[target] += 1
            error = raised(target, content, folder)
            if error is not None:
                at = f"{target}: {site(error)}"
                if at not in found:
                    print(f"FOUND {at}: {str(error)[:120]}\n      {content[:300]!r}", flush=True)
                count, first, said = found.get(at, (0, content, str(error)))
                found[at] = (count + 1, min(first, content, key=len), said)

        if asked.coverage:
            _guided(targets, asked.seconds, asked.seed, one, folder)
        else:
            started, index = time.monotonic(), 0
            while time.monotonic() - started < asked.seconds:
                for target in targets:
                    rng = random.Random(f"{asked.seed}/{target}/{index}")
                    one(target, mutated(rng.choice(SEEDS[target]), SEEDS[target], rng))
                index += 1
    for at, (count, content, said) in sorted(found.items()):
        print(f"{at}, {count} times: {said[:200]}\n  {content!r}")
    print(f"{sum(tried.values()):,} inputs, {len(found)} places: " + ", ".join(f"{t} {n:,}" for t, n in tried.items()))
    return 1 if found else 0


def _guided(targets, seconds, seed, one, folder) -> None:  # type: ignore[no-untyped-def]
    """Atheris over all targets at once: the first byte chooses."""
    import atheris

    corpus = folder / "corpus"
    corpus.mkdir()
    for number, target in enumerate(targets):
        for place, content in enumerate(SEEDS[target]):
            (corpus / f"{number}-{place}").write_bytes(bytes([number]) + content)

    def call(data: bytes) -> None:
        if data:
            one(targets[data[0] % len(targets)], data[1:])

    atheris.instrument_all()
    options = [
        sys.argv[0],
        str(corpus),
        f"-max_total_time={int(seconds)}",
        f"-seed={seed + 1}",
        "-max_len=20000",
        "-verbosity=0",
    ]
    atheris.Setup(options, call)
    with contextlib.suppress(SystemExit):
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
