import gzip
import io
import json
import sys

import pytest

import t2fast
from t2fast.data import Table, read_table

ROWS = {"n_params": [1e8, 2e8, 4e8], "n_tokens": [2e9, 4e9, 8e9], "loss": [3.5, 3.2, 3.0], "family": ["a", "b", "a"]}


def same(table: Table) -> None:
    assert table["n_params"].tolist() == ROWS["n_params"]
    assert table["loss"].tolist() == ROWS["loss"]
    assert table["family"].tolist() == ROWS["family"]
    assert len(table) == 3


def write_csv(path, delimiter):
    lines = [
        delimiter.join(ROWS),
        *(delimiter.join(str(value) for value in row) for row in zip(*ROWS.values(), strict=True)),
    ]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".tsv", "\t")])
def test_delimited_text(tmp_path, suffix, delimiter):
    write_csv(tmp_path / f"t{suffix}", delimiter)
    same(read_table(tmp_path / f"t{suffix}"))


def test_json_lines(tmp_path):
    lines = [json.dumps(dict(zip(ROWS, row, strict=True))) for row in zip(*ROWS.values(), strict=True)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines) + "\n\n")
    same(read_table(tmp_path / "t.jsonl"))


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_text_may_hold_what_unicode_calls_a_line_end(tmp_path, suffix):
    path = tmp_path / f"t.{suffix}"
    odd = "one\u2028two\x85"
    lines = (
        [json.dumps({"N": 1e6, "group": odd}, ensure_ascii=False)] if suffix == "jsonl" else ["N,group", f"1e6,{odd}"]
    )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert read_table(path).columns["group"].tolist() == [odd]


def test_mapping_and_dataframes(tmp_path):
    same(read_table(ROWS))
    pandas = pytest.importorskip("pandas")
    same(read_table(pandas.DataFrame(ROWS)))
    polars = pytest.importorskip("polars")
    same(read_table(polars.DataFrame(ROWS)))
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table(ROWS)
    same(read_table(table))
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    same(read_table(tmp_path / "t.parquet"))


def test_usual_names_and_case_of_single_letters():
    table = read_table({"N": [1e8], "D": [1e9], "n": [10], "c": [3], "Problem ID": ["x"]})
    assert dict(table.found) == {
        "n_params": "N", "n_tokens": "D", "n_samples": "n", "n_correct": "c", "problem": "Problem ID",
    }  # fmt: skip


def test_columns_named_by_the_user():
    table = read_table({"N": [1e8], "size": [2e8], "D": [1e9]}, columns={"n_params": "size"})
    assert table["n_params"].tolist() == [2e8]
    assert table["N"].tolist() == [1e8]


def test_the_exact_name_wins_and_two_usual_ones_are_asked_about():
    assert read_table({"loss": [3.0], "val_loss": [2.0]})["loss"].tolist() == [3.0]
    with pytest.raises(t2fast.DataError, match="columns nll and val_loss could both be loss"):
        read_table({"nll": [3.0], "val_loss": [2.0]})


def test_units_are_checked_and_given():
    billions = {"n_params": [1e9, 7e9], "n_tokens": [20.0, 140.0]}
    with pytest.raises(t2fast.DataError, match=r"n_tokens is 80 in the middle.*units=\{'n_tokens': 1e9\}"):
        read_table(billions)
    assert read_table(billions, units={"n_tokens": 1e9})["n_tokens"].tolist() == [2e10, 1.4e11]
    assert read_table(billions, units={"n_tokens": 1})["n_tokens"].tolist() == [20, 140]
    odd = read_table({"n_params": [1e9, 7e9, 1e9], "n_tokens": [2e8, 2e8, 2e10]})
    assert "n_tokens is below n_params in 2 of 3 rows" in odd.warnings[0]
    with pytest.raises(t2fast.DataError, match=r"pass_at_k reaches 55.*0.01"):
        read_table({"pass_at_k": [55.0]})
    assert read_table({"pass_at_k": [55.0]}, units={"pass_at_k": 0.01})["pass_at_k"].tolist() == [0.55]
    assert "perplexity" in read_table({"loss": [33.0]}).warnings[0]


