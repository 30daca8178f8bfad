import json

import numpy as np
import pytest
from tests.support.checkpoints import counts

import t2fast


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    n = np.geomspace(2e7, 5e9, 8)[np.arange(40) % 8]
    d = n * 20 * 6.0 ** rng.uniform(-1, 1, 40)
    loss = (1.7 + 450 * n**-0.34 + 1800 * d**-0.36) * np.exp(0.005 * rng.standard_normal(40))
    path = tmp_path / "checkpoints.csv"
    rows = [f"{a},{b / 1e9},{c},run{i // 4}" for i, (a, b, c) in enumerate(zip(n, d, loss, strict=True))]
    path.write_text("N,tokens,loss,series\n" + "\n".join(rows) + "\n")
    return path


def test_fit_writes_a_law_that_plan_reads(run, table, tmp_path):
    law = tmp_path / "law.json"
    code, out, err = run("fit", table, "--unit", "n_tokens=1B", "--group", "series", "--bootstrap", 30,
        "--backtest", "tokens_per_param > 60", "--out", law, "--name", "mine", "--plot", tmp_path / "f.png",
    )  # fmt: skip
    assert code == 0, err
    assert "bootstrap over groups: 30 replicates" in out
    assert "held out: tokens_per_param > 60" in out
    assert t2fast.load_law(law).name == "mine"
    assert (tmp_path / "f.png").stat().st_size > 5_000
    code, out, err = run("plan", "--law", law, "--train-flops", "1e20")
    assert code == 0, err
    assert "90% interval" in out
    code, out, err = run("plan", "--law", law, "--train-flops", "1e20", "--json")
    plan = json.loads(out)
    low, high = plan["uncertainty"]["intervals"]["n_params"]
    assert low < plan["n_params"] < high
    # Without draws the same command plans as before.
    code, out, err = run("plan", "--law", "hoffmann", "--train-flops", "1e20")
    assert code == 0
    assert "90% interval" not in out


def test_an_average_takes_weights_from_budgets_left_out(run, tmp_path):
    n, d, samples, correct, problem = counts(24, 20)
    path, law = tmp_path / "counts.csv", tmp_path / "law.json"
    rows = zip(n, d, samples, correct, problem, strict=True)
    path.write_text("N,D,n_samples,n_correct,problem\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n")
    code, out, err = run("fit", path, "--law", "average", "--weights", "lobo", "--out", law)
    assert code == 0, err
    assert "average, lobo weights" in out
    assert "regret of the mean minus that of the best form" in out
    assert len(set(t2fast.load_law(law).weights)) == 3
    code, out, err = run("fit", path, "--law", "average", "--json")
    fit = json.loads(out)["fit"]
    assert fit["weighting"] == "equal"
    assert {"error", "regret"} == set(fit["left_out"]["lobo"])


def test_accuracy_in_two_steps(run, tmp_path):
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e8, 3e9, 5), np.geomspace(2e9, 3e11, 5)))
    bits = 0.4 + 800 * n**-0.41 + 800 * d**-0.34
    rows = zip(n, d, bits, 0.25 + 0.75 / (1 + np.exp(4 * (bits - 0.9))), strict=True)
    path, law = tmp_path / "task.csv", tmp_path / "law.json"
    path.write_text("N,D,loss,acc\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n")
    code, out, err = run("fit", path, "--law", "accuracy", "--bootstrap", 5, "--out", law)
    assert code == 0, err
    assert "accuracy in two steps, 25 checkpoints" in out
    assert t2fast.load_law(law).kind == "accuracy"
    code, out, err = run("presets", law)
    assert code == 0, err
    assert "slope" in out
    code, out, err = run("fit", path, "--law", "accuracy", "--overtraining")
    assert (code, out) == (2, "")
    assert "--overtraining: does not go with --law accuracy" in err


def test_json(run, table):
    code, out, _ = run(
        "fit",
        table,
        "--unit",
        "n_tokens=1e9",
        "--where",
        "N > 3e7",
        "--objective",
        "squared",
        "--json",
    )
    assert code == 0
    fit = json.loads(out)["fit"]
    assert fit["objective_name"] == "squared"
    assert fit["n_rows"] == 35


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "probably millions or billions"),
        (["--unit", "n_tokens"], "write --unit NAME=VALUE"),
        (["--unit", "n_tokens=1e9", "--law", "t3"], "law = 't3'"),
        (["--unit", "n_tokens=1e9", "--weights", "lobo"], "goes with --law average alone"),
        (["--unit", "n_tokens=1e9", "--where", "import os"], "--where = 'import os'"),
        (["--unit", "n_tokens=1e9", "--where", "N < 0"], "no row"),
        (["--unit", "n_tokens=1e9", "--column", "loss=nll"], "no column 'nll'"),
        (["--unit", "n_tokens=1e9", "--law", "t2-pass"], "give either n_samples"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, table, arguments, message):
    code, out, err = run("fit", table, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("t2fast: ")
    assert len(err.splitlines()) == 1
    assert message in err


@pytest.fixture
def isoflops(tmp_path):
    n = np.outer([4e8, 1.3e9, 4e9], np.geomspace(0.25, 4, 6)).ravel()
    d = np.repeat([1e19, 1e20, 1e21], 6) / 6 / n
    loss = (1.7 + 450 * n**-0.34 + 1800 * d**-0.36) * (1 + 1e-3 * np.sin(np.arange(n.size)))
    path = tmp_path / "isoflops.csv"
    path.write_text("N,D,loss\n" + "".join(f"{row[0]},{row[1]},{row[2]}\n" for row in zip(n, d, loss, strict=True)))
    return path


def test_isoflop_minima_stand_beside_the_law(run, isoflops, tmp_path):
    code, out, err = run("fit", isoflops, "--isoflop", "--bootstrap", 20, "--plot", tmp_path / "minima.png")
    assert code == 0, err
    assert "IsoFLOP minima (Approach 2): 18 checkpoints, 3 budgets" in out
    assert (tmp_path / "minima.png").stat().st_size > 5_000
    code, out, err = run("fit", isoflops, "--isoflop", "--json")
    report = json.loads(out)
    law = report["fit"]["law"]["coefficients"]
    n, d = report["isoflop"]["exponents"]
    assert n["law_exponent"] == pytest.approx(law["beta"] / (law["alpha"] + law["beta"]))
    assert n["low"] < n["exponent"] < n["high"]
    assert n["exponent"] + d["exponent"] == pytest.approx(1)
    code, out, err = run("fit", isoflops, "--isoflop", "--isoflop-budgets", "1e19,1e20")
    assert code == 0, err
    assert "6 of 18 checkpoints are at none of the budgets named" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--isoflop", "--law", "t2-pass"], "--isoflop: goes with --law chinchilla alone"),
        (["--isoflop", "--overtraining"], "--isoflop: goes with --law chinchilla alone"),
        (["--isoflop-budgets", "1e19"], "--isoflop-budgets: needs --isoflop"),
        (["--isoflop", "--isoflop-budgets", "1e19"], "all checkpoints are at one budget"),
        (["--isoflop", "--isoflop-budgets", "one"], "--isoflop-budgets = 'one': not a number"),
        (["--isoflop", "--isoflop-tolerance", "7"], "tolerance = 7"),
    ],
)
def test_isoflop_minima_are_refused_before_the_fit(run, isoflops, monkeypatch, arguments, message):
    monkeypatch.setattr(t2fast.fitting, "fit_table", None)
    code, out, err = run("fit", isoflops, *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert message in err
