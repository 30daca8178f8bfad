"""The figures of sweeps of budgets and of isoFLOP curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from t2fast.costs import Budget
from t2fast.errors import T2Error
from t2fast.planning.design import Design, value_of
from t2fast.planning.optimum import Plan
from t2fast.planning.sweep import Frontier, IsoFlop
from t2fast.planning.words import cost_words
from t2fast.plots import canvas
from t2fast.plots.canvas import BLACK, GREY
from t2fast.plots.planning.beyond import (
    LABELS,
    Floats,
    Name,
    beyond_keys,
    budget_labels,
    data_end,
    outside,
    result_label,
    result_limits,
    shades,
    sides,
    split,
    title,
)  # fmt: skip

__all__ = ["frontier", "isoflop"]


#: Training budgets.
_TRAINING = ("train_flops", "train_dollars", "train_gpu_hours")

#: What a sweep's horizontal axis spends.
_SPENT = ("train_flops", "total_flops", "train_dollars", "train_gpu_hours", "total_dollars")


def frontier(frontier: Frontier, path: str | Path | None = None) -> Figure:
    """Draw tokens per parameter, N and D of the optima against training FLOP, a line for each inference budget.

    Beside them the law's Chinchilla-style designs and the rule of 20 tokens per parameter. Lines are dotted where N, D
    or k lies beyond the data behind the law, and the regions of N and D beyond it are hatched.

    Parameters
    ----------
    frontier
        From :func:`t2fast.frontier`; budgets that differ in more than training or total FLOP become other lines.
    path
        Where to save the figure; the suffix decides the format.

    Raises
    ------
    T2Error
        When no budget of the sweep admits a design, and for a path that cannot be written.
    """
    if not frontier.plans:
        raise T2Error("nothing to draw: no budget of this sweep admits a design; see failures")
    law, data = frontier.law, frontier.law.data_range
    unspent: dict[str, Any] = dict.fromkeys(_SPENT)
    groups: dict[Budget, list[Plan]] = {}
    for one in frontier.plans:
        groups.setdefault(replace(one.budget, **unspent), []).append(one)
    labels = budget_labels(list(groups), _SPENT)
    names = ("tokens_per_param", "n_params", "n_tokens")

    with canvas.style():
        figure = canvas.new(5.6 + 0.17 * len(groups))
        panels = dict(zip(names, figure.subplots(3, 1, sharex=True), strict=True))
        costs = [d.costs[0] for one in frontier.plans for d in (one.design, one.chinchilla) if d is not None]
        reach = (min(costs) / 1.3, max(costs) * 1.3)
        spent = "train" if all(one.budget.total_limit is None for one in frontier.plans) else "total"
        title(figure, law, f"optima along a sweep of {'training' if spent == 'train' else 'total'} budgets")
        keys: list[Line2D | Patch] = []
        everything: dict[str, list[float]] = {name: [] for name in names}
        for plans, label, colour in zip(groups.values(), labels, shades(len(groups)), strict=True):
            designs = sorted((one.design for one in plans), key=lambda design: design.costs[0])
            x = np.array([design.costs[0] for design in designs])
            beyond = outside(law, designs)
            for name, axes in panels.items():
                y = np.array([getattr(design, name) for design in designs])
                everything[name] += y.tolist()
                split(axes, x, y, beyond, color=colour, zorder=4)
                if len(x) <= 12:
                    for part, face in ((~beyond, colour), (beyond, "white")):
                        axes.plot(x[part], y[part], "o", markersize=3.5, color=colour, markerfacecolor=face, zorder=5)
            keys.append(Line2D([], [], label=label or "recommended", color=colour))
        line = frontier.chinchilla
        rule = np.geomspace(*reach, 50)
        sizes = np.array([_size(frontier.plans[0].budget, cost, lambda n: 20.0 * n) for cost in rule.tolist()])
        for name, axes in panels.items():
            y = np.array([getattr(design, name) for design in line])
            everything[name] += y.tolist()
            axes.plot([d.costs[0] for d in line], y, color=GREY, linewidth=1.2, zorder=3, gid="chinchilla")
            twenty = {"tokens_per_param": np.full(50, 20.0), "n_params": sizes, "n_tokens": 20 * sizes}[name]
            everything[name] += twenty.tolist()
            axes.plot(rule, twenty, color=GREY, linewidth=1.2, linestyle=(0, (5, 3)), zorder=3, gid="20:1")
        if line:
            keys.append(Line2D([], [], color=GREY, linewidth=1.2, label="Chinchilla-style (k chosen last)"))
        keys.append(Line2D([], [], color=GREY, linewidth=1.2, linestyle=(0, (5, 3)), label="20 tokens per parameter"))

        outer = {side for one in frontier.plans for side in sides(law, one.design)}
        for name, axes in panels.items():
            low, high = min(everything[name]), max(everything[name])
            axes.set_ylim(low / 2, high * 2)
            canvas.axis(axes.yaxis, "D / N" if name == "tokens_per_param" else LABELS[name], ticks=6)
        figure.align_ylabels(list(panels.values()))
        panels["n_tokens"].set_xlim(*reach)
        money = frontier.plans[0].budget.in_dollars
        unit = "dollars" if money else "FLOP"
        canvas.axis(panels["n_tokens"].xaxis, f"{unit} spent on training", flops=not money)
        hatches: set[tuple[Name, bool]] = set()
        if data is not None:
            for name, above in sorted(outer):
                if name == "k":
                    continue
                hatches.add((name, above))
                end = data_end(data, name, above)
                own = panels[name]
                low, high = own.get_ylim()
                canvas.hatched(own, reach, (end, high) if above else (low, end), name)
                # On the panel of D / N the same end runs aslant: at a given cost, each D or N means one ratio.
                ratio = _ratio_at(frontier.plans[0].budget, rule, name, end)
                low, high = panels["tokens_per_param"].get_ylim()
                up = above if name == "n_tokens" else not above
                panels["tokens_per_param"].fill_between(
                    rule, np.clip(ratio, low, high), high if up else low, facecolor="none", edgecolor=GREY,
                    linewidth=0, hatch=canvas.HATCHES[name], zorder=0.5,
                )  # fmt: skip
        keys += beyond_keys(law, hatches)
        if outer:
            said = "optima with N, D or k beyond the data"
            keys.append(Line2D([], [], color=BLACK, linestyle=":", linewidth=1.2, label=said))
        canvas.legend(figure, keys)
    return canvas.save(figure, path)


def isoflop(curves: IsoFlop | Sequence[IsoFlop], path: str | Path | None = None) -> Figure:
    """Draw isoFLOP curves, the result against N at constant training cost, for one or several budgets.

    Optima are joined; curves are dotted where N, D or k lies beyond the data behind the law.

    Parameters
    ----------
    curves
        One or several from :func:`t2fast.isoflop`, all of one law.
    path
        Where to save the figure; the suffix decides the format.

    Raises
    ------
    T2Error
        Without curves, with curves of different laws, and for a path that cannot be written.
    """
    curves = [curves] if isinstance(curves, IsoFlop) else list(curves)
    if not curves:
        raise T2Error("curves is empty: give at least one IsoFlop")
    law = curves[0].law
    if any(one.law != law for one in curves):
        raise T2Error("curves are of different laws: draw each law by itself")
    curves.sort(key=lambda one: one.budget.train_limit or 0.0)
    with canvas.style():
        figure = canvas.new(3.4 + 0.17 * (len(curves) + 1) / 2)
        axes = figure.subplots()
        inference = {one.budget.inference_limit for one in curves} - {None}
        first = curves[0].budget
        shared = f", {cost_words(first, inference.copy().pop() or 0)} inference" if len(inference) == 1 else ""
        title(figure, law, f"{'curves of equal dollars' if first.in_dollars else 'isoFLOP curves'}{shared}")
        keys: list[Line2D | Patch] = []
        labels = budget_labels([one.budget for one in curves], ())
        if len(curves) == 1:
            labels = [f"{cost_words(first, first.train_limit or 0)} training"]
        any_beyond = False
        for one, label, colour in zip(curves, labels, shades(len(curves)), strict=True):
            beyond = outside(law, one.designs)
            any_beyond |= bool(beyond.any())
            y = np.array([value_of(design) for design in one.designs])
            split(axes, one.column("n_params"), y, beyond, color=colour)
            keys.append(Line2D([], [], label=label, color=colour))
        best = [one.best for one in curves]
        joined: dict[str, Any] = {
            "color": BLACK, "linewidth": 1, "marker": "o", "markersize": 4.5, "markerfacecolor": "white",
            "label": "optima",
        }  # fmt: skip
        # Optima of different inference budgets are different families: each is joined by itself.
        families: dict[Budget, list[Design]] = {}
        untrained: dict[str, Any] = dict.fromkeys(_TRAINING)
        for one in curves:
            families.setdefault(replace(one.budget, **untrained), []).append(one.best)
        for family in families.values():
            lines = axes.plot([d.n_params for d in family], [value_of(d) for d in family], zorder=5, **joined)
        keys += lines
        values = [value_of(design) for one in curves for design in one.designs]
        result_limits(axes, law, values, [value_of(d) for d in best])
        sizes = np.concatenate([one.column("n_params") for one in curves])
        axes.set_xlim(float(sizes.min()) / 1.05, float(sizes.max()) * 1.05)
        canvas.axis(axes.xaxis, LABELS["n_params"])
        axes.set_ylabel(result_label(law))
        if any_beyond:
            keys.append(Line2D([], [], color=BLACK, linestyle=":", linewidth=1.2, label="beyond the data"))
        if law.data_range is None:
            keys += beyond_keys(law, set())
        canvas.legend(figure, keys, 2 if max(len(str(key.get_label())) for key in keys) < 24 else 1)
    return canvas.save(figure, path)


def _size(budget: Budget, cost: float, tokens: Callable[[float], float]) -> float:
    """The N whose training on so many tokens costs this much, FLOP or dollars: by bisection, for costs rise with N."""
    low, high = 1.0, 1e18
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if budget._handle.train_cost(middle, tokens(middle)) < cost else (low, middle)
    return low


def _ratio_at(budget: Budget, costs: Floats, name: Name, value: float) -> Floats:
    """D / N of the design that spends each training cost with a given N or D."""
    if name == "n_params":
        return np.asarray(costs / budget._handle.train_cost(value, 1.0) / value)
    return np.array([value / _size(budget, cost, lambda _: value) for cost in costs.tolist()])
