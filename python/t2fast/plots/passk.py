"""Figures of pass@k curves, comparisons and extrapolations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from t2fast.plots.canvas import save

if TYPE_CHECKING:
    from t2fast.passk import Extrapolation, PassComparison, PassCurve, PassReport


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
