"""The sampler's distribution, and what must not change a draw."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import Tensor

from conftest import DEVICE
from kit import sample_oracle as oracle
from kit.draws import FILTERS, logits_of
from t2fast_kernels.sample import sample

operator = importlib.import_module("t2fast_kernels.sample")


@pytest.fixture
def device() -> torch.device:
    return torch.device(DEVICE)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch, poison):  # noqa: ARG001
    """Many chunks in small vocabularies; the shipped size has tests of its own."""
    monkeypatch.setattr(operator, "QUADS", 32)


def ids(*values: int, device: torch.device | str = "cpu") -> Tensor:
    return torch.tensor(values, dtype=torch.int32, device=device)


# Its distribution

P_VALUE = 1e-3


def chi_square(tokens: Tensor, p: Tensor) -> float:
    """The p-value of the draws; tokens of probability 0 must not occur."""
    observed = torch.bincount(tokens.cpu(), minlength=len(p)).double()
    assert observed[p == 0].sum() == 0
    expected = p[p > 0] * len(tokens)
    assert expected.min() >= 5
    statistic = ((observed[p > 0] - expected) ** 2 / expected).sum()
    return float(torch.special.gammaincc(torch.tensor((len(expected) - 1) / 2).double(), statistic / 2))


@pytest.mark.parametrize("varied", ["seed", "prompt", "sample", "step"])
@pytest.mark.parametrize("filters", [{}, {"top_p": 0.7, "top_k": 9, "min_p": 0.05}], ids=str)
def test_distribution(monkeypatch, filters, varied) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    rows, vocab = 40_000, 24
    x = torch.randn(vocab, generator=torch.Generator().manual_seed(12)) * 0.8
    keys: dict[str, int | Tensor] = {"seed": 31, "prompt": 4, "sample": 15, "step": 9}
    keys[varied] = torch.arange(rows)
    tokens, _ = sample(x.expand(rows, vocab).contiguous(), **keys, **filters)
    p = x.double().exp() * torch.from_numpy(oracle.kept(x.double().numpy(), top_k_first=True, **filters))
    assert chi_square(tokens, p / p.sum()) > P_VALUE


def test_distribution_of_the_kernels(device) -> None:
    rows, vocab = 200, 120
    x = torch.randn(vocab, generator=torch.Generator().manual_seed(2)) * 2
    tokens, _ = sample(
        x.expand(rows, vocab).contiguous().to(device), 3, torch.arange(rows, device=device), 1, 0, top_k=6
    )
    p = x.double().exp() * torch.from_numpy(oracle.kept(x.double().numpy(), top_k=6))
    assert chi_square(tokens, p / p.sum()) > P_VALUE


def test_consecutive_steps_are_independent(monkeypatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    rows = 20_000
    logits = torch.zeros(rows, 4)
    a, _ = sample(logits, 1, 0, torch.arange(rows), 0)
    for other in ({"step": 1}, {"prompt": 1}, {"seed": 2}):
        keys = {"seed": 1, "prompt": 0, "sample": torch.arange(rows), "step": 0} | other
        b, _ = sample(logits, **keys)
        assert chi_square(4 * a + b, torch.full((16,), 1 / 16, dtype=torch.float64)) > P_VALUE


# Its invariance


@pytest.mark.parametrize("filters", [{}, {"top_p": 0.8}, {"top_k": 20, "top_p": 0.9, "order": "top_k_first"}], ids=str)
def test_neither_place_nor_company_matters(device, filters) -> None:
    rows, vocab = 9, 260
    logits = logits_of(rows, vocab, device, seed=9)
    key = [torch.arange(rows, device=device) // d for d in (7, 5, 1, 2)]
    whole = sample(logits, *key, n_logprobs=3, **filters)
    picked = torch.randperm(rows, generator=torch.Generator().manual_seed(1))[:4].to(device)
    part = sample(logits[picked], *(k[picked] for k in key), n_logprobs=3, **filters)
    for a, b in zip(whole, part, strict=True):
        assert torch.equal(a[picked], b)
    alone = sample(logits[4:5], *(k[4:5] for k in key), n_logprobs=3, **filters)
    for a, b in zip(whole, alone, strict=True):
        assert torch.equal(a[4:5], b)


@pytest.mark.parametrize("quads", [64, 128])
@pytest.mark.parametrize("passes", [1, 3])
def test_neither_chunks_nor_passes_matter(device, monkeypatch, quads, passes) -> None:
    logits = logits_of(4, 200, device, seed=10)
    rows = torch.arange(4, device=device)
    expected = [sample(logits, 5, rows, 0, 0, **f)[0] for f in FILTERS[2:5]]
    monkeypatch.setattr(operator, "QUADS", quads)
    monkeypatch.setattr(operator, "PASSES", passes)
    for filters, tokens in zip(FILTERS[2:5], expected, strict=True):
        assert torch.equal(sample(logits, 5, rows, 0, 0, **filters)[0], tokens)


@pytest.mark.parametrize("programs", [1, 5, 14, 1000])
def test_programs_may_take_any_number_of_chunks(device, monkeypatch, programs) -> None:
    logits = logits_of(3, 1000, device, seed=11)
    rows = torch.arange(3, device=device)
    settings = [{"top_k": 200}, {"top_p": 0.9}, {"n_logprobs": 3, "logit_bias": logits[1].contiguous()}]
    expected = [sample(logits, 5, rows, 0, 0, **s) for s in settings]
    monkeypatch.setattr(operator, "_processors", lambda _device: 1)
    monkeypatch.setattr(operator, "SCAN_PROGRAMS", programs)
    monkeypatch.setattr(operator, "MEASURE_PROGRAMS", programs)
    monkeypatch.setattr(operator, "VERIFY_PROGRAMS", programs)
    monkeypatch.setattr(operator, "HELD", 2)  # so that passes of their own are needed
    for s, drawn in zip(settings, expected, strict=True):
        for a, b in zip(sample(logits, 5, rows, 0, 0, **s), drawn, strict=True):
            assert torch.equal(a, b)


def test_the_draw_settles_what_it_can_hold(device, monkeypatch) -> None:
    """And what it can't is settled by passes over chunks, to the same tokens."""
    logits = logits_of(8, 700, device, seed=12)
    rows = torch.arange(8, device=device)
    settings = [{"top_k": 5}, {"top_p": 0.4}, {"min_p": 0.3}, {"top_k": 60, "top_p": 0.6}]
    expected = [sample(logits, 5, rows, 0, 0, **s) for s in settings]
    plain = sample(logits, 5, rows, 0, 0)[0]
    assert all((tokens != plain).any() for tokens, _ in expected)  # filters reject winners
    monkeypatch.setattr(operator, "HELD", 1)
    for s, drawn in zip(settings, expected, strict=True):
        for a, b in zip(sample(logits, 5, rows, 0, 0, **s), drawn, strict=True):
            assert torch.equal(a, b)


def test_integers_and_tensors_are_one_key(device) -> None:
    logits = logits_of(4, 90, device)
    tokens = sample(logits, -3, 2**32 - 1, 2, 1)[0]
    again = sample(
        logits,
        torch.tensor(2**64 - 3 - 2**64, device=device),
        ids(-1, -1, -1, -1, device=device),
        2,
        ids(1, device=device),
    )[0]
    assert torch.equal(tokens, again)
    assert torch.equal(sample(logits, 2**64 - 3, -1, 2, 1)[0], tokens)
