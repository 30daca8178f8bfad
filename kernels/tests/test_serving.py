"""What serving stacks give the operators: their own block tables, planned in memory that never moves."""

from __future__ import annotations

import doctest

import pytest
import torch

from conftest import DEVICE, TRITON
from kit import oracle
from kit.tensors import drawn
from t2fast_kernels import prefix_decode, serving

PAGE = 16


@pytest.mark.skipif(TRITON, reason="the example shows what the CPU reference writes")
def test_the_example_runs():
    failed, tried = doctest.testmod(serving)
    assert tried
    assert not failed


@pytest.mark.parametrize("max_rows", [1, 2, 9])
def test_rows_of_two_questions_below_a_system_prompt(max_rows):
    """Both levels are read once, and rows of any number are what the blackboard says."""
    tables = torch.arange(9 * 40, dtype=torch.int32).view(9, 40)
    tables[:, :16] = tables[0, :16]
    tables[1:4, 16:32] = tables[0, 16:32]
    tables[5:9, 16:32] = tables[4, 16:32]
    tables = tables[:max_rows].to(DEVICE)
    lens = torch.tensor([520, 600, 513, 530, 639, 520, 550, 515, 0], dtype=torch.int32, device=DEVICE)[:max_rows]
    planner = serving.RowPlanner(max_rows, 4, 2, 32, page_size=PAGE, device=DEVICE)
    rows = planner.plan(tables, lens)
    if max_rows == 9:
        begins = rows.buffers.planned.segments[:3, 1:3].tolist()
        assert begins == [[0, 256], [256, 512], [256, 512]]  # idle rows share nothing
    k_cache, v_cache = (drawn(9 * 40, PAGE, 2, 32, seed=seed) for seed in (1, 2))
    q = drawn(max_rows, 4, 32, seed=3)
    out = prefix_decode(q, k_cache, v_cache, *rows)
    expected, _ = oracle.decode(
        q.cpu(),
        k_cache.cpu(),
        v_cache.cpu(),
        tables.cpu(),
        lens.cpu(),
        [],
        [[]] * max_rows,
        [row if n else -1 for row, n in enumerate(lens.tolist())],
        [0] * max_rows,
        [0] * max_rows,
    )
    assert torch.allclose(out.cpu().double(), expected, atol=2e-5)
