"""Figures of the planner: drawn where the numbers say, and what lies beyond the data marked, and only that."""

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import t2fast as t2
from t2fast.errors import T2Error

pytest.importorskip("matplotlib")

from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from t2fast.plots import canvas
from t2fast.plots import planning as plots
from t2fast.plots.planning.beyond import shades

PYTHIA, HOFFMANN = t2.load_law("pythia-gsm8k"), t2.load_law("hoffmann")
OWN = t2.T2LossLaw(1.2, 400, 900, 0.34, 0.3, 2, 0.4)
#: The same, knowing its data: what it plans for large budgets lies beyond them.
MEASURED = replace(OWN, data_range=t2.DataRange((1e6, 1e12), (1e8, 3e11), (1, 1e9)))
WIDE = t2.DataRange((1e3, 1e15), (1e3, 1e18), (1, 1e12))
USE = t2.Workload(queries=1e9, prompt_tokens=200, answer_tokens=300)
PAIR = t2.Budget(train_flops=1e22, inference_flops=1.4e11)
CASES = {
    "pass": (PYTHIA, PAIR),
    "pass, nearer": (PYTHIA, t2.Budget(train_flops=1e20, inference_flops=1.4e11)),
    "pass, total": (PYTHIA, t2.Budget(total_flops=1e22, workload=USE)),
    "pass, repeats and attention": (
        PYTHIA,
        t2.Budget(total_flops=1e22, workload=replace(USE, attention=t2.Attention()), unique_tokens=3e11),
    ),
    "loss": (OWN, PAIR),
    "chinchilla": (HOFFMANN, t2.Budget(train_flops=1e22)),
    "chinchilla, total": (HOFFMANN, t2.Budget(total_flops=1e22, workload=t2.Workload(queries=1e9, answer_tokens=300))),
    "tokens bounded": (PYTHIA, t2.Budget(inference_flops=1.4e11, max_tokens=3e11)),
}


def value(design):
    return design.loss if design.pass_at_k is None else design.pass_at_k


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def labelled(figure, start):
    return next(text for text in labels(figure) if text.startswith(start))


def hatches(axes):
    return [a for a in (*axes.patches, *axes.collections) if a.get_hatch()]


def line(axes, start):
    return next(x for x in axes.lines if str(x.get_label()).startswith(start))


@pytest.mark.parametrize("case", CASES)
def test_plan_marks_its_designs_where_they_are(case):
    law, budget = CASES[case]
    plan = t2.plan(law, budget)
    figure = plan.plot()
    top, below = figure.axes[:2]
    found = {
        "recommended": plan.design,
        "unlimited optimum": None if plan.unlimited == plan.design else plan.unlimited,
        "inside the data": None if law.predicts_pass or plan.inside_data == plan.unlimited else plan.inside_data,
        "Chinchilla-style": plan.chinchilla,
    }
    for label, design in found.items():
        if design is None:
            assert not [text for text in labels(figure) if text.startswith(label)]
            continue
        mark = line(top, label)
        assert mark.get_xdata()[0] == design.n_params
        assert mark.get_ydata()[0] == value(design)
        text = labelled(figure, label)
        assert f"D/N {t2.quantity.format_quantity(design.tokens_per_param)}" in text
        assert (f"k {t2.quantity.format_quantity(design.k, 4)}" in text) == (law.kind != "chinchilla")
        assert top.get_ylim()[0] <= value(design) <= top.get_ylim()[1]
        assert below.get_xlim()[0] <= design.n_params <= below.get_xlim()[1]
    flat = next(patch for patch in top.patches if patch.get_label() == "flat")
    assert flat.get_extents().transformed(top.transData.inverted()).intervalx == pytest.approx(plan.flat_n_params)
    assert (law.name or law.kind) in figure.get_suptitle()


