"""On a machine without a GPU, the other tests once more with the kernels in Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import TRITON

HERE = Path(__file__).parent


@pytest.mark.skipif(TRITON, reason="the kernels run in this session")
@pytest.mark.skipif(sys.platform != "linux", reason="Triton is published for Linux")
@pytest.mark.parametrize("file", sorted(path.name for path in HERE.glob("test_*.py") if path.stem not in ("test_interpreter", "test_compile", "test_guide", "test_plan")))  # fmt: skip
def test_kernels_in_the_interpreter(file):
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", str(HERE / file)]
    done = subprocess.run(
        command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
