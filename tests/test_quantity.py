import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2fast import T2Error
from t2fast.quantity import format_flops, format_quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("70B", 70e9),
        ("1.4T", 1.4e12),
        ("1.1B", 1.1e9),
        ("300k", 300e3),
        ("2G", 2e9),
        ("3P", 3e15),
        (" 8m ", 8e6),
        ("1e22", 1e22),
        ("1.4E11", 1.4e11),
        ("1_000", 1000.0),
        ("875", 875.0),
        ("-5", -5.0),
        (".5M", 5e5),
    ],
)
def test_parse(text, value):
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", " ", "B", "70 giga", "1e", "ten", "0x10", "1,000", "70BB", "1e3M M", "infB"])
def test_parse_refuses_what_is_no_number(text):
    with pytest.raises(T2Error) as error:
        parse_quantity(text, "--train-flops")
    assert "--train-flops" in str(error.value)
    assert repr(text) in str(error.value)
    assert "70B" in str(error.value), "the remedy: how to write a number"


@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "1e999", "1e400"])
def test_parse_refuses_what_is_not_finite(text):
    with pytest.raises(T2Error, match="finite"):
        parse_quantity(text)


@given(st.decimals(1, 999, places=2), st.sampled_from(["K", "M", "B", "T", "P"]))
def test_suffix_means_exactly_the_same_as_the_power(number, suffix):
    power = {"K": 3, "M": 6, "B": 9, "T": 12, "P": 15}[suffix]
    assert parse_quantity(f"{number}{suffix}") == float(f"{number}e{power}")
    assert parse_quantity(f"{number}{suffix.lower()}") == parse_quantity(f"{number}{suffix}")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (8.04e7, "80.4M"),
        (1.5e13, "15T"),
        (875, "875"),
        (999.6e6, "1B"),
        (999.4e6, "999M"),
        (0, "0"),
        (1e15, "1.00e15"),
        (-7e10, "-70B"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_format(value, text):
    assert format_quantity(value) == text


@given(st.floats(1, 1e14))
def test_what_is_written_reads_back_to_its_digits(value):
    assert math.isclose(parse_quantity(format_quantity(value)), value, rel_tol=5.001e-3)
    assert math.isclose(parse_quantity(format_quantity(value, 6)), value, rel_tol=5.001e-6)


@pytest.mark.parametrize(
    ("value", "text"), [(1e22, "1e22"), (1.44e21, "1.44e21"), (1.4e11, "1.4e11"), (0, "0"), (9.999e20, "1e21")]
)
def test_format_flops(value, text):
    assert format_flops(value) == text