@pytest.mark.parametrize("case", CASES)
def test_plan_curve_is_the_best_at_each_size(case):
    law, budget = CASES[case]
    plan = t2.plan(law, budget)
    top, below = plan.plot().axes[:2]
    n, y = top.lines[0].get_data()
    sign = 1 if law.predicts_pass else -1
    # Nothing beats the optimum, and it lies on the curve.
    assert np.max(sign * np.asarray(y)) == pytest.approx(sign * value(plan.continuous), rel=1e-9)
    assert plan.continuous.n_params in n
    # The ends of the flat interval come from another search: there the curve is 1% off.
    for end in plan.flat_n_params:
        if n[0] * 1.01 < end < n[-1] / 1.01:
            there = np.interp(math.log(end), np.log(n), y)
            assert there == pytest.approx(value(plan.continuous) * (1 - sign * 0.01), rel=3e-3)
    # D along the curve is affordable.
    tokens = below.lines[0].get_ydata()
    most = min(x for x in (budget.train_flops, budget.total_flops, math.inf) if x is not None)
    for size, d in zip(n, tokens, strict=True):
        assert t2.train_flops(size, d, budget.workload) <= most * (1 + 1e-9)
        assert d <= (budget.max_tokens or math.inf) * (1 + 1e-9)


def test_plan_sweep_agrees_with_brute_force_over_whole_k():
    law, budget = CASES["pass, total"]
    for design in t2.plan(law, budget).curve([3.75e7, 1.5e8, 7.5e8]):
        k = np.arange(1, 3000)
        rest = np.array([budget.total_flops - t2.inference_flops(design.n_params, float(x), USE) for x in k])
        brute = law.value(design.n_params, rest[rest > 0] / (6 * design.n_params), k[rest > 0]).max()
        assert brute - 1e-9 <= design.pass_at_k < brute + 1e-3
        assert design.total_flops <= budget.total_flops * (1 + 1e-9)


def test_plan_hatches_exactly_where_tokens_exceed_the_data():
    figure = t2.plan(PYTHIA, PAIR).plot()
    assert "beyond the data: D > 300B" in labels(figure)
    for axes in figure.axes[:2]:
        spans = [a for a in hatches(axes) if a.get_hatch() == canvas.HATCHES["n_tokens"]]
        (span,) = spans
        box = span.get_extents().transformed(axes.transData.inverted())
        # 6 N D = 1e22 with D = 300B.
        assert box.intervalx[1] == pytest.approx(1e22 / 6 / 3e11, rel=1e-6)


@pytest.mark.parametrize("law", [PYTHIA, OWN, HOFFMANN], ids=lambda law: law.kind)
def test_no_hatch_without_something_beyond_the_data(law):
    inside, unknown = (replace(law, data_range=data) for data in (WIDE, None))
    axes = np.geomspace(1e7, 1e10, 12), np.geomspace(1e9, 1e12, 12), [1, 10, 100]
    for known, one in ((True, inside), (False, unknown)):
        figures = [
            t2.plan(one, PAIR).plot(),
            t2.frontier(one, t2.Budget(inference_flops=1.4e11).sweep(train_flops=[1e19, 1e21])).plot(),
            t2.isoflop(one, PAIR, np.geomspace(1e7, 1e9, 9)).plot(),
            t2.grid_search(one, PAIR, *axes).plot(),
        ]
        for figure in figures:
            assert not [mark for panel in figure.axes for mark in hatches(panel)]
            assert not [x for panel in figure.axes for x in panel.lines if x.get_gid() == "beyond"]
            assert not [text for text in labels(figure) if "beyond the data" in text]
            assert ("range of the data behind this law: unknown" in labels(figure)) != known


