"""The duel of two designs whose pass@k is known."""

import dataclasses

import numpy as np
import pytest
from tests.support import laboratory

from t2fast.errors import T2Error
from t2fast.lab.duel import judge_duel


def test_the_duel_is_what_both_designs_solve_for_the_same_money(found):
    for one in found.duels:
        assert one.k == (90, 25)  # 2e6 / (2 * 1.1e4) and / (2 * 4e4)
        truth = [laboratory.PASS.value(n, d, k) for n, d, k in zip(one.n_params, one.n_tokens, one.k, strict=True)]
        gain, low, high = one.gain
        assert low < gain < high
        assert low < truth[0] - truth[1] < high
        assert one.pass_at_1[0] < one.pass_at_k[0]


def test_an_inference_budget_without_samples_is_refused():
    preset = laboratory.preset()
    poor = dataclasses.replace(preset, duel=dataclasses.replace(preset.duel, inference_flops=1e3))
    with pytest.raises(T2Error, match="inference_flops = 1000: pays for 0 samples"):
        judge_duel(laboratory.make(), poor, False, np.random.default_rng(0))
