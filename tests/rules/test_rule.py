"""Rules are values: checked, frozen, and the same after a file."""

import copy
import json
import pickle

import numpy as np
import pytest

import t2fast as t2
from t2fast.rules import as_rule

RULES = {
    "any": t2.AnyCorrect(),
    "verifier": t2.Verifier(0.01, 0.9, "abstain", slope=0.8, draws={"false_positive": [0.01, 0.02], "recall": [0.9, 0.8]}),
    "majority": t2.Majority(t2.Tail.zipf(1.0, 5), source="votes.jsonl"),
    "majority by rates": t2.Majority(
        t2.Tail([[0.5, 0.5], [0.9, 0.1]], rates=[0.1, 0.8]), draws={"shares": [[[0.4, 0.6], [1.0]], [[0.5, 0.5], [0.7, 0.3]]]}
    ),
    "best": t2.BestOf(1.2, draws={"d_prime": np.array([1.0, 1.4])}),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_rules_survive_files_copies_and_pickles(name, tmp_path):
    rule = RULES[name]
    rule.save(tmp_path / "rule.json")
    for again in (t2.load_rule(tmp_path / "rule.json"), copy.deepcopy(rule), pickle.loads(pickle.dumps(rule))):
        assert again == rule
        assert again.to_dict() == rule.to_dict()
    json.dumps(rule.to_dict())
    hash(rule)
    assert len(repr(rule)) < 200
    assert str(rule)
    assert as_rule(rule) is rule
    assert as_rule(tmp_path / "rule.json") == rule


def test_draws_become_rules():
    assert [(one.false_positive, one.recall) for one in RULES["verifier"].resampled()] == [(0.01, 0.9), (0.02, 0.8)]
    assert next(one.tail.shares for one in RULES["majority by rates"].resampled()) == ((0.6, 0.4), (1.0,))
    assert [one.d_prime for one in RULES["best"].with_fewer_draws(1).resampled()] == [1.0]
    assert list(t2.AnyCorrect().resampled()) == [t2.AnyCorrect()]
    assert RULES["best"].has_draws
    assert RULES["best"].n_draws == 2
    assert not RULES["any"].has_draws


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: t2.Verifier(1.1), "false_positive = 1.1: must be between 0 and 1"),
        (lambda: t2.Verifier(-0.1), "false_positive = -0.1: must be between 0 and 1"),
        (lambda: t2.Verifier(0.1, 0), "recall = 0"),
        (lambda: t2.Verifier(0.1, 2), "recall = 2: must be between 0 and 1"),
        (lambda: t2.Verifier(0.1, fallback="guess"), "fallback = 'guess'"),
        (lambda: t2.Verifier(0.1, slope=-1), "slope = -1: must be at least 0"),
        (lambda: t2.Verifier(0.1, draws={"recal": [1]}), "unknown parameter 'recal'"),
        (lambda: t2.Verifier(0.1, draws={"recall": [1, 2]}), "draws: recall = 2"),
        (lambda: t2.Verifier(0.1, draws={"recall": [1], "slope": [1, 1]}), "as many draws"),
        (lambda: t2.Majority("votes"), "must be a Tail"),
        (lambda: t2.Tail([0.5, 0.4]), "shares sum to 0.9"),
        (lambda: t2.Tail([]), "shares is empty"),
        (lambda: t2.Tail([[1.0], [1.0]], rates=[0.5, 0.5]), "must rise"),
        (lambda: t2.Tail([[1.0]], rates=[0.2, 0.5]), "one list for each rate"),
        (lambda: t2.Tail.uniform(0), "m = 0"),
        (lambda: t2.BestOf(-1), "d_prime = -1"),
        (lambda: t2.Rule(), "base of rules"),
        (lambda: t2.load_rule("nowhere.json"), "no such file"),
        (lambda: as_rule(3), "rule = 3"),
        (lambda: t2.Rule.from_dict({"schema": "t2fast.rule/1", "kind": "verifier"}), "needs false_positive"),
        (lambda: t2.Rule.from_dict({"schema": "t2fast.rule/1", "kind": "vote"}), "kind = 'vote'"),
        (lambda: t2.Rule.from_dict({"schema": "t2fast.rule/9", "kind": "verifier"}), "schema"),
        (lambda: t2.Rule.from_dict({"schema": "t2fast.rule/1", "kind": "best-of", "d": 1}), "unknown key 'd'"),
    ],
)  # fmt: skip
def test_what_makes_no_rule_is_named(make, says):
    with pytest.raises(t2.T2Error) as error:
        make()
    assert says in str(error.value)
