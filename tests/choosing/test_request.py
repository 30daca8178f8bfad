"""What is asked, and what of it cannot be."""

import dataclasses
import json

import numpy as np
import pytest

from t2fast.choosing import Price, choose
from t2fast.data import Counts
from t2fast.errors import DataError, T2Error
from t2fast.rules import BestOf, Majority, Verifier

COUNTS = {"a": (10, [1, 3, 9]), "b": (10, [4, 8, 9])}
VOTE = Majority()
PRICES = {"a": Price(0, 1.0), "b": Price(0, 2.0)}


def test_counts_of_models_are_aligned_by_problem():
    one, two = Counts.of(10, [1, 3, 9], model="a"), Counts.of(10, [9, 4, 8], model="b")
    both = dataclasses.replace(
        one,
        model=one.model + two.model,
        benchmark=one.benchmark + two.benchmark,
        problem_id=("x", "y", "z", "z", "x", "y"),
        n_samples=np.concatenate([one.n_samples, two.n_samples]),
        n_correct=np.concatenate([one.n_correct, two.n_correct]),
    )
    found = choose(both, PRICES, 4.0, n_resamples=50, seed=2)
    again = choose(COUNTS, PRICES, 4.0, n_resamples=50, seed=2)
    assert found == again
    lacking = dataclasses.replace(both, problem_id=("x", "y", "z", "z", "x", "w"))
    with pytest.raises(DataError, match="a lacks 1 of the problems that others have, such as 'w'"):
        choose(lacking, PRICES, 4.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "budget and target: give one of them"),
        ({"budget": 1.0, "target": 0.5}, "budget and target: give one of them"),
        ({"budget": -1.0}, "budget = -1"),
        ({"target": 1.5}, "target = 1.5: must lie between 0 and 1"),
        ({"budget": 4.0, "rule": "best.json"}, "best.json: no such file"),
        ({"budget": 4.0, "rule": {"a": [[0.5]]}}, "rule = .*: must be a rule such as"),
        ({"budget": 4.0, "rule": VOTE}, r"rule = majority: needs votes= from majority_tables\(files, counts\)"),
        ({"budget": 4.0, "votes": {"a": [[0.5]] * 3}}, "votes: have no effect here: only a Majority without"),
        ({"budget": 4.0, "rule": VOTE, "votes": {"a": [[0.5]] * 3}}, "votes: has no table for 'b'"),
        (
            {"budget": 4.0, "rule": VOTE, "votes": {"a": [[0.5]], "b": [[0.5]]}},
            "the table of 'a' must have a row for each",
        ),
        ({"budget": 4.0, "rule": VOTE, "votes": {"a": [[7]] * 3, "b": [[0.5]] * 3}}, "and chances in it"),
        ({"budget": 4.0, "rule": VOTE, "votes": {"a": [[0.5] * 11] * 3, "b": [[0.5]] * 3}}, "a problem has 10"),
        ({"budget": 4.0, "rule": BestOf(1.0), "stop_on_success": True}, "a best-of accepts none"),
        ({"budget": 4.0, "rule": Verifier(0.1), "wrong_cost": -1}, "wrong_cost = -1: must be at least 0"),
        ({"budget": 4.0, "scope": "models"}, "scope = 'models'"),
        ({"budget": 4.0, "confidence_level": 90}, "confidence_level = 90"),
        ({"budget": 4.0, "n_resamples": 1}, "n_resamples = 1"),
        ({"budget": 4.0, "max_k": 0}, "max_k = 0"),
    ],
)
def test_impossible_questions(arguments, message):
    with pytest.raises(T2Error, match=message):
        choose(COUNTS, PRICES, **arguments)


def test_prices_and_problems_must_fit():
    with pytest.raises(T2Error, match="prices: no price for 'b'"):
        choose(COUNTS, {"a": Price(0, 1.0)}, 4.0)
    with pytest.raises(T2Error, match="some are in dollars and others in flops"):
        choose(COUNTS, PRICES | {"b": Price(0, 1.0, "flops")}, 4.0)
    with pytest.raises(T2Error, match="b has 2 problems and others 3"):
        choose(COUNTS | {"b": (10, [1, 2])}, PRICES, 4.0)
    with pytest.raises(T2Error, match="have one problem"):
        choose({"a": (10, [1])}, PRICES, 4.0)


def test_the_result_is_reproducible_and_becomes_json():
    found = choose(COUNTS, PRICES, 4.0, n_resamples=50, seed=7)
    assert found == choose(COUNTS, PRICES, 4.0, n_resamples=50, seed=7)
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert {"model", "k", "result", "interval", "dollars_per_question", "probability_best", "frontier"} <= data.keys()
    assert data["interval"][0] <= data["result"] <= data["interval"][1]
    assert max(map(len, found.summary().splitlines())) <= 80
