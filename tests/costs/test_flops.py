import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.oracles import costs
from tests.support.strategies import powers, workloads

import t2fast as t2


@given(powers(3, 13), powers(3, 16), workloads())
def test_training_is_counted_layer_by_layer(n, d, use):
    assert math.isclose(t2.train_flops(n, d, use), costs.training(n, d, use), rel_tol=1e-13)


@given(powers(3, 13), st.integers(1, 10**6), workloads())
def test_inference_is_counted_answer_by_answer(n, k, use):
    assert math.isclose(t2.inference_flops(n, k, use), costs.inference(n, k, use), rel_tol=1e-13)


def test_the_papers_units():
    assert t2.train_flops(70e9, 1.4e12) == pytest.approx(6 * 70e9 * 1.4e12, rel=1e-15)
    assert t2.inference_flops(70e9, 1) == 1.4e11


def test_attention_counts_pairs_of_tokens():
    # GPT-3: 96 layers of width 12288, N = 12 n_layers d_model^2; an answer of 100 tokens after a prompt of 1000.
    layers, width = 96, 12288
    n = 12.0 * layers * width**2
    use = t2.Workload(prompt_tokens=1000, answer_tokens=100, attention=t2.Attention(width / layers, 2048))
    seen_by_answer = 100 * 1000 + 100**2 / 2
    expected = 2 * n * 1100 + 4 * layers * width * (1000**2 / 2 + seen_by_answer)
    assert t2.inference_flops(n, 1, use) == pytest.approx(expected, rel=1e-13)
    assert t2.train_flops(n, 1, use) == pytest.approx(6 * n + 3 * 4 * layers * width * 1024, rel=1e-13)


def test_a_prompt_per_sample_costs_k_prompts():
    use = t2.Workload(queries=10, prompt_tokens=500, answer_tokens=20)
    once, each = t2.inference_flops(1e9, 8, use), t2.inference_flops(1e9, 8, replace(use, prompt="recomputed"))
    assert each - once == pytest.approx(10 * 2 * 1e9 * 500 * 7)


NUMBERS = ["train_flops", "inference_flops", "total_flops", "max_params", "max_tokens", "max_k", "unique_tokens"]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [0, -1, -1e22, math.nan])
def test_a_budget_refuses_numbers_out_of_range(name, value):
    with pytest.raises(t2.T2Error) as error:
        t2.Budget(**{name: value})
    message = str(error.value)
    assert name in message
    shown = "NaN" if math.isnan(value) else f"{value:g}".replace("e+", "e")
    assert f"{name} = {shown}: " in message
    assert "must be" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["train_flops", "inference_flops", "total_flops", "unique_tokens"])
def test_a_budget_refuses_infinity(name):
    with pytest.raises(t2.T2Error, match=f"{name} = inf: must be positive and finite"):
        t2.Budget(**{name: math.inf})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["1e22", [1e22], object()])
def test_a_budget_names_what_is_no_number(name, value):
    with pytest.raises(t2.T2Error, match=name):
        t2.Budget(**{name: value})


@pytest.mark.parametrize("name", ["queries", "prompt_tokens", "answer_tokens"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf, "many"])
def test_a_workload_names_what_is_out_of_range(name, value):
    with pytest.raises(t2.T2Error, match=name):
        t2.Budget(workload=t2.Workload(**{name: value}))


@pytest.mark.parametrize("name", ["aspect_ratio", "train_context"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, None])
def test_attention_names_what_is_out_of_range(name, value):
    with pytest.raises(t2.T2Error, match=name):
        t2.Budget(workload=t2.Workload(attention=t2.Attention(**{name: value})))


def test_sweep_varies_the_last_fastest():
    budgets = t2.Budget(max_k=7).sweep(train_flops=[1, 2], inference_flops=[3, 4, 5])
    assert [(b.train_flops, b.inference_flops) for b in budgets] == [(1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (2, 5)]
    assert all(b.max_k == 7 for b in budgets)


def test_sweep_names_an_unknown_field():
    with pytest.raises(t2.T2Error, match="train_flop"):
        t2.Budget().sweep(train_flop=[1e20])


def test_to_dict_leaves_out_what_is_not_limited():
    assert t2.Budget(train_flops=1e20).to_dict() == {"train_flops": 1e20}
    with_use = t2.Budget(total_flops=1e20, workload=t2.Workload(queries=5)).to_dict()
    assert with_use["workload"]["queries"] == 5
