"""On a machine without a GPU, the other tests once more with the kernels in Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import TRITON

HERE = Path(__file__).parent
#: Tests of what has a kernel.
KERNELS = [
    f"test_{name}.py"
    for name in (
        "append_kv",
        "attention",
        "launch",
        "compiled",
        "copy_pages",
        "merge_state",
        "plan_shared",
        "products",
        "rms_norm",
        "sample",
        "sample_laws",
        "sample_noise",
        "silu_mul",
        "tune",
    )
]


@pytest.mark.skipif(TRITON, reason="the kernels run in this session")
@pytest.mark.skipif(sys.platform != "linux", reason="Triton is published for Linux")
@pytest.mark.parametrize("file", KERNELS)
def test_kernels_in_the_interpreter(file):
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", str(HERE / file)]
    done = subprocess.run(
        command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
