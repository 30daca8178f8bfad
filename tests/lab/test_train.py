"""Training: it learns, and an interruption changes nothing."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from t2fast.lab import jobs, train
from t2fast.lab.corpus import make_tokenizer, open_corpus
from t2fast.results import Progress


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_counted_parameters_are_those_of_the_model(preset):
    recipe = jobs.grid_jobs(preset)[0].recipe
    assert train.count_params(recipe) == train.build(recipe).num_parameters()


def test_an_interrupted_run_ends_as_an_uninterrupted_one(preset, folder, tmp_path):
    recipe = jobs.grid_jobs(preset)[-1].recipe
    corpus, tokenizer = open_corpus(folder / "text.bin"), make_tokenizer(jobs.world_of(preset))
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    whole.mkdir()
    torn.mkdir()
    straight = train.pretrain(recipe, corpus, tokenizer, whole)

    def stop(now: Progress) -> None:
        if now.done > recipe.n_tokens / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.pretrain(recipe, corpus, tokenizer, torn, checkpoint_seconds=0, progress=stop)
    assert (torn / "checkpoint.pt").is_file()
    steps = []
    again = train.pretrain(recipe, corpus, tokenizer, torn, progress=steps.append)
    assert steps[0].done > recipe.n_tokens / 3, "it went on rather than begin again"
    for a, b in zip(straight.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert (whole / "loss.json").read_text() == (torn / "loss.json").read_text()
    assert not (torn / "checkpoint.pt").exists()


def test_training_learns(preset, folder, tmp_path):
    recipe = max((job.recipe for job in jobs.grid_jobs(preset)), key=lambda recipe: recipe.n_tokens)
    corpus = open_corpus(folder / "text.bin")
    model = train.pretrain(recipe, corpus, make_tokenizer(jobs.world_of(preset)), tmp_path)
    untrained = train.build(recipe)
    before, after = (train.evaluate(one, corpus, 32, preset.context, "cpu") for one in (untrained, model))
    assert before > 5 > 2.5 > after


def test_finetuning_counts_answers_only():
    prompts, answers = np.array([[5, 6, -1], [5, 6, 7]], np.int32), np.array([[8, 9], [8, -1]], np.int32)
    inputs, targets = train._pairs(prompts, answers)
    assert inputs.tolist() == [[0, 5, 6, 8, 9], [0, 5, 6, 7, 8]]
    assert targets.tolist() == [[-100, -100, 8, 9, 0], [-100, -100, -100, 8, 0]]
