"""The figure of a plan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from t2fast.laws import Law
from t2fast.planning.design import Design, value_of
from t2fast.planning.optimum import Plan
from t2fast.plots import canvas
from t2fast.plots.canvas import BLACK, BLUE, GREEN, GREY, ORANGE
from t2fast.plots.planning.beyond import (
    LABELS,
    NAMES,
    SYMBOLS,
    Floats,
    Name,
    beyond_keys,
    budget_words,
    data_end,
    result_label,
    result_limits,
    sides,
    title,
)  # fmt: skip
from t2fast.quantity import format_quantity

__all__ = ["plan"]


def plan(plan: Plan, path: str | Path | None = None) -> Figure:
    """Draw the result, D and k against N, D and k chosen best for each N; the designs of the plan marked.

    Under a rule pass@k of the same samples is drawn beside the result.

    The interval of N within 1% of the best is shaded; where N, D or k lies beyond the data, it is hatched.

    Parameters
    ----------
    plan
        From :func:`t2fast.plan`.
    path
        Where to save the figure; the suffix decides the format.

    Raises
    ------
    T2Error
        For a path that cannot be written or a suffix that names no format.
    """
    law, data = plan.law, plan.law.data_range
    inside = None if law.predicts_pass or plan.inside_data == plan.design else plan.inside_data
    marked = {
        "recommended": (plan.design, "*", 11.0, BLACK, BLACK),
        "unlimited optimum": (None if plan.unlimited == plan.design else plan.unlimited, "o", 6.5, "none", ORANGE),
        "inside the data": (inside, "o", 6.5, "none", ORANGE),
        "Chinchilla-style": (plan.chinchilla, "D", 5.5, "none", GREEN),
    }
    shown = [design for design, *_ in marked.values() if design is not None]
    flat = plan.flat_n_params or ()
    ends = [*flat, *(design.n_params for design in shown)]
    sizes = np.unique([*np.geomspace(min(ends) / 6, max(ends) * 6, 161), plan.continuous.n_params])
    # The optimum itself is known to the last digits.
    curve = sorted(
        [d for d in plan.curve(sizes) if d.n_params != plan.continuous.n_params] + [plan.continuous],
        key=lambda design: design.n_params,
    )
    x = [design.n_params for design in curve]
    spans = _spans(law, curve)
    # Where silence is best at every size, there is no k to draw.
    has_k = law.kind != "chinchilla" and any(design.k for design in curve)

    with canvas.style():
        # A rule takes lines of the title and of the legend.
        figure = canvas.new(4.6 if plan.rule is None else 5.2)
        top, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.7, 1))
        title(figure, law, budget_words(plan.budget))

        top.plot(x, [value_of(design) for design in curve], color=BLUE, zorder=3)
        keys: list[Line2D | Patch] = [Line2D([], [], color=BLUE, label=f"best D{' and k' if has_k else ''} for each N")]
        for label, (design, marker, size, face, edge) in marked.items():
            if design is None:
                continue
            mark: dict[str, Any] = {
                "marker": marker, "markersize": size, "color": face, "markeredgecolor": edge, "linestyle": "none",
                "markeredgewidth": 1.4 if face == "none" else 0.5,
            }  # fmt: skip
            samples = f", k {format_quantity(design.k, 4)}" if has_k else ""
            said = f"{label}: D/N {format_quantity(design.tokens_per_param)}{samples}"
            # Designs may coincide: the larger go below, the others are hollow, so that each can be seen.
            at = [design.n_params], [value_of(design)]
            (line,) = top.plot(*at, label=said, zorder=6 - size / 20, clip_on=False, **mark)
            keys.append(line)
        passes = [design.pass_at_k or 0.0 for design in curve] if plan.rule is not None else []
        if passes:
            (line,) = top.plot(x, passes, color=BLUE, linestyle="--", linewidth=1, zorder=2.5)
            line.set_label("pass@k of the same samples")
            keys.insert(1, line)
        if plan.interval is not None:
            bar: dict[str, Any] = {"color": BLACK, "linewidth": 1.2, "zorder": 4, "label": "90% predictive interval"}
            keys += top.plot([plan.n_params] * 2, list(plan.interval), **bar)
        if plan.nearest:
            measured = "measured nearby" if plan.rule is None else "measured nearby: pass@k"
            at = [one.n_params for one in plan.nearest], [one.observed for one in plan.nearest]
            keys += top.plot(*at, "s", markersize=4, color=GREY, linestyle="none", zorder=5, label=measured)
        if flat:
            top.axvspan(*flat, color=BLUE, alpha=0.15, linewidth=0, zorder=0.4, label="flat")
            low, high = (format_quantity(end) for end in flat)
            keys.append(Patch(facecolor=BLUE, alpha=0.15, label=f"within 1% of the optimum: N {low} to {high}"))
        extent = [*map(value_of, shown), *passes, *(plan.interval or ()), *(one.observed for one in plan.nearest)]
        result_limits(top, law, [value_of(design) for design in curve], extent)
        top.set_ylabel(result_label(law))

        _draw_tokens_and_samples(below, law, curve, x, has_k)
        for axes in (top, below):
            for name, _, left, right in spans:
                canvas.hatched(axes, (left, right), None, name)
        below.set_xlim(min(x[0], *ends), max(x[-1], *ends))
        canvas.axis(below.xaxis, LABELS["n_params"])
        keys += beyond_keys(law, {(name, above) for name, above, *_ in spans})
        if data is not None:
            keys.append(Line2D([], [], color=GREY, linestyle=":", label="ends of the data"))
        canvas.legend(figure, keys)
    return canvas.save(figure, path)


def _spans(law: Law, curve: Sequence[Design]) -> list[tuple[Name, bool, float, float]]:
    """Find the intervals of N along a curve on which N, D or k lies beyond the data, with the side."""
    data = law.data_range
    if data is None:
        return []
    beyond = [sides(law, design) for design in curve]
    x = np.log([design.n_params for design in curve])
    found: list[tuple[Name, bool, float, float]] = []
    for name in NAMES:
        # Silence, k = 0, is at no end of the data.
        y = np.log([getattr(design, name) or 1.0 for design in curve])
        for above in (False, True):
            inside = [(name, above) not in side for side in beyond]
            limit = math.log(data_end(data, name, above))

            def crossing(i: int, y: Floats = y, limit: float = limit) -> float:
                """Where the curve passes the data's end between points i and i + 1."""
                rise = y[i + 1] - y[i]
                return float(math.exp(x[i] + (x[i + 1] - x[i]) * ((limit - y[i]) / rise if rise else 0.5)))

            start: float | None = None
            for i, within in enumerate(inside):
                if not within and start is None:
                    start = crossing(i - 1) if i else curve[0].n_params
                if within and start is not None:
                    found.append((name, above, start, crossing(i - 1)))
                    start = None
            if start is not None:
                found.append((name, above, start, curve[-1].n_params))
    return found


