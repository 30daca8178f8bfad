"""Files of samples as Parquet."""

import json

import pytest
from tests.sampling.test_store import MANIFEST, written

from t2fast.errors import DataError
from t2fast.sampling import StoreError, write_parquet


def test_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path, out = tmp_path / "s.jsonl", tmp_path / "s.parquet"
    written(path, 5000, logprobs=True)
    assert write_parquet(path, out) == 5000
    table = parquet.read_table(out)
    assert table.to_pylist() == [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    assert json.loads(table.schema.metadata[b"t2fast"]) == MANIFEST
    assert "correct" not in table.column_names
    assert sorted(one.suffix for one in tmp_path.iterdir()) == [".json", ".jsonl", ".parquet"]


def test_parquet_that_cannot_be_made(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "s.jsonl"
    written(path, 2)
    with pytest.raises(StoreError, match="cannot be written"):
        write_parquet(path, tmp_path / "no" / "s.parquet")
    path.write_text('{"problem": "a", "sample": "first"}\n')
    with pytest.raises(DataError, match="not a file of samples"):
        write_parquet(path, tmp_path / "s.parquet")
    assert not list(tmp_path.glob("*.parquet*"))
