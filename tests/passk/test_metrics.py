"""Each metric of a problem against enumeration of all draws of k samples, and its variance against its expectation."""

import math
from itertools import combinations

import numpy as np
import pytest

from t2fast import T2Error, passk
from t2fast.data import Counts, read_trials
from t2fast.errors import DataError
from t2fast.passk.metrics import METRICS, chosen

ONE = np.asarray([0])
ROWS = [("4", 1, 0.9), ("4.0", 1, 0.2), ("5", 0, 0.4), ("5", 0, 0.8), ("", 0, 0.1), ("7", 0, 0.3)]


@pytest.fixture
def trials(tmp_path):
    path = tmp_path / "trials.csv"
    path.write_text("problem,answer,correct,score\n" + "".join(f"q,{a},{c},{s}\n" for a, c, s in ROWS))
    return read_trials(path, ["answers", "scores"])


def by_enumeration(name, k):
    """The mean over all draws of k of the six samples."""
    total, draws = 0.0, 0
    for drawn in combinations(ROWS, k):
        right = sum(c for _, c, _ in drawn)
        best = max(drawn, key=lambda row: row[2])
        votes = {}
        for answer, correct, _ in drawn:
            key = "right" if correct else answer
            votes[key] = votes.get(key, 0) + 1
        leaders = [key for key, count in votes.items() if count == max(votes.values())]
        total += {
            "pass": right > 0, "pass-hat": right == k, "g-pass": right >= math.ceil(0.5 * k), "best-of": best[1],
            "max": best[2], "maj": ("right" in leaders) / len(leaders), "avg": 2 / 6,
        }[name]  # fmt: skip
        draws += 1
    return total / draws


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("k", [1, 2, 3, 4, 6])
def test_metrics_against_enumeration(trials, name, k):
    metrics = passk.Metrics((name,), tau=0.5 if name == "g-pass" else None)
    value, error = metrics.values(name, trials, ONE, np.asarray([k]))
    assert value[0, 0] == pytest.approx(by_enumeration(name, k), rel=1e-12, abs=1e-14)
    assert error[0, 0] == 0


@pytest.mark.parametrize("name", ["pass", "pass-hat", "g-pass", "avg"])
@pytest.mark.parametrize(("n", "k", "p"), [(6, 1, 0.3), (6, 2, 0.3), (8, 4, 0.6), (9, 3, 0.9)])
def test_variances_under_new_samples_are_unbiased(name, n, k, p):
    metrics = passk.Metrics((name,), tau=0.6 if name == "g-pass" else None)
    c, ks = np.arange(n + 1), np.asarray([k])
    chance = np.asarray([math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in c])
    value = metrics.values(name, Counts.of(n, c), c, ks)[0][:, 0]
    variance = metrics.samples_variances(name, np.full(n + 1, n), c, ks)[:, 0]
    true = chance @ value**2 - (chance @ value) ** 2
    assert chance @ variance == pytest.approx(true, rel=1e-9, abs=1e-15)


def test_no_variance_beyond_half_of_the_samples():
    for name in ("pass", "pass-hat", "g-pass"):
        metrics = passk.Metrics((name,), tau=0.6 if name == "g-pass" else None)
        assert np.isnan(metrics.samples_variances(name, np.asarray([7]), np.asarray([3]), np.asarray([4]))).all()


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        (("nonsense",), {}, "metric = 'nonsense'"),
        ((), {}, "name at least one"),
        (("g-pass",), {}, "needs tau"),
        (("pass",), {"tau": 0.5}, "has no effect without the metric g-pass"),
        (("g-pass",), {"tau": 1.5}, "tau = 1.5: must be between 0 and 1"),
        (("maj",), {"ties": "none"}, "ties = 'none'"),
        (("maj",), {"draws": 1}, "draws = 1"),
    ],
)
def test_settings_are_checked(names, settings, message):
    with pytest.raises(T2Error, match=message.replace("(", r"\(")):
        passk.Metrics(names, **settings)


def test_counts_hold_no_answers():
    with pytest.raises(DataError, match="maj@k needs answers of single samples"):
        passk.measure(Counts.of(4, [1, 2]), "maj")
    with pytest.raises(DataError, match="max@k needs scores"):
        passk.measure(Counts.of(4, [1, 2]), "max")


def test_several_metrics_in_one_text():
    assert chosen("pass, maj") == ("pass", "maj") == chosen(["pass", "maj"])
