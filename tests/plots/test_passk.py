"""Figures show what the results hold."""

import numpy as np
import pytest

from t2fast import T2Error, passk

C = np.random.default_rng(0).binomial(20, 0.3, 50)


def test_curve_and_extrapolation_draw_their_numbers(tmp_path):
    one = passk.curve(20, C)
    axes = one.plot().axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), one.pass_at_k)
    beyond = passk.extrapolate(20, C, [100, 1000], n_resamples=50)
    figure = beyond.plot(tmp_path / "e.svg")
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), beyond.pass_at_k)
    assert (tmp_path / "e.svg").stat().st_size > 1000
    with pytest.raises(T2Error, match="cannot be written"):
        one.plot(tmp_path / "no" / "x.png")


def test_comparison_draws_its_numbers():
    one = passk.compare((20, C), (20, C[::-1]), [1, 5])
    figure = one.plot()
    np.testing.assert_array_equal(figure.axes[0].lines[1].get_ydata(), one.difference)
