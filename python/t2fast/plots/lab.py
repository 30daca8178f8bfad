"""Figures of a laboratory: the grid, its isoFLOP curves, pass@k, the back-test, the optima and the duel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from t2fast.plots import canvas
from t2fast.plots.canvas import BLACK, BLUE, GREY, ORANGE
from t2fast.quantity import format_flops, format_quantity

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from t2fast.lab.findings import Findings

__all__ = ["curves", "duel", "extrapolation", "grid", "isoflop", "optima", "regrets"]

_STAGES = (
    ("planned", ORANGE, "duel: planned"),
    ("voted", BLACK, "planned for a vote"),
    ("chinchilla", BLUE, "Chinchilla-style"),
)
_N, _D = "N, parameters", "D, training tokens"


def _column(found: Findings, name: str) -> NDArray[np.float64]:
    return np.array([getattr(one, name) for one in found.lab.grid], dtype=np.float64)


def _budgets(found: Findings) -> list[tuple[float, NDArray[np.intp]]]:
    """The budgets of the grid, each with its checkpoints in the order of N."""
    n, d = _column(found, "n_params"), _column(found, "n_tokens")
    nominal = np.array(found.preset.train_flops)
    away = np.abs(np.log(6 * n * d)[:, None] - np.log(nominal))
    # Models beside the grid spend no budget of it.
    nearest = np.where(away.min(axis=1) < 0.3, away.argmin(axis=1), -1)
    order = np.argsort(n, kind="stable")
    return [(float(c), order[nearest[order] == i]) for i, c in enumerate(nominal) if (nearest == i).any()]


def _shade(place: int, count: int) -> Any:
    return matplotlib.colormaps["viridis"](0.9 * place / max(1, count - 1))


def regrets(found: Findings, path: str | Path | None = None) -> Figure:
    """What following each contestant would have cost, a panel per rule, with intervals over training budgets."""
    verdicts = found.verdicts
    names = [row.strategy for row in verdicts[0].regret.protocols["lobo"].strategies][::-1]
    with canvas.style():
        figure = canvas.new(0.8 + (0.55 + 0.2 * len(names)) * len(verdicts))
        panels = np.atleast_1d(figure.subplots(len(verdicts), 1, sharex=True))
        keys: list[Any] = []
        for axes, verdict in zip(panels, verdicts, strict=True):
            shown = (("lobo", BLUE, "o", 0.12), ("forward", ORANGE, "s", -0.12))
            for protocol, colour, mark, shift in shown:
                if protocol not in verdict.regret.protocols:
                    continue
                rows = [one for one in verdict.regret.protocols[protocol].strategies if one.strategy in names]
                at = np.array([names.index(one.strategy) for one in rows]) + shift
                middle = np.array([one.regret for one in rows])
                ends = np.abs(np.array([[one.low, one.high] for one in rows]).T - middle)
                axes.errorbar(middle, at, xerr=ends, fmt=mark, color=colour, markersize=3.5, elinewidth=1)
                if axes is panels[0]:
                    label = {"lobo": "laws see all but the menu", "forward": "laws see what cost a quarter or less"}
                    keys.append(Line2D([], [], color=colour, marker=mark, markersize=4, label=label[protocol]))
            axes.axvline(0, color=GREY, linewidth=0.6)
            axes.set_yticks(range(len(names)), names)
            axes.set_ylim(-0.6, len(names) - 0.4)
            axes.set_title(verdict.rule)
        panels[-1].set_xlabel("regret: share of problems lost to the best design of the menu")
        canvas.legend(figure, keys)
    return canvas.save(figure, path)


def grid(found: Findings, path: str | Path | None = None) -> Figure:
    """N and D of all checkpoints; colour is pass@1, a ring marks runs that the back-test holds out."""
    n, d = _column(found, "n_params"), _column(found, "n_tokens")
    with canvas.style():
        figure = canvas.new(3.4)
        axes = figure.subplots()
        points = axes.scatter(n, d, c=found.pass_at_k(1), cmap="viridis", s=26, zorder=3)
        held = found.held
        axes.scatter(n[held], d[held], s=64, facecolors="none", edgecolors=GREY, linewidths=0.8, zorder=2)
        keys: list[Any] = [
            Line2D([], [], marker="o", color="none", markeredgecolor=GREY, markersize=8,
                   label=f"held out of the back-test: {found.preset.holdout}"),
        ]  # fmt: skip
        for stage, colour, label in _STAGES:
            for one in found.lab.side(stage)[:1]:
                mark: dict[str, Any] = {"marker": "*", "markersize": 11, "color": colour, "linestyle": "none"}
                axes.plot([one.n_params], [one.n_tokens], zorder=4, markeredgecolor="white", **mark)
                keys.append(Line2D([], [], label=label, **mark))
        sizes = np.array([n.min() / 1.3, n.max() * 1.3])
        axes.plot(sizes, 20 * sizes, "--", color=GREY, linewidth=0.9)
        keys.append(Line2D([], [], color=GREY, linestyle="--", linewidth=0.9, label="20 tokens per parameter"))
        axes.set_xlim(*sizes)
        axes.set_ylim(d.min() / 1.5, max(one.n_tokens for one in found.lab.checkpoints) * 1.5)
        canvas.axis(axes.xaxis, _N)
        canvas.axis(axes.yaxis, _D)
        figure.colorbar(points, ax=axes, label="pass@1")
        canvas.legend(figure, keys)
    return canvas.save(figure, path)


def isoflop(found: Findings, path: str | Path | None = None) -> Figure:
    """Loss, pass@1 and pass@16 against N, a curve per training budget, beside the fitted laws."""
    budgets = _budgets(found)
    n, d = _column(found, "n_params"), _column(found, "n_tokens")
    k = found.preset.predicted_k
    fits = found.fits
    with canvas.style():
        figure = canvas.new(6.6)
        panels = figure.subplots(3, 1, sharex=True)
        shown = (
            (_column(found, "loss"), "loss, nats per token", fits.loss.law, 1),
            (found.pass_at_k(1), "pass@1", fits.counts.law, 1),
            (found.pass_at_k(k), f"pass@{k}", fits.counts.law, k),
        )
        keys: list[Any] = []
        for axes, (values, label, law, samples) in zip(panels, shown, strict=True):
            for i, (flops, rows) in enumerate(budgets):
                colour = _shade(i, len(budgets))
                axes.plot(n[rows], values[rows], "o", markersize=3.5, color=colour)
                sizes = np.geomspace(n[rows].min(), n[rows].max(), 60)
                spent = float(np.median(6 * n[rows] * d[rows]))
                axes.plot(sizes, law.value(sizes, spent / (6 * sizes), samples), color=colour, linewidth=1)
                if axes is panels[0]:
                    keys.append(Line2D([], [], color=colour, marker="o", markersize=3.5, linewidth=1,
                                       label=f"{format_flops(flops)} FLOP"))  # fmt: skip
            axes.set_ylabel(label)
        canvas.axis(panels[-1].xaxis, _N)
        keys.append(canvas.note("points: trained; lines: fitted laws"))
        canvas.legend(figure, keys, 2)
    return canvas.save(figure, path)


def curves(found: Findings, path: str | Path | None = None) -> Figure:
    """pass@k of models across the range of pass@1, measured and by the fitted law."""
    lab = found.lab
    order = np.argsort(found.pass_at_k(1))
    chosen = order[np.unique(np.linspace(0, len(order) - 1, 6).round().astype(int))]
    ks = np.unique(np.geomspace(1, lab.n_samples, 25).round().astype(int))
    with canvas.style():
        figure = canvas.new(4.0)
        axes = figure.subplots()
        keys: list[Any] = []
        for i, place in enumerate(chosen.tolist()):
            one, colour = lab.grid[place], _shade(i, len(chosen))
            axes.plot(ks, lab.curve(one, ks), "o", markersize=3, color=colour)
            axes.plot(ks, found.fits.counts.law.value(one.n_params, one.n_tokens, ks), color=colour, linewidth=1)
            label = f"N {format_quantity(one.n_params)}, D {format_quantity(one.n_tokens)}"
            keys.append(Line2D([], [], color=colour, marker="o", markersize=3, linewidth=1, label=label))
        axes.set_xlim(0.9, lab.n_samples * 1.1)
        axes.set_ylim(0, 1)
        canvas.axis(axes.xaxis, "k, samples per problem")
        axes.set_ylabel("pass@k")
        keys.append(canvas.note("lines: counts likelihood"))
        canvas.legend(figure, keys, 2)
    return canvas.save(figure, path)


def extrapolation(found: Findings, path: str | Path | None = None) -> Figure:
    """Prediction against measurement for the runs that the laws were not fitted to."""
    with canvas.style():
        figure = canvas.new(2.6 * max(1, len(found.held_out)) + 0.3)
        panels = np.atleast_1d(figure.subplots(max(1, len(found.held_out)), 1))
        for axes, one in zip(panels, found.held_out, strict=False):
            points = axes.scatter(one.observed, one.predicted, c=np.log10(one.n_tokens / one.n_params), s=18, zorder=3)
            ends = np.array(
                [min(one.observed.min(), one.predicted.min()), max(one.observed.max(), one.predicted.max())]
            )
            axes.plot(ends, ends, color=GREY, linewidth=0.9)
            axes.fill_between(ends, 0.95 * ends, 1.05 * ends, color=GREY, alpha=0.2, linewidth=0)
            axes.set_xlabel(f"{one.quantity}, measured")
            axes.set_ylabel(f"{one.quantity}, predicted")
            axes.set_title(f"{one.law}: {np.abs(one.errors).mean():.1%} mean error")
            figure.colorbar(points, ax=axes, label="log10 of tokens\nper parameter")
        canvas.legend(figure, [canvas.note("grey band: within 5%")])
    return canvas.save(figure, path)


def optima(found: Findings, path: str | Path | None = None) -> Figure:
    """Optima of resampled laws: for one sample, and for as many as the inference budget pays for."""
    n1, d1, n, d = found.optima.T
    grid_n, grid_d = _column(found, "n_params"), _column(found, "n_tokens")
    with canvas.style():
        figure = canvas.new(3.5)
        axes = figure.subplots()
        axes.plot(grid_n, grid_d, "s", markersize=2.5, color=GREY)
        both: dict[str, Any] = {"linestyle": "none", "markersize": 3, "alpha": 0.35}
        axes.plot(n1, d1, "o", color=BLUE, **both)
        axes.plot(n, d, "^", color=ORANGE, **both)
        sizes = np.concatenate([grid_n, n1, n])
        tokens = np.concatenate([grid_d, d1, d])
        axes.set_xlim(sizes.min() / 1.3, sizes.max() * 1.3)
        axes.set_ylim(tokens.min() / 1.5, tokens.max() * 1.5)
        canvas.axis(axes.xaxis, _N)
        canvas.axis(axes.yaxis, _D)
        flops = found.preset.duel
        keys: list[Any] = [
            Line2D([], [], marker="o", color=BLUE, linestyle="none", markersize=4, label="optimum for k = 1"),
            Line2D([], [], marker="^", color=ORANGE, linestyle="none", markersize=4,
                   label=f"optimum with {format_flops(flops.inference_flops)} FLOP of inference"),
            Line2D([], [], marker="s", color=GREY, linestyle="none", markersize=3, label="checkpoints"),
            canvas.note(f"{format_flops(flops.train_flops)} FLOP of training, {len(n)} resampled tables"),
        ]  # fmt: skip
        canvas.legend(figure, keys)
    return canvas.save(figure, path)


def duel(found: Findings, path: str | Path | None = None) -> Figure:
    """pass@k of both designs against what k samples cost, before and after fine-tuning."""
    with canvas.style():
        figure = canvas.new(2.7 * max(1, sum(not one.voted for one in found.duels)) + 0.5)
        drawn = [one for one in found.duels if not one.voted]
        panels = np.atleast_1d(figure.subplots(max(1, len(drawn)), 1))
        for axes, one in zip(panels, drawn, strict=False):
            _contest(axes, found, one.tuned)
            axes.set_title("after fine-tuning on problems" if one.tuned else "as trained")
        keys: list[Any] = [
            Line2D([], [], color=ORANGE, label="planned design"),
            Line2D([], [], color=BLUE, linestyle="--", label="Chinchilla-style design"),
            Line2D([], [], color=BLACK, linestyle=":", linewidth=1, label="inference budget of the duel"),
            canvas.note("thin lines: single models; thick: their mean"),
        ]
        canvas.legend(figure, keys)
    return canvas.save(figure, path)


def _contest(axes: Axes, found: Findings, tuned: bool) -> None:
    lab = found.lab
    ks = np.unique(np.geomspace(1, lab.n_samples, 40).round().astype(int))
    spent = []
    for stage, colour, style in (("planned", ORANGE, "-"), ("chinchilla", BLUE, "--")):
        side = lab.side(stage, tuned)
        rates = np.stack([lab.curve(one, ks) for one in side])
        cost = 2.0 * side[0].n_params * ks
        spent.append(cost)
        axes.plot(cost, rates.T, style, color=colour, linewidth=0.5, alpha=0.6)
        axes.plot(cost, rates.mean(axis=0), style, color=colour)
    axes.axvline(found.preset.duel.inference_flops, color=BLACK, linestyle=":", linewidth=1)
    axes.set_xlim(min(cost[0] for cost in spent) / 1.2, max(cost[-1] for cost in spent) * 1.2)
    axes.set_ylim(0, 1)
    canvas.axis(axes.xaxis, "inference, 2Nk FLOP per token", flops=True)
    axes.set_ylabel("pass@k")
