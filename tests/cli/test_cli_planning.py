"""``t2fast plan, compare, grid, frontier, presets`` as a user meets them: what they print, where, and the exit code."""

import csv
import json
import signal
import subprocess
import sys
import time

import pytest
from tests.support.commands import PROGRAM, data, t2fast

import t2fast as t2
from t2fast.laws import DEFAULT_LAW

PAIR = ("--train-flops", "1e22", "--inference-flops", "1.4e11")
#: One law of the core, whose unlimited optimum lies far beyond its data.
T2 = ("--law", "pythia-gsm8k")


def test_plan_prints_its_designs_and_how_far_they_extrapolate():
    done = t2fast("plan", *PAIR, *T2)
    assert done.returncode == 0
    assert done.stderr == ""
    rows = {line.split("  ")[0] for line in done.stdout.splitlines()}
    assert {"recommended", "cheapest within 1%", "Chinchilla", "unlimited optimum"} <= rows
    assert "! the unlimited optimum extrapolates: D = 15.7T is 52 times the largest in the" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_plan_as_json_is_what_python_computes():
    found = data("plan", *PAIR, *T2)
    best = t2.plan(t2.load_law("pythia-gsm8k"), t2.Budget(train_flops=1e22, inference_flops=1.4e11))
    assert found == json.loads(json.dumps(best.to_dict()))
    assert found["chinchilla"].keys() == found["inside_data"].keys() >= {"n_params", "n_tokens", "k", "pass_at_k"}
    assert found["unlimited"]["extrapolation"]["n_tokens"] > 10
    assert found["extrapolation"]["n_tokens"] == 1


def test_the_default_plan_is_borne_out_by_what_was_measured_nearby():
    found = data("plan", *PAIR)
    low, high = found["interval"]
    assert low < found["pass_at_k"] < high
    assert len(found["nearest"]) >= 2
    for one in found["nearest"]:
        # Measured intervals and the predicted one overlap.
        assert one["low"] < high
        assert one["high"] > low
    assert found["cheapest_within_1pct"]["train_flops"] < found["train_flops"] < 0.1 * 1e22
    assert found["unlimited"]["pass_at_k"] >= found["pass_at_k"]
    assert "Measured nearby" in t2fast("plan", *PAIR).stdout


def test_plan_reads_quantities_and_a_workload():
    options = "--total-flops 1e22 --queries 1B --prompt-tokens 500 --answer-tokens 300 --max-tokens 1T --attention"
    found = data("plan", *options.split())
    use = t2.Workload(queries=1e9, prompt_tokens=500, answer_tokens=300, attention=t2.Attention())
    best = t2.plan(t2.load_law(DEFAULT_LAW), t2.Budget(total_flops=1e22, workload=use, max_tokens=1e12))
    assert found["n_params"] == best.n_params
    assert found["budget"]["workload"]["queries"] == 1e9


def test_plan_for_a_target():
    found = data("plan", "--target", "0.4", "--inference-flops", "1.4e11")
    assert found["pass_at_k"] == pytest.approx(0.4, abs=1e-6)
    assert found["pass_at_k"] >= 0.4


def test_plan_writes_a_table_and_a_figure(tmp_path):
    done = t2fast("plan", *PAIR, "--csv", "designs.csv", "--plot", "plan.png", cwd=tmp_path)
    assert done.returncode == 0
    rows = list(csv.DictReader((tmp_path / "designs.csv").read_text().splitlines()))
    assert [row["design"] for row in rows] == ["recommended", "cheapest_within_1pct", "chinchilla", "unlimited"]
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_a_law_from_a_file(tmp_path):
    path = tmp_path / "law.json"
    t2.T2LossLaw(0.5, 400.0, 400.0, 0.34, 0.28, 1.0, 0.3, name="mine").save(path)
    found = data("plan", "--law", str(path), *PAIR)
    assert found["law"] == "mine"
    assert "pass_at_k" not in found


def test_compare():
    found = data("compare", "70B:1.4T:k=1", "30B:3T:k=10", "1B:20B")
    assert [design["k"] for design in found["designs"]] == [1, 10, 1]
    assert found["designs"][0]["train_flops"] == 6 * 70e9 * 1.4e12
    assert found["designs"][1]["break_even"]["cheaper"] == "below"


