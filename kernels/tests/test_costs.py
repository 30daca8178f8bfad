from __future__ import annotations

import pytest

from t2fast_kernels import CostModel, KernelError


def test_cost_models_are_files(tmp_path):
    model = CostModel(bandwidth=1e12, processors=7)
    model.save(tmp_path / "card.json")
    assert CostModel.load(tmp_path / "card.json") == model
    (tmp_path / "bad.json").write_text('{"speed": 3}')
    for name in ("bad.json", "missing.json"):
        with pytest.raises(KernelError, match=r"not a cost model .*; write one with CostModel.save"):
            CostModel.load(tmp_path / name)
    with pytest.raises(KernelError, match="launch_seconds = -1: a cost model's figures must be positive"):
        CostModel(launch_seconds=-1)
