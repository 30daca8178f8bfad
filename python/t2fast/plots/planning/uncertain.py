"""The figure of a plan under resampled laws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from t2fast.planning.uncertain import PlanUncertainty
from t2fast.plots import canvas
from t2fast.plots.canvas import BLACK, BLUE, ORANGE
from t2fast.plots.planning.beyond import LABELS, Name

__all__ = ["optima"]


def optima(found: PlanUncertainty, path: str | Path | None = None) -> Figure:
    """Draw optimal N, D and k over the resampled laws, with the recommended design and the best on average."""
    pairs: list[tuple[Name, Name]] = [("n_params", "n_tokens")]
    if len({design.k for design in found.optima}) > 1:
        pairs.append(("n_params", "k"))
    marked = ((found.recommended, "+", BLACK, "recommended"), (found.best_on_average, "x", ORANGE, "best on average"))
    with canvas.style():
        figure = canvas.new(2.2 * len(pairs) + 0.6)
        panels = np.atleast_1d(figure.subplots(len(pairs), 1, sharex=True))
        figure.suptitle(f"optima of {found.n_laws} resampled laws", fontsize=8.5, x=0.02, ha="left")
        for axes, (x, y) in zip(panels, pairs, strict=True):
            at = [[getattr(design, name) for design in found.optima] for name in (x, y)]
            axes.plot(*at, ".", markersize=2.5, alpha=0.4, color=BLUE)
            keys = [
                axes.plot(getattr(one, x), getattr(one, y), mark, markersize=9, color=colour, label=label)[0]
                for one, mark, colour, label in marked
            ]
            canvas.axis(axes.yaxis, LABELS[y], ticks=5)
        canvas.axis(panels[-1].xaxis, LABELS["n_params"])
        canvas.legend(figure, keys)
    return canvas.save(figure, path)
