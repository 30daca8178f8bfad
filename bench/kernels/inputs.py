"""A shape's queries and paged caches, as a serving engine would hold them, and the exact answer for some rows."""

from __future__ import annotations

import torch

from bench.kernels.counting import shared
from bench.kernels.shapes import Shape

CACHE_COPIES = 64  # most copies of a shape's caches, which keeps the graph of one round small


class Inputs:
    """Random queries, and caches whose pages lie scattered as in a pool that has served for a while.

    ``caches`` holds several independent pairs of K and V ``[n_pages, page_size, n_kv_heads, head_dim]``, together three
    times the size of the GPU's L2 cache at least (two pairs at least, so that one pass leaves nothing useful behind).
    Page ids are the same in each, like those of a model's layers: ``sequences`` ``[rows, pages]`` is the block table of whole
    sequences that vLLM and SGLang keep; ``tables`` is the same storage with one row per prefix, then one per suffix.
    """

    def __init__(
        self, shape: Shape, device: torch.device, dtype: torch.dtype, page_size: int = 16, seed: int = 0
    ) -> None:
        if shape.prefix % page_size:
            raise ValueError(
                f"prefix = {shape.prefix} is no multiple of the page size {page_size}: block tables of whole sequences, "
                "which the peers need, can share whole pages only; choose --page-size or the prefix accordingly"
            )
        heads = shape.heads
        self.shape, self.device, self.dtype, self.page_size = shape, device, dtype, page_size
        random = torch.Generator(device).manual_seed(seed)
        prefix_pages, suffix_pages = shape.prefix // page_size, -(-shape.suffix // page_size)
        n_pages = shape.prompts * prefix_pages + shape.rows * suffix_pages
        pages = torch.randperm(n_pages, generator=random, device=device).int()
        split = shape.prompts * prefix_pages
        self.prefix_pages = pages[:split].view(shape.prompts, prefix_pages)
        self.suffix_pages = pages[split:].view(shape.rows, suffix_pages)
        self.sequences = torch.cat(
            [self.prefix_pages.repeat_interleave(shape.samples, dim=0), self.suffix_pages], dim=1
        ).contiguous()
        self.tables = torch.zeros(
            shape.prompts + shape.rows, max(prefix_pages, suffix_pages), dtype=torch.int32, device=device
        )
        self.tables[: shape.prompts, :prefix_pages] = self.prefix_pages
        self.tables[shape.prompts :, :suffix_pages] = self.suffix_pages
        self.q = torch.randn(shape.rows, heads.query, heads.dim, generator=random, device=device, dtype=dtype)
        copies = 1
        if device.type == "cuda":
            cache = torch.cuda.get_device_properties(device).L2_cache_size
            copies = min(max(2, -(-3 * cache // shared(shape, dtype.itemsize).bytes)), CACHE_COPIES)
        form = (n_pages, page_size, heads.kv, heads.dim)
        self.caches = [
            (
                torch.randn(form, generator=random, device=device, dtype=dtype),
                torch.randn(form, generator=random, device=device, dtype=dtype),
            )
            for _ in range(copies)
        ]

    def prefixes(self, cache: torch.Tensor) -> torch.Tensor:
        """A cache's prefixes as a dense copy ``[prompts, prefix, n_kv_heads, head_dim]``."""
        return cache[self.prefix_pages].flatten(1, 2)

    def suffixes(self, cache: torch.Tensor) -> torch.Tensor:
        """A cache's suffixes as a dense copy ``[rows, suffix, n_kv_heads, head_dim]``."""
        return cache[self.suffix_pages].flatten(1, 2)[:, : self.shape.suffix].contiguous()

    def whole(self, cache: torch.Tensor) -> torch.Tensor:
        """Every row's whole sequence as a dense copy ``[rows, prefix + suffix, n_kv_heads, head_dim]``."""
        return cache[self.sequences].flatten(1, 2)[:, : self.shape.prefix + self.shape.suffix]

    def exact(self, rows: list[int]) -> torch.Tensor:
        """Attention of a few rows over the first caches in fp64, straight from the definition."""
        heads, outputs = self.shape.heads, []
        for row in rows:
            k, v = (
                cache[self.sequences[row]].flatten(0, 1)[: self.shape.prefix + self.shape.suffix].double()
                for cache in self.caches[0]
            )
            q = self.q[row].double().view(heads.kv, heads.group, heads.dim)
            weights = (torch.einsum("hgd,nhd->hgn", q, k) * heads.dim**-0.5).softmax(-1)
            outputs.append(torch.einsum("hgn,nhd->hgd", weights, v).flatten(0, 1))
        return torch.stack(outputs)


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Largest relative error of a row, as a ratio of norms; NaN counts as infinite."""
    found, wanted = found.flatten(1).double(), wanted.flatten(1).double()
    worst = ((found - wanted).norm(dim=1) / wanted.norm(dim=1)).max().item()
    return worst if worst == worst else float("inf")


#: Two correct results may differ by this much: inputs, weights and outputs are rounded to the type at different points.
TOLERANCE = {torch.bfloat16: 1e-2, torch.float16: 2e-3, torch.float32: 1e-4}
