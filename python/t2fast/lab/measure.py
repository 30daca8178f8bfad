"""Measuring a trained model with t2fast's own verbs: score, sample, and count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from t2fast.data import read_trials
from t2fast.lab.answers import VOTES
from t2fast.lab.questions import END
from t2fast.sampling import Sampler, SamplingParams, load_extractor, read_prompts, sample_to_file

__all__ = ["measure"]

#: Samples drawn together: models this small are held up by the launch of each operation.
_TOGETHER = {"cpu": 1024, "cuda": 8192}


def measure(
    place: Path, problems: Path, n_samples: int, seed: int, device: str = "cpu"
) -> tuple[list[float], list[int]]:
    """Score the right answers to all problems, draw samples and count the right ones.

    Parameters
    ----------
    place
        Folder of the run, with its ``model``; the samples lie there while they are drawn, so that an interrupted
        measurement goes on. They follow from the model and the seed, so only tallies of their answers are kept, as
        ``votes.csv``: ``t2fast fit --rule majority`` and ``t2fast passk --metric maj`` read them.
    problems
        Their file, as ``t2fast sample --prompts`` reads it.
    n_samples, seed
        Samples per problem, and the key of their random numbers.
    device
        Where the model runs.

    Returns
    -------
    The negative log likelihood of each right answer with the end mark, in nats, and the number of right samples.
    """
    prompts = read_prompts(problems)
    sampler = Sampler.from_pretrained(place / "model", device=device, max_batch=_TOGETHER[device.partition(":")[0]])
    # A sample is right when it ends where the answer does.
    complete = [replace(prompt, answer=f" {prompt.answer} {END}") for prompt in prompts]
    nll = {one.prompt_id: one.nll for one in sampler.score(complete)}
    longest = max(len((prompt.answer or "").split()) for prompt in prompts) + 1
    out = place / "samples.jsonl"
    sample_to_file(
        sampler, prompts, SamplingParams(k=n_samples, max_new_tokens=longest), out, seed=seed, verifier="exact",
        resume=True, name=place.name,
    )  # fmt: skip
    trials = read_trials([out], extract=load_extractor("exact"))
    trials.write_votes(place / VOTES)
    counts = trials.counts
    correct = dict(zip(counts.problem_id, counts.n_correct.tolist(), strict=True))
    out.unlink()
    return [nll[prompt.id] for prompt in prompts], [correct[prompt.id] for prompt in prompts]
