"""Figures of plans, sweeps, isoFLOP curves and grids. What lies beyond the data behind a law is hatched or dashed.

Every function returns a :class:`matplotlib.figure.Figure` of its own and, given a path, saves it in the format that the
suffix names; a :class:`t2fast.T2Error` says when that is impossible.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from t2fast.costs import Budget
from t2fast.errors import InfeasibleError, T2Error
from t2fast.laws import DataRange, Law
from t2fast.planning import Design, Frontier, Grid, IsoFlop, Plan
from t2fast.planning import isoflop as follow
from t2fast.plots import canvas
from t2fast.plots.canvas import BLACK, BLUE, GREEN, GREY, ORANGE
from t2fast.quantity import format_flops, format_quantity

__all__ = ["frontier", "grid", "isoflop", "plan"]

_Floats = NDArray[np.float64]
_Name = Literal["n_params", "n_tokens", "k"]

_NAMES: tuple[_Name, ...] = ("n_tokens", "n_params", "k")
_SYMBOLS = {"n_params": "N", "n_tokens": "D", "k": "k"}
_LABELS = {"n_params": "parameters N", "n_tokens": "training tokens D", "k": "samples k"}


def _result(law: Law) -> str:
    if law.predicts_pass:
        return "pass@k"
    return "loss (nats per token)" if law.kind == "chinchilla" else "mean −log pass@k (nats)"


def _value(design: Design) -> float:
    return design.loss if design.pass_at_k is None else design.pass_at_k


def _title(figure: Figure, law: Law, budget: str) -> None:
    figure.suptitle(f"{law.name or f'{law.kind} law'}\n{budget}", fontsize=8.5, x=0.02, ha="left")


def _words(budget: Budget) -> str:
    costs = {"training": budget.train_flops, "inference": budget.inference_flops, "in total": budget.total_flops}
    said = [f"{format_flops(flops)} {name}" for name, flops in costs.items() if flops is not None]
    return f"FLOP: {', '.join(said)}" if said else "no FLOP budget"


def _sides(law: Law, design: Design) -> list[tuple[_Name, bool]]:
    """Which of N, D and k lie beyond the data, and whether above."""
    beyond = design.extrapolation(law)
    if beyond is None:
        return []
    return [(name, getattr(beyond, name) > 1) for name in _NAMES if getattr(beyond, name) != 1.0]


def _limit(data: DataRange, name: str, above: bool) -> float:
    low, high = getattr(data, name)
    return float(high if above else low)


def _beyond_keys(law: Law, found: set[tuple[_Name, bool]]) -> list[Patch]:
    """Legend entries for the hatched regions: one a quantity, naming the data's ends that are passed."""
    if law.data_range is None:
        return [canvas.note("range of the data behind this law: unknown")]
    keys = []
    for name in _NAMES:
        ends = [
            f"{_SYMBOLS[name]} {'>' if above else '<'} {format_quantity(_limit(law.data_range, name, above))}"
            for above in (False, True)
            if (name, above) in found
        ]
        if ends:
            keys.append(canvas.hatch_key(name, f"beyond the data: {' or '.join(ends)}"))
    return keys


def _better(law: Law, one: Design, other: Design) -> bool:
    return _value(one) > _value(other) if law.predicts_pass else _value(one) < _value(other)


