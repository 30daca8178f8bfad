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
    rules = json.loads(out)["protocols"]["lobo"]["rules"]
    assert {"rule", "regret", "low", "high"} == set(rules[0])
    assert rules[0]["rule"] == "chinchilla"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "holds 2 values"),
        (["--where", "benchmark == 'a'", "--rule", "nothing"], "rules_followed: 'nothing'"),
        (["--where", "benchmark == 'a'", "--train-flops", "1e30"], "no training budget offers a choice"),
        (["--where", "N < 0"], "no row"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, table, arguments, message):
    code, out, err = run("regret", table, *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert message in err
