"""Text and files as they come."""

import bz2
import gzip
import io
import lzma
import sys

import pytest
from tests.support.logs import lines, pairs, written

from t2fast import T2Error
from t2fast.data import read_counts

ROWS = [("a", True), ("a", False), ("b", False)]
EXPECTED = {"a": (2, 1), "b": (1, 0)}
JSONL = lines({"task_id": p, "passed": v} for p, v in ROWS)
CSV = "task_id,passed\n" + "".join(f"{p},{v}\n" for p, v in ROWS)


@pytest.mark.parametrize("text", [JSONL, CSV], ids=["jsonl", "csv"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path, text, encoding, end):
    assert pairs(read_counts(written(tmp_path / "x", text.replace("\n", end).encode(encoding)))) == EXPECTED


def test_byte_order_marks_where_files_were_joined(tmp_path):
    first, rest = JSONL.split("\n", 1)
    assert pairs(read_counts(written(tmp_path / "x.jsonl", f"\ufeff{first}\n\ufeff{rest}"))) == EXPECTED
    head, rest = CSV.split("\n", 1)
    assert pairs(read_counts(written(tmp_path / "x.csv", f"\ufeff{head}\n{rest}\ufeff{head}\n"))) == EXPECTED


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, "zstd"])
def test_compressed_files(tmp_path, pack):
    if pack == "zstd":
        pack = pytest.importorskip("zstandard").compress
    for text in (JSONL, CSV):
        assert pairs(read_counts(written(tmp_path / "x", pack(text.encode())))) == EXPECTED


@pytest.mark.parametrize("text", [JSONL, CSV], ids=["jsonl", "csv"])
def test_standard_input(text, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert pairs(read_counts("-")) == EXPECTED


def test_folders(tmp_path):
    written(tmp_path / "run" / "p.jsonl", JSONL)
    written(tmp_path / "run" / "notes.json", {"about": "nothing"})
    written(tmp_path / "run" / ".hidden.jsonl", "{")
    counts = read_counts(tmp_path / "run")
    assert pairs(counts) == EXPECTED
    assert any("notes.json" in text for text in counts.warnings)
    (tmp_path / "empty").mkdir()
    with pytest.raises(T2Error, match="holds no file ending in"):
        read_counts(tmp_path / "empty")
    with pytest.raises(T2Error, match="none of the formats known"):
        read_counts(tmp_path / "run" / "notes.json")


def test_fields_longer_than_the_csv_module_expects(tmp_path):
    path = written(tmp_path / "x.csv", "task_id,completion,passed\na," + "x" * 140_000 + ",1\n")
    assert pairs(read_counts(path)) == {"a": (1, 1)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"task_id": ' + b"[" * 100_000, "not valid JSON|nested too deeply|neither JSON"),
        (gzip.compress(JSONL.encode() * 100, mtime=0)[:-20], "damaged or cut short"),
        (b"\x1f\x8b" + b"garbage" * 20, "damaged or cut short"),
        (b"BZh9garbage" * 20, "damaged or cut short|cannot be read"),
        (b"\xfd7zXZ\x00garbage" * 20, "damaged or cut short"),
        (b"PK\x03\x04garbage", "damaged archive"),
        (b"task_id,passed\n\xff\xfe,1\n", "is not Unicode text"),
        (b'{"eval": {"t": null}}', "holds no list of trials"),
        (b'{"simulations": [3]}', "x.*damaged, or not of the format"),
        (b"", "is empty"),
    ],
)
def test_damaged_files_are_told_in_one_line(tmp_path, content, message):
    with pytest.raises(T2Error, match=message) as caught:
        read_counts(written(tmp_path / "x", content))
    assert str(caught.value).startswith(str(tmp_path / "x"))
    assert "\n" not in str(caught.value)


def test_damaged_parquet_and_zstd(tmp_path):
    pytest.importorskip("pyarrow")
    with pytest.raises(T2Error, match=r"x\.parquet: is damaged"):
        read_counts(written(tmp_path / "x.parquet", b"PAR1"))
    zstandard = pytest.importorskip("zstandard")
    packed = zstandard.compress(JSONL.encode() * 100)
    with pytest.raises(T2Error, match=r"x\.zst: "):
        read_counts(written(tmp_path / "x.zst", packed[:8] + b"\0" * 40))


@pytest.mark.parametrize("fill", [b"a", b"\n", b" "])
def test_small_files_that_become_huge_are_refused(tmp_path, fill):
    path = tmp_path / "x.gz"
    with gzip.open(path, "wb", 9) as file:
        file.write(b'{"task_id":"a","passed":true,"x":"')
        for _ in range(90):
            file.write(fill * (1 << 20))
    with pytest.raises(T2Error, match="grows more than 300 times|blank lines in a row"):
        read_counts(path)


def test_lines_that_say_nothing_are_not_read_for_ever(tmp_path):
    with pytest.raises(T2Error, match="holds more than 1,000,000 blank lines in a row"):
        read_counts(written(tmp_path / "x", b"\n" * 1_000_001))
    assert pairs(read_counts(written(tmp_path / "x", "\n" * 999_999 + JSONL))) == EXPECTED
