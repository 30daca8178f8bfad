import pytest
from tests.support.checkpoints import counts, losses

from t2fast import fitting


def test_figures(tmp_path):
    pytest.importorskip("matplotlib")
    n, d, samples, correct, _ = counts()
    fit = fitting.fit_t2_pass(n, d, n_samples=samples, n_correct=correct)
    back = fitting.backtest({"N": n, "D": d, "n": samples, "c": correct}, "N > 1e9")
    for name, result in (
        ("fit", fit),
        ("boot", fit.bootstrap(20)),
        ("back", back),
        ("loss", fitting.fit_chinchilla(*losses(0.01))),
    ):
        path = tmp_path / f"{name}.png"
        figure = result.plot(path)
        assert figure.axes
        assert path.stat().st_size > 5_000
