import json

import numpy as np
import pytest


@pytest.fixture
def table(tmp_path):
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e9, 7), np.geomspace(2e8, 2e11, 7)))
    loss = 1.8 + 480 * n**-0.35 + 2100 * d**-0.37
    path = tmp_path / "checkpoints.csv"
    rows = [f"{'ab'[i % 10 == 0]},{a},{b},{c}" for i, (a, b, c) in enumerate(zip(n, d, loss, strict=True))]
    path.write_text("benchmark,N,D,loss\n" + "\n".join(rows) + "\n")
    return path


def test_regret_prints_draws_and_gives_json(run, table, tmp_path):
    pytest.importorskip("matplotlib")
    code, out, err = run("regret", table, "--where", "benchmark == 'a'", "--plot", tmp_path / "f.png")
    assert code == 0, err
    assert out.startswith("regret in loss on a, 44 checkpoints")
    assert "leave one budget out" in out
    assert (tmp_path / "f.png").stat().st_size > 5_000
    code, out, err = run("regret", table, "--where", "benchmark == 'a'", "--train-flops", "1e19", "--json")
    assert code == 0, err
    rules = json.loads(out)["protocols"]["lobo"]["strategies"]
    assert {"strategy", "regret", "low", "high"} == set(rules[0])
    assert rules[0]["strategy"] == "chinchilla"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "holds 2 values"),
        (["--where", "benchmark == 'a'", "--strategy", "nothing"], "strategies_followed: 'nothing'"),
        (["--where", "benchmark == 'a'", "--train-flops", "1e30"], "no training budget offers a choice"),
        (["--where", "N < 0"], "no row"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, table, arguments, message):
    code, out, err = run("regret", table, *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert message in err


def test_a_rule_takes_the_options_of_plan(run, tmp_path):
    n = np.geomspace(1e7, 8e7, 4)
    rows = [f"{a},{1e18 / a},p{i},24,{5 * i + j}" for j, a in enumerate(n) for i in range(3)]
    path = tmp_path / "counts.csv"
    path.write_text("N,D,problem,n_samples,n_correct\n" + "\n".join(rows) + "\n")
    asked = ("regret", path, "--train-flops", "6e18", "--inference-flops", "3.2e8", "--strategy", "largest model")
    code, out, err = run(*asked, "--select", "verifier", "--false-positive", "0.05", "--recall", "0.9", "--json")
    assert code == 0, err
    data = json.loads(out)
    assert (data["quantity"], data["rule"]["kind"]) == ("right answers", "verifier")
    code, out, err = run(*asked, "--select", "best-of", "--d-prime", "1.2")
    assert code == 0, err
    assert "Rule: best of k by a score" in out
    code, out, err = run(*asked, "--recall", "0.9")
    assert (code, out) == (2, "")
    assert "--recall needs --select" in err