def _draw_tokens_and_samples(axes: Axes, law: Law, curve: Sequence[Design], x: Sequence[float], has_k: bool) -> None:
    """D on the left axis and k on the right, the ranges chosen so that the two lines do not cross."""
    scales: list[tuple[Axes, Name, str, str]] = [(axes, "n_tokens", BLUE, "-")]
    if has_k:
        twin = axes.twinx()
        twin.spines["right"].set_visible(True)
        scales.append((twin, "k", ORANGE, "--"))
    for side, name, colour, line in scales:
        line_of = np.array([getattr(design, name) or np.nan for design in curve])
        side.plot(x, line_of, color=colour, linestyle=line, zorder=3)
        values = line_of[np.isfinite(line_of)].tolist()
        limits = () if law.data_range is None else getattr(law.data_range, name)
        low, high = math.log(min(values)), math.log(max(values))
        room = 0.1 * (high - low) + 0.7
        # An end of the data is drawn where the curve passes it or nearly does; others would squeeze the curve.
        near = [math.log(end) for end in limits if low - 2 * room <= math.log(end) <= high + 2 * room]
        low, high = min(low, *near, math.inf), max(high, *near, -math.inf)
        span = high - low
        below, above = (0.08, 0.08) if not has_k else (0.55, 0.1) if name == "n_tokens" else (0.1, 0.55)
        side.set_ylim(math.exp(low - below * span - 0.2), math.exp(high + above * span + 0.2))
        for end in near:
            side.axhline(math.exp(end), color=colour, linestyle=":", linewidth=1.1, zorder=2)
        canvas.axis(side.yaxis, f"{SYMBOLS[name]} ({'tokens, solid' if name == 'n_tokens' else 'dashed'})", ticks=5)
        if has_k:
            side.yaxis.label.set_color(colour)
            side.tick_params(axis="y", colors=colour, which="both")
