"""The duel: the planned design and its Chinchilla-style rival, trained and compared at equal budgets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from t2fast import passk
from t2fast.datasets import Checkpoint, Lab
from t2fast.errors import T2Error
from t2fast.lab.answers import Answers
from t2fast.lab.intervals import DRAWS, interval
from t2fast.lab.preset import Preset
from t2fast.quantity import format_quantity

__all__ = ["DuelOutcome", "judge_duel"]


@dataclass(frozen=True)
class DuelOutcome:
    """Both designs, trained: pass@k at the k that each can pay for, and at k = 1.

    Pairs are (planned, Chinchilla-style).

    Parameters
    ----------
    tuned
        Whether both were fine-tuned on problems.
    n_params, n_tokens, k
        The designs, and the samples that the inference budget pays for.
    pass_at_k, pass_at_1
        Means over problems and models.
    gain
        The planned design's advantage in pass@k, with its 90% interval over problems and training runs.
    voted
        Whether the design was planned for a vote, and answers are chosen by one: ``pass_at_k`` is maj@k then.
    """

    tuned: bool
    n_params: tuple[int, int]
    n_tokens: tuple[int, int]
    k: tuple[int, int]
    pass_at_k: tuple[float, float]
    pass_at_1: tuple[float, float]
    gain: tuple[float, float, float]
    voted: bool = False


def judge_duel(
    lab: Lab, preset: Preset, tuned: bool, random: np.random.Generator, votes: Answers | None = None
) -> DuelOutcome | None:
    """Compare both sides of the duel, by vote where answers are given; ``None`` when they were not trained."""
    sides = [lab.side(stage, tuned) for stage in ("planned" if votes is None else "voted", "chinchilla")]
    if not all(sides):
        return None
    ks, at_k, at_1 = [], [], []
    for side in sides:
        k = int(preset.duel.inference_flops // (2 * side[0].n_params))
        if not 1 <= k <= lab.n_samples:
            raise T2Error(
                f"inference_flops = {preset.duel.inference_flops:g}: pays for {k} samples of a model of "
                f"{format_quantity(side[0].n_params)} parameters; must be 1 to {lab.n_samples}"
            )
        ks.append(k)
        at_k.append(np.stack([_solved(lab, one, k, votes) for one in side]))
        at_1.append(float(np.mean([one.n_correct for one in side])) / lab.n_samples)
    problems = at_k[0].shape[1]
    gains = np.empty(DRAWS)
    for draw in range(DRAWS):
        asked = random.integers(problems, size=problems)
        rates = [side[random.integers(len(side), size=len(side))][:, asked].mean() for side in at_k]
        gains[draw] = rates[0] - rates[1]
    means = [float(side.mean()) for side in at_k]
    first, second = sides[0][0], sides[1][0]
    return DuelOutcome(
        tuned,
        (first.n_params, second.n_params),
        (first.n_tokens, second.n_tokens),
        (ks[0], ks[1]),
        (means[0], means[1]),
        (at_1[0], at_1[1]),
        (means[0] - means[1], *interval(gains)),
        votes is not None,
    )


def _solved(lab: Lab, one: Checkpoint, k: int, votes: Answers | None) -> NDArray[np.float64]:
    """The share of sets of k samples that solve each problem."""
    if votes is None:
        return np.asarray(passk.pass_at_k(lab.n_samples, one.n_correct, k))
    return passk.maj_of_tallies(votes.of([one.run]), k, draws=1000).value