def _curve(law: Law, budget: Budget, sizes: _Floats) -> list[Design]:
    """Find the best D and k (real) at each of many N: isoFLOP curves at many shares of the budget.

    Spending all of a training budget is best unless the law falls with D; out of a budget for both, training gets the
    share that serves best.
    """
    given = [flops for flops in (budget.train_flops, budget.total_flops) if flops is not None]
    if not given and budget.max_tokens is None:
        raise T2Error("the budget leaves D unbounded: give train_flops, total_flops or max_tokens")
    most = min(given) if given else budget._handle.train_flops(float(sizes[-1]), float(budget.max_tokens or 0))

    def at(odds: float, sizes: _Floats) -> dict[float, Design]:
        train = most / (1 + math.exp(-odds))
        limits = [budget.inference_flops] if budget.inference_flops is not None else []
        if budget.total_flops is not None:
            limits.append(budget.total_flops - train)
        if limits and min(limits) <= 0:
            return {}
        part = replace(budget, train_flops=train, total_flops=None, inference_flops=min(limits) if limits else None)
        try:
            found = follow(law, part, sizes).designs
            # A law without k takes k = 1 at any inference budget; here that too must be paid for.
            return {d.n_params: d for d in found if not limits or d.inference_flops <= min(limits) * (1 + 1e-12)}
        except InfeasibleError:
            return {}

    best: dict[float, tuple[float, Design]] = {}

    def look(odds: float, sizes: _Floats) -> None:
        for n, design in at(odds, sizes).items():
            if n not in best or _better(law, design, best[n][1]):
                best[n] = (odds, design)

    look(math.inf, sizes)
    step = 0.5
    for odds in np.arange(16, -16 - step, -step):
        look(float(odds), sizes)
    for n, (start, _) in list(best.items()):
        if math.isinf(start):
            continue
        width = step
        for _ in range(4):
            centre = best[n][0]
            for place in (-0.75, -0.5, -0.25, 0.25, 0.5, 0.75):
                look(centre + place * width, np.array([n]))
            width /= 4
    return [best[n][1] for n in sorted(best)]


def _spans(law: Law, curve: Sequence[Design]) -> list[tuple[_Name, bool, float, float]]:
    """Find the intervals of N along a curve on which N, D or k lies beyond the data, with the side."""
    data = law.data_range
    if data is None:
        return []
    sides = [_sides(law, design) for design in curve]
    x = np.log([design.n_params for design in curve])
    found: list[tuple[_Name, bool, float, float]] = []
    for name in _NAMES:
        y = np.log([getattr(design, name) for design in curve])
        for above in (False, True):
            inside = [(name, above) not in side for side in sides]
            limit = math.log(_limit(data, name, above))

            def crossing(i: int, y: _Floats = y, limit: float = limit) -> float:
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


