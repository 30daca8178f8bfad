"""Outputs are checked before the work whose result they are to hold."""

import pytest

from t2fast import fitting, passk, planning

BUDGET = ("--train-flops", "1e20", "--inference-flops", "1e12")


@pytest.mark.parametrize("flag", ["--out", "--plot"])
def test_fit_refuses_a_missing_folder_before_it_reads_the_table(run, tmp_path, monkeypatch, flag):
    monkeypatch.setattr(fitting, "fit_table", None)
    code, out, err = run("fit", tmp_path / "no.csv", flag, tmp_path / "missing" / "x.json")
    assert (code, out) == (2, "")
    assert err.startswith(f"t2fast: {flag} = ")
    assert "does not exist; make it first" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        (("plan", *BUDGET), ("--csv", "--plot")),
        (("grid", *BUDGET), ("--csv", "--plot")),
        (("frontier", "--train-flops", "1e18:1e24:30", "--inference-flops", "1e12"), ("--csv", "--plot")),
        (("compare", "70B:1.4T:k=1"), ("--csv",)),
        (("cost", "8B"), ("--out", "--csv", "--plot")),
        (("passk", "no.csv"), ("--out", "--plot")),
        (("choose", "no.csv", "other.csv"), ("--csv", "--plot")),
        (("regret", "no.csv"), ("--plot",)),
    ],
)
def test_commands_refuse_outputs_that_cannot_be_written(run, tmp_path, monkeypatch, command, flags):
    for verb in ("plan", "grid_search", "frontier", "compare"):
        monkeypatch.setattr(planning, verb, None)
    monkeypatch.setattr(passk, "report", None)
    for flag in flags:
        for path, message in ((tmp_path / "missing" / "x.png", "does not exist"), (tmp_path, "is a folder")):
            code, out, err = run(*command, flag, path)
            assert (code, out) == (2, ""), command
            assert err.startswith(f"t2fast: {flag} = ")
            assert message in err


@pytest.mark.parametrize(
    "command",
    [
        ("plan", *BUDGET),
        ("grid", *BUDGET),
        ("frontier", "--train-flops", "1e18:1e24:30", "--inference-flops", "1e12"),
        ("cost", "8B"),
        ("passk", "no.csv"),
        ("choose", "no.csv", "other.csv"),
        ("regret", "no.csv"),
        ("fit", "no.csv"),
    ],
)
def test_figures_of_no_format_are_refused_before_the_work(run, tmp_path, command):
    for name in ("figure.xyz", "figure"):
        code, out, err = run(*command, "--plot", tmp_path / name)
        assert (code, out) == (2, ""), command
        assert err.startswith(f"t2fast: --plot = '{tmp_path / name}': the suffix decides the format; use one of .")
        assert len(err.splitlines()) == 1


def test_a_table_may_hold_fields_longer_than_csv_allows_by_default(run, tmp_path):
    path = tmp_path / "long.csv"
    rows = [f"{n},{d},{1.7 + 450 * n**-0.34 + 1800 * d**-0.36},{'x' * 140_000}"
            for n in (1e7, 1e8, 1e9) for d in (1e9, 1e10, 1e11)]  # fmt: skip
    path.write_text("params,tokens,loss,note\n" + "\n".join(rows) + "\n")
    code, out, err = run("fit", path)
    assert code == 0, err
    assert "9 rows, 9 checkpoints" in out


def test_memory_that_is_not_there_is_one_line(run, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise MemoryError("Unable to allocate 149. GiB")

    (tmp_path / "x.csv").write_text("problem_id,n_samples,n_correct\na,10,3\n")
    monkeypatch.setattr("t2fast.data.read_counts", fail)
    monkeypatch.setattr("t2fast.cli.passk.read_counts", fail, raising=False)
    code, out, err = run("passk", tmp_path / "x.csv", "-k", 1)
    assert (code, out, err) == (2, "", "t2fast: not enough memory: Unable to allocate 149. GiB\n")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("fit", "x.csv", "--out", "x.csv"), "--out = 'x.csv': is also an input, which it would replace"),
        (("fit", "x.csv", "--out", "link.csv"), "--out = 'link.csv': is also an input, which it would replace"),
        (
            ("score", "--model", "m", "--prompts", "x.csv", "--out", "./x.csv"),
            "is also --prompts, which it would replace",
        ),
        (("cost", "--calibrate", "x.csv", "--out", "x.csv"), "is also --calibrate, which it would replace"),
        (
            ("plan", *BUDGET, "--csv", "new.svg", "--plot", "new.svg"),
            "'new.svg': is also --csv, which it would replace",
        ),
    ],
)
def test_no_output_takes_the_place_of_an_input_or_of_another_output(run, tmp_path, monkeypatch, command, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").write_text("n_params,n_tokens,loss\n1e8,2e9,3.1\n")
    (tmp_path / "link.csv").symlink_to("x.csv")
    code, out, err = run(*command)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert (tmp_path / "x.csv").read_text().startswith("n_params")
