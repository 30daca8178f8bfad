"""The command ``t2fast lab``, as a user types it."""

import json

import pytest
from tests.support.commands import t2fast

pytest.importorskip("matplotlib")


def test_report_of_the_table_that_comes_with_t2fast(tmp_path):
    done = t2fast("lab", "report", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["preset"] == "tiny"
    assert {one["holds"] for one in found["claims"]} <= {True, False, None}
    assert (tmp_path / "lab_report" / "index.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--preset", "huge"], "preset = 'huge': must be h100, small, tiny or a JSON file"),
        (["report", "nowhere"], "nowhere/table.json: no such file"),
        (["run", "--workers", "0"], "workers = 0: must be"),
        (["run", "--workers", "many"], "--workers many: must be a number, ray or ray:NUMBER"),
    ],
)
def test_bad_input_gets_one_line(arguments, message, tmp_path):
    if arguments[0] == "run":
        pytest.importorskip("torch")
        pytest.importorskip("t2fast_kernels")
    done = t2fast("lab", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
