"""Given designs side by side."""

import math

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
