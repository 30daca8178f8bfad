import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.strategies import any_laws

import t2fast as t2

PYTHIA = t2.load_law("pythia-gsm8k")


@settings(max_examples=100, deadline=None)
@given(any_laws, st.text(max_size=20), st.booleans())
def test_laws_travel_through_json(law, text, known):
    data = t2.DataRange((1e6, 1e9), (1e9, 1e12), (1, 100)) if known else None
    law = replace(
        law, name=text, warnings=(text, "b"), data_range=data, uncertainty={"se": {"E": 0.1}}, r_star_params=5.3
    )
    assert t2.laws.Law.from_dict(json.loads(json.dumps(law.to_dict(), allow_nan=False))) == law


def spoilt(**changes):
    data = PYTHIA.to_dict()
    for key, value in changes.items():
        *path, last = key.split("__")
        at = data
        for step in path:
            at = at[step]
        if value is ...:
            del at[last]
        else:
            at[last] = value
    return data


def test_laws_of_the_first_schema_are_read():
    data = PYTHIA.to_dict() | {"schema": "t2fast.law/1"}
    assert t2.laws.Law.from_dict(data) == PYTHIA
    with pytest.raises(t2.LawError, match="unknown coefficient 'F'"):
        t2.laws.Law.from_dict(data | {"coefficients": PYTHIA.coefficients | {"F": 1.0}})


def test_draws_of_the_term_are_resampled():
    law = replace(PYTHIA, F=0.2, delta=0.5, uncertainty={"draws": {"F": [0.0, 0.3], "delta": [0.4, 0.6]}})
    assert [(one.F, one.delta) for one in law.resampled()] == [(0.0, 0.4), (0.3, 0.6)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": "t2fast.law/9"}, "schema = 't2fast.law/9'"),
        ({"schema": ...}, "schema"),
        ({"kind": "t2-pas"}, "t2-pass"),
        ({"kind": ["t2-pass"]}, "kind = "),
        ({"kind": ...}, "kind"),
        ({"coefficients": [1, 2]}, "coefficients must be an object"),
        ({"coefficients": ...}, "coefficients"),
        ({"coefficients__theta3": ...}, "coefficients.theta3 is missing"),
        ({"coefficients__A": "1"}, "coefficients.A = '1'"),
        ({"coefficients__A": True}, "coefficients.A = True"),
        ({"coefficients__A": None}, "coefficients.A = None"),
        ({"coefficients__A": -1}, "A = -1: must be positive"),
        ({"coefficients__A": math.nan}, "A = NaN"),
        ({"coefficients__A": 10**400}, "coefficients.A"),
        ({"coefficients__theta5": 1}, "unknown coefficient 'theta5'"),
        ({"coefficients__F": -0.1}, "F = -0.1: must be zero or positive"),
        ({"coefficients__F": "0"}, "coefficients.F = '0'"),
        ({"coefficients__delta": 0}, "delta = 0: must be positive"),
        ({"delta": 1.0}, "unknown key 'delta'"),
        ({"tittle": "x"}, "unknown key 'tittle': did you mean title"),
        ({"title": 5}, "title must be text"),
        ({"name": None}, "name must be text"),
        ({"warnings": "beware"}, "warnings must be a list"),
        ({"warnings": [1]}, "warnings must be a list"),
        ({"uncertainty": 3}, "uncertainty must be an object"),
        ({"r_star_tokens": "15"}, "r_star_tokens"),
        ({"r_star_tokens": -1}, "r_star_tokens = -1"),
        ({"r_star_params": 0}, "r_star_params = 0"),
        ({"data_range": 1}, "data_range must be an object"),
        ({"data_range__n_params": ...}, "data_range.n_params is missing"),
        ({"data_range__n_tokens": [1]}, "data_range.n_tokens"),
        ({"data_range__k": [5, 1]}, "data_range.k"),
        ({"data_range__k": [0, 1]}, "data_range.k"),
        ({"data_range__k": [1, math.nan]}, "data_range.k"),
        ({"data_range__j": [1, 2]}, "data_range"),
    ],
)
def test_a_malformed_key_is_named(changes, words, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(spoilt(**changes)), encoding="utf-8")
    with pytest.raises(t2.LawError) as error:
        t2.load_law(path)
    assert words in str(error.value)
    assert "bad.json" in str(error.value)
    assert "\n" not in str(error.value)
