"""The verdict on a laboratory whose law is known: who follows it loses little."""

import dataclasses

import numpy as np
import pytest
from tests.support import laboratory

from t2fast.datasets import Lab
from t2fast.lab import advice_claims
from t2fast.lab.contestants import APPROACH_1, AVERAGE, CHINCHILLA, T2, Advisers
from t2fast.lab.findings import find
from t2fast.lab.verdict import (
    ANY_RIGHT,
    MAJORITY,
    TUNED,
    families,
    judge_advice,
    judge_families,
    noise,
    regret_lines,
    regret_rows,
    settings,
    suites,
)
from t2fast.passk import maj_at_k, mean_pass_at_k


@pytest.fixture(scope="module")
def made():
    return laboratory.advised()


@pytest.fixture(scope="module")
def found(made):
    lab, preset, answers = made
    return find(lab, preset, answers=answers)


def test_every_rule_and_the_fine_tuned_models_are_judged(found):
    assert [one.rule for one in found.verdicts] == [ANY_RIGHT, "verifier, f = 5%", MAJORITY, TUNED]
    first = found.verdicts[0].regret.protocols["lobo"]
    regrets = {row.strategy: row.regret for row in first.strategies}
    assert not first.failures
    assert len(regrets) == 8
    assert regrets[T2] < 0.02 < regrets["random"]  # T2 is how they were made
    assert regrets[AVERAGE] < regrets["random"] / 2
    assert regrets[APPROACH_1] < regrets["random"]
    for one in found.verdicts[1:]:
        by_name = {row.strategy: row.regret for row in one.regret.protocols["lobo"].strategies}
        assert by_name[T2] < by_name["random"]
        assert (APPROACH_1 in by_name) == (one.rule == TUNED)


def test_votes_are_counted_among_real_answers(made):
    lab, preset, answers = made
    suite = dict(suites(lab, preset, answers))[MAJORITY]
    place = 7
    runs = [one for one in lab.grid if (one.n_params, one.n_tokens) == (suite.n_params[place], suite.n_tokens[place])]
    given = []
    for one in runs:
        votes = answers.of([one.run])
        given += [[word for word, n in enumerate(votes.votes(i).tolist()) for _ in range(n)] for i in range(120)]
    # The right answer comes first: word 0.
    truth = maj_at_k(given, [0] * len(given), [1, 5]).value.mean(axis=0)
    assert suite.measured_at(np.array([place, place]), np.array([1, 5])) == pytest.approx(truth.tolist(), abs=1e-9)


def test_laws_are_fitted_once_to_what_may_be_seen(made):
    lab, _, answers = made
    advisers = Advisers(answers)
    table = lab.table(lab.grid)
    assert advisers.t2(table) is advisers.t2(table)
    less = lab.table(lab.grid[:-4])
    assert advisers.t2(less) is not advisers.t2(table)
    assert advisers.tail(less).tail != advisers.tail(table).tail


def test_the_noise_of_sampling_is_that_of_the_binomial(made):
    lab, preset, _ = made
    few = dataclasses.replace(preset, verdict=dataclasses.replace(preset.verdict, inference_flops=(5e4,)))
    mean, most = noise(lab, few)
    p = np.stack([one.probability for one in lab.grid])
    truth = np.sqrt((p * (1 - p)).sum(axis=1) / lab.n_samples) / p.shape[1] / 2**0.5
    assert 0.5 * truth.min() < mean < 4 * truth.max()
    assert mean <= most < 0.05


def test_claims_come_in_the_order_of_registration(found):
    starts = ["The mean of forms costs less than Chinchilla", "T2 alone", "The mean of forms costs less than T2",
              "The mean of forms costs less than 20", "The mean of forms, fitted without", "Trained, the planned",
              "Trained, the planned", "With samples to pay for, the best trained", "By vote", "Overtrained models", "Approach 1", "Samples"]  # fmt: skip
    assert [one.claim[: len(start)] for one, start in zip(found.claims, starts, strict=True)] == starts
    assert "by vote" in found.claims[6].claim
    for one in found.claims:
        assert one.low <= one.value <= one.high, one.claim
    unseen = found.claims[4]
    assert "one seed predicts another" in unseen.detail
    rows = advice_claims.differences(found.verdicts)
    assert {row["rule"] for row in rows} == {one.rule for one in found.verdicts}
    first = next(row for row in rows if row["difference"] == f"{CHINCHILLA} - {AVERAGE}")
    assert first["value"] == found.claims[0].value


def test_choices_and_families_are_told(found, made):
    lab, preset, answers = made
    suite = dict(suites(lab, preset, answers))[ANY_RIGHT]
    assert len(settings(suite, preset)) == found.verdicts[0].regret.protocols["lobo"].n_settings
    rows = families(lab)
    assert [row[0] for row in rows[1:]] == ["knowledge", "arithmetic"]
    rates = [float(mean_pass_at_k(64, one.n_correct[::2], 16)) for one in lab.grid]
    assert rows[1][2] == f"{min(rates):.3f} to {max(rates):.3f}"
    assert all(len(row) == len(regret_rows(found.verdicts)[0]) for row in regret_rows(found.verdicts))
    assert max(map(len, regret_lines(found.verdicts))) <= 80
    assert max(map(len, found.summary().splitlines())) <= 80


def test_every_family_is_judged_by_itself(found, made):
    lab, preset, _ = made
    assert [one.rule for one in found.by_family] == ["knowledge", "arithmetic"]
    # The same as a laboratory that has no other problems, and one family alone is no news.
    at = np.arange(0, len(lab.families), 2)
    rows = tuple(
        dataclasses.replace(one, answer_nll=one.answer_nll[at], n_correct=one.n_correct[at]) for one in lab.grid
    )
    alone = Lab(rows, lab.problem_ids[::2], lab.families[::2], lab.n_samples, lab.manifest)
    assert judge_families(alone, preset) == ()
    plain = dataclasses.replace(preset.verdict, false_positives=(), majority=False)
    truth = judge_advice(alone, dataclasses.replace(preset, verdict=plain), None)[0]
    assert found.by_family[0].regret.to_dict() == truth.regret.to_dict()
    assert list(found.to_dict()["regret_by_family"]) == ["knowledge", "arithmetic"]


def test_the_page_opens_with_the_regrets(found, tmp_path):
    pytest.importorskip("matplotlib")
    from t2fast.lab.page import write_page

    page = write_page(found, tmp_path / "page").read_text()
    assert (tmp_path / "page" / "regrets.png").stat().st_size > 10_000
    order = [
        page.index(what)
        for what in ("Does the advice win?", MAJORITY, "<figure>", "Differences", "knowledge, lobo", "<h2>Claims")
    ]
    assert order == sorted(order)
