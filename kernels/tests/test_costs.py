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


def test_the_suffix_is_bound_by_memory_when_many_read_and_by_one_chain_when_few_do():
    heads = {"n_kv_heads": 8, "group": 4, "head_dim": 128, "itemsize": 2}
    model = CostModel()
    many = model.suffix_seconds(128, 256, **heads)
    assert many == pytest.approx(model.launch_seconds + 128 * 256 * 4096 / model.bandwidth)
    assert model.suffix_seconds(1, 256, **heads) == pytest.approx(model.launch_seconds + 256 * model.token_seconds)
    assert model.suffix_seconds(256, 256, **heads) > many
