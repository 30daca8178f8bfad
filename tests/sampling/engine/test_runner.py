"""The sizes that steps are launched with."""

import pytest

torch = pytest.importorskip("torch")

from t2fast.sampling.engine.runner import launch_size  # noqa: E402


def test_steps_are_launched_with_few_idle_rows():
    sizes = [launch_size(n) for n in range(1, 1025)]
    assert all(size >= n for n, size in enumerate(sizes, 1))
    assert sorted(set(sizes))[:6] == [1, 2, 4, 8, 16, 24]
    assert max(size - n for n, size in enumerate(sizes, 1)) == 7
    assert launch_size(129) == 136  # not 256
