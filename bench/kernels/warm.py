"""``python -m bench.kernels.warm``: let FlashInfer build what the benchmarks of it need, which takes it minutes."""

from __future__ import annotations

import sys
import time

import torch

from bench.kernels.attention import METHODS, Missing
from bench.kernels.inputs import Inputs
from bench.kernels.shapes import LLAMA_8B, Shape


def main() -> int:
    """Run each of its methods once on a small shape, and say how long that took; 1 when one failed."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    inputs = Inputs(Shape.parse("2/4/64/16", LLAMA_8B), device, dtype)
    failed = 0
    for name in (method for method in METHODS if method.startswith("FlashInfer")):
        begun = time.monotonic()
        try:
            METHODS[name](inputs)[0][0]()
            if device.type == "cuda":
                torch.cuda.synchronize()
        except Missing as reason:
            print(f"{name}: left out: {reason}")
        except Exception as error:  # a library that is built here may fail in any way
            print(f"{name}: failed: {type(error).__name__}: {error}")
            failed = 1
        else:
            print(f"{name}: ready after {time.monotonic() - begun:.0f} s")
    return failed


if __name__ == "__main__":
    sys.exit(main())
