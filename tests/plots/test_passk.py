"""Figures show what the results hold."""

import numpy as np
import pytest
from matplotlib.text import Text

from t2fast import T2Error, passk
from t2fast.data import read_counts

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


def test_text_is_readable_and_legends_hide_nothing(tmp_path):
    rows = [f"{model},b,{i},20,{c}" for model in ("a $1", "b $2") for i, c in enumerate(C)]
    table = tmp_path / "counts.csv"
    table.write_text("\n".join(["model,benchmark,problem_id,n_samples,n_correct", *rows]))
    counts = read_counts(table)
    found = passk.report(counts, [1, 5, 200], extrapolate_with="power_law")
    for figure in (passk.curve(20, C).plot(), passk.compare((20, C), (20, C[::-1]), [1, 5]).plot(), found.plot()):
        figure.canvas.draw()
        (axes,) = figure.axes
        texts = [text for text in figure.findobj(Text) if text.get_text()]
        assert min(text.get_fontsize() for text in texts) >= 8
        for legend in figure.legends:
            assert not legend.get_window_extent().overlaps(axes.get_tightbbox())
    # Names are shown as they are, not as formulas.
    names = figure.legends[0].get_texts()
    assert [text.get_text() for text in names] == ["a $1", "b $2"]
    assert not any(text.get_parse_math() for text in names)
    # A single extrapolated point shows its interval, too.
    assert len(axes.collections) == 4
