import json

import numpy as np
import pytest
from tests.support.checkpoints import counts
from tests.support.commands import t2fast as command

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
def samples(tmp_path):
    """Samples with a cheap and a trusted verdict, an answer and a score."""
    rows = ["problem,base,passed,text,score"]
    for problem in range(60):
        for sample in range(8):
            right = (7 * problem + 3 * sample) % 10 < 1 + problem % 8
            accepted = right or (problem + sample) % 6 == 0
            answer = problem if right else problem + 1 + sample % 3
            rows.append(f"{problem},{int(accepted)},{int(right)},It is {answer}.,{right + 0.3 * (sample % 5)}")
    (tmp_path / "samples.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        ("verifier", ("--column", "cheap=base", "--fallback", "abstain", "--plot", "f.png")),
        ("majority", ("--extract", "numeric", "--rates", "0.2,0.8", "--plot", "f.png")),
        ("best-of", ("--bootstrap", "50")),
    ],
)
def test_rules_are_fitted_and_written(samples, rule, options):
    from t2fast.rules import load_rule

    done = command(
        "fit",
        "samples.csv",
        "--rule",
        rule,
        "--verdict",
        "passed",
        *options,
        "--out",
        "rule.json",
        "--json",
        cwd=samples,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)["fit"]
    made = load_rule(samples / "rule.json")
    assert made.kind == report["rule"]["kind"] == rule
    assert made.n_draws == {"verifier": 400, "majority": 200, "best-of": 50}[rule]
    if "--plot" in options:
        assert (samples / "f.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rule", "verifier", "--verdict", "passed"), "no column of cheap verdicts: name it with --column cheap=..."),
        (("--rule", "majority", "--verdict", "passed"), "say how to find the answer in a text with --extract"),
        (("--rule", "majority", "--rising"), "--rising: has no effect here: --rule majority does not look at it"),
        (("--rule", "majority", "--law", "t2-pass"), "--law: has no effect here: it is an option of laws"),
        (("--rule", "best-of", "--plot", "x.png"), "--plot: has no effect here"),
        (("--rule", "majority", "--verdict", "passed", "--extract", "numeric", "--rates", "0.8,0.2"), "must rise"),
        (("--rule", "guess"), "'guess' is not one of"),
        (("--extract", "numeric"), "--extract: has no effect here: it needs --rule"),
        (("--seed", "1"), "--seed: has no effect here: it needs --bootstrap"),
    ],
)
def test_rules_and_laws_keep_to_their_options(samples, arguments, message):
    done = command("fit", "samples.csv", *arguments, cwd=samples)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
