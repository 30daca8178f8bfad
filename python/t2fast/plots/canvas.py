"""What all figures share: a canvas that touches no global state, colours, axes in the field's units, hatching, saving.

Figures are a journal column wide and never set text below 8 points. Colours are Okabe and Ito's, told apart with any
colour vision; line styles and markers repeat what colour says, so greyscale loses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from t2fast.errors import T2Error
from t2fast.files import replacing
from t2fast.quantity import format_flops, format_quantity

__all__ = [
    "BLACK", "BLUE", "COLOURS", "GREEN", "GREY", "HATCHES", "ORANGE", "WIDTH",
    "axis", "format_of", "hatch_key", "hatched", "legend", "new", "note", "save", "style",
]  # fmt: skip

BLACK, BLUE, ORANGE, GREEN, GREY = "#111111", "#0072B2", "#D55E00", "#009E73", "#767676"

#: For models or metrics side by side, in this order; beyond them line styles must tell.
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", BLACK)

#: Inches; one column of a two-column page.
WIDTH = 3.5

#: A hatch for each quantity that can lie beyond the data: where regions overlap, both remain legible.
HATCHES = {"n_tokens": "////", "n_params": "....", "k": "\\\\\\\\"}

_STYLE: Any = {
    "font.size": 8, "axes.titlesize": 8.5, "axes.labelsize": 8, "xtick.labelsize": 8, "ytick.labelsize": 8,
    "legend.fontsize": 8, "axes.linewidth": 0.7, "lines.linewidth": 1.6, "hatch.linewidth": 0.5,
    "axes.spines.top": False, "axes.spines.right": False, "savefig.dpi": 160, "figure.dpi": 100,
    "text.usetex": False,
}  # fmt: skip


def style() -> AbstractContextManager[None]:
    """Apply the house's settings while a figure is built; the user's own come back afterwards."""
    return matplotlib.rc_context(_STYLE)


def new(height: float) -> Figure:
    """Make an empty figure one column wide, known to no window and no registry."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | Path | None) -> Figure:
    """Write a figure if a path is given, the suffix deciding the format, and hand it back.

    Raises
    ------
    T2Error
        For a suffix that names no format, or a path that cannot be written.
    """
    _as_written(figure)
    if path is None:
        return figure
    path, kind = format_of(path)
    with style(), replacing(path) as beside:
        figure.savefig(beside, format=kind)
    return figure


def _as_written(figure: Figure) -> None:
    """Show texts as they are, prices in dollars too. Numbers on axes are matplotlib's own."""
    own = {
        id(text)
        for axes in figure.axes
        for one in (axes.xaxis, axes.yaxis)
        for text in one.findobj(Text)
        if text is not one.label
    }
    for text in figure.findobj(Text):
        if isinstance(text, Text) and id(text) not in own:
            text.set_parse_math(False)


def format_of(path: str | Path, name: str = "path") -> tuple[Path, str]:
    """The path and the format that its suffix names.

    Raises
    ------
    T2Error
        For a suffix that names none.
    """
    path, known = Path(path), FigureCanvasAgg.get_supported_filetypes()
    kind = path.suffix[1:].lower()
    if kind not in known:
        raise T2Error(f"{name} = '{path}': the suffix decides the format; use one of .{', .'.join(sorted(known))}")
    return path, kind


def axis(of: Axis, label: str, *, flops: bool = False, ticks: int = 7) -> None:
    """Make an axis logarithmic, with ticks as people write them: 100M, 1B, or 1e20 for FLOP; set the limits before."""
    if isinstance(of, XAxis):
        of.axes.set_xscale("log")
    else:
        of.axes.set_yscale("log")
    low, high = sorted(of.get_view_interval())
    # Within little more than a decade, powers of ten alone would leave an axis without numbers.
    steps = (1.0, 2.0, 5.0) if high / low < 10**1.5 else (1.0,)
    of.set_major_locator(LogLocator(10, subs=steps, numticks=ticks))
    of.set_major_formatter(
        FuncFormatter(lambda value, _: (format_flops if flops or value >= 1e15 else format_quantity)(value))
    )
    of.set_minor_formatter(NullFormatter())
    of.set_label_text(label)


def hatched(axes: Axes, x: tuple[float, float], y: tuple[float, float] | None, name: str) -> None:
    """Hatch a region for the quantity that lies beyond the data there; without ``y``, over the whole height."""
    kind: dict[str, Any] = {
        "facecolor": "none",
        "edgecolor": GREY,
        "linewidth": 0.0,
        "hatch": HATCHES[name],
        "zorder": 0.5,
    }
    if y is None:
        axes.axvspan(*x, **kind)
    else:
        axes.fill_between(list(x), y[0], y[1], **kind)


def note(text: str) -> Patch:
    """Make a line of text for a legend."""
    return Patch(facecolor="none", edgecolor="none", label=text)


def hatch_key(name: str, text: str) -> Patch:
    """Make a legend's entry for a hatched region."""
    return Patch(facecolor="none", edgecolor=GREY, linewidth=0.0, hatch=HATCHES[name], label=text)


def legend(figure: Figure, handles: Sequence[Artist], columns: int = 1) -> Artist:
    """Put the legend below all axes, where it can hide nothing."""
    return figure.legend(
        handles=list(handles), loc="outside lower left", ncols=columns, frameon=False, handlelength=2.2,
        labelspacing=0.35, columnspacing=1.2, borderaxespad=0.2,
    )  # fmt: skip
