"""One place decides what a verdict is."""

import math

import numpy as np
import pytest

from t2fast.data.verdicts import UnclearError, accepted, verdict


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True), (False, False), (None, None), (1, True), (0.0, False), (1 - 1e-9, True), (np.float32(1), True),
        ("pass", True), (" FAIL ", False), ("n/a", None), ("", None), (math.nan, None), ("1.0", True),
    ],
)  # fmt: skip
def test_words_and_numbers(value, expected):
    assert verdict(value) is expected


def test_scores_need_a_threshold():
    with pytest.raises(UnclearError) as caught:
        verdict(0.5)
    assert caught.value.fraction
    assert verdict(0.5, 0.5) is True
    assert verdict("1", 2.0) is False
    for value in ("maybe", [1], {"a": 1}, 10**400):
        with pytest.raises(UnclearError):
            verdict(value)


def test_what_a_verifier_says():
    assert accepted(True, None)
    assert accepted(None, 1 - 1e-9)
    assert not accepted(None, 0.99)
    assert not accepted(False, None)
