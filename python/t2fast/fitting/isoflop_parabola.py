"""A parabola in log N at one training budget, and straight lines: least squares in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np

from t2fast.fitting.rows import FloatArray

__all__ = ["Parabola", "line"]


class Parabola:
    """The least squares of one budget: what does not depend on the losses."""

    def __init__(self, n: FloatArray, d: FloatArray) -> None:
        x = np.log(n)
        self.sizes = (float(n.min()), float(n.max()))
        self.n_sizes = len(np.unique(n))
        self.centre = float(np.mean(x))
        x = x - self.centre
        self.design = np.vander(x, 3, increasing=True)
        self.solve = np.linalg.pinv(self.design)
        self.slope, self.start = line(x, np.log(d))

    def vertex(self, loss: FloatArray) -> tuple[Any, Any, Any]:
        """Log N, log D and loss at the minimum, of losses of shape (..., checkpoints); NaN where there is none."""
        a, b, c = np.moveaxis(loss @ self.solve.T, -1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            x = np.where(c > 0, -b / (2 * c), np.nan)
        return self.centre + x, self.start + self.slope * x, a + x * (b + x * c)

    def coefficients(self, loss: FloatArray) -> tuple[float, float, float]:
        """Those of one set of losses, in powers of ``ln N - centre``."""
        a, b, c = (self.solve @ loss).tolist()
        return a, b, c

    def inside(self, log_n: float) -> bool:
        """Whether a minimum lies within the sizes sampled."""
        return bool(np.log(self.sizes[0]) <= log_n <= np.log(self.sizes[1]))


def line(x: FloatArray, y: FloatArray) -> tuple[Any, Any]:
    """Slope and value at zero of the line of least squares, for y of shape (..., points)."""
    apart = x - x.mean()
    slope = y @ apart / (apart @ apart) if np.any(apart) else np.zeros(y.shape[:-1])
    return slope, y.mean(-1) - slope * x.mean()
