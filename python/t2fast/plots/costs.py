"""Figures of costs: predicted against measured, and where the time of a question goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from t2fast.plots import canvas
from t2fast.plots.canvas import BLACK, BLUE, GREEN, GREY, ORANGE

if TYPE_CHECKING:
    from t2fast.costs.calibration import Calibration
    from t2fast.costs.estimate import CostEstimate

__all__ = ["estimate", "measured"]

_MARKS = [("o", BLUE), ("s", ORANGE), ("^", GREEN), ("D", GREY), ("v", BLACK)]

#: Parts of a question's time, with colour and hatch.
_PARTS = {
    "prefill": (BLUE, ""),
    "compute": (ORANGE, ""),
    "weights": (GREEN, ""),
    "kv": ("#56B4E9", "////"),
    "activations": ("#E69F00", "...."),
    "network": ("#CC79A7", "xxxx"),
    "overhead": ("#CCCCCC", ""),
}


def measured(calibration: Calibration, path: str | Path | None = None) -> Figure:
    """Predicted against measured tokens per second, with 90% intervals; a mark for each card."""
    with canvas.style():
        figure = canvas.new(3.6)
        axes = figure.add_subplot()
        names = list(dict.fromkeys(label.split()[0] for label in calibration.labels))
        handles: list[Line2D | Patch] = []
        for place, name in enumerate(names):
            mark, colour = _MARKS[place % len(_MARKS)]
            rows = [i for i, label in enumerate(calibration.labels) if label.split()[0] == name]
            x = [calibration.measured[i] for i in rows]
            y = [calibration.predicted[i] for i in rows]
            spread = [
                [calibration.predicted[i] - calibration.low[i] for i in rows],
                [calibration.high[i] - calibration.predicted[i] for i in rows],
            ]
            axes.errorbar(x, y, spread, fmt="none", ecolor=colour, elinewidth=0.5, alpha=0.5)
            axes.plot(x, y, mark, color=colour, markersize=3, markerfacecolor="white", markeredgewidth=0.8)
            handles.append(Line2D([], [], marker=mark, color=colour, linestyle="", markerfacecolor="white", label=name))
        low = 0.7 * min(*calibration.measured, *calibration.predicted)
        high = 1.4 * max(*calibration.measured, *calibration.predicted)
        axes.plot([low, high], [low, high], color=BLACK, linewidth=0.7)
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        canvas.axis(axes.xaxis, "measured output tokens per second")
        canvas.axis(axes.yaxis, "predicted")
        canvas.legend(figure, [*handles, Line2D([], [], color=BLACK, linewidth=0.7, label="equal")], columns=4)
        return canvas.save(figure, path)


def estimate(cost: CostEstimate, path: str | Path | None = None) -> Figure:
    """Dollars of a question in the three ways to treat its prompt, by what the time goes into."""
    with canvas.style():
        figure = canvas.new(2.4)
        axes = figure.add_subplot()
        modes = [(name, one) for name, one in cost.modes.items() if one is not None]
        per_second = cost.card.dollars_per_hour / 3600
        left = [0.0] * len(modes)
        used = []
        for part, (colour, hatch) in _PARTS.items():
            widths = [one.parts[part] * per_second for _, one in modes]
            if max(widths) <= 0.003 * max(one.dollars for _, one in modes):
                continue
            used.append(part)
            axes.barh(range(len(modes)), widths, left=left, color=colour, hatch=hatch, edgecolor="white", linewidth=0.3)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        axes.set_yticks(range(len(modes)), [name for name, _ in modes])
        axes.invert_yaxis()
        axes.set_xlabel("dollars per question")
        axes.ticklabel_format(axis="x", style="sci", scilimits=(-3, 3), useMathText=True)
        axes.set_title(f"{cost.model.name or 'model'} on {cost.card.name}, k {cost.k:g}", loc="left")
        handles = [Patch(facecolor=_PARTS[p][0], hatch=_PARTS[p][1], edgecolor="white", label=p) for p in used]
        canvas.legend(figure, handles, columns=3)
        return canvas.save(figure, path)
