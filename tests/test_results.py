"""What every public result can do: print, become data and rows, pickle, copy and compare; add yours to ``RESULTS``."""

import copy
import json
import math
import pickle
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import t2fast as t2
from t2fast.data import Counts, read_trials

BUDGET = t2.Budget(train_flops=1e20, inference_flops=1.4e11)
MONEY = t2.Budget(
    train_dollars=1e4,
    dollars_per_question=1e-4,
    workload=t2.Workload(prompt_tokens=1000, answer_tokens=150),
    hardware=t2.costs.Hardware("h100", price=2.5),
)
COUNTS = [0, 1, 4, 9, 15]
AXES = ([7e7, 1.6e8], [1e11, 2e11], [100, 400])


@cache
def law_with_draws():
    rng = np.random.default_rng(1)
    law = t2.load_law("hoffmann")
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e12, 6)))
    return t2.fitting.fit_chinchilla(n, d, law.value(n, d) * np.exp(rng.normal(0, 1e-3, n.size))).bootstrap(20).law()


#: Makes one of each public result, by its class's name.
RESULTS = {
    "Design": lambda: t2.plan("pythia-gsm8k", BUDGET).design,
    "Plan": lambda: t2.plan("pythia-gsm8k", BUDGET),
    "Plan in dollars": lambda: t2.plan("pythia-gsm8k", MONEY),
    "Plan by a rule": lambda: t2.plan("pythia-gsm8k", BUDGET, rule=t2.Verifier(0.05)),
    "Plan of silence": lambda: t2.plan("pythia-gsm8k", BUDGET, rule=t2.Verifier(0.05), wrong_cost=0.1),
    "Rule": lambda: t2.Verifier(0.05, draws={"recall": [0.9, 0.8]}),
    "Vote": lambda: t2.Majority(t2.Tail.uniform(5)),
    "Plan of losses": lambda: t2.plan("hoffmann", t2.Budget(train_flops=1e21)),
    "Plan with draws": lambda: t2.plan(law_with_draws(), t2.Budget(train_flops=1e21)),
    "PlanUncertainty": lambda: t2.plan(law_with_draws(), t2.Budget(train_flops=1e21)).uncertainty,
    "Grid": lambda: t2.grid_search("pythia-gsm8k", BUDGET, *AXES, top=3),
    "Grid in dollars": lambda: t2.grid_search("pythia-gsm8k", MONEY, *AXES, top=3),
    "Frontier in dollars": lambda: t2.frontier("pythia-gsm8k", MONEY.sweep(train_dollars=[1e-9, 1e3, 1e4])),
    "IsoFlop in dollars": lambda: t2.isoflop("pythia-gsm8k", MONEY, [1e7, 1e8, 1e9]),
    "Grid with surface": lambda: t2.grid_search("pythia-gsm8k", BUDGET, *AXES, surface=True),
    "Frontier": lambda: t2.frontier("pythia-gsm8k", BUDGET.sweep(train_flops=[1.0, 1e19, 1e20])),
    "IsoFlop": lambda: t2.isoflop("pythia-gsm8k", BUDGET, [1e7, 1e8, 1e9]),
    "DesignComparison": lambda: t2.compare("pythia-gsm8k", [(7e7, 3e11, 900), (5e8, 3e10, 138)]),
    "DesignComparison in dollars": lambda: t2.compare(
        "pythia-gsm8k", [(7e7, 3e11, 900), (5e8, 3e10, 138)], MONEY.workload, MONEY.hardware
    ),
    "CostEstimate": lambda: t2.costs.cost("8B", gpu="h100", prompt_tokens=100, answer_tokens=50, k=4),
    "Calibration": lambda: t2.costs.calibrate(_speeds()),
    "FitResult": lambda: t2.fitting.fit_chinchilla(*_losses()),
    "Lab": lambda: t2.datasets.load_lab(),
    "ModelChoice": lambda: t2.choose(
        {"a": (20, [1, 3, 9, 14]), "b": (20, [2, 8, 15, 20]), "c": (20, [9, 9, 9, 9])},
        {"a": t2.Price(0, 1e-3), "b": t2.Price(0, 2e-3), "c": t2.Price(0, 1.0)},
        1e-2,
        n_resamples=20,
    ),
    "SampledFile": lambda: t2.sampling.SampledFile(
        "s.jsonl", 2, 8, 8, 80, 4.0, 10**9, {"stop": 8}, "exact", 3, 0, 1, {}, ("a warning",)
    ),
    "ScoredFile": lambda: t2.sampling.ScoredFile("scores.jsonl", 20, math.inf, 4.5, 0.03, 0.0, 0.5),
    "Bootstrap": lambda: t2.fitting.fit_chinchilla(*_losses()).bootstrap(8),
    "IsoFlopMinima": lambda: t2.fitting.isoflop_minima(*_isoflops()),
    "IsoFlopMinima beside a law": lambda: t2.fitting.isoflop_minima(*_isoflops()).beside(t2.load_law("hoffmann")),
    "LawBacktest": lambda: t2.fitting.backtest(dict(zip(("N", "D", "loss"), _losses(), strict=True)), "N > 1e9"),
    "DecisionBacktest": lambda: t2.fitting.regret(dict(zip(("N", "D", "loss"), _losses(), strict=True))),
    "Counts": lambda: Counts.of(20, COUNTS, model="m", n_params=7e7),
    "PassCurve": lambda: t2.passk.curve(20, COUNTS, [1, 10, 30]),
    "PassComparison": lambda: t2.passk.compare((20, COUNTS), (20, COUNTS[::-1]), [1, 5]),
    "BetaBinomial": lambda: t2.passk.fit_beta_binomial(20, COUNTS),
    "PassBacktest": lambda: t2.passk.backtest(20, COUNTS, 100, n_resamples=2),
    "Extrapolation": lambda: t2.passk.extrapolate(20, COUNTS, [100, 200], n_resamples=20),
    "Allocation": lambda: t2.passk.allocate(20, COUNTS, 4, 30),
    "Enough": lambda: t2.passk.enough(20, COUNTS, 4),
    "PassReport": lambda: t2.passk.report(Counts.of(20, COUNTS, model="m"), [1, 10, 100], extrapolate_with="power_law"),
    "AccuracyFit": lambda: t2.fitting.fit_accuracy(*_losses(), 1 / (1 + _losses()[2] ** 2), n_resamples=3),
    "MetricReport": lambda: t2.passk.measure(Counts.of(20, COUNTS, model="m"), "pass,g-pass,avg", [1, 30], tau=0.5),
    "MetricReport of votes": lambda: t2.passk.measure(_trials(), "maj,best-of,max", [1, 2]),
    "Versus": lambda: t2.passk.versus(_trials(), _trials(), "pass,maj", [1, 2], method="permutation", n_resamples=20),
    "Trials": lambda: _trials(),
    "VerifierFit": lambda: t2.fitting.fit_verifier(_drawn(cheap=(0.9, lambda p: 0.1 + 0 * p)), n_resamples=20),
    "TailFit": lambda: t2.fitting.fit_tail(_drawn(shares=lambda *_: [0.7, 0.3]), n_resamples=20),
    "ScoreFit": lambda: t2.fitting.fit_scores(_drawn(d_prime=1.0), n_resamples=20),
    "AverageFit": lambda: t2.fitting.average_table(t2.datasets.load_lab().counts, n_resamples=3),
}

