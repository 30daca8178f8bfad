"""One line of JSON per benchmark, from what pytest-benchmark and criterion write: what a history of speed is made of.

    pytest bench --benchmark-enable --benchmark-json=python.json
    cargo bench -p t2fast-core
    python -m bench.history python.json target/criterion >>history.jsonl

Each line has the benchmark's name, its median and the quartiles' distance in seconds (criterion: the width of the
median's confidence interval), and the machine, commit and date. Lines of different machines must not be compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from bench import machine


def of_pytest(path: Path) -> Iterator[dict[str, Any]]:
    """The benchmarks of a file of pytest-benchmark."""
    for one in json.loads(path.read_text(encoding="utf-8"))["benchmarks"]:
        yield {"benchmark": one["fullname"], "median": one["stats"]["median"], "spread": one["stats"]["iqr"]}


def of_criterion(folder: Path) -> Iterator[dict[str, Any]]:
    """The newest estimates of a folder of criterion."""
    for path in sorted(folder.rglob("new/estimates.json")):
        median = json.loads(path.read_text(encoding="utf-8"))["median"]
        bounds = median["confidence_interval"]
        yield {
            "benchmark": path.parent.parent.relative_to(folder).as_posix(),
            "median": median["point_estimate"] / 1e9,
            "spread": (bounds["upper_bound"] - bounds["lower_bound"]) / 1e9,
        }


def main(arguments: list[str] | None = None) -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path, help="files of pytest-benchmark, folders of criterion")
    sources = parser.parse_args(arguments).sources
    about = {"commit": machine.commit(), "date": date.today().isoformat(), "cpu": machine.cpu(), "cores": machine.CORES}
    for source in sources:
        found = list(of_criterion(source) if source.is_dir() else of_pytest(source))
        if not found:
            sys.exit(f"{source}: no benchmarks there")
        for one in found:
            print(json.dumps(one | about))


if __name__ == "__main__":
    main()
