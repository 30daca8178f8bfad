"""Given designs side by side."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.plans import PYTHIA
from tests.support.strategies import any_laws, powers

import t2fast as t2


@settings(max_examples=100, deadline=None)
@given(any_laws, st.lists(st.tuples(powers(6, 11), powers(8, 13), st.integers(1, 1000)), min_size=2, max_size=5))
def test_break_even_is_where_total_costs_are_equal(law, designs):
    found = t2.compare(law, designs, t2.Workload(queries=7, prompt_tokens=3))
    first = found.designs[0]

    def total(design, queries):
        return design.train_flops + design.inference_flops / 7 * queries

    assert found.break_even[0].cheaper == "equal"
    for design, even in zip(found.designs[1:], found.break_even[1:], strict=True):
        if even.queries is not None:
            assert total(design, even.queries) == pytest.approx(total(first, even.queries), rel=1e-9)
            after = total(design, even.queries * 2) < total(first, even.queries * 2)
            assert after == (even.cheaper == "from")
        elif even.cheaper in ("always", "never"):
            for queries in (0, 1e30):
                ours, theirs = total(design, queries), total(first, queries)
                assert ours <= theirs if even.cheaper == "always" else ours >= theirs


@pytest.mark.parametrize("design", [(0, 1e9, 1), (1e9, -1, 1), (1e9, 1e9, 0), (1e9, 1e9, math.nan), (math.inf, 1e9, 1)])
def test_a_bad_design_is_refused(design):
    with pytest.raises(t2.T2Error, match=r"(n_params|n_tokens|k) = .*must be"):
        t2.compare(PYTHIA, [design])


@pytest.mark.parametrize("designs", [[], [(1e9, 1e9)], [("a", 1e9, 1)], [None]])
def test_designs_that_are_none_are_refused(designs):
    with pytest.raises(t2.T2Error, match="design"):
        t2.compare(PYTHIA, designs)


def test_what_multiplies_and_what_attention_reads():
    use = t2.Workload(prompt_tokens=1000, answer_tokens=150, attention=t2.Attention())
    found = t2.compare("pythia-gsm8k", [(14e6, 3e11, 100), (6.9e9, 3e11, 100)], use)
    # The input embedding of the smallest Pythia is half of it.
    assert found.multiplying_params[0] / 14e6 == pytest.approx(0.52, abs=0.05)
    assert found.multiplying_params[1] / 6.9e9 == pytest.approx(0.97, abs=0.01)
    # One read of the prompt a step, and half of the answer for each sample.
    shape = found.family.architecture(6.9e9)
    tokens = 150 * (1000 + 100 * 75)
    assert found.kv_gigabytes[1] == pytest.approx(tokens * 2 * shape.layers * shape.d_model * 2 / 1e9)
    cached = t2.compare("pythia-gsm8k", [(6.9e9, 3e11, 100)], replace(use, prompt="cached"))
    assert cached.kv_gigabytes[0] == pytest.approx(found.kv_gigabytes[1] * (100 * 1075) / (1000 + 7500))
    assert "KV read per problem" in str(found)
    assert "KV read per problem" not in str(t2.compare("pythia-gsm8k", [(14e6, 3e11, 100)]))
    assert found.to_dict()["designs"][0]["multiplying_params"] == found.multiplying_params[0]
