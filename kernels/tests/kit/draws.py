"""Rows to draw from, and what may be drawn from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kit import sample_oracle as oracle

FILTERS = [
    {},
    {"top_k": 7},
    {"top_p": 0.8},
    {"min_p": 0.1},
    {"top_k": 30, "top_p": 0.7, "min_p": 0.02},
    {"top_k": 3, "top_p": 0.95},
    {"top_k": 1},
    {"top_p": 1e-6},
]


def logits_of(rows: int, vocab: int, device: torch.device, seed: int = 0, dtype=torch.float32) -> Tensor:
    noise = torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed))
    return (noise * torch.linspace(0.5, 4, rows)[:, None]).to(dtype).to(device)


# Logarithms of times are rounded to fp32 at a size of 25 or less: 1e-5 is five steps of that rounding (2^-20 to 2^-19).
# Log-probabilities are twice that, for the sum over the row.
def agrees(tokens, logprobs, logits, key, *, filters=({},), temperature=(1.0,), **processing) -> None:
    """Compare with the oracle, row by row; draws within 1e-5 of the winner count as ties."""
    for r, row in enumerate(logits.float().cpu().numpy()):
        own = {k: v[r] if isinstance(v, np.ndarray) and v.ndim == 2 else v for k, v in processing.items()}
        heat = temperature[r % len(temperature)]
        x = oracle.processed(row, heat, **own)
        score = oracle.clocks(x, *(int(k[r]) for k in key)) if heat > 0 else x
        keep = oracle.kept(x, **filters[r % len(filters)]) if heat > 0 else np.ones(len(x), bool)
        token = int(tokens[r])
        assert keep[token]
        assert score[token] >= score[keep].max() - 1e-5
        assert float(logprobs[r]) == pytest.approx(oracle.log_softmax(x)[token], abs=2e-5)
