"""Random caches, block tables and plans; whatever a step has no business to read is NaN or an impossible page."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from conftest import DEVICE, INTERPRETED
from kit import oracle
from t2fast_kernels import DecodeBuffers, Plan, plan, prefix_decode

NO_PAGE = 2**30
#: Norm of the error over the norm of the result.
TOLERANCE = {torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 2e-3}
if INTERPRETED:
    TOLERANCE[torch.bfloat16] = 5e-3  # the interpreter truncates where a chip rounds


@dataclass
class Scene:
    """A decode step: ``segments`` are (begin, end, position); rows name segments per level, or are None when idle."""

    segments: list[tuple[int, int, int]]
    row_segments: list[list[int] | None]
    suffixes: list[tuple[int, int]]  #: (begin, end) of each row
    n_kv_heads: int = 2
    group: int = 4
    head_dim: int = 32
    page_size: int = 16
    dtype: torch.dtype = torch.float32
    cache_dtype: torch.dtype | None = None
    seed: int = 0
    planned: tuple = field(init=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        runs = [run[:2] for run in self.segments] + self.suffixes
        pages = [range(begin // self.page_size, -(-end // self.page_size)) for begin, end in runs]
        n_pages = sum(map(len, pages)) + 3
        order = iter(torch.randperm(n_pages, generator=generator).tolist())
        self.block_tables = torch.full((len(runs), max([1, *(p.stop for p in pages)])), NO_PAGE, dtype=torch.int32)
        shape = (n_pages, self.page_size, self.n_kv_heads, self.head_dim)
        caches = [torch.full(shape, torch.nan) for _ in "kv"]
        for table, (begin, end) in enumerate(runs):
            for page in pages[table]:
                self.block_tables[table, page] = next(order)
            for token in range(begin, end):
                for cache in caches:
                    value = torch.randn(self.n_kv_heads, self.head_dim, generator=generator)
                    cache[self.block_tables[table, token // self.page_size], token % self.page_size] = value
        self.k_cache, self.v_cache = (cache.to(self.cache_dtype or self.dtype) for cache in caches)
        n_rows, first = len(self.row_segments), len(self.segments)
        self.q = torch.randn(n_rows, self.n_kv_heads * self.group, self.head_dim, generator=generator).to(self.dtype)
        n_levels = max([1, *(len(levels) for levels in self.row_segments if levels)])
        levels = [[*(given or []), *[-1] * (n_levels - len(given or []))] for given in self.row_segments]
        tables = [-1 if given is None else first + row for row, given in enumerate(self.row_segments)]
        positions = [
            max([0, *(self.segments[s][2] + self.segments[s][1] - self.segments[s][0] for s in given or [])])
            for given in self.row_segments
        ]
        segments = [[table, *run] for table, run in enumerate(self.segments)]
        # Lengths of idle rows are nobody's: 10**9 tokens must not be read.
        lens = [
            10**9 if given is None else end for given, (_, end) in zip(self.row_segments, self.suffixes, strict=True)
        ]
        self.seq_lens = torch.tensor(lens, dtype=torch.int32)
        self.planned = (segments, levels, tables, [begin for begin, _ in self.suffixes], positions)

    def buffers(self, **options) -> DecodeBuffers:
        sizes = {
            "max_segments": max(1, len(self.segments)),
            "max_levels": len(self.planned[1][0]) if self.planned[1] else 1,
        }
        return DecodeBuffers(
            max(1, len(self.q)),
            self.n_kv_heads * self.group,
            self.n_kv_heads,
            self.head_dim,
            device=DEVICE,
            **(sizes | options),
        )

    def plan(self, buffers: DecodeBuffers, **options) -> Plan:
        segments, levels, *rows = self.planned
        return plan(
            buffers,
            np.array(segments).reshape(-1, 4),
            np.array(levels).reshape(len(self.q), -1),
            *map(np.array, rows),
            **options,
        )

    def decode(self, buffers: DecodeBuffers, **options) -> tuple[Tensor, Tensor]:
        tensors = (self.q, self.k_cache, self.v_cache, self.block_tables, self.seq_lens)
        options = {name: value.to(DEVICE) if isinstance(value, Tensor) else value for name, value in options.items()}
        out, lse = prefix_decode(*(tensor.to(DEVICE) for tensor in tensors), buffers, return_lse=True, **options)
        return out.cpu(), lse.cpu()

    def expected(self, **options) -> tuple[Tensor, Tensor]:
        return oracle.decode(
            self.q, self.k_cache, self.v_cache, self.block_tables, self.seq_lens, *self.planned, **options
        )

    def check(self, buffers: DecodeBuffers, **options) -> None:
        """The operator agrees with the oracle on what is planned."""
        out, lse = self.decode(buffers, check=True, **options)
        want, want_lse = self.expected(**options)
        assert not out.isnan().any()
        tolerance = TOLERANCE[self.dtype]
        assert (out.double() - want).norm() <= tolerance * want.norm()
        seen = want_lse.isfinite()
        assert torch.equal(lse[~seen].double(), want_lse[~seen])
        scores = 1 + want_lse[seen].abs()
        assert ((lse[seen] - want_lse[seen]).abs() <= min(tolerance, 1e-5) * 2 * scores).all()