def plan(plan: Plan, path: str | Path | None = None) -> Figure:
    """Draw the result, D and k against N, D and k chosen best for each N; the designs of the plan marked.

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
    marked = {
        "recommended": (plan.design, "*", 11.0, BLACK, BLACK),
        "inside the data": (plan.inside_data, "o", 6.5, "white", ORANGE),
        "Chinchilla-style": (plan.chinchilla, "D", 5.5, "white", GREEN),
    }
    shown = [design for design, *_ in marked.values() if design is not None]
    ends = [*plan.flat_n_params, *(design.n_params for design in shown)]
    sizes = np.unique([*np.geomspace(min(ends) / 6, max(ends) * 6, 161), plan.continuous.n_params])
    # The optimum itself is known better than a sweep finds it.
    curve = sorted(
        [d for d in _curve(law, plan.budget, sizes) if d.n_params != plan.continuous.n_params] + [plan.continuous],
        key=lambda design: design.n_params,
    )
    x = [design.n_params for design in curve]
    spans = _spans(law, curve)
    has_k = law.kind != "chinchilla"

    with canvas.style():
        figure = canvas.new(4.6)
        top, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.7, 1))
        _title(figure, law, _words(plan.budget))

        top.plot(x, [_value(design) for design in curve], color=BLUE, zorder=3)
        keys: list[Line2D | Patch] = [Line2D([], [], color=BLUE, label=f"best D{' and k' if has_k else ''} for each N")]
        for label, (design, marker, size, face, edge) in marked.items():
            if design is None:
                continue
            mark: dict[str, Any] = {
                "marker": marker, "markersize": size, "color": face, "markeredgecolor": edge, "linestyle": "none",
                "markeredgewidth": 1.4 if face == "white" else 0.5,
            }  # fmt: skip
            samples = f", k {format_quantity(design.k, 4)}" if has_k else ""
            said = f"{label}: D/N {format_quantity(design.tokens_per_param)}{samples}"
            # Designs may coincide: the larger, hollow ones go below, so that each can be seen.
            at = [design.n_params], [_value(design)]
            (line,) = top.plot(*at, label=said, zorder=6 - size / 20, clip_on=False, **mark)
            keys.append(line)
        top.axvspan(*plan.flat_n_params, color=BLUE, alpha=0.15, linewidth=0, zorder=0.4, label="flat")
        low, high = (format_quantity(end) for end in plan.flat_n_params)
        keys.append(Patch(facecolor=BLUE, alpha=0.15, label=f"within 1% of the best: N {low} to {high}"))
        _result_limits(top, law, [_value(design) for design in curve], [_value(design) for design in shown])
        top.set_ylabel(_result(law))

        _draw_tokens_and_samples(below, law, curve, x, has_k)
        for axes in (top, below):
            for name, _, left, right in spans:
                canvas.hatched(axes, (left, right), None, name)
        below.set_xlim(min(x[0], *ends), max(x[-1], *ends))
        canvas.axis(below.xaxis, _LABELS["n_params"])
        keys += _beyond_keys(law, {(name, above) for name, above, *_ in spans})
        if data is not None:
            keys.append(Line2D([], [], color=GREY, linestyle=":", label="ends of the data"))
        canvas.legend(figure, keys)
    return canvas.save(figure, path)


def _result_limits(axes: Axes, law: Law, curve: Sequence[float], marked: Sequence[float]) -> None:
    """Success rates from zero; losses near the best, because at the ends of a curve they shoot up."""
    if law.predicts_pass:
        axes.set_ylim(0, 1.12 * max(*curve, *marked))
        return
    low = min(*curve, *marked)
    high = max(*marked, float(np.quantile(curve, 0.8)))
    axes.set_ylim(low - 0.08 * (high - low), high + 0.12 * (high - low))


def _draw_tokens_and_samples(axes: Axes, law: Law, curve: Sequence[Design], x: Sequence[float], has_k: bool) -> None:
    """D on the left axis and k on the right, the ranges chosen so that the two lines do not cross."""
    sides: list[tuple[Axes, _Name, str, str]] = [(axes, "n_tokens", BLUE, "-")]
    if has_k:
        twin = axes.twinx()
        twin.spines["right"].set_visible(True)
        sides.append((twin, "k", ORANGE, "--"))
    for side, name, colour, line in sides:
        values = [getattr(design, name) for design in curve]
        side.plot(x, values, color=colour, linestyle=line, zorder=3)
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
        canvas.axis(side.yaxis, f"{_SYMBOLS[name]} ({'tokens, solid' if name == 'n_tokens' else 'dashed'})", ticks=5)
        if has_k:
            side.yaxis.label.set_color(colour)
            side.tick_params(axis="y", colors=colour, which="both")


def _split(axes: Axes, x: _Floats, y: _Floats, beyond: NDArray[np.bool_], **kind: Any) -> None:
    """Draw a line, thinner and dotted where it lies beyond the data."""
    # A stretch between two points counts as inside when both are.
    stretch = beyond[:-1] | beyond[1:]
    inner, outer = np.full((len(x), 2), np.nan), np.full((len(x), 2), np.nan)
    for part, chosen in ((inner, ~stretch), (outer, stretch)):
        for i in np.flatnonzero(chosen):
            part[i : i + 2] = np.column_stack([x, y])[i : i + 2]
    if np.isfinite(inner).any():
        axes.plot(inner[:, 0], inner[:, 1], **kind)
    if np.isfinite(outer).any():
        axes.plot(outer[:, 0], outer[:, 1], **kind | {"linestyle": ":", "linewidth": 1.2, "gid": "beyond"})


def _outside(law: Law, designs: Sequence[Design]) -> NDArray[np.bool_]:
    return np.array([bool(_sides(law, design)) for design in designs], dtype=np.bool_)


def _shades(count: int) -> list[str]:
    """Colours that rise in lightness, dark first, distinct in grey too."""
    return [to_hex(matplotlib.colormaps["viridis"](0.85 * i / max(1, count - 1))) for i in range(count)]


def _labels(budgets: Sequence[Budget], without: tuple[str, ...]) -> list[str]:
    """Say what tells budgets apart; of a single one its inference budget."""
    rows = [{k: v for k, v in vars(budget).items() if k in Budget.__dataclass_fields__} for budget in budgets]
    varying = [key for key in rows[0] if key not in without and any(row[key] != rows[0][key] for row in rows)]
    if not varying:
        varying = ["inference_flops"] if rows[0]["inference_flops"] is not None else []
    names = {
        "train_flops": "training", "inference_flops": "inference", "total_flops": "in total", "max_params": "most N",
        "max_tokens": "most D", "max_k": "most k", "unique_tokens": "unique tokens",
    }  # fmt: skip

    def words(key: str, value: Any) -> str:
        if key == "workload":
            prompt, answer = (format_quantity(x) for x in (value.prompt_tokens, value.answer_tokens))
            return f"{format_quantity(value.queries)} queries of {prompt} + {answer} tokens"
        if value is None:
            return f"{names[key]} unlimited"
        if key.endswith("flops"):
            return f"{format_flops(value)} FLOP {names[key]}"
        return f"{names[key]} {format_quantity(value)}"

    return [", ".join(words(key, row[key]) for key in varying) for row in rows]


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
    groups: dict[Budget, list[Plan]] = {}
    for one in frontier.plans:
        groups.setdefault(replace(one.budget, train_flops=None, total_flops=None), []).append(one)
    labels = _labels(list(groups), ("train_flops", "total_flops"))
    names = ("tokens_per_param", "n_params", "n_tokens")

    with canvas.style():
        figure = canvas.new(5.6 + 0.17 * len(groups))
        panels = dict(zip(names, figure.subplots(3, 1, sharex=True), strict=True))
        costs = [d.train_flops for one in frontier.plans for d in (one.design, one.chinchilla) if d is not None]
        reach = (min(costs) / 1.3, max(costs) * 1.3)
        spent = "train" if all(one.budget.total_flops is None for one in frontier.plans) else "total"
        _title(figure, law, f"optima along a sweep of {'training' if spent == 'train' else 'total'} budgets")
        keys: list[Line2D | Patch] = []
        everything: dict[str, list[float]] = {name: [] for name in names}
        for plans, label, colour in zip(groups.values(), labels, _shades(len(groups)), strict=True):
            designs = sorted((one.design for one in plans), key=lambda design: design.train_flops)
            x = np.array([design.train_flops for design in designs])
            beyond = _outside(law, designs)
            for name, axes in panels.items():
                y = np.array([getattr(design, name) for design in designs])
                everything[name] += y.tolist()
                _split(axes, x, y, beyond, color=colour, zorder=4)
                if len(x) <= 12:
                    for part, face in ((~beyond, colour), (beyond, "white")):
                        axes.plot(x[part], y[part], "o", markersize=3.5, color=colour, markerfacecolor=face, zorder=5)
            keys.append(Line2D([], [], label=label or "recommended", color=colour))
        line = _chinchilla_line(frontier.plans)
        rule = np.geomspace(*reach, 50)
        sizes = _size_at_ratio(frontier.plans[0].budget, rule, 20.0)
        for name, axes in panels.items():
            y = np.array([getattr(design, name) for design in line])
            everything[name] += y.tolist()
            axes.plot([d.train_flops for d in line], y, color=GREY, linewidth=1.2, zorder=3, gid="chinchilla")
            twenty = {"tokens_per_param": np.full(50, 20.0), "n_params": sizes, "n_tokens": 20 * sizes}[name]
            everything[name] += twenty.tolist()
            axes.plot(rule, twenty, color=GREY, linewidth=1.2, linestyle=(0, (5, 3)), zorder=3, gid="20:1")
        if line:
            keys.append(Line2D([], [], color=GREY, linewidth=1.2, label="Chinchilla-style (k chosen last)"))
        keys.append(Line2D([], [], color=GREY, linewidth=1.2, linestyle=(0, (5, 3)), label="20 tokens per parameter"))

        outer = {side for one in frontier.plans for side in _sides(law, one.design)}
        for name, axes in panels.items():
            low, high = min(everything[name]), max(everything[name])
            axes.set_ylim(low / 2, high * 2)
            canvas.axis(axes.yaxis, "D / N" if name == "tokens_per_param" else _LABELS[name], ticks=6)
        figure.align_ylabels(list(panels.values()))
        panels["n_tokens"].set_xlim(*reach)
        canvas.axis(panels["n_tokens"].xaxis, "FLOP spent on training", flops=True)
        hatches: set[tuple[_Name, bool]] = set()
        if data is not None:
            for name, above in sorted(outer):
                if name == "k":
                    continue
                hatches.add((name, above))
                end = _limit(data, name, above)
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
        keys += _beyond_keys(law, hatches)
        if outer:
            said = "optima with N, D or k beyond the data"
            keys.append(Line2D([], [], color=BLACK, linestyle=":", linewidth=1.2, label=said))
        canvas.legend(figure, keys)
    return canvas.save(figure, path)


def _chinchilla_line(plans: Sequence[Plan]) -> list[Design]:
    """The Chinchilla-style designs by training cost; where inference budgets leave a choice, that of the least loss."""
    best: dict[tuple[float | None, float | None], Design] = {}
    for one in plans:
        place, design = (one.budget.train_flops, one.budget.total_flops), one.chinchilla
        if design is not None and (place not in best or design.loss < best[place].loss):
            best[place] = design
    return sorted(best.values(), key=lambda design: design.train_flops)


def _size_at_ratio(budget: Budget, costs: _Floats, ratio: float) -> _Floats:
    """N that spends each training cost at a given D / N, attention included if the budget counts it."""
    sizes = np.geomspace(1e3, 1e15, 400)
    spent = [budget._handle.train_flops(float(n), float(n) * ratio) for n in sizes]
    return np.asarray(np.exp(np.interp(np.log(costs), np.log(spent), np.log(sizes))))


def _ratio_at(budget: Budget, costs: _Floats, name: _Name, value: float) -> _Floats:
    """D / N of the design that spends each training cost with a given N or D."""
    if name == "n_params":
        return np.asarray(costs / budget._handle.train_flops(value, 1.0) / value)
    sizes = np.geomspace(1.0, 1e18, 600)
    spent = [budget._handle.train_flops(float(n), value) for n in sizes]
    return np.asarray(value / np.exp(np.interp(np.log(costs), np.log(spent), np.log(sizes))))


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
    curves.sort(key=lambda one: one.budget.train_flops or 0.0)
    with canvas.style():
        figure = canvas.new(3.4 + 0.17 * (len(curves) + 1) / 2)
        axes = figure.subplots()
        inference = {one.budget.inference_flops for one in curves} - {None}
        shared = f", {format_flops(inference.copy().pop() or 0)} FLOP inference" if len(inference) == 1 else ""
        _title(figure, law, f"isoFLOP curves{shared}")
        keys: list[Line2D | Patch] = []
        labels = _labels([one.budget for one in curves], ())
        if len(curves) == 1:
            labels = [f"{format_flops(curves[0].budget.train_flops or 0)} FLOP training"]
        any_beyond = False
        for one, label, colour in zip(curves, labels, _shades(len(curves)), strict=True):
            beyond = _outside(law, one.designs)
            any_beyond |= bool(beyond.any())
            y = np.array([_value(design) for design in one.designs])
            _split(axes, one.column("n_params"), y, beyond, color=colour)
            keys.append(Line2D([], [], label=label, color=colour))
        best = [one.best for one in curves]
        joined: dict[str, Any] = {
            "color": BLACK, "linewidth": 1, "marker": "o", "markersize": 4.5, "markerfacecolor": "white",
            "label": "optima",
        }  # fmt: skip
        # Optima of different inference budgets are different families: each is joined by itself.
        families: dict[Budget, list[Design]] = {}
        for one in curves:
            families.setdefault(replace(one.budget, train_flops=None), []).append(one.best)
        for family in families.values():
            lines = axes.plot([d.n_params for d in family], [_value(d) for d in family], zorder=5, **joined)
        keys += lines
        values = [_value(design) for one in curves for design in one.designs]
        _result_limits(axes, law, values, [_value(d) for d in best])
        sizes = np.concatenate([one.column("n_params") for one in curves])
        axes.set_xlim(float(sizes.min()) / 1.05, float(sizes.max()) * 1.05)
        canvas.axis(axes.xaxis, _LABELS["n_params"])
        axes.set_ylabel(_result(law))
        if any_beyond:
            keys.append(Line2D([], [], color=BLACK, linestyle=":", linewidth=1.2, label="beyond the data"))
        if law.data_range is None:
            keys += _beyond_keys(law, set())
        canvas.legend(figure, keys, 2 if max(len(str(key.get_label())) for key in keys) < 24 else 1)
    return canvas.save(figure, path)


def grid(grid: Grid, path: str | Path | None = None) -> Figure:
    """Draw a heat map over N and D of the law at the best affordable k, the budget's edge and the best point.

    What no k makes affordable is grey; what lies beyond the data behind the law is hatched.

    Parameters
    ----------
    grid
        From :func:`t2fast.grid_search` with ``surface=True``.
    path
        Where to save the figure; the suffix decides the format.

    Raises
    ------
    T2Error
        For a search without its surface, and for a path that cannot be written.
    """
    if grid.surface is None:
        raise T2Error("this search kept no surface to draw: call grid_search(..., surface=True)")
    law, data = grid.law, grid.law.data_range
    values, chosen = _best_over_k(grid)
    n_edges, d_edges = _edges(grid.n_params), _edges(grid.n_tokens)
    # Without viridis' darkest third, on which no hatch would show; bright is good.
    shades = matplotlib.colormaps["viridis"](np.linspace(0.33, 1, 256))
    colours = ListedColormap(shades if law.predicts_pass else shades[::-1])
    has_k = law.kind != "chinchilla"

    with canvas.style():
        figure = canvas.new(4.1)
        axes = figure.subplots()
        _title(figure, law, _words(grid.budget))
        axes.set_facecolor("#D9D9D9")
        mesh = axes.pcolormesh(
            n_edges, d_edges, np.ma.masked_invalid(values.T), cmap=colours, rasterized=True, zorder=0.2
        )
        axes.set_xlim(n_edges[0], n_edges[-1])
        axes.set_ylim(d_edges[0], d_edges[-1])
        suffix = "\nat the best affordable k" if has_k else ""
        figure.colorbar(mesh, ax=axes, label=f"{_result(law)}{suffix}", pad=0.02)
        keys: list[Line2D | Patch] = []
        edge_n, edge_d = _budget_edge(grid, n_edges, d_edges)
        if len(edge_n):
            (line,) = axes.plot(edge_n, edge_d, color=BLACK, linewidth=1.2, zorder=3, label="edge of the budget")
            keys.append(line)
        if np.isnan(values).any():
            keys.append(Patch(facecolor="#D9D9D9", label="not affordable at any k of the grid"))
        best = grid.best
        samples = f", k {format_quantity(best.k, 4)}" if has_k else ""
        (star,) = axes.plot(
            [best.n_params], [best.n_tokens], "*", markersize=12, color="white", markeredgecolor=BLACK, zorder=6,
            linestyle="none", clip_on=False,
            label=f"best: N {format_quantity(best.n_params)}, D {format_quantity(best.n_tokens)}{samples}",
        )  # fmt: skip
        keys.append(star)
        found: set[tuple[_Name, bool]] = set()
        if data is not None:
            whole = {"n_params": (n_edges[0], n_edges[-1]), "n_tokens": (d_edges[0], d_edges[-1])}
            for name, (low, high) in whole.items():
                for above in (False, True):
                    end = _limit(data, name, above)
                    part = (max(end, low), high) if above else (low, min(end, high))
                    if part[0] >= part[1]:
                        continue
                    found.add((name, above))  # type: ignore[arg-type]
                    x, y = (part, whole["n_tokens"]) if name == "n_params" else (whole["n_params"], part)
                    _hatch_cell(axes, x, y, name)
            if has_k:
                low_k, high_k = data.k
                for above, mask in ((False, chosen < low_k * (1 - 1e-9)), (True, chosen > high_k * (1 + 1e-9))):
                    for i, (start, stop) in _runs(mask):
                        found.add(("k", above))
                        _hatch_cell(axes, (n_edges[i], n_edges[i + 1]), (d_edges[start], d_edges[stop]), "k")
        keys += _beyond_keys(law, found)
        canvas.axis(axes.xaxis, _LABELS["n_params"])
        canvas.axis(axes.yaxis, _LABELS["n_tokens"])
        axes.spines[["top", "right"]].set_visible(True)
        canvas.legend(figure, keys)
    return canvas.save(figure, path)


def _hatch_cell(axes: Axes, x: tuple[float, float], y: tuple[float, float], name: str) -> None:
    kind: dict[str, Any] = {"facecolor": "none", "edgecolor": "#3A3A3A", "linewidth": 0, "hatch": canvas.HATCHES[name]}
    axes.add_patch(Rectangle((x[0], y[0]), x[1] - x[0], y[1] - y[0], zorder=2, **kind))


def _best_over_k(grid: Grid) -> tuple[_Floats, _Floats]:
    """Find the best affordable value at each N and D and the k that yields it, NaN where none is affordable."""
    assert grid.surface is not None
    handle, budget = grid.budget._handle, grid.budget
    flops = (budget.train_flops, budget.inference_flops, budget.total_flops)
    # The core's allowance for rounding, so that points on the edge count here as they do there.
    limits = [math.inf if limit is None else limit * (1 + 1e-12) for limit in flops]
    worst = -math.inf if grid.law.predicts_pass else math.inf
    values = np.full(grid.surface.shape[:2], np.nan)
    chosen = np.full(grid.surface.shape[:2], np.nan)
    allowed_d = grid.n_tokens <= (budget.max_tokens or math.inf)
    allowed_k = grid.k <= (budget.max_k or math.inf)
    for i, n in enumerate(grid.n_params.tolist()):
        if n > (budget.max_params or math.inf):
            continue
        train = np.array([handle.train_flops(n, d) for d in grid.n_tokens.tolist()])
        samples = np.array([handle.inference_flops(n, k) for k in grid.k.tolist()])
        fits = (
            ((train <= limits[0]) & allowed_d)[:, None]
            & ((samples <= limits[1]) & allowed_k)
            & (train[:, None] + samples <= limits[2])
        )
        row = np.where(fits, grid.surface[i], worst)
        place = row.argmax(axis=1) if grid.law.predicts_pass else row.argmin(axis=1)
        some = fits.any(axis=1)
        values[i, some] = np.take_along_axis(row, place[:, None], axis=1)[some, 0]
        chosen[i, some] = grid.k[place[some]]
    return values, chosen


def _edges(centres: _Floats) -> _Floats:
    """Borders of cells around the points of an axis, halfway in the logarithm."""
    if len(centres) == 1:
        return np.array([centres[0] * 2**-0.5, centres[0] * 2**0.5])
    middle: _Floats = np.sqrt(centres[1:] * centres[:-1])
    return np.concatenate([[centres[0] ** 2 / middle[0]], middle, [centres[-1] ** 2 / middle[-1]]])


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, tuple[int, int]]]:
    """Stretches of true cells in each row: (row, (start, stop))."""
    found = []
    for i in np.flatnonzero(mask.any(axis=1)).tolist():
        steps = np.diff(np.concatenate([[0], mask[i].astype(np.int8), [0]]))
        found += [(i, pair) for pair in zip(*(np.flatnonzero(steps == s).tolist() for s in (1, -1)), strict=True)]
    return found


def _budget_edge(grid: Grid, n_edges: _Floats, d_edges: _Floats) -> tuple[_Floats, _Floats]:
    """Where within the map the budget ends: the most D at each N with the grid's fewest samples."""
    budget, handle, fewest = grid.budget, grid.budget._handle, float(grid.k[0])
    sizes = np.geomspace(n_edges[0], n_edges[-1], 800)
    most = np.zeros(len(sizes))
    for i, n in enumerate(sizes.tolist()):
        samples = handle.inference_flops(n, fewest)
        if samples > (budget.inference_flops or math.inf) or n > (budget.max_params or math.inf):
            continue
        paid = min(budget.train_flops or math.inf, (budget.total_flops or math.inf) - samples)
        most[i] = min(max(paid, 0.0) / handle.train_flops(n, 1.0), budget.max_tokens or math.inf)
    if most.min() >= d_edges[-1] or most.max() <= d_edges[0]:
        return np.empty(0), np.empty(0)
    # Clipped just outside the map: the edge's steep end is drawn, its far ends are not.
    return sizes, np.clip(most, d_edges[0] / 10, d_edges[-1] * 10)
