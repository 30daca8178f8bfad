"""Figures of pass@k curves, comparisons and extrapolations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from t2fast.passk.metrics import METRICS
from t2fast.plots import canvas
from t2fast.plots.canvas import BLUE, COLOURS, GREY, ORANGE

if TYPE_CHECKING:
    from t2fast.passk import Extrapolation, MetricReport, PassComparison, PassCurve, PassReport, Versus

_K = "k, samples per problem"


def _figure() -> tuple[Figure, Axes]:
    figure = canvas.new(3.0)
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_ylabel("pass@k")
    return figure, axes


def _band(axes: Axes, result: PassCurve | Extrapolation, color: str, label: str | None, style: Any) -> None:
    k = np.asarray(result.k, float)
    # A few points say that nothing was worked out between them.
    axes.plot(
        k, result.pass_at_k, linestyle=style, color=color, label=label, marker="o" if len(k) < 15 else "", markersize=3
    )
    if len(k) == 1:
        axes.vlines(k, result.lower, result.upper, color=color, linewidth=1)
    else:
        axes.fill_between(k, result.lower, result.upper, color=color, alpha=0.18, linewidth=0)


def _saved(figure: Figure, title: str, path: str | Path | None, columns: int = 2) -> Figure:
    """The figure with its title, its axis of k and, where lines have names, its legend."""
    figure.suptitle(title, fontsize=8.5, x=0.02, ha="left")
    canvas.axis(figure.axes[-1].xaxis, _K)
    handles = [handle for axes in figure.axes for handle in axes.get_legend_handles_labels()[0]]
    if handles:
        wide = any(len(str(handle.get_label())) > 22 for handle in handles)
        canvas.legend(figure, handles, 1 if wide else columns)
        # Long legends get room of their own.
        figure.set_figheight(figure.get_figheight() + 0.16 * np.ceil(len(handles) / (1 if wide else columns)))
    return canvas.save(figure, path)


def curve(result: PassCurve, path: str | Path | None = None) -> Figure:
    """Draw pass@k against k with its intervals as a band."""
    with canvas.style():
        figure, axes = _figure()
        _band(axes, result, BLUE, None, "-")
        axes.set_ylim(bottom=0)
        what = "new samples of the same problems" if result.scope == "samples" else "new problems"
        title = f"{result.n_problems} problems; {100 * result.confidence_level:g}% band for {what}"
        return _saved(figure, title, path)


def extrapolation(result: Extrapolation, path: str | Path | None = None) -> Figure:
    """Draw the prediction with its band; what lies beyond the samples drawn is shaded."""
    with canvas.style():
        figure, axes = _figure()
        _band(axes, result, ORANGE, None, "--")
        axes.axvline(result.n_samples, color=GREY, linewidth=1)
        most = max(float(result.k.max()), result.n_samples)
        axes.axvspan(result.n_samples, most, color=GREY, alpha=0.08, linewidth=0)
        axes.set_xlim(right=most * 1.05)
        axes.annotate(f" n = {result.n_samples}", (result.n_samples, 0.02), xycoords=("data", "axes fraction"))
        axes.set_ylim(bottom=0)
        level = f"{100 * result.confidence_level:g}% band"
        return _saved(figure, f"extrapolated by {result.method.replace('_', ' ')}; {level}", path)


def comparison(result: PassComparison, path: str | Path | None = None) -> Figure:
    """Draw the difference of two models against k with its intervals."""
    with canvas.style():
        figure, axes = _figure()
        axes.axhline(0, color=GREY, linewidth=1)
        lower, upper = result.difference_interval.T
        bars = np.stack([result.difference - lower, upper - result.difference])
        axes.errorbar(result.k, result.difference, yerr=bars, fmt="o", markersize=4, capsize=3, color=BLUE)
        axes.set_ylabel("difference in pass@k, first - second")
        title = f"{result.n_problems} problems, paired; {100 * result.confidence_level:g}% intervals"
        return _saved(figure, title, path)


def report(result: PassReport, path: str | Path | None = None) -> Figure:
    """Draw the curves of all models and benchmarks, extrapolations dashed."""
    with canvas.style():
        figure, axes = _figure()
        several = len({benchmark for _, benchmark in result.names}) > 1
        for i, (name, one, beyond) in enumerate(zip(result.names, result.bands, result.extrapolations, strict=True)):
            model, benchmark = name
            label = " on ".join(part for part in (model, benchmark if several or not model else "") if part) or None
            color, style = COLOURS[i % len(COLOURS)], _STYLES[i // len(COLOURS) % len(_STYLES)]
            _band(axes, one, color, label, style)
            if beyond is not None:
                _band(axes, beyond, color, None, "--")
                # What leads there was not estimated.
                axes.plot([one.k[-1], beyond.k[0]], [one.pass_at_k[-1], beyond.pass_at_k[0]], ":", color=color)
        axes.set_ylim(bottom=0)
        first = result.bands[0]
        what = "new samples" if first.scope == "samples" else "new problems"
        beyond_said = "; dotted: extrapolated" if any(one is not None for one in result.extrapolations) else ""
        return _saved(figure, f"{100 * first.confidence_level:g}% bands for {what}{beyond_said}", path)


#: What each metric's line looks like, where colours stand for models.
_STYLES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 2)))


def metrics(result: MetricReport, path: str | Path | None = None) -> Figure:
    """Draw the curves of all metrics, models and benchmarks; max@k, which is no rate, on axes of its own."""
    names = result.metrics.names
    rates, scores = [name for name in names if name != "max"], [name for name in names if name == "max"]
    panels = [part for part in (rates, scores) if part]
    ks, curves = result.curves
    several = len({benchmark for _, benchmark in result.names}) > 1
    with canvas.style():
        figure = canvas.new(3.0 if len(panels) == 1 else 5.2)
        grid = np.atleast_1d(np.asarray(figure.subplots(len(panels), 1, sharex=True)))
        for axes, part in zip(grid, panels, strict=True):
            axes.set_xscale("log")
            one_model, one_metric = len(curves) == 1, len(part) == 1
            for g, ((model, benchmark), (values, lower, upper)) in enumerate(zip(result.names, curves, strict=True)):
                where = " on ".join(word for word in (model, benchmark if several or not model else "") if word)
                for m, name in enumerate(part):
                    at = names.index(name)
                    color = COLOURS[(m if one_model else g) % len(COLOURS)]
                    label = ": ".join(
                        filter(None, ("" if one_model else where, "" if one_metric else result.metrics.label(name)))
                    )
                    mark = "o" if len(ks) < 15 and name != "avg" else ""
                    line: dict[str, Any] = {"linestyle": _STYLES[m], "marker": mark, "markersize": 3}
                    axes.plot(ks, values[at], color=color, label=label or None, **line)
                    axes.fill_between(ks, lower[at], upper[at], color=color, alpha=0.13, linewidth=0)
            if part is rates:
                axes.set_ylim(bottom=0)
            axes.set_ylabel(result.metrics.label(part[0]) if one_metric else "share of problems")
        what = "new samples" if result.scope == "samples" else "new problems"
        title = f"{100 * result.confidence_level:g}% bands for {what}"
        if len(curves) == 1 and (name := " on ".join(filter(None, result.names[0]))):
            title = f"{name}; {title}"
        return _saved(figure, title, path)


def versus(result: Versus, path: str | Path | None = None) -> Figure:
    """Draw the differences of two models against k, metric by metric, with their intervals."""
    with canvas.style():
        figure, axes = _figure()
        axes.axhline(0, color=GREY, linewidth=1)
        for i, one in enumerate(result.comparisons):
            lower, upper = one.difference_interval.T
            bars = np.stack([one.difference - lower, upper - one.difference])
            place = one.k * 1.03 ** (i - (len(result.comparisons) - 1) / 2)
            drawn: dict[str, Any] = {
                "color": COLOURS[i % len(COLOURS)],
                "label": METRICS[one.metric],
                "markersize": 4,
                "capsize": 3,
            }
            axes.errorbar(place, one.difference, yerr=bars, fmt="osD^vP*"[i % 7], **drawn)
        axes.set_ylabel(f"{result.first} - {result.second}"[:60])
        first = result.comparisons[0]
        level = f"{100 * first.confidence_level:g}% intervals"
        return _saved(figure, f"{first.n_problems} problems, paired; {level} ({first.method})", path)