def test_frontier_draws_a_line_for_each_inference_budget():
    costs = np.geomspace(1e19, 1e23, 9).tolist()
    sweep = t2.frontier(MEASURED, t2.Budget().sweep(inference_flops=[2e9, 1.4e11], train_flops=costs))
    figure = sweep.plot()
    assert {"2e9 FLOP inference", "1.4e11 FLOP inference", "20 tokens per parameter"} <= set(labels(figure))
    for axes, name in zip(figure.axes, ("tokens_per_param", "n_params", "n_tokens"), strict=True):
        drawn = {
            (x, y)
            for part in axes.lines
            if part.get_gid() not in ("chinchilla", "20:1")
            for x, y in zip(*part.get_data(), strict=True)
        }
        for plan in sweep.plans:
            assert (plan.train_flops, getattr(plan.design, name)) in drawn
        rule = next(part for part in axes.lines if part.get_gid() == "20:1")
        c, y = (np.asarray(part) for part in rule.get_data())
        expected = {"tokens_per_param": 20 + 0 * c, "n_params": np.sqrt(c / 120), "n_tokens": 20 * np.sqrt(c / 120)}
        np.testing.assert_allclose(y, expected[name], rtol=1e-6)
        # One Chinchilla-style design a training budget, its sizes rising whatever the inference budget.
        chinchilla = next(part for part in axes.lines if part.get_gid() == "chinchilla")
        assert len(chinchilla.get_xdata()) == len(costs)
        if name != "tokens_per_param":
            assert (np.diff(chinchilla.get_ydata()) > 0).all()
    assert hatches(figure.axes[0])
    assert not hatches(figure.axes[1])
    (band,) = hatches(figure.axes[2])
    assert min(band.get_paths()[0].vertices[:, 1]) == pytest.approx(3e11)
    # Aslant on the panel of D / N: at 1e22 FLOP, D = 300B is 54 tokens per parameter.
    aslant = hatches(figure.axes[0])[0].get_paths()[0].vertices
    near = aslant[np.abs(np.log(aslant[:, 0] / 1e22)) < 0.2]
    assert near[:, 1].min() == pytest.approx(6 * 3e11**2 / near[near[:, 1].argmin(), 0], rel=1e-3)


def test_frontier_of_total_budgets_and_of_a_law_without_k():
    for law, budgets in (
        (MEASURED, t2.Budget(workload=USE).sweep(total_flops=[1e21, 1e23])),
        (HOFFMANN, t2.Budget().sweep(train_flops=[1e20, 1e24])),
    ):
        sweep = t2.frontier(law, budgets)
        figure = sweep.plot()
        sizes = {y for part in figure.axes[1].lines for y in part.get_ydata()}
        assert set(sweep.column("n_params")) <= sizes
        assert [text for text in labels(figure) if text.startswith("beyond the data: D > ")]


def test_frontier_without_plans_says_so():
    with pytest.raises(T2Error, match="no budget of this sweep"):
        t2.frontier(PYTHIA, [t2.Budget(train_flops=1.0, inference_flops=1.0)]).plot()


def test_isoflop_joins_the_optima_and_dots_what_is_beyond():
    sizes = np.geomspace(1e7, 2e10, 60)
    curves = [t2.isoflop(PYTHIA, t2.Budget(train_flops=c, inference_flops=1.4e11), sizes) for c in (1e21, 1e19)]
    figure = plots.isoflop(curves)
    axes = figure.axes[0]
    optima = line(axes, "optima")
    best = [curve.best for curve in curves[::-1]]
    assert list(optima.get_xdata()) == [d.n_params for d in best]
    assert list(optima.get_ydata()) == [d.pass_at_k for d in best]
    assert {"1e19 FLOP training", "1e21 FLOP training", "beyond the data"} <= set(labels(figure))
    for part in axes.lines:
        if part.get_gid() != "beyond":
            continue
        assert part.get_linestyle() == ":"
        # Each dotted stretch touches a design beyond the data.
        curve = min(curves, key=lambda c, part=part: np.nanmin(np.abs(c.column("pass_at_k") - part.get_ydata())))
        beyond = [not d.extrapolation(PYTHIA).inside for d in curve.designs]
        drawn = np.isfinite(part.get_ydata())
        assert drawn[np.flatnonzero(beyond)].all()
        assert not drawn[1:-1][[not any(beyond[i - 1 : i + 2]) for i in range(1, len(beyond) - 1)]].any()


def test_isoflop_families_and_laws():
    sizes = np.geomspace(1e7, 1e9, 20)
    curves = [
        t2.isoflop(OWN, b, sizes) for b in t2.Budget().sweep(inference_flops=[1e10, 1e12], train_flops=[1e19, 1e20])
    ]
    axes = plots.isoflop(curves).axes[0]
    assert [len(x.get_xdata()) for x in axes.lines if x.get_label() == "optima"] == [2, 2]
    other = t2.isoflop(HOFFMANN, t2.Budget(train_flops=1e20), sizes)
    assert "1e20 FLOP training" in labels(other.plot())
    with pytest.raises(T2Error, match="different laws"):
        plots.isoflop([curves[0], other])
    with pytest.raises(T2Error, match="empty"):
        plots.isoflop([])


