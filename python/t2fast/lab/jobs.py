"""The models of a laboratory: which are trained, how large, for how long, and what of them cannot work."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from t2fast.costs import train_flops
from t2fast.data import Table, evaluate
from t2fast.errors import T2Error
from t2fast.lab.graded import GradedSize, GradedWorld
from t2fast.lab.preset import Preset
from t2fast.lab.questions import Tasks
from t2fast.lab.rates import Rates
from t2fast.lab.tasks import World
from t2fast.lab.train import Recipe, count_params
from t2fast.planning import Design
from t2fast.quantity import format_flops

__all__ = ["LabRun", "check", "duel_jobs", "grid_jobs", "lesson_jobs", "rate_jobs", "seed_of", "world_of"]

#: Checkpoints that the laws need at least: as many as the likelihood of counts has coefficients, and one more.
_FEWEST_RUNS = 10


@dataclass(frozen=True)
class LabRun:
    """One model to train and to measure; ``base`` names the run that a fine-tuned one starts from."""

    name: str
    stage: str
    recipe: Recipe
    base: str | None = None

    @property
    def n_params(self) -> int:
        """Parameters of the model, embedding included."""
        return count_params(self.recipe)

    @property
    def flops(self) -> float:
        """What training costs, 6ND; fine-tuning is cheap."""
        return 0.0 if self.base else train_flops(self.n_params, self.recipe.n_tokens)


def world_of(preset: Preset) -> Tasks:
    """The preset's world."""
    size = preset.world
    if isinstance(size, GradedSize):
        return GradedWorld(size, preset.seed, preset.held_out)
    return World(size, preset.seed, preset.held_out)


def _recipe(
    preset: Preset, vocabulary: int, width: int, n_tokens: float, seed: int, rates: Rates | None = None
) -> Recipe:
    if n_tokens > preset.longest_run:
        raise T2Error(f"corpus_tokens = {preset.corpus_tokens}: a run of {n_tokens:.0f} tokens needs a longer text")
    rows = max(1, round(preset.batch_rows * (n_tokens / 1e6) ** 0.5))
    rate = rates.at(width) if rates else min(preset.max_learning_rate, preset.learning_rate / width**0.5)
    shape = {"layers": preset.layers, "head_dim": preset.head_dim, "vocabulary": vocabulary, "context": preset.context}
    first = Recipe(width=width, n_tokens=round(n_tokens), batch_rows=rows, learning_rate=rate, seed=seed, **shape)
    # Whole steps: D is what was read.
    return Recipe(**{**asdict(first), "n_tokens": first.steps * first.batch_tokens})


def rate_jobs(preset: Preset) -> list[LabRun]:
    """The runs that find the learning rates, the longest first; none where the preset gives them."""
    if preset.rates is None:
        return []
    vocabulary, jobs = len(world_of(preset).vocabulary), []
    for width in preset.rates.widths:
        for factor in preset.rates.factors:
            name = f"rate-w{width}-{factor:g}"
            # One seed per width, so that rates are compared from the same first weights.
            recipe = _recipe(preset, vocabulary, width, preset.rates.n_tokens, seed_of(preset, f"rate-w{width}"))
            rate = factor * preset.learning_rate / width**0.5
            jobs.append(LabRun(name, "rate", Recipe(**{**asdict(recipe), "learning_rate": rate})))
    return sorted(jobs, key=lambda job: -job.recipe.width)


def grid_jobs(preset: Preset, rates: Rates | None = None) -> list[LabRun]:
    """The runs of the isoFLOP grid and the larger ones beside it, the costliest first."""
    vocabulary = len(world_of(preset).vocabulary)
    jobs = []

    def add(name: str, width: int, tokens: float, repeats: int) -> None:
        for repeat in range(repeats):
            full = f"{name}-{repeat}"
            jobs.append(LabRun(full, "grid", _recipe(preset, vocabulary, width, tokens, seed_of(preset, full), rates)))

    def size(width: int) -> int:
        return count_params(_recipe(preset, vocabulary, width, 1, 0))

    for flops in preset.train_flops:
        for width in preset.widths:
            n = size(width)
            tokens = flops / train_flops(n, 1)
            low, high = preset.tokens_per_param
            if low <= tokens / n <= high:
                add(f"grid-{format_flops(flops)}-w{width}", width, tokens, preset.seeds)
    for width, ratio, count in preset.larger:
        add(f"larger-w{width}", width, ratio * size(width), count)
    return sorted(jobs, key=lambda job: -job.flops)


