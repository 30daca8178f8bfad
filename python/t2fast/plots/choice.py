"""The figure of a choice among models: what each makes of its samples, the frontier, and the choice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from t2fast.plots import canvas
from t2fast.plots.canvas import BLACK, GREY

if TYPE_CHECKING:
    from t2fast.choosing import ModelChoice

__all__ = ["frontier"]

_STYLES = ("-", "--", "-.")
#: Models that get a colour of their own.
_MOST = 10


def frontier(found: ModelChoice, path: str | Path | None = None) -> Figure:
    """Result against the price of a question: a curve per model, dotted beyond its samples, and the best choice."""
    reach = {one.model: one.k / one.extrapolation for one in found.candidates if one.k}
    with canvas.style():
        figure = canvas.new(3.6)
        axes = figure.subplots()
        keys: list[Any] = []
        drawn = [one for one in found.curves if found.curves[one]]
        for place, model in enumerate(drawn[:_MOST]):
            colour = canvas.COLOURS[place % len(canvas.COLOURS)]
            k, cost, result, low, high = np.array(found.curves[model]).T
            near = k <= reach.get(model, np.inf) * (1 + 1e-9)
            style: dict[str, Any] = {"color": colour, "linewidth": 1.2}
            axes.plot(cost[near], result[near], _STYLES[place % len(_STYLES)], **style)
            beyond = ~near | np.append(~near[1:], False)
            axes.plot(cost[beyond], result[beyond], ":", color=colour, linewidth=0.9)
            axes.fill_between(cost, low, high, color=colour, alpha=0.1, linewidth=0)
            style["linestyle"] = _STYLES[place % len(_STYLES)]
            keys.append(Line2D([], [], label=model[:24], **style))
        steps = found.frontier
        axes.plot(
            [one.budget for one in steps], [one.result for one in steps], color=GREY, linewidth=3, alpha=0.35, zorder=0
        )
        if found.model is not None:
            axes.plot([found.cost], [found.result], "*", color=BLACK, markersize=10, zorder=5)
        keys.append(Line2D([], [], color=GREY, linewidth=3, alpha=0.35, label="best choice"))
        keys.append(
            Line2D(
                [],
                [],
                marker="*",
                color=BLACK,
                linestyle="none",
                markersize=8,
                label="silence" if found.model is None else f"{found.model[:18]}, k {found.k}",
            )
        )
        if found.budget is not None:
            axes.axvline(found.budget, color=BLACK, linestyle=":", linewidth=0.8)
        if found.target is not None:
            axes.axhline(found.target, color=BLACK, linestyle=":", linewidth=0.8)
        if found.wrong_cost:
            axes.axhline(0, color=GREY, linewidth=0.8)
        else:
            axes.set_ylim(bottom=0)
        axes.set_ylabel(found.result_name)
        if found.unit == "flops":
            canvas.axis(axes.xaxis, "FLOP per question", flops=True)
        else:
            axes.set_xscale("log")
            axes.set_xlabel("dollars per question")
        level = f"{found.confidence_level:.0%}"
        keys += [canvas.note(f"bands: {level} intervals"), canvas.note("dotted: extrapolated")]
        canvas.legend(figure, keys, 2)
    return canvas.save(figure, path)
