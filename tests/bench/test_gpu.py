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
  *"import t2fast"*) [ -z "${NO_ENGINE:-}" ] || echo "ModuleNotFoundError: No module named 't2fast._core'" ;;
  *t2fast.costs*) echo h100 ;;
  *test_prepared*)
    if [ -n "${ENGINE_FAILS:-}" ]; then
      echo "tests/sampling/engine/test_cuda.py::test_x[a b] FAILED [ 50%]"
      echo "[gw0] [ 97%] ERROR tests/sampling/engine/test_cuda.py::test_y "
      [ "$ENGINE_FAILS" = 124 ] || echo "FAILED tests/sampling/engine/test_cuda.py::test_x[a b] - wrong"
      exit "$ENGINE_FAILS"
    fi ;;
  *bench.kernels*--csv*) echo "ran $*"; echo shape >"${@: -1}" ;;
  *) echo "ran $*" ;;
esac
"""


def run(folder: Path, minutes: str = "15", *parts: str, **settings: str) -> subprocess.CompletedProcess[str]:
    python = folder / "python"
    python.write_text(settings.pop("stand_in", STAND_IN))
    python.chmod(0o755)
    environment = os.environ | {"PYTHON": str(python), "CARD": "Fake H100 1"} | settings
    return subprocess.run(
        ["bash", SCRIPT, folder / "out", minutes, *parts], env=environment, capture_output=True, text=True, check=False
    )


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell script")


def test_all_parts_pass_and_leave_their_output(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = [line.split(":")[0] for line in done.stdout.splitlines() if line.endswith(": passed")]
    assert [part for part in parts if part != "sanitizer"] == [
        "launches", "tests", "tune", "engine", "speed", "speed", "kernels", "card",
    ]  # fmt: skip
    assert "flashinfer: ready" in done.stdout
    assert "Failed tests" not in done.stdout
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        "flashinfer-fake-h100-1.txt", "report-fake-h100-1.txt", "kernels-fake-h100-1.csv",
    }  # fmt: skip
    assert (out / "report-fake-h100-1.txt").read_text() == done.stdout
    assert f"cost --gpu h100 --calibrate {out}/kernels-fake-h100-1.csv --out {out}/card-fake-h100-1.json" in done.stdout


@pytest.mark.parametrize(("status", "said"), [("1", "FAILED (1)"), ("124", "ran out of its 60 s")])
def test_what_failed_is_named_at_the_end(tmp_path, status, said):
    """Also of a part that was ended before it could sum up."""
    done = run(tmp_path, ENGINE_FAILS=status, NO_FLASHINFER="1")
    assert done.returncode == int(status)
    assert f"engine: {said}" in done.stdout
    assert "flashinfer: left out, it is not installed here" in done.stdout
    assert "kernels: passed" in done.stdout  # the next parts ran all the same
    assert done.stdout.partition("Failed tests:\n")[2].splitlines() == [
        "engine: tests/sampling/engine/test_cuda.py::test_x[a b]",
        "engine: tests/sampling/engine/test_cuda.py::test_y",
    ]


def test_parts_may_be_chosen(tmp_path):
    done = run(tmp_path, "2", "tune", "launches")
    parts = [line.split(":")[0] for line in done.stdout.splitlines() if line.endswith(": passed")]
    assert parts == ["launches", "tune"]
    wrong = run(tmp_path, "2", "tunes")
    assert wrong.returncode == 2
    assert (
        wrong.stderr
        == "part tunes: there is none; choose from launches sanitizer tests tune engine speed kernels card\n"
    )
    wrong = run(tmp_path, "1.5")
    assert wrong.returncode == 2
    assert wrong.stderr == "minutes = 1.5: give a whole number\n"


def test_what_is_not_there_or_does_not_fit_is_left_out(tmp_path):
    done = run(tmp_path, NO_ENGINE="1")
    assert "engine: left out: ModuleNotFoundError: No module named 't2fast._core'" in done.stdout
    assert "card: left out: ModuleNotFoundError: No module named 't2fast._core'" in done.stdout
    done = run(tmp_path, "0")
    assert "tests: left out, no time left" in done.stdout
    assert "ran" not in done.stdout
    none = run(tmp_path, CARD="")
    assert none.returncode == 2
    assert "No GPU" in none.stderr


@pytest.mark.slow
def test_every_command_is_one_that_its_program_takes(tmp_path):
    """With the real interpreter: programs import and take their options, and every selection of tests selects some."""
    pytest.importorskip("t2fast_kernels")
    pytest.importorskip("transformers")
    stand_in = f"""#!/bin/bash
case "$*" in
  *get_device_name*) echo "NVIDIA H100 80GB HBM3" ;;
  *"import flashinfer"*) exit 1 ;;
  *" pytest "*) exec {sys.executable} "$@" --collect-only -q ;;
  -c*) exec {sys.executable} "$@" ;;
  *"--csv"*.csv) echo shape >"${{@: -1}}"; exec {sys.executable} "$@" --help ;;
  *) exec {sys.executable} "$@" --help ;;
esac
"""
    done = run(tmp_path, stand_in=stand_in, TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert done.stdout.count(": passed\n") >= 8
