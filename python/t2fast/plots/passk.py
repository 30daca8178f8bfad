"""Figures of pass@k curves, comparisons and extrapolations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from t2fast.passk.metrics import METRICS
from t2fast.plots.canvas import axis, save

if TYPE_CHECKING:
    from t2fast.passk import Extrapolation, MetricReport, PassComparison, PassCurve, PassReport, Versus


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.set_xlabel("k, samples per problem")
    axes.set_ylabel("pass@k")
    axes.grid(alpha=0.3)
    return figure, axes


def _band(axes: Axes, result: PassCurve | Extrapolation, color: str, label: str | None, style: str) -> None:
    k = np.asarray(result.k, float)
    # A few points say that nothing was worked out between them.
    axes.plot(k, result.pass_at_k, style, color=color, label=label, marker="o" if len(k) < 15 else "", markersize=3)
    axes.fill_between(k, result.lower, result.upper, color=color, alpha=0.18, linewidth=0)


def curve(result: PassCurve, path: str | Path | None = None) -> Figure:
    """Draw pass@k against k with its intervals as a band."""
    figure, axes = _figure()
    _band(axes, result, "C0", None, "-")
    what = "new samples of the same problems" if result.scope == "samples" else "new problems"
    axes.set_title(f"{result.n_problems} problems; {100 * result.confidence_level:g}% band for {what}", fontsize=10)
    axes.set_ylim(bottom=0)
    return save(figure, path)


def extrapolation(result: Extrapolation, path: str | Path | None = None) -> Figure:
    """Draw the prediction with its band; what lies beyond the samples drawn is shaded."""
    figure, axes = _figure()
    _band(axes, result, "C1", result.method.replace("_", " "), "--")
    axes.axvline(result.n_samples, color="gray", linewidth=1)
    axes.axvspan(result.n_samples, max(float(result.k.max()), result.n_samples), color="gray", alpha=0.08, linewidth=0)
    axes.annotate(f" n = {result.n_samples}", (result.n_samples, 0.02), xycoords=("data", "axes fraction"), fontsize=9)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return save(figure, path)


def comparison(result: PassComparison, path: str | Path | None = None) -> Figure:
    """Draw the difference of two models against k with its intervals."""
    figure, axes = _figure()
    axes.axhline(0, color="gray", linewidth=1)
    lower, upper = result.difference_interval.T
    bars = np.stack([result.difference - lower, upper - result.difference])
    axes.errorbar(result.k, result.difference, yerr=bars, fmt="o", capsize=3)
    axes.set_ylabel("difference in pass@k, first - second")
    axes.set_title(f"{result.n_problems} problems, paired; {100 * result.confidence_level:g}% intervals", fontsize=10)
    return save(figure, path)


def report(result: PassReport, path: str | Path | None = None) -> Figure:
    """Draw the curves of all models and benchmarks, extrapolations dashed."""
    figure, axes = _figure()
    several = len({benchmark for _, benchmark in result.names}) > 1
    for i, (name, one, beyond) in enumerate(zip(result.names, result.bands, result.extrapolations, strict=True)):
        model, benchmark = name
        label = " on ".join(part for part in (model, benchmark if several or not model else "") if part) or None
        _band(axes, one, f"C{i % 10}", label, "-")
        if beyond is not None:
            _band(axes, beyond, f"C{i % 10}", None, "--")
            # What leads there was not estimated.
            axes.plot([one.k[-1], beyond.k[0]], [one.pass_at_k[-1], beyond.pass_at_k[0]], ":", color=f"C{i % 10}")
    first = result.bands[0]
    what = "new samples" if first.scope == "samples" else "new problems"
    axes.set_title(f"{100 * first.confidence_level:g}% bands for {what}", fontsize=10)
    axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return save(figure, path)


#: What each metric's line looks like, where colours stand for models.
_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 2)))


def metrics(result: MetricReport, path: str | Path | None = None) -> Figure:
    """Draw the curves of all metrics, models and benchmarks; max@k, which is no rate, on axes of its own."""
    names = result.metrics.names
    rates, scores = [name for name in names if name != "max"], [name for name in names if name == "max"]
    panels = [part for part in (rates, scores) if part]
    figure = Figure(figsize=(6.4, 4.2 if len(panels) == 1 else 7.0), layout="constrained")
    ks, curves = result.curves
    several = len({benchmark for _, benchmark in result.names}) > 1
    grid = np.atleast_1d(np.asarray(figure.subplots(len(panels), 1, sharex=True)))
    for axes, part in zip(grid, panels, strict=True):
        axes.set_xscale("log")
        axes.grid(alpha=0.3)
        one_model, one_metric = len(curves) == 1, len(part) == 1
        for g, ((model, benchmark), (values, lower, upper)) in enumerate(zip(result.names, curves, strict=True)):
            where = " on ".join(word for word in (model, benchmark if several or not model else "") if word)
            for m, name in enumerate(part):
                at = names.index(name)
                color = f"C{(m if one_model else g) % 10}"
                label = ": ".join(
                    filter(None, ("" if one_model else where, "" if one_metric else result.metrics.label(name)))
                )
                mark = "o" if len(ks) < 15 and name != "avg" else ""
                axes.plot(
                    ks, values[at], linestyle=_STYLES[m], color=color, label=label or None, marker=mark, markersize=3
                )
                axes.fill_between(ks, lower[at], upper[at], color=color, alpha=0.15, linewidth=0)
        if part is rates:
            axes.set_ylim(bottom=0)
        axes.set_ylabel(result.metrics.label(part[0]) if one_metric else "share of problems")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    what = "new samples" if result.scope == "samples" else "new problems"
    title = f"{100 * result.confidence_level:g}% bands for {what}"
    if len(curves) == 1 and (name := " on ".join(filter(None, result.names[0]))):
        title = f"{name}; {title}"
    grid[0].set_title(title, fontsize=10)
    axis(grid[-1].xaxis, "k, samples per problem")
    return save(figure, path)


def versus(result: Versus, path: str | Path | None = None) -> Figure:
    """Draw the differences of two models against k, metric by metric, with their intervals."""
    figure, axes = _figure()
    axes.axhline(0, color="gray", linewidth=1)
    for i, one in enumerate(result.comparisons):
        lower, upper = one.difference_interval.T
        bars = np.stack([one.difference - lower, upper - one.difference])
        place = one.k * 1.03 ** (i - (len(result.comparisons) - 1) / 2)
        axes.errorbar(place, one.difference, yerr=bars, fmt="osD^vP*"[i % 7], capsize=3, label=METRICS[one.metric])
    axis(axes.xaxis, "k, samples per problem")
    axes.set_ylabel(f"{result.first} - {result.second}"[:60])
    first = result.comparisons[0]
    level = f"{100 * first.confidence_level:g}% intervals"
    axes.set_title(f"{first.n_problems} problems, paired; {level} ({first.method})", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    return save(figure, path)
