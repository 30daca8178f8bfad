"""The tests run the PyTorch reference, the kernels in Triton's interpreter (``TRITON_INTERPRET=1``), or the kernels on a GPU.

``T2FAST_NATIVE=1`` puts the compiled core of t2fast, where that is installed, in place of the reference on the CPU.
"""

from __future__ import annotations

import os

# Workers run side by side; torch would start as many threads in each as there are cores. Before it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
#: What the operators run on.
DEVICE = "cuda" if torch.cuda.is_available() and not INTERPRETED else "cpu"
TRITON = INTERPRETED or DEVICE == "cuda"

if os.environ.get("T2FAST_NATIVE") == "1":
    from t2fast.sampling.engine.native import install

    install()

# The interpreter takes a second for what the others do at once.
settings.register_profile("interpreted", max_examples=15, deadline=None)
settings.register_profile("native", max_examples=100, deadline=None)
settings.load_profile("interpreted" if INTERPRETED else "native")


def pytest_collection_modifyitems(items):
    """The longest first, so that workers side by side end together."""
    items.sort(key=lambda item: item.path.stem != "test_interpreter")


@pytest.fixture
def poison():
    """New tensors are filled with NaN, so that reading what was never written shows."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture
def no_native(monkeypatch):
    """The operators themselves, which is what graphs hold, though a compiled core may stand in for them elsewhere."""
    monkeypatch.setattr("t2fast_kernels.backend._native", None)
