"""What a laboratory found, as a result: text, data, copies, figures."""

import copy
import dataclasses
import json
import pickle

import pytest
from tests.support import laboratory

from t2fast.lab.findings import find
from t2fast.results import Progress


def test_summary_and_json(found):
    assert max(map(len, found.summary().splitlines())) <= 80
    data = json.loads(json.dumps(found.to_dict()))
    assert len(data["claims"]) == len(found.claims) == len(found.rows()) == 8
    assert data["laws"]["counts"]["law"]["name"] == "lab-tiny"
    assert len(repr(found)) < 200


def test_copies_are_equal(found):
    assert copy.deepcopy(found) == found
    assert pickle.loads(pickle.dumps(found)) == found
    assert dataclasses.replace(found, claims=found.claims[1:]) != found


def test_its_laws_say_how_far_off_they_were(found):
    errors = {one.law: abs(one.errors).mean() for one in found.held_out}
    assert found.law.held_out == f"D/N > 100: {errors['counts likelihood']:.0%}"
    assert found.loss_law.held_out == f"D/N > 100: {errors['Approach 1']:.0%}"
    assert dataclasses.replace(found, held_out=()).law.held_out == ""


def test_it_is_drawn(found, tmp_path):
    pytest.importorskip("matplotlib")
    found.plot(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_without_a_duel_its_claims_are_left_out():
    lab, said = laboratory.make(), []
    grid = dataclasses.replace(lab, checkpoints=lab.grid)
    found = find(grid, dataclasses.replace(laboratory.preset(), n_resamples=10), said.append)
    assert found.duels == ()
    assert len(found.claims) == 6
    assert all(isinstance(one, Progress) for one in said)
    assert [one.done for one in said] == [0, 1, 2, 3, 4, 5]
    assert said[-1].done == said[-1].total
