"""Paired comparisons."""

import json

import numpy as np
import pytest

from t2fast import T2Error, passk


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(7)
    rates = rng.beta(0.5, 1, 300)
    first, second = rng.binomial(50, rates), rng.binomial(50, 0.9 * rates)
    one = passk.compare((50, first), (50, second), [1, 10])
    alone = [passk.curve(50, c, 1) for c in (first, second)]
    width = sum((a.upper[0] - a.lower[0]) ** 2 for a in alone) ** 0.5
    assert one.difference_interval[0, 1] - one.difference_interval[0, 0] < 0.5 * width
    assert one.difference_interval[0, 0] < 0.1 * rates.mean() < one.difference_interval[0, 1]
    drawn = passk.compare((50, first), (50, second), [1, 10], method="bootstrap")
    np.testing.assert_allclose(drawn.difference_interval, one.difference_interval, atol=0.01)
    np.testing.assert_allclose(drawn.ratio_interval, one.ratio_interval, rtol=0.05)
    assert max(map(len, str(one).splitlines())) <= 80
    json.dumps(one.to_dict(), allow_nan=False)
    with pytest.raises(T2Error, match="same problems"):
        passk.compare((50, first), (50, second[:10]), 1)
