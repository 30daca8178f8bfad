"""False positives and recall from double verdicts: known ones come back, with intervals that hold them."""

import numpy as np
import pytest
from tests.support.trials import drawn, joined

from t2fast import T2Error, Verifier, fitting
from t2fast.data import Counts, Trials
from t2fast.errors import DataError
from t2fast.rules import Rule

RATES = np.random.default_rng(3).beta(1, 1, 300)


def test_constant_rates_come_back():
    found = fitting.fit_verifier(drawn(RATES, 16, cheap=(0.9, lambda p: np.full_like(p, 0.05))))
    assert found.rule.slope == 0
    assert found.rule.false_positive == pytest.approx(0.05, abs=0.012)
    assert found.rule.recall == pytest.approx(0.9, abs=0.02)
    assert found.slope_interval[0] < 0 < found.slope_interval[1]
    assert found.spread < 0.03


@pytest.mark.parametrize("n", [4, 16])
@pytest.mark.parametrize("slope", [0.5, 1.5])
def test_rising_rates_come_back(slope, n):
    # Success rates are known from n samples only: taken as they look, they would flatten the slope.
    truth = Verifier(0.1, 0.8, slope=slope)
    rates = np.random.default_rng(5).beta(1.5, 1.5, 24_000 // n)
    found = fitting.fit_verifier(drawn(rates, n, cheap=(0.8, truth.false_positives)))
    assert found.rule.slope == pytest.approx(slope, abs=0.2)
    assert found.rule.false_positive == pytest.approx(0.1, abs=0.02)


def test_intervals_hold_the_truth():
    truth, held = Verifier(0.1, 0.8, slope=0.8), np.zeros(3)
    for seed in range(60):
        rates = np.random.default_rng(seed).beta(1, 1, 120)
        found = fitting.fit_verifier(drawn(rates, 8, seed, cheap=(0.8, truth.false_positives)), n_resamples=100)
        held += [
            found.recall_interval[0] <= 0.8 <= found.recall_interval[1],
            found.slope_interval[0] <= 0.8 <= found.slope_interval[1],
            len(found.rule.draws["recall"]) == 100,
        ]
    assert (held >= [46, 44, 60]).all()


def test_problems_that_several_models_tried_are_one_cluster():
    # Half of the problems have tests that accept anything.
    weak = np.arange(60) % 2 == 0
    part = drawn(np.full(60, 0.5), 10, 1, cheap=(1.0, lambda _: np.where(weak, 0.5, 0.0)))
    copies = joined(*[part] * 9)
    one, many = (fitting.fit_verifier(trials, rising=False) for trials in (part, copies))
    widths = [np.ptp(found.false_positive_interval) for found in (one, many)]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)
    assert many.n_problems == 60
    assert one.spread == pytest.approx(0.25, abs=0.05)


def test_the_rule_travels_with_its_draws(tmp_path):
    found = fitting.fit_verifier(drawn(RATES, 8, cheap=(0.9, lambda p: np.full_like(p, 0.05))), fallback="abstain")
    found.rule.save(tmp_path / "tests.json")
    again = Rule.from_dict(found.rule.to_dict())
    assert again == found.rule
    assert again.fallback == "abstain"
    assert again.n_draws == 400
    assert "90% interval" in found.summary()


#: Share of samples that pass HumanEval+, and precision of HumanEval's own tests, of the models of arXiv 2411.17501.
HUMAN_EVAL = {
    "Vicuna 7B": (0.092, 0.752, 0.033), "Command-Light": (0.064, 0.715, 0.027), "StarCoder": (0.215, 0.762, 0.086),
    "Code Llama 7B": (0.286, 0.765, 0.123), "Code Llama 13B": (0.339, 0.779, 0.145),
    "Llama 3.1 8B": (0.550, 0.825, 0.260), "Llama 3.1 70B": (0.712, 0.870, 0.371),
    "Llama 3.1 405B": (0.781, 0.893, 0.426), "GPT-4o": (0.855, 0.929, 0.452),
}  # fmt: skip


def test_human_eval_s_own_tests():
    p, precision, stated = map(np.asarray, zip(*HUMAN_EVAL.values(), strict=True))
    np.testing.assert_allclose(fitting.false_positives_of(p, precision), stated, atol=0.002)  # three digits of each
    # Models in the place of problems: what better models get wrong passes more tests.
    n = 2000
    c = np.round(p * n).astype(int)
    passed = np.round(stated * (n - c)).astype(int)
    correct = np.concatenate([np.arange(n) < right for right in c])
    cheap = np.concatenate([np.arange(n) < right + more for right, more in zip(c, passed, strict=True)])
    trials = Trials(Counts.of(n, c), np.arange(len(c) + 1) * n, correct, cheap=cheap)
    found = fitting.fit_verifier(trials)
    assert found.rule.recall == 1
    assert found.rule.slope == pytest.approx(0.8, abs=0.1)
    fitted = found.rule.false_positives(p)
    np.testing.assert_allclose(fitted[:-1], stated[:-1], atol=0.025)
    # One slope for all says more than the tests of the best model let pass.
    assert fitted[-1] - stated[-1] == pytest.approx(0.07, abs=0.01)


def test_what_says_nothing_is_refused():
    right = drawn(np.ones(5), 4, cheap=(1.0, lambda p: p))
    with pytest.raises(DataError, match="all samples are right"):
        fitting.fit_verifier(right)
    with pytest.raises(DataError, match="all samples are wrong"):
        fitting.fit_verifier(drawn(np.zeros(5), 4, cheap=(1.0, lambda p: p + 0.5)))
    with pytest.raises(DataError, match="recall is 0; are the two columns exchanged"):
        fitting.fit_verifier(drawn(RATES, 4, cheap=(0.0, lambda p: p)))
    with pytest.raises(DataError, match="no cheap verdicts"):
        fitting.fit_verifier(drawn(RATES, 4))
    with pytest.raises(DataError, match="needs at least 2"):
        fitting.fit_verifier(drawn([0.5], 40, cheap=(1.0, lambda p: p)))


def test_rates_out_of_range_are_refused():
    for p, precision, message in ((1.2, 0.5, "p: must lie"), (0.5, -0.1, "precision: must lie"), (1, 0.5, "no wrong"),
                                  (0.5, 0.2, "more samples would pass")):  # fmt: skip
        with pytest.raises(T2Error, match=message):
            fitting.false_positives_of(p, precision)
