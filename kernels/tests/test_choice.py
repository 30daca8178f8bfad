from __future__ import annotations

import pytest

from conftest import TRITON
from kit.plans import h100, make
from t2fast_kernels import plan


def test_the_choice_follows_the_costs():
    few = h100(4, 1, max_items=1000, max_partials=10_000)
    tiny = plan(few, [[0, 0, 20, 0]], [[0]] * 4, range(4))
    assert tiny.method == "plain"
    assert tiny.n_items == 0
    long = plan(few, [[0, 0, 60_000, 0]], [[0]] * 4, range(4))
    assert long.method == "split"
    assert long.estimates.split[long.split_size] == min(long.estimates.split.values())
    assert long.estimates.split[long.split_size] < min(long.estimates.shared, long.estimates.plain)
    many = h100(1024, 64)
    shared = plan(many, [[i, 0, 2048, 0] for i in range(64)], [[i // 16] for i in range(1024)], range(1024))
    assert shared.method == "shared"
    assert shared.n_items == 64
    for made in (tiny, long, shared):
        times = {"shared": made.estimates.shared, "plain": made.estimates.plain}
        assert str(made).startswith(made.method)
        assert (
            f"{made.method} {1e6 * times.get(made.method, min(made.estimates.split.values(), default=0)):.1f} us"
            in made.why
        )
    asked = plan(few, [[0, 0, 20, 0]], [[0]] * 4, range(4), method="shared")
    assert (asked.method, asked.why, asked.estimates) == ("shared", "as asked", None)
    assert plan(few, [], [], range(4)).why == "no prefixes"


def test_splits_that_do_not_fit_are_not_chosen():
    small = h100(4, 1, max_items=2, max_partials=8)
    assert plan(small, [[0, 0, 60_000, 0]], [[0]] * 4, range(4)).n_items <= 2


@pytest.mark.skipif(TRITON, reason="of the CPU reference")
def test_the_reference_takes_whole_groups():
    made = plan(make(), [[0, 0, 500, 0]], [[0]] * 40, range(1, 41))
    assert (made.method, made.n_items) == ("shared", 1)
    made = plan(make(), [[0, 0, 5000, 0]], [[0]] * 40, range(1, 41))
    assert (made.method, made.split_size, made.n_items) == ("split", 1024, 5)
