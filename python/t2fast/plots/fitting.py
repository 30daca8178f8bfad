"""Figures of fits, bootstraps and backtests."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from t2fast.fitting import Bootstrap, DecisionBacktest, FitResult, IsoFlopMinima, LawBacktest, Observed
from t2fast.plots import canvas
from t2fast.quantity import format_flops, format_quantity

__all__ = ["plot_backtest", "plot_bootstrap", "plot_fit", "plot_minima", "plot_regret"]

P = ParamSpec("P")

#: Curves drawn at most in one panel.
_CURVES = 6


def _styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw with the house's settings."""

    @functools.wraps(draw)
    def call(*given: P.args, **named: P.kwargs) -> Figure:
        with canvas.style():
            return draw(*given, **named)

    return call


def _figure(columns: int, height: float = 3.2) -> tuple[Figure, list[Any]]:
    figure = canvas.new(height)
    figure.set_size_inches(canvas.WIDTH * columns, height)
    return figure, list(np.atleast_1d(figure.subplots(1, columns)))


def _levels(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A few of the distinct values, evenly over their range."""
    distinct = np.unique(values)
    return np.asarray(
        distinct[np.unique(np.linspace(0, len(distinct) - 1, min(_CURVES, len(distinct))).round().astype(int))]
    )


def _colours(count: int) -> NDArray[np.float64]:
    return np.asarray(colormaps["viridis"](np.linspace(0, 0.9, count)))


def _legend_below(axis: Any) -> None:
    axis.legend(
        frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, handlelength=1.4, columnspacing=1.0,
    )  # fmt: skip


@_styled
def plot_fit(fit: FitResult, path: str | Path | None = None) -> Figure:
    """Data and fitted law against N, D and, where it varies, k; then residuals."""
    seen = fit.observed
    has_k = float(np.ptp(seen.k)) > 0
    # Legends stand below the panels, where they hide no point.
    figure, axes = _figure(4 if has_k else 3, 3.9)
    pass_law = fit.law.predicts_pass
    # Against N and D at the middle k, so that a panel holds one surface.
    ks = np.unique(seen.k)
    middle = ks[len(ks) // 2]
    at = seen.k == middle
    for axis, x, other, label, other_label in (
        (axes[0], seen.n_params, seen.n_tokens, "parameters N", "D"),
        (axes[1], seen.n_tokens, seen.n_params, "training tokens D", "N"),
    ):
        levels = _levels(other[at])
        colours = _colours(len(levels))
        grid = np.geomspace(x.min(), x.max(), 200)
        axis.plot(x[at], seen.value[at], ".", ms=2.5, color="0.8")
        for level, colour in zip(levels, colours, strict=True):
            # Only points that lie at a curve's level say whether the curve is right.
            rows = np.abs(np.log(other[at] / level)) < 0.15
            axis.plot(x[at][rows], seen.value[at][rows], "o", ms=2.5, color=colour)
            pair = (grid, np.full_like(grid, level))
            n, d = pair if other_label == "D" else pair[::-1]
            label_here = f"{other_label} = {format_quantity(level)}"
            axis.plot(grid, fit.law.value(n, d, middle), "-", lw=1.2, color=colour, label=label_here)
        axis.set(xscale="log", xlabel=label, ylabel=seen.quantity)
        axis.set_title(f"k = {format_quantity(middle)}" if has_k else "")
        _legend_below(axis)
    if has_k:
        axis = axes[2]
        size = seen.n_params * seen.n_tokens
        levels = _levels(size)
        for level, colour in zip(levels, _colours(len(levels)), strict=True):
            rows = np.flatnonzero(size == level)
            n, d = seen.n_params[rows[0]], seen.n_tokens[rows[0]]
            rows = rows[(seen.n_params[rows] == n) & (seen.n_tokens[rows] == d)]
            grid = np.geomspace(1, ks[-1], 200)
            axis.plot(seen.k[rows], seen.value[rows], "o", ms=2.5, alpha=0.7, color=colour)
            label = f"N {format_quantity(n)}, D {format_quantity(d)}"
            axis.plot(grid, fit.law.value(n, d, grid), "-", lw=1.2, color=colour, label=label)
        axis.set(xscale="log", xlabel="samples per question k", ylabel=seen.quantity)
        _legend_below(axis)
    if pass_law:
        for axis in axes[:-1]:
            axis.set_yscale("log")
    axis = axes[-1]
    predicted = np.asarray(fit.law.value(seen.n_params, seen.n_tokens, seen.k))
    # Success rates span orders of magnitude and may be zero: their differences; losses: relative ones.
    residual = predicted - seen.value if pass_law else predicted / seen.value - 1
    points = axis.scatter(predicted, residual, s=9, c=np.log10(seen.n_tokens / seen.n_params), cmap="cividis")
    axis.axhline(0, color="0.4", lw=0.8)
    axis.set(xlabel=f"fitted {seen.quantity}", ylabel="fitted - observed" if pass_law else "fitted / observed - 1")
    if pass_law:
        axis.set_xscale("log")
    figure.colorbar(points, ax=axis, label="log10 tokens per parameter")
    return canvas.save(figure, path)


@_styled
def plot_bootstrap(bootstrap: Bootstrap, path: str | Path | None = None) -> Figure:
    """Pairs of coefficients over the replicates, with the fit to the whole table."""
    values = dict(zip(bootstrap.names, bootstrap.usable.T, strict=True))
    pairs = [("alpha", "beta"), ("A", "alpha"), ("B", "beta"), ("theta0", "theta2"), ("theta3", "theta4"), ("E", "G")]
    pairs = [pair for pair in pairs if all(name in values and np.ptp(values[name]) > 0 for name in pair)]
    figure, axes = _figure(max(len(pairs), 1))
    known = bootstrap.point.coefficients
    for axis, (x, y) in zip(axes, pairs, strict=False):
        axis.plot(values[x], values[y], ".", ms=2, alpha=0.35, color=canvas.BLUE)
        axis.plot(known[x], known[y], "k+", ms=10, mew=1.5)
        axis.set(xlabel=x, ylabel=y)
        for name, side in ((x, axis.set_xscale), (y, axis.set_yscale)):
            if name in ("A", "B", "G"):
                side("log")
    figure.suptitle(f"{len(bootstrap.usable)} replicates over {'s and '.join(bootstrap.by)}s")
    return canvas.save(figure, path)


@_styled
def plot_backtest(backtest: LawBacktest, path: str | Path | None = None) -> Figure:
    """For every law, rows fitted and rows held out: prediction against measurement, and its error by overtraining."""
    figure = canvas.new(5.4)
    figure.set_size_inches(canvas.WIDTH * len(backtest.laws), 5.4)
    axes = figure.subplots(2, len(backtest.laws), squeeze=False, height_ratios=(3, 2))
    for (axis, below), (name, law) in zip(axes.T, backtest.laws.items(), strict=True):
        seen, held = law.fit.observed, law.observed
        inside = np.asarray(law.fit.law.value(seen.n_params, seen.n_tokens, seen.k))
        outside = law.predicted
        marks: tuple[tuple[Observed, NDArray[np.float64], dict[str, Any]], ...] = (
            (seen, inside, {"marker": ".", "ms": 4, "color": "0.6", "label": "fitted"}),
            (held, outside, {"marker": "o", "ms": 4, "mfc": "none", "color": canvas.ORANGE, "label": "held out"}),
        )
        for rows, predicted, mark in marks:
            axis.plot(rows.value, predicted, ls="", **mark)
            solved = rows.value > 0
            overtrained = (rows.n_tokens / rows.n_params)[solved]
            below.plot(overtrained, predicted[solved] / rows.value[solved] - 1, ls="", **mark)
        ends = np.concatenate([seen.value, held.value, inside, outside])
        low, high = float(np.min(ends[ends > 0])), float(np.max(ends))
        axis.plot([low, high], [low, high], "-", lw=0.8, color="0.3")
        axis.set(xscale="log", yscale="log", xlabel=f"measured {held.quantity}", ylabel=f"predicted {held.quantity}")
        axis.set_title(f"{name}: {law.relative_error:.1%} error on rows held out")
        axis.legend(frameon=False)
        below.axhline(0, color="0.3", lw=0.8)
        below.set(xscale="log", xlabel="tokens per parameter D / N", ylabel="predicted / measured - 1")
        # Small success rates are off by factors: those errors must not flatten all others.
        if held.quantity == "pass@k":
            below.set_yscale("symlog", linthresh=1)
    figure.suptitle(f"held out: {backtest.holdout}")
    return canvas.save(figure, path)


@_styled
def plot_regret(found: DecisionBacktest, path: str | Path | None = None) -> Figure:
    """What following each strategy would have cost, with its interval over training budgets."""
    most = max(len(protocol.strategies) for protocol in found.protocols.values())
    figure, axes = _figure(len(found.protocols), 0.9 + 0.22 * most)
    for axis, protocol in zip(axes, found.protocols.values(), strict=True):
        rows = protocol.strategies[::-1]
        at = np.arange(len(rows))
        middle = np.array([row.regret for row in rows])
        ends = np.abs(np.array([[row.low, row.high] for row in rows]).T - middle)
        averages = [row.strategy == "average" for row in rows]
        axis.errorbar(middle, at, xerr=ends, fmt="none", ecolor=canvas.GREY, elinewidth=1)
        axis.scatter(middle, at, s=16, c=[canvas.ORANGE if one else canvas.BLUE for one in averages], zorder=3)
        axis.set_yticks(at, [row.strategy for row in rows])
        axis.axvline(0, color=canvas.GREY, lw=0.6)
        # Short enough for half a page: the price of wrong answers stands in the rule's line.
        what = "worth of answers" if found.selection.wrong_cost else found.quantity
        axis.set(xlabel=f"regret in {what}", title=f"{protocol.name}, best {protocol.best:.3f}")
    rule = [part for line in found.selection.words() for part in textwrap.wrap(line, 60 * len(axes))]
    if rule:
        figure.set_figheight(figure.get_figheight() + 0.2 * len(rule))
        figure.suptitle("\n".join(rule), fontsize=8.5, x=0.02, ha="left")
    return canvas.save(figure, path)


@_styled
def plot_minima(found: IsoFlopMinima, path: str | Path | None = None) -> Figure:
    """Losses at each budget with their parabola and its minimum; the minima against budgets with their power laws."""
    figure, (left, middle, right) = _figure(3, 3.9)
    flops, n_params, _, loss = found.observed
    colours = _colours(len(found.budgets))
    shown = set(_levels(np.array([one.train_flops for one in found.budgets])).tolist())
    for one, colour in zip(found.budgets, colours, strict=True):
        rows = flops == one.train_flops
        left.plot(n_params[rows], loss[rows], "o", ms=2.5, color=colour)
        grid = np.geomspace(*one.sizes, 100)
        centre, *coefficients = one.parabola
        label = f"{format_flops(one.train_flops)} FLOP" if one.train_flops in shown else None
        curve = np.polynomial.Polynomial(coefficients)(np.log(grid) - centre)
        left.plot(grid, curve, "-", lw=1.2, color=colour, label=label)
        if one.inside:
            left.plot(one.n_params, one.loss, "k+", ms=6)
    left.set(xscale="log", xlabel="parameters N", ylabel="loss (nats per token)")
    _legend_below(left)
    budgets = np.array([one.train_flops for one in found.budgets])
    ends = np.geomspace(budgets.min(), budgets.max(), 50)
    for axis, law, label, best in (
        (middle, found.n_params, "best N", [one.n_params for one in found.budgets]),
        (right, found.n_tokens, "best D", [one.n_tokens for one in found.budgets]),
    ):
        inside = np.array([one.inside for one in found.budgets])
        axis.plot(ends, law.at(ends), "-", lw=1.2, color=canvas.BLUE, label=f"minima: C^{law.exponent:.3f}")
        for kind, mark in ((inside, "o"), (~inside, "x")):
            axis.plot(budgets[kind], np.array(best)[kind], mark, ms=4, color=canvas.BLUE)
        if axis is middle:
            for one in found.budgets:
                if one.interval is not None:
                    axis.plot([one.train_flops] * 2, one.interval, "-", lw=0.8, color=canvas.BLUE)
        axis.set(xscale="log", yscale="log", xlabel="training FLOP", ylabel=label)
    if found.law_exponents is not None:
        best_n, best_d = found.law_optima(ends)
        for axis, line, exponent in zip((middle, right), (best_n, best_d), found.law_exponents, strict=True):
            axis.plot(ends, line, "--", lw=1.2, color=canvas.ORANGE, label=f"law: C^{exponent:.3f}")
    for axis in (middle, right):
        _legend_below(axis)
    return canvas.save(figure, path)
