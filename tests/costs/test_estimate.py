import json
import math
import pickle

import pytest

import t2fast as t2
from t2fast import costs
from t2fast.errors import InfeasibleError

ASK = {"gpu": "h100", "prompt_tokens": 1000, "answer_tokens": 300}


def test_money_energy_and_speed_follow_from_seconds():
    found = costs.cost("llama-3.1-8b", **ASK, k=16, price=3.6)
    assert found.dollars == pytest.approx(found.seconds * 1e-3)
    assert found.question.watt_hours == pytest.approx(found.seconds * 700 * 1.2 / 3600)
    assert found.tokens_per_second == pytest.approx(16 * 300 / found.seconds)
    assert found.question.bound_by == max(found.question.parts, key=found.question.parts.get)


def test_sharing_a_prompt_costs_least_and_one_answer_shares_nothing():
    modes = costs.cost("8B", **ASK, k=16).modes
    assert modes["shared"].dollars < modes["cached"].dollars < modes["recomputed"].dollars
    one = costs.cost("8B", **ASK, k=1).modes
    assert one["shared"].seconds == pytest.approx(one["cached"].seconds)


def test_a_wider_interval_holds_a_narrower_one():
    narrow = costs.cost("8B", **ASK, confidence_level=0.5)
    wide = costs.cost("8B", **ASK, confidence_level=0.95)
    for name, (low, high) in narrow.intervals.items():
        assert wide.intervals[name][0] < low < high < wide.intervals[name][1]


def test_json_has_the_fields_by_name():
    data = costs.cost("llama-3.3-70b", **ASK, dtype="fp8", tensor_parallel=2).to_dict()
    fields = [
        "tokens_per_second",
        "seconds",
        "dollars",
        "watt_hours",
        "latency_seconds",
        "batch",
        "bound_by",
        "interval",
    ]
    assert set(fields) <= data.keys()
    low, high = data["interval"]
    assert low < data["tokens_per_second"] < high
    assert json.loads(json.dumps(data)) == data


def test_an_estimate_pickles_and_prints_within_80_columns():
    found = costs.cost("8B", **ASK, k=4)
    assert pickle.loads(pickle.dumps(found)) == found
    assert max(map(len, str(found).splitlines())) <= 80
    assert len(repr(found)) < 200


def test_small_models_are_said_to_lie_beyond_the_anchors():
    assert any("below 6B" in line for line in costs.cost("160M", **ASK).warnings)
    assert not any("below 6B" in line for line in costs.cost("8B", **ASK).warnings)


def test_more_cards_are_faster_and_no_cheaper():
    one, four = (costs.cost("8B", **ASK, batch=8, tensor_parallel=cards) for cards in (1, 4))
    assert four.tokens_per_second > one.tokens_per_second
    assert four.seconds > one.seconds


def test_a_latency_lowers_the_batch():
    free = costs.cost("8B", **ASK)
    quick = costs.cost("8B", **ASK, max_seconds=0.5 * free.question.latency_seconds)
    assert quick.question.latency_seconds <= 0.5 * free.question.latency_seconds * (1 + 1e-9)
    assert quick.question.batch < free.question.batch
    assert quick.dollars > free.dollars


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"price": 0}, "price = 0: must be above 0"),
        ({"gpu": "h10"}, "did you mean h100"),
        ({"model": "llama-3.1-80b"}, "did you mean llama-3.1-8b"),
        ({"dtype": "fp9"}, "dtype = 'fp9'"),
        ({"kv_dtype": "fp9"}, "kv_dtype = 'fp9'"),
        ({"prompt": "reread"}, "prompt = 'reread'"),
        ({"k": 0}, "k = 0"),
        ({"answer_tokens": 0}, "answer_tokens = 0"),
        ({"batch": 0.5}, "batch = 0.5"),
        ({"tensor_parallel": 0}, "tensor_parallel = 0"),
        ({"confidence_level": 90}, "confidence_level = 90"),
        ({"family": "lama"}, "did you mean llama"),
        ({"kv_group": 0.5}, "kv_group = 0.5"),
        ({"model": -1.0}, "n_params"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(t2.T2Error, match=message) as error:
        costs.cost(**({"model": "8B"} | ASK | change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "llama-3.1-405b"}, "tensor-parallel"),
        ({"batch": 1e6}, "batch = 1000000 does not fit"),
        ({"max_seconds": 1e-3}, "met by no batch"),
        ({"prompt_tokens": 1e6}, "one sequence of"),
    ],
)
def test_what_cannot_run_says_what_would(change, message):
    with pytest.raises(InfeasibleError, match=message):
        costs.cost(**({"model": "8B"} | ASK | change))


def test_the_public_interval_of_an_exact_machine_is_a_point():
    card = costs.Card("ideal", {"bf16": 1e15}, 1e12, 1e11, constants=costs.Constants())
    found = costs.cost("8B", gpu=card, prompt_tokens=10, answer_tokens=10)
    assert found.intervals["seconds"] == (found.seconds, found.seconds)
    assert math.isfinite(found.dollars)
    assert any("no error" in line for line in found.warnings)
