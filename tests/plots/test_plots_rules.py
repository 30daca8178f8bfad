"""Figures under a rule: labels, titles and lines are of what the rule makes, with pass@k beside it."""

import numpy as np
import pytest

import t2fast as t2
from t2fast import fitting

pytest.importorskip("matplotlib")

SMALL = t2.Budget(train_flops=3e11, inference_flops=2e6)
SIZES = np.geomspace(5e3, 1e5, 12)
RULES = {
    "vote": ({"rule": t2.Majority(t2.Tail.zipf(1.0, 30))}, "right answers"),
    "price": ({"rule": t2.Verifier(0.05, 0.4, "abstain"), "wrong_cost": 4}, "worth of answers"),
    "silence": ({"rule": t2.Verifier(0.5, 0.4, "abstain"), "wrong_cost": 20}, "worth of answers"),
}


def line(axes, label):
    return next(x for x in axes.lines if x.get_label() == label)


@pytest.mark.parametrize("case", RULES)
def test_a_plan_draws_what_the_rule_makes_and_pass_at_k_beside_it(case):
    by, label = RULES[case]
    plan = t2.plan("lab-tiny", SMALL, **by)
    figure = plan.plot()
    top = figure.axes[0]
    assert top.get_ylabel() == label
    assert "Rule: " in figure.get_suptitle()
    passes = line(top, "pass@k of the same samples")
    result = top.lines[0]
    np.testing.assert_array_equal(result.get_xdata(), passes.get_xdata())
    assert (np.asarray(result.get_ydata()) <= np.asarray(passes.get_ydata()) + 1e-12).all()
    at = next(i for i, n in enumerate(result.get_xdata()) if n == pytest.approx(plan.continuous.n_params, rel=1e-12))
    assert result.get_ydata()[at] == pytest.approx(plan.continuous.result)
    assert passes.get_ydata()[at] == pytest.approx(plan.continuous.pass_at_k)
    low, high = top.get_ylim()
    assert low <= 0 < high
    assert high >= max(passes.get_ydata())


def test_measured_checkpoints_are_said_to_be_pass_at_k():
    plan = t2.plan("pythia-gsm8k", t2.Budget(train_flops=1e20, inference_flops=1.4e11), rule=t2.Verifier(0.01))
    texts = [text.get_text() for text in plan.plot().legends[0].get_texts()]
    assert "measured nearby: pass@k" in texts
    assert "Measured nearby, in pass@k:" in str(plan)


@pytest.mark.parametrize("case", RULES)
def test_other_figures_name_the_rule(case):
    by, label = RULES[case]
    sweep = t2.Budget(inference_flops=2e6).sweep(train_flops=[1e10, 1e11, 1e12])
    assert "Rule: " in t2.frontier("lab-tiny", sweep, **by).plot().get_suptitle()
    curves = t2.isoflop("lab-tiny", SMALL, SIZES, **by).plot()
    assert curves.axes[0].get_ylabel() == label
    assert "Rule: " in curves.get_suptitle()
    grid = t2.grid_search("lab-tiny", SMALL, SIZES, np.geomspace(5e4, 8e6, 10), np.arange(1, 40), **by).plot()
    assert label in grid.axes[1].get_ylabel()
    assert "Rule: " in grid.get_suptitle()


def test_text_under_a_rule_is_readable():
    for by, _ in RULES.values():
        figure = t2.plan("lab-tiny", SMALL, **by).plot()
        figure.canvas.draw()
        texts = [t for t in figure.findobj(lambda a: hasattr(a, "get_fontsize")) if t.get_text() and t.get_visible()]
        assert min(t.get_fontsize() for t in texts) >= 8
        page = figure.bbox
        for text in [figure._suptitle, figure.axes[0].yaxis.label, *figure.legends[0].get_texts()]:
            box = text.get_window_extent()
            assert box.x0 >= page.x0 - 1
            assert box.x1 <= page.x1 + 1


def test_regret_names_the_rule_and_what_it_counts():
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e9, 7), np.geomspace(2e8, 2e11, 7)))
    table = {
        "N": np.repeat(n, 2), "D": np.repeat(d, 2), "problem": np.tile(["a", "b"], len(n)),
        "n_samples": np.full(2 * len(n), 64), "n_correct": np.resize([1, 40, 3, 20], 2 * len(n)),
    }  # fmt: skip
    by = {"rule": t2.Verifier(0.05, 0.9, "abstain"), "strategies_followed": ["largest model", "random"]}
    for price, label in ((0, "regret in right answers"), (1, "regret in worth of answers")):
        figure = fitting.regret(table, wrong_cost=price, **by).plot()
        assert figure.axes[0].get_xlabel() == label
        assert figure.get_suptitle().startswith("Rule: verifier: false positives 5%")
    assert fitting.regret(table, strategies_followed=["random"]).plot().get_suptitle() == ""
