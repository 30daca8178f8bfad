"""What reading shared prefixes costs in each of the three ways, so that the planner can choose and say why."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from t2fast_kernels.errors import KernelError

__all__ = ["CostModel", "Estimates"]

#: Tokens in whose time launch B folds one partial result; it loads several at once.
FOLD = 16


@dataclass(frozen=True)
class Estimates:
    """Seconds per layer and decode step for reading the prefixes; the suffixes come on top in every case."""

    shared: float
    split: dict[int, float]
    plain: float


@dataclass(frozen=True)
class CostModel:
    """A chip as the planner sees it: a roofline, and how long one program needs when it is alone.

    The defaults were measured on an H100 (SXM, PyTorch 2.11, Triton 3.6). ``python -m t2fast_kernels.tune`` measures
    them on the card at hand.

    Parameters
    ----------
    bandwidth, l2_bandwidth
        Bytes per second.
    l2_bytes
        Size of the L2 cache: a prefix of up to 80% of it is read from memory once, however many rows read it.
    matrix_flops
        Operations per second of matrix products, padding counted.
    processors, programs_per_processor
        Streaming multiprocessors, and programs that run on one at a time.
    launch_seconds
        What launch A adds to a step.
    token_seconds
        One program's time per token when nothing else limits it: the latency of its loop divided by its block.

    Raises
    ------
    KernelError
        A figure that is not positive, or a file that holds no cost model.

    Examples
    --------
    >>> import numpy as np
    >>> from t2fast_kernels import CostModel
    >>> heads = {"n_kv_heads": 8, "group": 4, "head_dim": 128, "itemsize": 2}
    >>> found = CostModel().estimate(np.array([2048]), np.array([128]), block_m=64, split_sizes=(512,), **heads)
    >>> found.shared < found.plain
    True
    """

    bandwidth: float = 3.0e12
    l2_bandwidth: float = 6.1e12
    l2_bytes: float = 52.4e6
    matrix_flops: float = 400e12
    processors: int = 132
    programs_per_processor: int = 2
    launch_seconds: float = 1e-6
    token_seconds: float = 1.7e-8

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not value > 0:
                raise KernelError(f"{item.name} = {value}: a cost model's figures must be positive")

    @classmethod
    def of(cls, device: torch.device) -> CostModel:
        """What ``t2fast_kernels.tune`` measured on this model of GPU, else the defaults with its processors."""
        if device.type != "cuda":
            return cls()
        told = torch.cuda.get_device_properties(device)
        path = cls.path(told.name)
        return cls.load(path) if path.exists() else cls(processors=told.multi_processor_count)

    @staticmethod
    def path(device_name: str) -> Path:
        """Where the model of a GPU is kept: in ``$XDG_CACHE_HOME/t2fast-kernels``, by default below ``~/.cache``."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cache / "t2fast-kernels" / f"{re.sub('[^a-z0-9]+', '-', device_name.lower())}.json"

    @classmethod
    def load(cls, path: str | Path) -> CostModel:
        """A model measured earlier and written by :meth:`save`."""
        try:
            return cls(**json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, json.JSONDecodeError, TypeError) as error:
            raise KernelError(
                f"path = {str(path)!r}: not a cost model ({error}); write one with CostModel.save"
            ) from error

    def save(self, path: str | Path) -> None:
        """Write the model as JSON."""
        Path(path).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @property
    def programs(self) -> int:
        """Programs that run at a time."""
        return self.processors * self.programs_per_processor

    def estimate(
        self,
        length: npt.NDArray[np.int64],
        n_rows: npt.NDArray[np.int64],
        *,
        n_kv_heads: int,
        group: int,
        head_dim: int,
        itemsize: int,
        block_m: int,
        split_sizes: tuple[int, ...],
    ) -> Estimates:
        """Times of the three ways for prefixes of ``length`` tokens, each shared by ``n_rows`` rows.

        Every way is bound by the slowest of four: bytes from memory, bytes from L2, matrix operations, and the longest
        chain of blocks that one program reads one after the other.
        """
        token = n_kv_heads * head_dim * 2 * itemsize
        tiles = -(-n_rows // (block_m // group))
        total, longest = int(length.sum()), int(length.max())
        tokens_shared, tokens_plain = int(length @ tiles), int(length @ n_rows)
        flops = 4 * n_kv_heads * head_dim
        partial = n_kv_heads * group * (head_dim + 1) * 4 * 2

        def seconds(from_memory: float, from_l2: float, flops: float, chain: float) -> float:
            return max(
                from_memory / self.bandwidth,
                from_l2 / self.l2_bandwidth,
                flops / self.matrix_flops,
                chain * self.token_seconds,
            )

        def shared(chunk: int, n_partials: int, n_splits: int) -> float:
            chain = max(chunk, tokens_shared * n_kv_heads / self.programs)
            traffic = tokens_shared * token + n_partials * partial
            work = seconds(total * token, traffic, flops * block_m * tokens_shared, chain)
            return self.launch_seconds + work + n_splits * FOLD * self.token_seconds

        sizes = [size for size in split_sizes if size < longest]
        split = {}
        if sizes:
            splits = -(-length // np.array(sizes)[:, None])
            for size, n_partials, most in zip(sizes, (splits @ n_rows).tolist(), splits.max(1).tolist(), strict=True):
                split[size] = shared(size, n_partials, most)
        fits = longest * token <= 0.8 * self.l2_bytes
        return Estimates(
            shared=shared(longest, int(n_rows.sum()), 1),
            split=split,
            plain=seconds(
                (total if fits else tokens_plain) * token,
                tokens_plain * token,
                flops * max(16, group) * tokens_plain,
                max(longest, tokens_plain * n_kv_heads / self.programs),
            ),
        )

    def suffix_seconds(
        self, n_rows: int, n_tokens: int, *, n_kv_heads: int, group: int, head_dim: int, itemsize: int
    ) -> float:
        """Time of launch B for rows that read ``n_tokens`` of their own each, from memory.

        Added to one of :meth:`estimate`'s it predicts a step of one layer: the launches run one after the other.
        """
        every = n_rows * n_tokens
        return self.launch_seconds + max(
            every * n_kv_heads * head_dim * 2 * itemsize / self.bandwidth,
            every * n_kv_heads * head_dim * 4 * max(16, group) / self.matrix_flops,
            max(n_tokens, every * n_kv_heads / self.programs) * self.token_seconds,
        )
