"""Learning rates: the best of those tried, and the line through them."""

import numpy as np
import pytest

from t2fast.lab.rates import Rates, best_rates


def test_the_line_goes_through_the_minima():
    truth = {w: 0.3 * w**-0.7 for w in (8, 16, 64)}
    runs = [(w, r, 2 + np.log(r / truth[w]) ** 2) for w in truth for r in np.geomspace(0.002, 0.2, 7)]
    found = best_rates(runs)
    assert found.slope == pytest.approx(-0.7, abs=1e-6)
    assert dict(found.best) == pytest.approx(truth, rel=1e-3)
    assert found.at(32) == pytest.approx(0.3 * 32**-0.7, rel=5e-3)


def test_at_the_end_of_what_was_tried_the_end_is_taken():
    found = best_rates([(w, r, -r) for w in (8, 16) for r in (0.01, 0.02, 0.04)])
    assert found.best == ((8, 0.04), (16, 0.04))
    assert Rates.at(found, 100) == 0.04
