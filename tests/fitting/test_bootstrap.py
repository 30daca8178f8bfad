import numpy as np
import pytest
from tests.oracles import fitting as oracle
from tests.support.checkpoints import LAW, counts, design, losses

import t2fast
from t2fast import fitting


def test_bootstrap_is_reproducible_in_any_order():
    fit = fitting.fit_chinchilla(*losses(0.01))
    long = fit.bootstrap(300, seed=5, threads=1)
    short = fit.bootstrap(40, seed=5, threads=3)
    np.testing.assert_array_equal(long.samples[:40], short.samples)
    assert not np.array_equal(fit.bootstrap(40, seed=6).samples, short.samples)


def test_replicates_are_fits_of_resampled_tables():
    n, d, y = losses(0.01)
    fit = fitting.fit_chinchilla(n, d, y, objective="squared_log")
    found = fit.bootstrap(400).standard_errors()
    rng = np.random.default_rng(0)
    chosen = [rng.integers(0, len(y), len(y)) for _ in range(400)]
    again = [fitting.fit_chinchilla(n[i], d[i], y[i], objective="squared_log").law.alpha for i in chosen]
    assert found["alpha"] == pytest.approx(np.std(again, ddof=1), rel=0.2)


def test_groups_widen_errors_when_runs_are_correlated():
    n, d = design(80)
    run = np.arange(80) // 8
    shift = np.random.default_rng(3).standard_normal(10)[run]
    y = oracle.power_sum(LAW, n, d) * np.exp(0.02 * shift)
    alone = fitting.fit_chinchilla(n, d, y)
    grouped = fitting.fit_chinchilla(n, d, y, group=[f"run {i}" for i in run])
    assert grouped.law.coefficients == alone.law.coefficients
    assert grouped.bootstrap(200).by == ("group",)
    assert grouped.bootstrap(200).standard_errors()["E"] > 1.3 * alone.bootstrap(200).standard_errors()["E"]


def test_questions_can_be_resampled_with_checkpoints():
    n, d, samples, correct, question = counts()
    fit = fitting.fit_t2_pass(n, d, n_samples=samples, n_correct=correct, problem=question)
    both = fit.bootstrap(60, by=("checkpoint", "problem"))
    assert both.standard_errors()["theta3"] > fit.bootstrap(60, by="problem").standard_errors()["theta3"] * 0.8
    assert len(both.samples) == 60


def test_ctrl_c_keeps_what_is_done():
    fit = fitting.fit_chinchilla(*losses(0.01))

    seen = []

    def stop(progress):
        seen.append(progress)
        if progress.done >= 256:
            raise KeyboardInterrupt

    boot = fit.bootstrap(10_000, progress=stop)
    assert boot.interrupted
    assert len(boot.samples) == 256
    assert "interrupted" in boot.summary()
    assert (seen[0].total, seen[0].unit) == (10_000, "replicates")


def test_laws_carry_intervals_and_save(tmp_path):
    fit = fitting.fit_chinchilla(*losses(0.01), name="mine")
    boot = fit.bootstrap(50)
    law = boot.law()
    law.save(tmp_path / "law.json")
    again = t2fast.load_law(tmp_path / "law.json")
    assert again.coefficients == fit.law.coefficients
    assert again.uncertainty["intervals"]["alpha"][0] < fit.law.alpha
    assert len(list(boot.laws())) == len(boot.usable)
    drawn = list(again.resampled())
    assert len(drawn) == 50
    assert [one.alpha for one in drawn] == pytest.approx([one.alpha for one in boot.laws()], rel=1e-8)
    assert len((tmp_path / "law.json").read_text().splitlines()) < 60


def test_what_cannot_be_resampled():
    fit = fitting.fit_chinchilla(*losses(0.01))
    for by, message in (
        ("group", "no labels for it; pass group="),
        ("problem", "no labels for it; pass problem="),
        ("row", "by = 'row'"),
    ):
        with pytest.raises(t2fast.T2Error, match=message):
            fit.bootstrap(10, by=by)
    with pytest.raises(t2fast.T2Error, match="n_resamples = 1"):
        fit.bootstrap(1)
    with pytest.raises(t2fast.T2Error, match="name = 'G'"):
        fit.profile("G")
    with pytest.raises(t2fast.T2Error, match="confidence_level = 90"):
        fit.profile("E", 90)
