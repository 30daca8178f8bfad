"""The one command for a GPU machine: its steps, its summary and its exit status, with a stand-in for Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "bench" / "gpu.sh"

STAND_IN = """#!/bin/bash
case "$*" in
  *get_device_name*) echo "$CARD" ;;
  *"import flashinfer"*) exit "${NO_FLASHINFER:-0}" ;;
  *"import xdist"*) exit 1 ;;
  *"import t2fast"*) echo "ModuleNotFoundError: No module named 't2fast._core'"; exit "${NO_ENGINE:-0}" ;;
  *test_prepared*) echo "FAILED tests/sampling/engine/test_cuda.py::test_x - wrong"; exit "${ENGINE_FAILS:-0}" ;;
  *) echo "ran $*" ;;
esac
"""


def run(folder: Path, minutes: str = "9", **settings: str) -> subprocess.CompletedProcess[str]:
    python = folder / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    environment = os.environ | {"PYTHON": str(python), "CARD": "Fake Card 1"} | settings
    return subprocess.run(
        ["bash", SCRIPT, folder / "out", minutes], env=environment, capture_output=True, text=True, check=False
    )


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell script")


def test_all_steps_pass_and_leave_their_output(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [line.split(":")[0] for line in done.stdout.splitlines() if line.endswith(": passed")]
    assert [s for s in steps if s != "sanitizer"] == [
        "first-launches", "tests", "tune", "engine", "engine-speed", "kernels",
    ]  # fmt: skip
    assert "flashinfer: ready" in done.stdout
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"flashinfer-fake-card-1.txt", "engine-fake-card-1.txt", "tests-fake-card-1.txt"} <= written


def test_what_failed_is_printed(tmp_path):
    done = run(tmp_path, ENGINE_FAILS="1", NO_FLASHINFER="1")
    assert done.returncode == 1
    assert "engine: FAILED (1), see engine-fake-card-1.txt" in done.stdout
    assert done.stdout.count("FAILED tests/sampling/engine/test_cuda.py::test_x - wrong") == 2
    assert "flashinfer: left out, it is not installed here" in done.stdout


def test_what_is_not_there_or_does_not_fit_is_left_out(tmp_path):
    done = run(tmp_path, NO_ENGINE="1")
    assert "engine: left out: ModuleNotFoundError: No module named 't2fast._core'" in done.stdout
    done = run(tmp_path, minutes="0")
    assert "tests: left out, no time left" in done.stdout
    assert "ran" not in done.stdout
    none = run(tmp_path, CARD="")
    assert none.returncode == 2
    assert "No GPU" in none.stderr
