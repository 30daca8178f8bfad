"""90% intervals of resampled numbers, the only ones in the lab."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONFIDENCE_LEVEL", "DRAWS", "interval"]

CONFIDENCE_LEVEL = 0.9
#: Resampled duels and sets of held-out runs.
DRAWS = 4000


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Both ends of the interval that holds nine tenths of the values.

    Examples
    --------
    >>> tuple(round(end, 6) for end in interval(np.arange(101.0)))
    (5.0, 95.0)
    """
    low, high = np.quantile(values, [0.5 - CONFIDENCE_LEVEL / 2, 0.5 + CONFIDENCE_LEVEL / 2])
    return float(low), float(high)