#: What callers pass and laws carry: no results, but they travel as far.
VALUES = {
    "Budget": lambda: t2.Budget(train_flops=1e20, workload=t2.Workload(queries=7, attention=t2.Attention())),
    "Workload": lambda: t2.Workload(prompt_tokens=3),
    "Attention": t2.Attention,
    "Budget in dollars": lambda: MONEY,
    "Hardware": lambda: t2.costs.Hardware("h100", price=2.5, kv_group=8),
    "PromptMode": lambda: t2.plan("pythia-gsm8k", MONEY).modes["cached"],
    "QuestionCost": lambda: t2.costs.cost("8B", gpu="h100", prompt_tokens=100, answer_tokens=50).question,
    "Constants": t2.costs.default_constants,
    "Measurement": lambda: _speeds()[0],
    "Card": lambda: t2.costs.load_card("h100"),
    "Architecture": lambda: t2.costs.load_architecture("gpt-oss-120b"),
    "Family": lambda: t2.costs.load_family("pythia"),
    "Extrapolation": lambda: t2.plan("pythia-gsm8k", BUDGET).extrapolation,
    "Point": lambda: t2.Point(1e8, 1e10, 3),
    **{name: lambda name=name: t2.load_law(name) for name in ("hoffmann", "pythia-gsm8k", "lab-tiny")},
}


