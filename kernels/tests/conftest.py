"""Without a GPU the kernels run in Triton's interpreter, which has to be chosen before they are imported."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(params=["reference", "kernel"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """The device of a test that is to pass with the plain PyTorch reference and with the kernels alike."""
    if request.param == "reference":
        monkeypatch.delenv("TRITON_INTERPRET", raising=False)
        return torch.device("cpu")
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