def test_gaps_are_refused_where_they_are_needed():
    table = read_table({"n_params": [1e8, None, 1e9], "n_tokens": [1e9, 1e9, 1e9]})
    assert table.number("n_tokens").tolist() == [1e9] * 3
    with pytest.raises(t2fast.DataError, match=r"n_params has no value in row 2 \(1 such rows\)"):
        table.number("n_params")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.csv", "no such file"),
        ({"n_params": []}, "no rows"),
        ({"n_params": [1e8], "loss": [3.0, 2.0]}, "columns differ in length"),
        (17, "not int"),
    ],
)
def test_unusable_sources(source, message):
    with pytest.raises(t2fast.DataError, match=message):
        read_table(source)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "a,b\n1,2\n3\n", "line 3 has 1 fields"),
        ("t.csv", "a,a\n1,2\n", "names a column twice"),
        ("t.csv", "", "no rows"),
        ("t.jsonl", '{"a": 1}\n{"a"\n', "line 2 is not JSON"),
        ("t.jsonl", "[1]\n", "line 1 is not a JSON object"),
        ("t.xls", "", "no rows"),
    ],
)
def test_malformed_files_name_the_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(t2fast.DataError, match=message):
        read_table(tmp_path / name)


def test_absent_column_says_what_would_do():
    table = read_table(ROWS)
    with pytest.raises(t2fast.DataError, match=r"no column k.*columns=\{'k': '\.\.\.'\}"):
        table["k"]
    with pytest.raises(t2fast.DataError, match="holds text such as 'a'"):
        table.number("family")
    assert table.optional("k") is None


@pytest.mark.parametrize(
    ("cells", "expected"),
    [(["20M", "1.4B"], [2e7, 1.4e9]), (['"20,000,000"', "3e9"], [2e7, 3e9]), (["2.7e7 ", "1000000"], [2.7e7, 1e6])],
)
def test_quantities_as_people_write_them(tmp_path, cells, expected):
    (tmp_path / "t.csv").write_text("params,tokens\n" + "".join(f"{cell},400M\n" for cell in cells))
    table = read_table(tmp_path / "t.csv")
    assert table.number("n_params").tolist() == expected
    assert table.number("n_tokens").tolist() == [4e8, 4e8]


@pytest.mark.parametrize("gap", ["N/A", "-", "#N/A", "None", "", "nan"])
def test_gaps_are_named_by_row(tmp_path, gap):
    (tmp_path / "t.csv").write_text(f"params,loss\n2e7,4.1\n1.5e8,{gap}\n")
    with pytest.raises(t2fast.DataError, match="loss has no value in row 2"):
        read_table(tmp_path / "t.csv").number("loss")
    (tmp_path / "t.csv").write_text("params,loss\n2e7,4.1\n1.5e8,about 3\n")
    with pytest.raises(t2fast.DataError, match="holds text such as 'about 3' in row 2"):
        read_table(tmp_path / "t.csv").number("loss")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_as_it_comes(tmp_path, delimiter, encoding):
    write_csv(tmp_path / "t", delimiter)
    text = (tmp_path / "t").read_text()
    (tmp_path / "t").write_bytes(text.encode(encoding))
    same(read_table(tmp_path / "t"))
    (tmp_path / "t.gz").write_bytes(gzip.compress(text.encode(encoding)))
    same(read_table(tmp_path / "t.gz"))


def test_pipes_indexes_records_and_repeated_headers(tmp_path, monkeypatch):
    write_csv(tmp_path / "t.csv", ",")
    text = (tmp_path / "t.csv").read_text()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    same(read_table("-"))
    head, *rows = text.splitlines()
    (tmp_path / "t.csv").write_text("\n".join([f",{head}", *(f"{i},{row}" for i, row in enumerate(rows))]))
    same(read_table(tmp_path / "t.csv"))
    (tmp_path / "t.csv").write_text("\n".join([head, rows[0], head, *rows[1:]]))
    same(read_table(tmp_path / "t.csv"))
    (tmp_path / "t.json").write_text(
        json.dumps([dict(zip(ROWS, row, strict=True)) for row in zip(*ROWS.values(), strict=True)])
    )
    same(read_table(tmp_path / "t.json"))


def test_tokens_from_training_flops_on_request():
    columns = {"params": [1e8, 1e9], "C": [1.2e18, 1.2e20], "loss": [3.0, 2.0]}
    with pytest.raises(
        t2fast.DataError, match=r"if C is training FLOP, D = C / 6N follows from columns=\{'train_flops': 'C'\}"
    ):
        read_table(columns)["n_tokens"]
    assert read_table(columns, columns={"train_flops": "C"})["n_tokens"].tolist() == [2e9, 2e10]


def test_impossible_sizes_are_refused():
    with pytest.raises(t2fast.DataError, match="n_params reaches 1e\\+18"):
        read_table({"n_params": [1e8, 1e18]})
    with pytest.raises(t2fast.DataError, match="n_tokens reaches 1e\\+21"):
        read_table({"n_tokens": [1e9, 1e21]})
