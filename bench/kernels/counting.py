"""The least that a method must move and compute, counted from shapes alone, and the time that takes at best."""

from __future__ import annotations

from dataclasses import dataclass

from bench.kernels.shapes import Logits, Shape


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Rates measured on this device: bytes per second of a large copy (read and written), FLOP/s of a matrix product."""

    bandwidth: float
    matrix: float


@dataclass(frozen=True, slots=True)
class Work:
    """Bytes of device memory and floating-point operations (a multiplication and an addition are two)."""

    bytes: int
    flops: int

    def floor(self, ceilings: Ceilings) -> float:
        """Seconds below which nothing can be done: memory and matrix units each at their ceiling, fully overlapped."""
        return max(self.bytes / ceilings.bandwidth, self.flops / ceilings.matrix)


def shared(shape: Shape, itemsize: int) -> Work:
    """Attention that reads every key and value once: each prefix once, each suffix once, queries in, outputs out.

    Block tables, partial results and log-sum-exps are not counted: a method may do with next to none of them.
    """
    return _attention(shape, itemsize, prefixes=shape.prompts)


def unshared(shape: Shape, itemsize: int) -> Work:
    """The same arithmetic when each row reads its prefix for itself and no cache helps."""
    return _attention(shape, itemsize, prefixes=shape.rows)


def _attention(shape: Shape, itemsize: int, prefixes: int) -> Work:
    heads = shape.heads
    kv_tokens = prefixes * shape.prefix + shape.rows * shape.suffix
    kv = kv_tokens * heads.kv * heads.dim * 2  # keys and values
    q_and_out = 2 * shape.rows * heads.query * heads.dim
    # A dot product with each key and a weighted sum of each value, two operations per element.
    flops = 4 * shape.rows * heads.query * heads.dim * (shape.prefix + shape.suffix)
    return Work((kv + q_and_out) * itemsize, flops)


def one_read(logits: Logits, itemsize: int = 4) -> Work:
    """Sampling that reads each logit once; a token and its log-probability per row come out."""
    return Work(logits.rows * (logits.vocab * itemsize + 8), 0)