GRIDS = {
    "pass": (PYTHIA, PAIR, [1, 3, 30, 300, 3000]),
    "pass, total": (PYTHIA, t2.Budget(total_flops=1e22, workload=USE), [1, 3, 30, 300, 30000]),
    "loss, bounded": (
        OWN,
        t2.Budget(train_flops=1e21, inference_flops=1e11, max_tokens=1e12, max_k=50, max_params=4e9),
        [1, 9, 99],
    ),
    "chinchilla": (HOFFMANN, t2.Budget(train_flops=1e21), [1]),
}


@pytest.mark.parametrize("case", GRIDS)
def test_grid_shows_the_best_affordable_k(case):
    law, budget, k = GRIDS[case]
    n, d = np.geomspace(1e7, 1e11, 7), np.geomspace(1e9, 3e13, 6)
    grid = t2.grid_search(law, budget, n, d, k)
    figure = grid.plot()
    axes = figure.axes[0]
    mesh = next(c for c in axes.collections if type(c).__name__ == "QuadMesh")
    shown = np.ma.filled(mesh.get_array(), np.nan).reshape(len(d), len(n)).T
    pick = max if law.predicts_pass else min
    for i, size in enumerate(n):
        for j, tokens in enumerate(d):
            cell = []
            try:
                # The search itself, on a grid of one size and one number of tokens.
                cell = [value(t2.grid_search(law, budget, [size], [tokens], k).best)]
            except t2.InfeasibleError:
                assert np.isnan(shown[i, j])
            if cell:
                assert shown[i, j] == pytest.approx(pick(cell), rel=1e-12)
    star = line(axes, "best")
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (grid.best.n_params, grid.best.n_tokens)
    assert shown[grid.index[0, 0], grid.index[0, 1]] == pytest.approx(value(grid.best), rel=1e-12)
    edge_n, edge_d = (np.asarray(x) for x in line(axes, "edge").get_data())
    fewest = [t2.inference_flops(size, 1, budget.workload) for size in edge_n]
    for size, tokens, samples in zip(edge_n, edge_d, fewest, strict=True):
        if axes.get_ylim()[0] < tokens < axes.get_ylim()[1]:
            train = t2.train_flops(size, tokens, budget.workload)
            binding = [
                train / (budget.train_flops or math.inf),
                (train + samples) / (budget.total_flops or math.inf),
                tokens / (budget.max_tokens or math.inf),
            ]
            assert max(binding) == pytest.approx(1)
    assert any("not affordable" in text for text in labels(figure))


def test_grid_hatches_regions_beyond_the_data():
    axes = np.geomspace(1e7, 1e9, 9), np.geomspace(1e10, 1e12, 9), [1, 100, 1000]
    figure = t2.grid_search(PYTHIA, PAIR, *axes).plot()
    found = {mark.get_hatch(): mark for mark in hatches(figure.axes[0])}
    assert set(found) == {canvas.HATCHES["n_tokens"], canvas.HATCHES["n_params"]}
    assert found[canvas.HATCHES["n_tokens"]].get_y() == 3e11
    assert found[canvas.HATCHES["n_params"]].get_x() + found[canvas.HATCHES["n_params"]].get_width() == 1.4e7
    assert {"beyond the data: D > 300B", "beyond the data: N < 14M"} <= set(labels(figure))
    more = t2.grid_search(PYTHIA, t2.Budget(train_flops=1e22), *axes[:2], [1, 20000]).plot()
    assert "beyond the data: k > 2.05k" in labels(more)


def test_grid_of_one_point():
    figure = t2.grid_search(PYTHIA, PAIR, [1e8], [1e10], [1]).plot()
    assert line(figure.axes[0], "best").get_xdata()[0] == 1e8


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_saves_in_the_format_of_the_suffix(tmp_path, suffix, start):
    path = tmp_path / f"plan.{suffix}"
    assert isinstance(t2.plan(PYTHIA, PAIR).plot(path), Figure)
    assert path.read_bytes().startswith(start)
    assert path.stat().st_size > 5000


