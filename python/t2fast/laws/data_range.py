"""The N, D and k of the data behind a law."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DataRange"]


@dataclass(frozen=True)
class DataRange:
    """The smallest and largest N, D and k in the data behind a law, and D / N of one checkpoint where that is known.

    Examples
    --------
    >>> DataRange(n_params=(1e8, 1e9), n_tokens=(1e9, 1e11)).k
    (1.0, 1.0)
    """

    n_params: tuple[float, float]
    n_tokens: tuple[float, float]
    k: tuple[float, float] = (1.0, 1.0)
    tokens_per_param: tuple[float, float] | None = None
