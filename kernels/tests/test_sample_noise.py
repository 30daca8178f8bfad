"""The noise: Philox's published answers, Triton's bits, exactness in the tails."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

from conftest import DEVICE, TRITON
from kit import sample_oracle as oracle
from t2fast_kernels.reference import sample as reference

operator = importlib.import_module("t2fast_kernels.sample")


@pytest.fixture
def device() -> torch.device:
    return torch.device(DEVICE)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch, poison):  # noqa: ARG001
    """Many chunks in small vocabularies; the shipped size has tests of its own."""
    monkeypatch.setattr(operator, "QUADS", 32)


def test_philox_known_answers() -> None:
    # Random123's published vectors for philox4x32, 10 rounds.
    zero = reference.philox([torch.tensor([0])] * 4, torch.tensor([0]))
    assert [int(w) for w in zero] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    ones = reference.philox([torch.tensor([0xFFFFFFFF])] * 4, torch.tensor([-1]))
    assert [int(w) for w in ones] == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    counter = [torch.tensor([c]) for c in (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)]
    digits = reference.philox(counter, torch.tensor([0x299F31D0 << 32 | 0xA4093822]))
    assert [int(w) for w in digits] == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


@pytest.mark.skipif(not TRITON, reason="needs Triton: on a GPU, or with TRITON_INTERPRET=1")
def test_philox_is_tritons_bit_for_bit(device) -> None:
    import triton

    from kit.philox_kernel import philox_kernel

    n = 256
    words = torch.randint(-(2**31), 2**31, (4, n), dtype=torch.int32, generator=torch.Generator().manual_seed(1)).to(
        device
    )
    for seed in (0, 7, -1, 2**62 + 12345, -(2**63)):
        out = torch.empty(4, n, dtype=torch.int32, device=device)
        philox_kernel[(triton.cdiv(n, 64),)](torch.tensor([seed], device=device), words, out, n, BLOCK=64)
        ours = reference.philox([w.long() & 0xFFFFFFFF for w in words.cpu()], torch.tensor([seed]))
        assert torch.equal(torch.stack(ours), out.cpu().long() & 0xFFFFFFFF)


def test_noise_is_the_oracles() -> None:
    keys = [torch.tensor(k) for k in ([0, -5], [3, 2**31 - 1], [1, -7], [0, 12])]
    noise = reference.gumbel(1001, *keys)
    for r in range(2):
        expected = oracle.noise(1001, *(int(k[r]) % (2**64 if i == 0 else 2**32) for i, k in enumerate(keys)))
        assert np.abs(noise[r].numpy() - expected).max() < 2e-6


def test_noise_is_exact_in_the_tails(monkeypatch) -> None:
    words = torch.tensor([[0, 1, 2**26 - 1, 2**26], [2**31, 2**32 - 2, 2**32 - 1, 12345]])
    monkeypatch.setattr(reference, "philox", lambda *_: list(words[:, None, :].unbind(2)))
    key = torch.zeros(2, dtype=torch.int64)
    u = (words.double() + 0.5) / 2**32
    noise = reference.gumbel(4, key, key, key, key).double()
    assert (noise + torch.log(-torch.log1p(-u))).abs().max() < 3e-7 * 23
    assert noise.isfinite().all()


def test_gumbel_moments() -> None:
    rows = torch.arange(64)
    noise = reference.gumbel(4096, torch.tensor([11]), rows, rows % 3, rows % 5).double()
    assert float(noise.mean()) == pytest.approx(0.57722, abs=0.01)
    assert float(noise.var()) == pytest.approx(np.pi**2 / 6, abs=0.03)
    assert np.abs(np.corrcoef(noise.numpy()) - np.eye(64)).max() < 0.09  # 5.7 standard deviations
