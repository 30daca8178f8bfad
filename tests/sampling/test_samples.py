"""Samples: what is refused, and what goes through JSON unchanged."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2fast.errors import DataError
from t2fast.sampling import Sample, read_samples


@given(
    st.builds(
        Sample,
        st.text(min_size=1),
        st.integers(0, 10**6),
        st.text(),
        st.lists(st.integers(0, 2**31 - 1)).map(tuple),
        st.sampled_from(["stop", "length", "context"]),
        st.integers(1, 10**6),
        st.none() | st.lists(st.floats(-1e9, 0)).map(tuple),
        st.none() | st.booleans(),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.none() | st.text(),
    )
)
def test_samples_go_through_json(sample):
    assert Sample.from_dict(json.loads(json.dumps(sample.to_dict()))) == sample


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample": -1}, "sample -1"),
        ({"finish_reason": "tired"}, "finish_reason 'tired'"),
        ({"token_ids": 3}, "not a line that t2fast sample wrote"),
    ],
)
def test_impossible_samples(changes, message):
    line = Sample("a", 0, "x", (1,), "stop", 3).to_dict()
    with pytest.raises(DataError, match=message):
        Sample.from_dict(line | changes)
    with pytest.raises(DataError, match="has no 'text'"):
        Sample.from_dict({key: value for key, value in line.items() if key != "text"})


def test_what_counts_as_accepted():
    def made(**verdict):
        return Sample("a", 0, "x", (1,), "stop", 3, **verdict).accepted

    assert made(correct=True)
    assert made(score=1.0)
    assert not made(correct=False)
    assert not made(score=0.99)
    assert not made()
    assert not made(verifier_error="crashed")


def test_reading_what_is_no_file_of_samples(tmp_path):
    path = tmp_path / "s.jsonl"
    with pytest.raises(DataError, match="cannot be read: No such file"):
        list(read_samples(path))
    for text, message in [
        ("[1]\n", "s.jsonl:1: not a line that t2fast sample wrote"),
        ('{"problem": "a"', "s.jsonl:1: not JSON; if an interrupted run left"),
        ('{"problem": "a"}', "s.jsonl:1: has no 'sample'"),
    ]:
        path.write_text(text)
        with pytest.raises(DataError) as error:
            list(read_samples(path))
        assert message in str(error.value)
