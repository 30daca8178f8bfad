"""How a choice reads, copies and is drawn."""

import copy
import pickle

import pytest

from t2fast.choosing import Price, choose


@pytest.fixture(scope="module")
def found():
    counts = {
        "small": (20, [0, 3, 9, 14, 1, 2]),
        "large": (20, [2, 8, 15, 20, 5, 9]),
        "huge": (20, [3, 9, 15, 20, 5, 9]),
    }
    prices = {"small": Price(0, 1e-4), "large": Price(0, 1e-3), "huge": Price(0, 1.0)}
    return choose(counts, prices, 5e-3, n_resamples=100)


def test_it_travels(found):
    assert copy.deepcopy(found) == pickle.loads(pickle.dumps(found)) == found
    assert len(repr(found)) < 200
    assert len(found.rows()) == len(found.candidates) == 3


def test_it_says_what_was_found(found):
    text = found.summary()
    assert text.startswith(f"{found.model}, k {found.k}: {found.result:.3f} for $0.005 per question")
    assert "nearest rival" in text
    assert "extrapolated" in text
    assert "frontier" in text
    assert sum(one.probability_best for one in found.candidates) == pytest.approx(1)


def test_it_is_drawn(found, tmp_path):
    pytest.importorskip("matplotlib")
    figure = found.plot(tmp_path / "choice.png")
    assert (tmp_path / "choice.png").stat().st_size > 10_000
    assert figure.axes[0].get_ylabel() == "pass@k"
