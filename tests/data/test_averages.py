"""Averages are told from verdicts, and counts follow from them only where one count does."""

import pytest

from t2fast import T2Error
from t2fast.data.averages import aggregate, correct_of
from t2fast.data.tally import BadLineError


@pytest.mark.parametrize(
    ("name", "k"),
    [("pass@8", 8), ("pass^4", 4), (" Maj@16 ", 16), ("gsm8k/avg@32", 32), ("pass@", None), ("passed", None)],
)
def test_averages_go_by_their_names(name, k):
    assert aggregate(name) == k


def test_one_count_follows_from_an_average():
    # 1 - C(3, 2) / C(4, 2) = 1/2: one of four is right.
    assert correct_of(4, 2, 0.5, "pass@2") == 1
    assert [correct_of(8, 1, c / 8, "pass@1") for c in range(9)] == list(range(9))


@pytest.mark.parametrize(
    ("n", "k", "value", "message"),
    [
        (4, 4, 1.0, r"pass@4 = 1: 1 to 4 correct samples of 4 give it.*; add pass@1 to the metrics"),
        (4, 2, 0.51, r"pass@4 = 0.51: no count of 4 gives it"),
        (7, 1, 0.5, "pass@4 = 0.5 is not a multiple of 1/n for n = 7"),
        (7, 1, "high", "pass@4 = 'high': must be a number"),
    ],
)
def test_what_no_single_count_explains_is_refused(n, k, value, message):
    with pytest.raises((T2Error, BadLineError), match=message):
        correct_of(n, k, value, "pass@4")
