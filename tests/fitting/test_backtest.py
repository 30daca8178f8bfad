import json

import numpy as np
import pytest
from tests.oracles import fitting as oracle
from tests.support.checkpoints import PASS_BASE, counts, losses

import t2fast
from t2fast import fitting


class TestBacktest:
    def table(self):
        n, d, y = losses(0.005)
        return {"n_params": n, "n_tokens": d, "loss": y, "family": np.where(n > 1e9, "big", "small")}

    def test_predicts_what_was_held_out(self):
        result = fitting.backtest(self.table(), "N > 1e9")
        assert result.n_held_out + result.n_fitted == 60
        assert result.laws["chinchilla"].relative_error < 0.02
        assert all(len(line) <= 80 for line in result.summary().splitlines())
        json.dumps(result.to_dict())
        fit = result.laws["chinchilla"].fit
        assert fit.n_rows == result.n_fitted
        assert fit.law.data_range.n_params[1] <= 1e9

    def test_laws_side_by_side(self):
        n, d, samples, correct, _ = counts()
        loss = oracle.power_sum(PASS_BASE, n, d)
        table = {"n_params": n, "n_tokens": d, "n_samples": samples, "n_correct": correct, "loss": loss}
        result = fitting.backtest(table, "tokens_per_param > 60", laws=["chinchilla", "t2-pass", "t2-loss"])
        assert set(result.laws) == {"chinchilla", "t2-pass"}
        assert "no success" in result.failures["t2-loss"]
        assert "t2-loss" in result.summary()
        assert result.laws["t2-pass"].observed.quantity == "pass@k"

    def test_holding_out_all_or_nothing(self):
        with pytest.raises(t2fast.T2Error, match="holds out no row of 60"):
            fitting.backtest(self.table(), "N > 1e30")
        with pytest.raises(t2fast.T2Error, match="holds out every row"):
            fitting.backtest(self.table(), "N > 0")
