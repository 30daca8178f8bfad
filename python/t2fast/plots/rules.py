"""Figures of rules fitted to samples: how a test errs, and how wrong answers are shared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from t2fast.plots.canvas import BLACK, BLUE, GREEN, GREY, ORANGE, legend, new, save, style
from t2fast.rules import Verifier

if TYPE_CHECKING:
    from t2fast.fitting import TailFit, VerifierFit


def verifier(result: VerifierFit, path: str | Path | None = None) -> Figure:
    """Draw false positives against the success rate: the rule with its draws, and what groups of problems show."""
    with style():
        figure = new(2.8)
        axes = figure.add_subplot()
        p = np.linspace(0.005, 0.995, 199)
        axes.plot(p, result.rule.false_positives(p), color=BLUE)
        drawn = np.stack([rule.false_positives(p) for rule in result.rule.resampled() if isinstance(rule, Verifier)])
        tails = [0.5 - 0.5 * result.confidence_level, 0.5 + 0.5 * result.confidence_level]
        low, high = np.quantile(drawn, tails, axis=0)
        axes.fill_between(p, low, high, color=BLUE, alpha=0.2, linewidth=0)
        seen = result.observed
        error = np.sqrt(seen[:, 1] * (1 - seen[:, 1]) / seen[:, 2])
        axes.errorbar(seen[:, 0], seen[:, 1], yerr=error, fmt="o", color=BLACK, markersize=3, linewidth=0.8)
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("success rate of a problem")
        axes.set_ylabel("wrong samples accepted")
        level = f"{100 * result.confidence_level:.4g}%"
        legend(figure, [
            Line2D([], [], color=BLUE, label=f"the rule; recall {result.recall:.3f}"),
            Patch(color=BLUE, alpha=0.2, label=f"{level} over problems"),
            Line2D([], [], color=BLACK, marker="o", linestyle="", markersize=3, label="problems of like success rate"),
        ])  # fmt: skip
    return save(figure, path)


def tail(result: TailFit, path: str | Path | None = None) -> Figure:
    """Draw shares of wrong answers by rank, at each success rate, and the commonest one's against the success rate."""
    colours, marks = (BLUE, ORANGE, GREEN, GREY), "osD^"
    with style():
        several = len(result.rates) > 1
        figure = new(4.6 if several else 2.8)
        grid = figure.subplots(2 if several else 1, 1, squeeze=False)[:, 0]
        lines = []
        for i, (rate, row) in enumerate(zip(result.rates, result.tail.shares, strict=True)):
            shown = np.asarray(row)[:12]
            colour, mark = colours[i % 4], marks[i % 4]
            grid[0].plot(np.arange(1, len(shown) + 1), shown, color=colour, marker=mark, markersize=3, linewidth=1)
            name = f"success rate {rate:.2f}" if several else "all problems"
            lines.append(Line2D([], [], color=colour, marker=mark, markersize=3, label=name))
        grid[0].set_xlabel("wrong answers by rank")
        grid[0].set_ylabel("share of wrong samples")
        grid[0].set_ylim(bottom=0)
        if several:
            bars = np.abs(result.top_interval.T - result.top)
            grid[1].errorbar(result.rates, result.top, yerr=bars, fmt="o-", color=BLACK, markersize=3, linewidth=1)
            grid[1].set_xlabel("success rate of a problem")
            grid[1].set_ylabel("share of the commonest")
            grid[1].set_xlim(0, 1)
            grid[1].set_ylim(bottom=0)
        legend(figure, lines, columns=2)
    return save(figure, path)
