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


def test_clocks_are_the_oracles() -> None:
    keys = [torch.tensor(k) for k in ([0, -5], [3, 2**31 - 1], [1, -7], [0, 12])]
    y = torch.randn(2, 1001, generator=torch.Generator().manual_seed(3)) * 3
    y[0, 32:70] = -torch.inf  # a whole group and a part of one
    times = reference.clocks(y, *keys)
    for r in range(2):
        key = [int(k[r]) % (2**64 if i == 0 else 2**32) for i, k in enumerate(keys)]
        expected = oracle.clocks(y[r].double().numpy(), *key)
        possible = expected > -np.inf
        assert np.array_equal(times[r].numpy() > -np.inf, possible)
        assert np.abs(times[r].numpy()[possible] - expected[possible]).max() < 5e-6


def test_the_leading_group_holds_the_first_token() -> None:
    rows = torch.arange(50)
    y = torch.randn(50, 999, generator=torch.Generator().manual_seed(5)) * 2
    key = [torch.tensor(3), rows, rows % 7, rows % 3]
    assert torch.equal(reference.leaders(y, *key)[:, 0], reference.clocks(y, *key).argmax(1) // reference.GROUP)


def test_variates_are_exact_in_the_tails(monkeypatch) -> None:
    words = torch.tensor([[0, 1, 2**26 - 1, 2**26], [2**31, 2**32 - 2, 2**32 - 1, 12345]])
    monkeypatch.setattr(reference, "philox", lambda *_: list(words.unbind(1)))
    key = torch.zeros(2, dtype=torch.int64)
    u = (words.double() + 0.5) / 2**32
    drawn = reference.exponentials(key, key, key, key, key).double()
    expected = -torch.log1p(-u)
    assert ((drawn - expected).abs() / expected).max() < 3e-7
    assert (drawn > 0).all()
    assert drawn.isfinite().all()


def test_clocks_are_independent_exponentials() -> None:
    """Of the tokens' own rates, whichever is the first of its group."""
    rows = torch.arange(4000)
    y = torch.randn(70, generator=torch.Generator().manual_seed(1)) * 1.5  # two groups and the beginning of a third
    times = reference.clocks(y.expand(4000, 70), torch.tensor(11), rows, rows % 3, rows % 5).double()
    waits = (y - times).exp()  # exponential variates of rate 1
    assert (waits.mean(0) - 1).abs().max() < 4.5 / 4000**0.5
    assert (waits.var(0) - 1).abs().max() < 4.5 * (8 / 4000) ** 0.5  # the variance of a variance is (9 - 1) / n
    assert np.abs(np.corrcoef(waits.T.numpy()) - np.eye(70)).max() < 0.075  # 4.7 standard deviations
    # Minima of pairs ring at the sum of their rates: within a group, and across groups.
    for a, b in ((0, 1), (5, 31), (3, 40), (64, 69)):
        rate = y[a].exp() + y[b].exp()
        both = torch.maximum(times[:, a], times[:, b]).neg().exp() * rate
        assert abs(float(both.mean()) - 1) < 4.5 / 4000**0.5
        share = float((times[:, a] > times[:, b]).double().mean())
        assert share == pytest.approx(float(y[a].exp() / rate), abs=4.5 * 0.5 / 4000**0.5)
