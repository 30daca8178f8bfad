"""Final numbers: read with all that belongs to them, or not at all."""

import time
from fractions import Fraction

import pytest

from t2fast.sampling import Prompt
from t2fast.sampling.verify import Numeric
from t2fast.sampling.verify.numeric import read_number


def asked(answer=None, choices=None):
    return Prompt("q", "?", answer=answer, choices=choices)


@pytest.mark.parametrize(
    ("text", "answer", "same"),
    [
        ("so 3 + 4 = 7, the answer is 72.", "40+32=72\n#### 72", True),
        ("#### 72\nNext question: 5", "72", True),
        ("$1,234.50", "1234.5", True),
        ("it is \u22125", "-5", True),
        ("10-3", "3", False),
        ("- 5 apples", "5", True),
        ("12,34", "34", False),
        ("1e3", "1000", True),
        (".5", "0.5", True),
        ("72.0", "72", True),
        ("72.1", "72", False),
        ("no number", "72", False),
        ("", "0", False),
        ("1e99999999999999999999", "1", False),
        ("9" * 100_000, "9", False),
    ],
)
def test_numeric(text, answer, same):
    assert Numeric()(asked(answer), text) is same


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("72", 72), ("-1,234.50", Fraction(-24690, 20)), (r"\$70{,}000", 70_000), ("5\u202f000", 5000),
        ("11 5/6", Fraction(71, 6)), (r"\frac{2}{3}", Fraction(2, 3)), (r"-\dfrac12", Fraction(-1, 2)), ("x = 7", 7),
        (r"18\text{ cm}^2", 18), (r"90^\circ", 90), ("5 kg", 5), ("50%", 50), (r"6 \times 10^{2}", 600),
    ],
)  # fmt: skip
def test_a_number_is_read_as_a_whole(text, value):
    assert read_number(text)[0] == value


@pytest.mark.parametrize("text", ["2x", "x^2", "10 - 3", "(1, 2)", "3:2", "5!", "1/0", "2 3", "", "two", "1e9999999"])
def test_what_is_more_than_a_number_is_none(text):
    assert read_number(text) is None


@pytest.mark.parametrize("text", ["1," * 200_000, "#### " * 100_000, "1." * 100_000, "-" * 1_000_000, "*1 " * 100_000])
def test_long_texts_take_no_time(text):
    begun = time.monotonic()
    assert not Numeric()(asked("5"), text)
    # Seconds, not hours: each of these took one quadratic pattern to hang.
    assert time.monotonic() - begun < 20