@pytest.mark.parametrize(
    ("name", "said"), [("plan.xyz", "suffix"), ("plan", "suffix"), ("nowhere/plan.png", "No such file or directory")]
)
def test_says_why_a_figure_cannot_be_saved(tmp_path, name, said):
    with pytest.raises(T2Error, match=said):
        t2.plan(PYTHIA, PAIR).plot(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_text_is_readable_and_hides_nothing():
    for figure in (
        t2.plan(PYTHIA, PAIR).plot(),
        t2.grid_search(PYTHIA, PAIR, [1e7, 1e9], [1e9, 1e13], [1]).plot(),
    ):
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        frame = figure.bbox
        for axes in figure.axes:
            texts = [t for t in (*axes.xaxis.get_ticklabels(), *axes.yaxis.get_ticklabels()) if t.get_text()]
            assert all(text.get_fontsize() >= 8 for text in (*texts, axes.xaxis.label, axes.yaxis.label))
            box = axes.get_tightbbox(renderer)
            assert not box.overlaps(figure.legends[0].get_window_extent(renderer))
            assert frame.x0 - 1 <= box.x0
            assert box.x1 <= frame.x1 + 1
        assert all(text.get_fontsize() >= 8 for text in figure.legends[0].get_texts())
        assert figure.legends[0].get_window_extent(renderer).x1 <= frame.x1


def test_global_state_stays_as_it_was():
    import matplotlib

    before = dict(matplotlib.rcParams)
    t2.plan(PYTHIA, PAIR).plot()
    assert dict(matplotlib.rcParams) == before
    script = (
        "import sys, t2fast as t2\n"
        "t2.plan(t2.load_law('pythia-gsm8k'), t2.Budget(train_flops=1e20, inference_flops=1e11)).plot()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_missing_matplotlib_is_named_with_its_remedy():
    script = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import t2fast as t2\n"
        "plan = t2.plan(t2.load_law('pythia-gsm8k'), t2.Budget(train_flops=1e20, inference_flops=1e11))\n"
        "try: plan.plot()\n"
        "except t2.MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "pip install 't2fast[plot]'" in done.stdout


def test_colours_differ_in_grey():
    def grey(colour):
        return np.dot(to_rgba(colour)[:3], [0.299, 0.587, 0.114])

    levels = [grey(colour) for colour in shades(4)]
    assert (np.diff(levels) > 0.08).all()


def in_dollars(**changes):
    use = t2.Workload(prompt_tokens=1000, answer_tokens=150)
    hardware = t2.costs.Hardware("h100", price=2.5)
    return t2.Budget(**{"train_dollars": 1e3, "dollars_per_question": 1e-4} | changes, workload=use, hardware=hardware)


def test_figures_count_dollars_where_budgets_do():
    law, budget = t2.load_law("pythia-gsm8k"), in_dollars()
    front = t2.frontier(law, budget.sweep(train_dollars=[10.0, 100.0, 1000.0], dollars_per_question=[1e-5, 1e-4]))
    figure = front.plot()
    axes = figure.axes[1]
    assert figure.axes[2].get_xlabel() == "dollars spent on training"
    rule = next(line for line in axes.lines if line.get_gid() == "20:1")
    cost, size = rule.get_xdata()[0], rule.get_ydata()[0]
    assert budget._handle.train_cost(size, 20 * size) == pytest.approx(cost, rel=1e-9)
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "$1e-05 per question" in labels
    iso = t2.isoflop(law, budget, np.geomspace(3e7, 2e9, 8)).plot()
    assert "curves of equal dollars, $0.0001 inference" in iso.get_suptitle()
    assert next(text.get_text() for legend in iso.legends for text in legend.get_texts()) == "$1k training"
    figure = t2.plan(law, budget).plot()
    assert "$1k training, $0.0001 inference" in figure.get_suptitle()
    # Between two dollar signs there is no formula.
    assert not figure._suptitle.get_parse_math()
    grid = t2.grid_search(law, budget, np.geomspace(3e7, 1e9, 5), np.geomspace(1e10, 3e11, 5), np.arange(1, 400))
    assert "$1k training" in grid.plot().get_suptitle()
