"""The figure of a grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from t2fast.planning.grid import Grid
from t2fast.plots import canvas
from t2fast.plots.canvas import BLACK
from t2fast.plots.planning.beyond import LABELS, Floats, Name, beyond_keys, budget_words, data_end, result_label, title
from t2fast.quantity import format_quantity

__all__ = ["grid"]


def grid(grid: Grid, path: str | Path | None = None) -> Figure:
    """Draw a heat map over N and D of the law at the best affordable k, the budget's edge and the best point.

    What no k makes affordable is grey; what lies beyond the data behind the law is hatched.

    Parameters
    ----------
    grid
        From :func:`t2fast.grid_search`.
    path
        Where to save the figure; the suffix decides the format.

    Raises
    ------
    T2Error
        For a path that cannot be written.
    """
    law, data = grid.law, grid.law.data_range
    values, chosen = grid.plane
    n_edges, d_edges = _edges(grid.n_params), _edges(grid.n_tokens)
    # Without viridis' darkest third, on which no hatch would show; bright is good.
    colours_of = matplotlib.colormaps["viridis"](np.linspace(0.33, 1, 256))
    colours = ListedColormap(colours_of if law.predicts_pass else colours_of[::-1])
    has_k = law.kind != "chinchilla"

    with canvas.style():
        figure = canvas.new(4.1)
        axes = figure.subplots()
        title(figure, law, budget_words(grid.budget))
        axes.set_facecolor("#D9D9D9")
        mesh = axes.pcolormesh(
            n_edges, d_edges, np.ma.masked_invalid(values.T), cmap=colours, rasterized=True, zorder=0.2
        )
        axes.set_xlim(n_edges[0], n_edges[-1])
        axes.set_ylim(d_edges[0], d_edges[-1])
        suffix = "\nat the best affordable k" if has_k else ""
        figure.colorbar(mesh, ax=axes, label=f"{result_label(law)}{suffix}", pad=0.02)
        keys: list[Line2D | Patch] = []
        edge_n, edge_d = _budget_edge(grid, n_edges, d_edges)
        if len(edge_n):
            (line,) = axes.plot(edge_n, edge_d, color=BLACK, linewidth=1.2, zorder=3, label="edge of the budget")
            keys.append(line)
        if np.isnan(values).any():
            keys.append(Patch(facecolor="#D9D9D9", label="not affordable at any k of the grid"))
        best = grid.best
        samples = f", k {format_quantity(best.k, 4)}" if has_k else ""
        (star,) = axes.plot(
            [best.n_params], [best.n_tokens], "*", markersize=12, color="white", markeredgecolor=BLACK, zorder=6,
            linestyle="none", clip_on=False,
            label=f"best: N {format_quantity(best.n_params)}, D {format_quantity(best.n_tokens)}{samples}",
        )  # fmt: skip
        keys.append(star)
        found: set[tuple[Name, bool]] = set()
        if data is not None:
            whole = {"n_params": (n_edges[0], n_edges[-1]), "n_tokens": (d_edges[0], d_edges[-1])}
            for name, (low, high) in whole.items():
                for above in (False, True):
                    end = data_end(data, name, above)
                    part = (max(end, low), high) if above else (low, min(end, high))
                    if part[0] >= part[1]:
                        continue
                    found.add((name, above))  # type: ignore[arg-type]
                    x, y = (part, whole["n_tokens"]) if name == "n_params" else (whole["n_params"], part)
                    _hatch_cell(axes, x, y, name)
            if has_k:
                low_k, high_k = data.k
                for above, mask in ((False, chosen < low_k * (1 - 1e-9)), (True, chosen > high_k * (1 + 1e-9))):
                    for i, (start, stop) in _runs(mask):
                        found.add(("k", above))
                        _hatch_cell(axes, (n_edges[i], n_edges[i + 1]), (d_edges[start], d_edges[stop]), "k")
        keys += beyond_keys(law, found)
        canvas.axis(axes.xaxis, LABELS["n_params"])
        canvas.axis(axes.yaxis, LABELS["n_tokens"])
        axes.spines[["top", "right"]].set_visible(True)
        canvas.legend(figure, keys)
    return canvas.save(figure, path)


def _hatch_cell(axes: Axes, x: tuple[float, float], y: tuple[float, float], name: str) -> None:
    kind: dict[str, Any] = {"facecolor": "none", "edgecolor": "#3A3A3A", "linewidth": 0, "hatch": canvas.HATCHES[name]}
    axes.add_patch(Rectangle((x[0], y[0]), x[1] - x[0], y[1] - y[0], zorder=2, **kind))


def _edges(centres: Floats) -> Floats:
    """Borders of cells around the points of an axis, halfway in the logarithm."""
    if len(centres) == 1:
        return np.array([centres[0] * 2**-0.5, centres[0] * 2**0.5])
    middle: Floats = np.sqrt(centres[1:] * centres[:-1])
    return np.concatenate([[centres[0] ** 2 / middle[0]], middle, [centres[-1] ** 2 / middle[-1]]])


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, tuple[int, int]]]:
    """Stretches of true cells in each row: (row, (start, stop))."""
    found = []
    for i in np.flatnonzero(mask.any(axis=1)).tolist():
        steps = np.diff(np.concatenate([[0], mask[i].astype(np.int8), [0]]))
        found += [(i, pair) for pair in zip(*(np.flatnonzero(steps == s).tolist() for s in (1, -1)), strict=True)]
    return found


def _budget_edge(grid: Grid, n_edges: Floats, d_edges: Floats) -> tuple[Floats, Floats]:
    """Where within the map the budget ends: the most D at each N with the grid's fewest samples."""
    handle, fewest = grid.budget._handle, float(grid.k[0])
    sizes = np.geomspace(n_edges[0], n_edges[-1], 800)
    most = np.array([handle.most_tokens(n, fewest) if handle.most_samples(n, 1.0) >= fewest else 0.0 for n in sizes])
    most[sizes > (grid.budget.max_params or np.inf)] = 0.0
    if most.min() >= d_edges[-1] or most.max() <= d_edges[0]:
        return np.empty(0), np.empty(0)
    # Clipped just outside the map: the edge's steep end is drawn, its far ends are not.
    return sizes, np.clip(most, d_edges[0] / 10, d_edges[-1] * 10)
