"""Metrics of whole logs: intervals, what is undefined, and how it is said."""

import numpy as np
import pytest

from t2fast import T2Error, passk
from t2fast.data import Counts, read_trials
from t2fast.errors import DataError


def test_pass_agrees_with_the_curve():
    counts = [0, 3, 10, 7, 1, 2]
    for settings in ({}, {"scope": "samples"}):
        found = passk.measure(Counts.of(10, counts), "pass", [1, 5], **settings)
        curve = passk.curve(10, counts, [1, 5], **settings)
        for ours, theirs in ((found.values, curve.pass_at_k), (found.lower, curve.lower), (found.upper, curve.upper)):
            np.testing.assert_allclose(ours[0, 0], theirs, rtol=1e-9)


def test_at_one_sample_all_rates_agree():
    found = passk.measure(Counts.of(10, [0, 3, 10, 7]), "pass,pass-hat,g-pass,avg", [1], tau=1)
    np.testing.assert_allclose(found.values[0, :, 0], 0.5, rtol=1e-12)
    np.testing.assert_allclose(found.lower[0, :, 0], found.lower[0, 0, 0], rtol=1e-12)


def test_what_is_undefined_is_said():
    found = passk.measure(Counts.of(10, [0, 3, 10, 7]), "pass-hat,avg", [1, 30])
    assert np.isnan(found.values[0, 0, 1])
    assert found.values[0, 1, 0] == 0.5
    assert "k = 30 exceeds n = 10" in found.summary()
    assert found.to_dict()["results"][0]["value"] == [0.5, None]
    assert "n = 10" in found.markdown()


def test_intervals_cover_new_problems():
    rng = np.random.default_rng(0)
    truth = np.mean(rng.beta(2, 2, 10**6) ** 3)  # pass^3
    covered = 0
    for _ in range(200):
        found = passk.measure(Counts.of(20, rng.binomial(20, rng.beta(2, 2, 60))), "pass-hat", [3])
        covered += found.lower[0, 0, 0] <= truth <= found.upper[0, 0, 0]
    assert 180 <= covered <= 199


def test_only_pass_survives_stopped_sampling(tmp_path):
    path = tmp_path / "counts.csv"
    path.write_text("problem_id,n_samples,n_correct,stop_on_success\na,3,1,1\nb,5,1,1\n")
    from t2fast.data import read_counts

    with pytest.raises(DataError, match="stopped at the first success"):
        passk.measure(read_counts(path), "avg")


def test_refusals():
    with pytest.raises(T2Error, match="scope = 'samples'.*not for maj"):
        passk.measure(votes("a,4,1\na,5,0\n"), "maj", [1], scope="samples")
    with pytest.raises(DataError, match="must be Counts or Trials"):
        passk.measure([1, 2], "pass")


def votes(rows, tmp=[]):  # noqa: B006 - folders that live as long as the tests
    import tempfile
    from pathlib import Path

    tmp.append(tempfile.TemporaryDirectory())
    path = Path(tmp[-1].name) / "v.csv"
    path.write_text("problem,answer,correct\n" + rows)
    return read_trials(path, ["answers"])


def test_samples_without_an_answer_are_counted():
    found = passk.measure(votes("a,4,1\na,,0\na,,0\n"), "maj", [3])
    assert found.values[0, 0, 0] == 0.0  # the two vote together
    assert "2 samples gave no answer" in found.summary()


def test_drawn_votes_state_their_error():
    rows = "".join(f"a,{i % 7},{int(i % 7 == 0)}\n" for i in range(70))
    trials = votes(rows)
    exact = passk.measure(trials, "maj", [9])
    drawn = passk.Metrics(("maj",), draws=4000)
    value, error = passk.maj_of_tallies(trials.tallies(), [9], draws=drawn.draws, exact_work=0)
    assert error[0, 0] > 0
    assert abs(value[0, 0] - exact.values[0, 0, 0]) < 5 * error[0, 0]


def test_the_figure_has_a_line_for_each_metric(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    assert matplotlib
    found = passk.measure(Counts.of(10, [0, 3, 10, 7], model="m"), "pass,pass-hat,avg", [1])
    figure = found.plot(tmp_path / "f.png")
    assert [line.get_label() for line in figure.axes[0].lines] == ["pass@k", "pass^k", "avg@n"]
