"""The models of a laboratory: which are trained, and what is refused before any is."""

import dataclasses

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")


from t2fast.errors import T2Error
from t2fast.lab import jobs
from t2fast.lab.preset import load_preset, preset_names


def test_the_presets_that_come_with_t2fast_can_work():
    for name in preset_names():
        preset = load_preset(name)
        runs = jobs.grid_jobs(preset)
        jobs.check(preset, runs)
        assert len(runs) >= {"tiny": 24, "small": 70, "h100": 60}[name]
    with pytest.raises(T2Error, match="corpus_tokens = 300000: a run of"):
        jobs.grid_jobs(dataclasses.replace(load_preset("tiny"), corpus_tokens=300_000))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"duel": {"inference_flops": 1e3}}, "duel: inference_flops = 1000: pays for 0 to 0 samples"),
        ({"duel": {"inference_flops": 1e8}}, "must pay for 1 to n_samples = 32 of one of them"),
        ({"duel": {"train_flops": 1e14}}, r"duel: train_flops = 1e\+14: pays for no design within the grid's sizes"),
        ({"widths": (8,)}, "the grid has 4 runs: needs at least 10"),
        ({"widths": (8, 12), "seeds": 3}, "the grid has 2 sizes: needs at least 3; give more widths"),
        ({"holdout": "tokens_per_parma > 20"}, "tokens_per_parma"),
        ({"held_out": 4000}, "held_out = 4000: at most a quarter"),
    ],
)
def test_what_cannot_work_is_refused_before_training(preset, changes, message):
    changes = {
        name: dataclasses.replace(preset.duel, **value) if name == "duel" else value for name, value in changes.items()
    }
    wrong = dataclasses.replace(preset, **changes)
    with pytest.raises(T2Error, match=message):
        jobs.check(wrong, jobs.grid_jobs(wrong))


def test_the_grid_spends_its_budgets_within_the_ratios(preset):
    runs = jobs.grid_jobs(preset)
    assert len({job.name for job in runs}) == len(runs)
    assert len({job.recipe.seed for job in runs}) == len(runs)
    for job in runs:
        nominal = min(preset.train_flops, key=lambda flops: abs(flops - job.flops))
        # D is whole steps.
        assert abs(job.flops - nominal) <= 6 * job.n_params * job.recipe.batch_tokens
        assert 1.9 < job.recipe.n_tokens / job.n_params < 610
