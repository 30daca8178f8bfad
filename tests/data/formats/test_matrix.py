"""Matrices of 0 and 1, with and without names."""

import numpy as np
import pytest
from tests.support.logs import pairs, written

from t2fast.data import read_counts


@pytest.mark.parametrize("head", ["", "index", "Unnamed: 0", "problem_id", "task_id"])
@pytest.mark.parametrize("rows", [2, 4])
def test_an_index_is_no_trial(tmp_path, head, rows):
    text = f"{head},s0,s1,s2\n" + "".join(f"{i},1,0,{int(i == 3)}\n" for i in range(rows))
    counts = read_counts(written(tmp_path / "x.csv", text))
    assert pairs(counts) == {str(i): (3, 1 + (i == 3)) for i in range(rows)}


def test_pandas_writes_an_index(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.eye(3, dtype=int))
    for index in (True, False):
        frame.to_csv(tmp_path / "x.csv", index=index)
        assert read_counts(tmp_path / "x.csv").n_samples.tolist() == [3, 3, 3]
        assert read_counts(tmp_path / "x.csv").n_correct.tolist() == [1, 1, 1]
