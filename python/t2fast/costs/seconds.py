"""From a card, formats and a number of cards to the core's roofline."""

from __future__ import annotations

from t2fast import _core
from t2fast.arguments import choice, number
from t2fast.costs.hardware import FORMATS, Card

__all__ = ["MOST_SEQUENCES", "roofline"]

#: The most sequences at once that an engine is taken to run.
MOST_SEQUENCES = 4096.0


def roofline(
    card: Card,
    dtype: str = "bf16",
    kv_dtype: str | None = None,
    tensor_parallel: float = 1.0,
    *,
    max_batch: float = MOST_SEQUENCES,
    batch: float | None = None,
    max_seconds: float | None = None,
    train_context: float = 2048.0,
) -> _core.Roofline:
    """The core's cost model of a card; formats are checked here, numbers there."""
    choice("dtype", dtype, FORMATS)
    if kv_dtype is None:
        kv_dtype = "fp8" if dtype == "fp8" else "bf16"
    choice("kv_dtype", kv_dtype, FORMATS)
    return _core.Roofline(
        [
            card.peak(dtype),
            card.flops["bf16"],
            card.memory_bytes_per_second,
            card.memory_bytes,
            card.link_bytes_per_second,
        ],
        card.constants.values(),
        FORMATS[dtype],
        FORMATS[kv_dtype],
        number("tensor_parallel", tensor_parallel),
        number("max_batch", max_batch),
        None if batch is None else number("batch", batch),
        None if max_seconds is None else number("max_seconds", max_seconds),
        number("train_context", train_context),
    )
