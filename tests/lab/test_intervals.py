"""Intervals of resampled numbers."""

import numpy as np
import pytest

from t2fast.lab.intervals import CONFIDENCE_LEVEL, interval


def test_the_interval_holds_its_share():
    values = np.random.default_rng(0).normal(size=20_001)
    low, high = interval(values)
    assert ((low <= values) & (values <= high)).mean() == pytest.approx(CONFIDENCE_LEVEL, abs=1e-3)
    assert (values < low).mean() == pytest.approx((values > high).mean(), abs=1e-3)
