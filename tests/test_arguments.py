"""What is passed is checked where it enters: odd values get an error of ours that names the argument, or work."""

import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

import t2fast as t2
from t2fast import arguments
from t2fast.errors import T2Error

WANTED = [0.0, 3.0, 10.0]


def unaligned(values):
    return np.frombuffer(b"\0" + np.asarray(values).tobytes(), np.uint8)[1:].view(np.float64)


GOOD = {
    "list": [0, 3, 10],
    "tuple": (0, 3, 10),
    "bigendian": np.array(WANTED, ">f8"),
    "reversed": np.array([10.0, 3.0, 0.0])[::-1],
    "strided": np.array([0.0, 1.0, 3.0, 1.0, 10.0, 1.0])[::2],
    "unaligned": unaligned(WANTED),
    "small integers": np.array(WANTED, np.int8),
    "long double": np.array(WANTED, np.longdouble),
    "series": pd.Series(WANTED, index=[7, 8, 9]),
    "nullable": pd.array([0, 3, 10], dtype="Int64"),
    "decimals": [Decimal(0), Decimal(3), Decimal(10)],
    "fractions": [Fraction(0), Fraction(3), Fraction(10)],
    "objects": np.array([0, 3, 10], object),
    "a mask of nothing": np.ma.masked_array(WANTED, mask=[0, 0, 0]),
}


class Strange:
    def __repr__(self):
        raise RuntimeError("no repr")


def recursive():
    values = []
    values.append(values)
    return values


BAD = {
    "masked": np.ma.masked_array(WANTED, mask=[0, 1, 0]),
    "texts": ["0", "3", "10"],
    "text": "abc",
    "bytes": b"abc",
    "None": None,
    "some None": [None, 1],
    "strange": [Strange()],
    "dict": {"a": 1},
    "set": {1, 2},
    "ragged": [[1], [1, 2]],
    "complex": [1 + 0j],
    "dates": np.array(["2020"], "M8[Y]"),
    "date": datetime.date(2020, 1, 1),
    "records": np.zeros(3, [("a", int)]),
    "huge": [10**400],
    "recursive": recursive(),
}


@pytest.mark.parametrize("values", GOOD.values(), ids=GOOD)
def test_numbers_of_every_kind(values):
    found = arguments.numbers("x", values)
    assert found.dtype == np.float64
    assert found.flags.c_contiguous
    assert found.flags.aligned
    assert found.tolist() == WANTED
    assert arguments.integers("x", values).tolist() == [0, 3, 10]


@pytest.mark.parametrize("values", BAD.values(), ids=BAD)
def test_what_are_no_numbers(values):
    with pytest.raises(T2Error, match="^x"):
        arguments.numbers("x", values)
    with pytest.raises(T2Error, match="^x"):
        arguments.integers("x", values)


def test_missing_values_are_nan_and_so_never_whole():
    values = pd.array([0, None, 10], dtype="Int64")
    assert np.isnan(arguments.numbers("x", values)[1])
    with pytest.raises(T2Error, match="^x"):
        arguments.integers("x", values)


def test_items():
    assert arguments.items("x", (one for one in "ab"), "letters") == ["a", "b"]
    for wrong in ("ab", b"ab", None, 3, np.array(3)):
        with pytest.raises(T2Error, match=r"^x = .*: must be a list of letters$"):
            arguments.items("x", wrong, "letters")
    with pytest.raises(T2Error, match="^train_flops"):
        BUDGET.sweep(train_flops=1e22)


def test_whole_numbers_are_exact():
    assert arguments.integers("n", [2**62 + 1, 1]).tolist() == [2**62 + 1, 1]
    assert arguments.integers("n", np.array([2**62 + 1], object)).tolist() == [2**62 + 1]
    for wrong in ([0.5], [np.nan], [np.inf], [2**63], np.array([2**64 - 1], np.uint64)):
        with pytest.raises(T2Error, match="^n"):
            arguments.integers("n", wrong)


BUDGET = t2.Budget(train_flops=1e22, inference_flops=1e12)
CALLS = {
    "plan law": lambda odd: t2.plan(odd, BUDGET),
    "plan budget": lambda odd: t2.plan("pythia-gsm8k", odd),
    "cheapest": lambda odd: t2.cheapest("pythia-gsm8k", t2.Budget(train_flops=1e22), odd),
    "grid": lambda odd: t2.grid_search("pythia-gsm8k", BUDGET, odd, [1e10], [1]),
    "isoflop": lambda odd: t2.isoflop("pythia-gsm8k", BUDGET, odd),
    "frontier": lambda odd: t2.frontier("pythia-gsm8k", odd),
    "compare": lambda odd: t2.compare("pythia-gsm8k", odd),
    "compare k": lambda odd: t2.compare("pythia-gsm8k", [(1e9, 1e10, odd)]),
    "value": lambda odd: t2.load_law("pythia-gsm8k").value(1e9, 1e10, odd),
    "gradient": lambda odd: t2.load_law("pythia-gsm8k").gradient(odd, 1e10),
    "workload": lambda odd: t2.Budget(workload=odd),
    "attention": lambda odd: t2.Budget(workload=t2.Workload(attention=[odd])),
    "coefficient": lambda odd: t2.ChinchillaLaw(odd, 400.0, 400.0, 0.3, 0.3),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("odd", BAD.values(), ids=BAD)
def test_no_call_answers_an_odd_argument_with_a_bare_exception(call, odd):
    with pytest.raises(T2Error):
        call(odd)


@pytest.mark.parametrize("level", [0, 1, -1, 90, "0.9", None, True, np.nan])
def test_confidence_levels(level):
    with pytest.raises(T2Error, match="confidence_level"):
        arguments.confidence_level(level)


@pytest.mark.parametrize("count", [0, -1, 10_000, 2**64, 1.5, True, "2"])
def test_threads(count):
    with pytest.raises(T2Error, match="threads"):
        arguments.threads(count)
    assert arguments.threads(None) is None
    assert arguments.threads(np.int64(3)) == 3
