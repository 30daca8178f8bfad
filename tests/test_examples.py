"""The examples that need no model: what they print is what their users would see."""

import csv

import pytest
from tests.support import examples
from tests.support.logs import lines, written


def test_own_csv_to_plan(tmp_path, capsys):
    example = examples.load("own_csv_to_plan")
    plan = example.main()
    said = capsys.readouterr().out
    assert "held out: tokens_per_param > 60" in said
    assert "recommended" in said
    assert plan.interval is not None
    with (tmp_path / "counts.csv").open("w", newline="") as file:
        table = example.laboratory()
        writer = csv.writer(file)
        writer.writerow(table)
        # A thousand times the parameters and the tokens, as a user's own table would rather have them.
        n, d = ([1000 * x for x in table[name]] for name in ("n_params", "n_tokens"))
        writer.writerows(zip(table["run"], n, d, *list(table.values())[3:], strict=True))
    scaled = example.main(tmp_path / "counts.csv", "3e17", "2e9")
    assert scaled.n_params == pytest.approx(1000 * plan.n_params, rel=0.3)


def test_logs_to_choice(tmp_path, capsys):
    def log(name, right):
        documents = [
            {
                "doc_id": i, "doc_hash": f"h{i}", "filter": "none", "resps": [["x"] * 8], "filtered_resps": ["x"] * 8,
                "metrics": ["pass@1"], "pass@1": min(8, (right + i) % 9) / 8,
            }
            for i in range(40)
        ]  # fmt: skip
        written(tmp_path / name / "samples_task_2026-01-01T00-00-00.000000.jsonl", lines(documents))
        return tmp_path / name

    logs = [log("small", 0), log("large", 4)]
    prices = written(
        tmp_path / "prices.csv",
        "model,input_dollars,output_dollars,input_tokens,output_tokens\nsmall,0.1,0.4,500,300\nlarge,1,4,500,300\n",
    )
    choice = examples.load("logs_to_choice").main("0.001", prices, *logs)
    assert "small" in capsys.readouterr().out
    assert choice.model == "small"