def test_compare_in_dollars():
    money = ("--gpu", "h100", "--price", "2.5", "--prompt-tokens", "1000", "--answer-tokens", "150")
    found = data("compare", "129M:300B:k=1470", "160M:300B:k=100", *money)["designs"]
    assert found[0]["train_dollars"] < found[1]["train_dollars"]
    assert found[0]["inference_dollars"] > found[1]["inference_dollars"]
    dearer = data("compare", "129M:300B:k=1470", *money, "--price", "5")["designs"]
    assert dearer[0]["train_dollars"] == pytest.approx(2 * found[0]["train_dollars"])


def test_grid_does_not_depend_on_threads():
    options = ("grid", *PAIR, "--n-params", "10M:1B:60", "--n-tokens", "1B:1T:60", "--k", "1:1000:50", "--top", "3")
    one, all_of_them = data(*options, "--threads", "1"), data(*options)
    assert one == all_of_them
    assert len(one["top"]) == 3


def test_frontier(tmp_path):
    done = t2fast(
        "frontier", "--train-flops", "1e18:1e21:4", "--inference-flops", "1e9,1.4e11", "--csv", "f.csv", cwd=tmp_path
    )
    assert done.returncode == 0
    assert len(list(csv.DictReader((tmp_path / "f.csv").read_text().splitlines()))) == 8
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_presets():
    assert {law["name"] for law in data("presets")} == set(t2.presets())
    assert data("presets", "besiroglu")["coefficients"]["alpha"] == pytest.approx(0.347813029)
    out = t2fast("presets").stdout
    assert max(map(len, out.splitlines())) <= 80
    assert out.startswith("pass@k of sampled answers")
    assert "7B +0.4, 13B +0.4 points" in out
    assert "held out: 7B" in t2fast("presets", "olmo-piqa-val").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("plan",), "unbounded: give train_flops"),
        (("plan", "--train-flops", "abc"), "--train-flops = 'abc': not a number"),
        (("plan", "--train-flops", "-1e20", "--inference-flops", "1e9"), "train_flops = -1e20: must be positive"),
        (("plan", "--train-flops", "inf", "--inference-flops", "1e9"), "must be finite"),
        (("plan", "--train-flops", "1", "--inference-flops", "1e9"), "train_flops = 1 is too small"),
        (("plan", "--train-flops", "1", "--inference-flops", "1e9", *T2), "train_flops = 1 is too small"),
        (("plan", "--train-flops", "1e20"), "k is unbounded"),
        (("plan", *PAIR, "--law", "pythia-gsm9k"), "did you mean pythia-gsm8k"),
        (("plan", *PAIR, "--law", "absent.json"), "no such file"),
        (("plan", "--target", "0.999", "--inference-flops", "1.4e11"), "is out of reach"),
        (("plan", "--target", "0.999", "--inference-flops", "1"), "inference_flops = 1 is too small"),
        (("plan", "--bogus", "1"), "No such option"),
        (("bogus",), "No such command"),
        (("compare", "70B"), "write N:D or N:D:k=K"),
        (("compare", "70B:1.4T:k=0"), "k = 0: must be finite and at least 1"),
        (("grid", *PAIR, "--n-params", "3B,1B"), "n_params[1]"),
        (("grid", *PAIR, "--n-params", "1M:2"), "1M:10B:50"),
        (("grid", "--train-flops", "1", "--inference-flops", "1e9"), "no point of the grid is affordable"),
        (("grid", *PAIR, "--top", "0"), "top"),
        (("grid", *PAIR, "--n-params", "1M:1B:5000", "--n-tokens", "1B:1T:5000"), "at most 4000000"),
        (("grid", *PAIR, "--n-params", "1M:1B:60000", "--n-tokens", "1B:1T:60000"), "at most 1e+11 are searched"),
        (("frontier",), "no budget to sweep"),
        (("presets", "hofmann"), "did you mean hoffmann"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(arguments, words):
    done = t2fast(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("t2fast: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_debug_shows_the_traceback():
    done = t2fast("plan", "--train-flops", "abc", "--debug")
    assert "Traceback" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_stops_a_long_search():
    grid = ("--n-params", "1M:100B:60000", "--n-tokens", "100M:100T:60000", "--k", "1,2,3", "--threads", "1")
    command = [*PROGRAM, "grid", *PAIR, *T2, *grid]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(6)  # to be well past the imports on a busy machine
        assert process.poll() is None, "too short a search to interrupt"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr == "t2fast: interrupted\n"
