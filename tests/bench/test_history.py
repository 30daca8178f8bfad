"""Lines of history from the two formats of benchmarks."""

import json

import pytest

from bench import history


def test_lines_of_both_formats(tmp_path, capsys):
    python = tmp_path / "python.json"
    python.write_text(
        json.dumps({"benchmarks": [{"fullname": "bench/x.py::test_a", "stats": {"median": 2.0, "iqr": 0.5}}]})
    )
    folder = tmp_path / "criterion" / "plan" / "t2-pass" / "new"
    folder.mkdir(parents=True)
    median = {"point_estimate": 53000.0, "confidence_interval": {"lower_bound": 52000.0, "upper_bound": 55000.0}}
    (folder / "estimates.json").write_text(json.dumps({"median": median}))
    history.main([str(python), str(tmp_path / "criterion")])
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["benchmark"], first["median"], first["spread"]) == ("bench/x.py::test_a", 2.0, 0.5)
    assert second["benchmark"] == "plan/t2-pass"
    assert second["median"] == pytest.approx(53e-6)
    assert second["spread"] == pytest.approx(3e-6)
    assert {"commit", "date", "cpu", "cores"} <= first.keys()


def test_a_source_without_benchmarks_is_an_error(tmp_path):
    with pytest.raises(SystemExit, match="no benchmarks there"):
        history.main([str(tmp_path)])