def lesson_jobs(preset: Preset, grid: Sequence[LabRun]) -> list[LabRun]:
    """Every model of the grid, fine-tuned on one family; none where the preset asks for none."""
    if preset.lessons is None:
        return []
    return [LabRun(f"{job.name}-tuned", "tuned", job.recipe, base=job.name) for job in grid]


def check(preset: Preset, jobs: Sequence[LabRun]) -> None:
    """Make sure, before anything is trained, that the table of these runs can be judged and the duel be held.

    Raises
    ------
    T2Error
        Naming what in the preset stands in the way.
    """
    n, d = (np.array([job.n_params for job in jobs], float), np.array([job.recipe.n_tokens for job in jobs], float))
    if len(jobs) < _FEWEST_RUNS:
        raise T2Error(
            f"the grid has {len(jobs)} runs: needs at least {_FEWEST_RUNS} for its laws; give more train_flops, widths "
            "or a wider tokens_per_param"
        )
    for name, values, remedy in (("sizes", n, "widths"), ("numbers of training tokens", d, "train_flops")):
        if len(np.unique(values)) < 3:
            raise T2Error(f"the grid has {len(np.unique(values))} {name}: needs at least 3; give more {remedy}")
    evaluate(preset.holdout, Table({"n_params": n, "n_tokens": d, "loss": np.ones(len(n))}, "holdout"))
    duel = preset.duel
    low, high = train_flops(n.min(), d.min()), train_flops(n.max(), min(float(d.max()), preset.longest_run))
    if not low <= duel.train_flops <= high:
        raise T2Error(
            f"duel: train_flops = {duel.train_flops:g}: pays for no design within the grid's sizes and tokens; must be "
            f"between {format_flops(low)} and {format_flops(high)}"
        )
    _duel_sizes(preset)
    world_of(preset)


def duel_jobs(preset: Preset, designs: Mapping[str, Design], rates: Rates | None = None) -> list[LabRun]:
    """The designs of the duel by stage, each with the width nearest to its N and what the design costs to train."""
    vocabulary, sizes = len(world_of(preset).vocabulary), _duel_sizes(preset)
    jobs = []
    for stage, design in designs.items():
        width = min(sizes, key=lambda w: abs(np.log(sizes[w] / design.n_params)))
        spent = min(preset.duel.train_flops, train_flops(design.n_params, design.n_tokens))
        if spent > 0.99 * preset.duel.train_flops:
            spent = preset.duel.train_flops
        tokens = spent / train_flops(sizes[width], 1)
        for repeat in range(preset.duel.repeats):
            name = f"{stage}-{repeat}"
            recipe = _recipe(preset, vocabulary, width, tokens, seed_of(preset, name), rates)
            jobs += [LabRun(name, stage, recipe), LabRun(f"{name}-tuned", stage, recipe, base=name)]
    return jobs


def _duel_sizes(preset: Preset) -> dict[int, int]:
    """N by width of the models that may meet in the duel: the text is long enough for them, and the samples are few.

    Widths are the even ones between the grid's that their heads divide.
    """
    vocabulary, duel = len(world_of(preset).vocabulary), preset.duel
    widths = range(min(preset.widths), max(preset.widths) + 1, 2)
    even = [width for width in widths if width % max(1, width // preset.head_dim) == 0]
    sizes = {width: count_params(_recipe(preset, vocabulary, width, 1, 0)) for width in even}
    fed = {width: n for width, n in sizes.items() if duel.train_flops / train_flops(n, 1) <= preset.longest_run}
    if not fed:
        raise T2Error(
            f"corpus_tokens = {preset.corpus_tokens}: no model of the duel can spend train_flops = "
            f"{format_flops(duel.train_flops)} on so short a text; give a longer one, or lower the duel's train_flops"
        )
    paid = {width: n for width, n in fed.items() if 1 <= duel.inference_flops // (2 * n) <= preset.n_samples}
    if not paid:
        ks = [int(duel.inference_flops // (2 * n)) for n in fed.values()]
        raise T2Error(
            f"duel: inference_flops = {duel.inference_flops:g}: pays for {min(ks)} to {max(ks)} samples of the models "
            f"that can be trained; must pay for 1 to n_samples = {preset.n_samples} of one of them"
        )
    return paid


def seed_of(preset: Preset, name: str) -> int:
    """A run's seed follows from its name, so that adding runs changes no other."""
    return int.from_bytes(hashlib.sha256(f"{preset.seed}/{name}".encode()).digest()[:4], "big")
