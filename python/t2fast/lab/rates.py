"""Learning rates by width: the best of short runs, and a line through them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Rates", "best_rates"]


@dataclass(frozen=True)
class Rates:
    """The highest learning rate of a model by its width, ``exp(intercept) width^slope``.

    Parameters
    ----------
    intercept, slope
        Of the line through the best rates, both axes in logarithms.
    best
        By width the best rate of those tried, between them by a parabola.
    """

    intercept: float
    slope: float
    best: tuple[tuple[int, float], ...] = ()

    def at(self, width: int) -> float:
        """The rate of a width, to three figures: what differs by rounding must not make another recipe."""
        return float(f"{np.exp(self.intercept + self.slope * np.log(width)):.3g}")

    def to_dict(self) -> dict[str, Any]:
        """The rates as JSON data."""
        return {"intercept": self.intercept, "slope": self.slope, "best": [list(one) for one in self.best]}


def best_rates(runs: Iterable[tuple[int, float, float]]) -> Rates:
    """The line through the best rates of runs, each a width, a rate and the loss it led to.

    Between the best rate tried and its neighbours the minimum of a parabola through the three is taken; at the end of
    the rates tried, the end.

    Examples
    --------
    >>> runs = [(w, r, (np.log(r) - np.log(0.1 / w)) ** 2) for w in (8, 16, 32) for r in (0.001, 0.004, 0.016, 0.064)]
    >>> found = best_rates(runs)
    >>> round(found.slope, 6), found.at(64)
    (-1.0, 0.00156)
    """
    by_width: dict[int, list[tuple[float, float]]] = {}
    for width, rate, loss in runs:
        by_width.setdefault(width, []).append((float(np.log(rate)), loss))
    best = []
    for width, tried in sorted(by_width.items()):
        x, y = np.array(sorted(tried)).T
        place = int(y.argmin())
        at = x[place]
        if 0 < place < len(x) - 1:
            square, linear, _ = np.polyfit(x[place - 1 : place + 2], y[place - 1 : place + 2], 2)
            at = float(np.clip(-linear / (2 * square), x[place - 1], x[place + 1])) if square > 0 else at
        best.append((width, float(np.exp(at))))
    widths, rates = np.log(np.array(best)).T
    slope, intercept = np.polyfit(widths, rates, 1)
    return Rates(float(intercept), float(slope), tuple((width, float(f"{rate:.4g}")) for width, rate in best))
