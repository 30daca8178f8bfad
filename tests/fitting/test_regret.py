import copy
import json
import pickle

import numpy as np
import pytest
from tests.support.checkpoints import counts, needs_data
from tests.support.real_data import LAWS

import t2fast
from t2fast import fitting
from t2fast.data import read_table


def losses():
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e9, 7), np.geomspace(2e8, 2e11, 7)))
    return {"N": n, "D": d, "loss": 1.8 + 480 * n**-0.35 + 2100 * d**-0.37}


def regrets(found, protocol="lobo"):
    return {row.rule: row.regret for row in found.protocols[protocol].rules}


def test_the_true_law_costs_nothing_and_rules_of_thumb_do():
    found = fitting.regret(losses())
    for protocol in ("lobo", "forward"):
        by = regrets(found, protocol)
        assert by["chinchilla"] == pytest.approx(0, abs=1e-12)
        assert by["random"] > 0
        assert by["largest model"] > by["20 tokens per parameter"]


def test_menus_picks_and_ties_by_hand():
    # One budget of 6e18 FLOP: four designs of equal cost, whose losses are known.
    n = np.array([1e7, 1e8, 1e9, 1e10])
    d = 1e18 / n
    table = {"N": n, "D": d, "loss": [4.0, 3.0, 2.5, 3.5]}
    by = regrets(fitting.regret(table, train_flops=[6e18], rules_followed=["largest model", "most tokens", "random"]))
    assert by == {"largest model": 1.0, "most tokens": 1.5, "random": pytest.approx(0.75)}
    # Of two models of one size, the rule takes either.
    table = {"N": n[[0, 1, 2, 2]], "D": [1e11, 1e10, 1e9, 1.1e9], "loss": [4.0, 3.0, 2.5, 3.5]}
    by = regrets(fitting.regret(table, train_flops=[6e18], rules_followed=["largest model"]))
    assert by == {"largest model": 0.5}


def test_candidates_that_need_more_samples_than_were_drawn_are_not_offered():
    n = np.array([1e7, 1e8, 2e8, 4e8])
    d = 1e18 / n
    rows = np.repeat(np.arange(4), 20)
    table = {
        "N": n[rows], "D": d[rows], "n_samples": np.full(80, 64), "n_correct": np.repeat([9, 16, 32, 8], 20),
        "problem": np.tile(np.arange(20), 4),
    }  # fmt: skip
    # k = 320 by the smallest exceeds 64 samples; the others have k = 32, 16 and 8.
    found = fitting.regret(
        table, train_flops=[6e18], inference_flops=[6.4e9], rules_followed=["largest model", "random"]
    )
    measured = [float(t2fast.passk.pass_at_k(64, c, k)) for c, k in ((16, 32), (32, 16), (8, 8))]
    assert found.protocols["lobo"].best == pytest.approx(max(measured))
    assert regrets(found)["largest model"] == pytest.approx(max(measured) - measured[2])
    assert regrets(found)["random"] == pytest.approx(max(measured) - np.mean(measured))
    assert "forward" not in found.protocols


def test_laws_see_nothing_of_the_menu(monkeypatch):
    seen = []
    real = fitting.rivals.fit_chinchilla
    monkeypatch.setattr(fitting.rivals, "fit_chinchilla", lambda n, d, y: seen.append((n, d)) or real(n, d, y))
    found = fitting.regret(losses(), rules_followed=["chinchilla"])
    menus = list(dict.fromkeys(found.protocols["lobo"].budgets))
    for budget, (n, d) in zip(menus, seen, strict=False):
        cost = 6 * n * d
        assert not ((cost > budget / 4) & (cost <= 1.15 * budget)).any()
    for budget, (n, d) in zip(dict.fromkeys(found.protocols["forward"].budgets), seen[len(menus) :], strict=True):
        assert (6 * n * d <= budget / 4).all()


def test_results_print_travel_and_compare(tmp_path):
    found = fitting.regret(losses())
    assert all(len(line) <= 80 for line in found.summary().splitlines())
    assert json.loads(json.dumps(found.to_dict()))["protocols"]["lobo"]["rules"][0]["rule"] == "chinchilla"
    assert pickle.loads(pickle.dumps(found)) == found == copy.deepcopy(found)
    assert len(repr(found)) < 200
    assert len(found.rows()) == 10
    zero = found.difference("lobo", "random", "random")
    assert (zero.regret, zero.low, zero.high) == (0, 0, 0)
    pytest.importorskip("matplotlib")
    found.plot(tmp_path / "regret.png")
    assert (tmp_path / "regret.png").stat().st_size > 5_000


def test_a_rule_that_cannot_be_followed_says_why():
    n, d, samples, correct, problem = counts(20, 20)
    table = {"N": n, "D": d, "n_samples": samples, "n_correct": correct, "problem": problem}
    table["D"] = 20 * n * np.exp(0.01 * (np.arange(len(n)) // 20))
    found = fitting.regret(table, train_flops=[6 * n[0] * 20 * n[0] * 4], rules_followed=["overtraining", "random"])
    assert "overtraining" in found.protocols["lobo"].failures
    assert "random" in regrets(found)
    assert "overtraining: at" in found.summary()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": None}, "regret needs n_samples, n_correct and problem"),
        ({"benchmark": ["a", "b"] * 24 + ["a"]}, "holds 2 values"),
    ],
)
def test_tables_that_cannot_be_used(change, message):
    table = {name: values for name, values in (losses() | change).items() if values is not None}
    with pytest.raises(t2fast.T2Error, match=message):
        fitting.regret(table)


def test_budgets_without_a_choice_and_unknown_rules():
    with pytest.raises(t2fast.T2Error, match="no training budget offers a choice of 3"):
        fitting.regret({name: values[:2] for name, values in losses().items()})
    with pytest.raises(t2fast.T2Error, match="rules_followed: 'chinchila': did you mean chinchilla"):
        fitting.regret(losses(), rules_followed=["chinchila"])


@needs_data
def test_regret_on_pythia_is_what_was_measured():
    table = read_table(LAWS / "pythia_passk_counts.csv")
    table = table.select((table["benchmark"] == "math") & (table["n_tokens"] >= 2e9))
    found = fitting.regret(table, rules_followed=["t2", "largest model", "random"])
    lobo, forward = found.protocols["lobo"], found.protocols["forward"]
    assert (lobo.n_budgets, lobo.n_settings) == (9, 66)
    assert lobo.best == pytest.approx(0.150, abs=5e-4)
    assert forward.best == pytest.approx(0.173, abs=5e-4)
    assert regrets(found)["random"] == pytest.approx(0.080, abs=5e-4)
    assert regrets(found)["largest model"] == pytest.approx(0.131, abs=5e-4)
    assert regrets(found)["t2"] == pytest.approx(0.016, abs=1e-3)


def test_one_training_budget_leaves_nothing_to_learn_from():
    n = np.geomspace(1e8, 1e9, 5)
    found = fitting.regret({"N": n, "D": 1e20 / n, "loss": 2 + 1e8 / n}, train_flops=[6e20])
    protocol = found.protocols["lobo"]
    assert "every checkpoint is on the menu, which leaves none to learn from" in protocol.failures["chinchilla"]
    assert "largest model" in {row.rule for row in protocol.rules}
