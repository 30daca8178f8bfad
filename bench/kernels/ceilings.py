"""The two rates that bound everything else, measured on the device at hand."""

from __future__ import annotations

from functools import partial

import torch

from bench.kernels.counting import Ceilings
from t2fast_kernels.timing import measure


def measure_ceilings(device: torch.device, dtype: torch.dtype) -> Ceilings:
    """A copy far larger than any cache, counting bytes read and written, and a large product of random matrices.

    Reading alone can run a few percent faster than copying, so a method that hardly writes may come out above 100%.
    """
    gpu = device.type == "cuda"
    source = torch.empty(2**30 if gpu else 2**27, dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    copy = measure([partial(target.copy_, source)], device, seconds=0.5)
    bandwidth = 2 * source.numel() / copy.median
    n = 8192 if gpu else 1024
    # Random values: products of zeros run faster than those of data.
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty(n, n, device=device, dtype=dtype)
    product = measure([partial(torch.mm, a, b, out=out)], device, seconds=0.5)
    return Ceilings(bandwidth, 2 * n**3 / product.median)
