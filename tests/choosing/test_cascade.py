"""Cascades: their result and price against simulation, and that they are found."""

import numpy as np
import pytest

from t2fast.choosing import Price, choose
from t2fast.choosing.ability import Ability, resamples
from t2fast.choosing.cascade import best_cascade, by_problem


def test_result_and_price_are_those_of_simulated_cascades():
    random = np.random.default_rng(4)
    p, q = random.beta(0.5, 2, 300), random.beta(1, 1, 300)
    counts = {"cheap": (40, random.binomial(40, p)), "dear": (40, random.binomial(40, q))}
    prices = {"cheap": Price(0, 1.0), "dear": Price(0, 10.0)}
    abilities = [Ability(m, np.full(300, n), c, resamples(300, 50, 0)) for m, (n, c) in counts.items()]
    found = best_cascade(abilities, prices, 30.0)
    assert (found.first.name, found.second.name) == ("cheap", "dear")
    # Draw without replacement from the samples at hand, as the estimate does.
    solved = cost = 0.0
    for _ in range(200):
        right = random.hypergeometric(counts["cheap"][1], 40 - counts["cheap"][1], found.first_k) > 0
        second = random.hypergeometric(counts["dear"][1], 40 - counts["dear"][1], found.second_k) > 0
        solved += (right | second).mean()
        cost += found.first_k + (~right).mean() * 10 * found.second_k
    assert found.result == pytest.approx(solved / 200, abs=0.005)
    assert found.cost == pytest.approx(cost / 200, rel=0.02)
    assert found.cost <= 30.0
    assert by_problem(found).mean() == pytest.approx(found.result, rel=1e-12)


def test_a_cascade_is_offered_where_it_beats_every_model():
    random = np.random.default_rng(4)
    counts = {"cheap": (40, random.binomial(40, 0.3, 200)), "dear": (40, random.binomial(40, 0.6, 200))}
    found = choose(counts, {"cheap": Price(0, 1.0), "dear": Price(0, 20.0)}, 21.0, n_resamples=50)
    if found.cascade is not None:
        assert found.cascade.gain > 0
        assert found.cascade.result == pytest.approx(found.result + found.cascade.gain)
    alone = choose({"cheap": counts["cheap"]}, {"cheap": Price(0, 1.0)}, 5.0, n_resamples=50)
    assert alone.cascade is None
    assert alone.settling is None