def _trials():
    rows = [("a", "4", 1, 0.9), ("a", "5", 0, 0.1), ("a", "5", 0, 0.4), ("b", "7", 1, 0.2), ("b", "", 0, 0.3)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trials.csv"
        path.write_text("problem,answer,correct,score\n" + "".join(f"{p},{a},{c},{s}\n" for p, a, c, s in rows))
        return read_trials(path, ["answers", "scores", "verdicts"])


def _drawn(**rule):
    from tests.support.trials import drawn

    return drawn(np.linspace(0.1, 0.9, 90), 6, **rule)


def _speeds():
    shape, card = t2.costs.load_architecture("llama-3.1-8b"), t2.costs.load_card("h100")
    batches = [(1, 120.0), (16, 1700.0), (64, 5000.0)]
    return [t2.costs.Measurement(shape, card, 100, 200, speed, batch=batch) for batch, speed in batches]


def _losses():
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e10, 5), np.geomspace(1e9, 1e12, 5)))
    return n, d, t2.load_law("hoffmann").value(n, d) * (1 + 1e-3 * np.sin(np.arange(n.size)))


def _isoflops():
    n = np.outer([5e8, 1.5e9, 5e9], np.geomspace(0.25, 4, 5)).ravel()
    d = np.repeat([1e20, 1e21, 1e22], 5) / 6 / n
    return n, d, t2.load_law("hoffmann").value(n, d) * (1 + 1e-3 * np.sin(np.arange(n.size)))


@cache
def made(name):
    return RESULTS[name]()


@pytest.fixture(params=RESULTS)
def result(request):
    return made(request.param)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_results_pickle_and_copy(result, again):
    str(result)  # what is found on first use must not be in the way
    other = again(result)
    assert type(other) is type(result)
    assert other == result
    assert other.to_dict() == result.to_dict()


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_values_pickle_and_copy(name, again):
    value = VALUES[name]()
    assert again(value) == value
    assert hash(again(value)) == hash(value)


def test_results_differ_from_others(result):
    assert result != object()
    assert result != made("Plan of losses" if result != made("Plan of losses") else "Plan")


def test_results_have_a_short_repr(result):
    assert len(repr(result)) < 200
    assert repr(result).startswith(f"<{type(result).__name__}: ")
    assert "\n" not in repr(result)


def test_results_print_within_80_columns(result):
    assert str(result) == result.summary()
    assert max(map(len, result.summary().splitlines())) <= 80
    assert result._repr_html_().startswith("<pre>")


def test_results_become_json(result):
    data = result.to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_results_become_tables(result):
    rows = result.rows()
    assert rows
    assert all(isinstance(row, dict) and all(isinstance(key, str) for key in row) for row in rows)
    pandas = pytest.importorskip("pandas")
    assert len(pandas.DataFrame(rows)) == len(rows)
