"""What a laboratory's table says about train-to-test laws: claims, each a number with its interval.

Everything here follows from the table alone, the one of your own run or the one that comes with t2fast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2fast import passk
from t2fast.datasets import Checkpoint, Lab
from t2fast.lab.back_test import HeldOut
from t2fast.lab.duel import DuelOutcome
from t2fast.lab.fits import LabFits, optima
from t2fast.lab.intervals import DRAWS, interval
from t2fast.lab.preset import Preset
from t2fast.quantity import format_flops, format_quantity

__all__ = ["Claim", "agreement", "contest", "measured_shift", "prediction", "shift"]

FloatArray = NDArray[np.float64]

#: How far from a budget, in its logarithm, a run may be that spends it.
_NEAR = 0.3


@dataclass(frozen=True)
class Claim:
    """One claim, and whether it holds.

    Parameters
    ----------
    claim
        One sentence.
    holds
        Whether the interval is on the claim's side; ``None`` where it lies on both.
    value, low, high
        The number, and its 90% interval; NaN where it could not be found, as the detail says.
    unit
        What the number is.
    detail
        One sentence more.
    """

    claim: str
    holds: bool | None
    value: float
    low: float
    high: float
    unit: str
    detail: str

    def to_dict(self) -> dict[str, Any]:
        """The claim as JSON data, None for NaN."""
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in self.__dict__.items()
        }


def shift(fits: LabFits, resampled: FloatArray, preset: Preset) -> Claim:
    """Where the laws' optimum goes when samples are to be paid for; ``resampled`` are the optima of resampled laws."""
    point = optima([fits.counts.law], preset)[0]
    ratio = resampled[:, 3] / resampled[:, 2] * resampled[:, 0] / resampled[:, 1]
    low, high = interval(ratio)
    n1, d1, n, d = point
    return Claim(
        "With samples to pay for, the best model is smaller and trained longer than for one sample.",
        True if low > 1 else False if high < 1 else None,
        d / n * n1 / d1,
        low,
        high,
        "times the tokens per parameter",
        f"At {format_flops(preset.duel.train_flops)} FLOP of training the law's optimum for k = 1 has "
        f"{format_quantity(n1)} parameters and {format_quantity(d1 / n1)} tokens per parameter; with "
        f"{format_flops(preset.duel.inference_flops)} FLOP of inference per token it has {format_quantity(n)} and "
        f"{format_quantity(d / n)}. Interval over {len(resampled)} resampled tables.",
    )


def measured_shift(
    lab: Lab,
    preset: Preset,
    random: np.random.Generator,
    claim: str = "So it is among the trained models, without any law.",
) -> Claim:
    """The same asked of the grid itself, without a law: which of its designs is best at each training budget."""
    problems = len(lab.problem_ids)
    nominal = np.array(preset.train_flops)
    budgets: dict[int, list[tuple[float, list[FloatArray]]]] = {}
    seeds: dict[tuple[int, int], list[Checkpoint]] = {}
    for one in lab.grid:
        seeds.setdefault((one.n_params, one.n_tokens), []).append(one)
    for (n, d), runs in seeds.items():
        k = int(preset.duel.inference_flops // (2 * n))
        away = np.abs(np.log(6.0 * n * d / nominal))
        # Models beside the grid spend no budget of it.
        if 1 <= k <= lab.n_samples and away.min() < _NEAR:
            rates = [
                np.mean([np.asarray(passk.pass_at_k(lab.n_samples, one.n_correct, samples)) for one in runs], axis=0)
                for samples in (1, k)
            ]
            budgets.setdefault(int(away.argmin()), []).append((d / n, rates))
    contests = [designs for designs in budgets.values() if len(designs) > 2]

    def moved(asked: NDArray[np.int64]) -> float:
        logs = []
        for designs in contests:
            best, both = (max(designs, key=lambda one: float(one[1][i][asked].mean()))[0] for i in (0, 1))
            logs.append(np.log(both / best))
        return float(np.exp(np.mean(logs)))

    value = moved(np.arange(problems))
    low, high = interval(np.array([moved(random.integers(problems, size=problems)) for _ in range(DRAWS // 4)]))
    return Claim(
        claim,
        True if low > 1 else False if high < 1 else None,
        value,
        low,
        high,
        "times the tokens per parameter",
        f"Geometric mean over {len(contests)} training budgets of the grid: tokens per parameter of the design that "
        f"solves most with {format_flops(preset.duel.inference_flops)} FLOP of inference, against those of the design "
        "that solves most with one sample. Interval over problems.",
    )


def prediction(found: HeldOut, lab: Lab, preset: Preset, random: np.random.Generator) -> Claim:
    """Whether a law predicts the runs that it has not seen."""
    errors = np.abs(found.errors)
    low, high = interval(random.choice(errors, size=(DRAWS, len(errors))).mean(axis=1))
    value = float(errors.mean())
    return Claim(
        f"{found.law}, fitted without the runs of {preset.holdout}, predicts their {found.quantity} within 5%.",
        True if high < 0.05 else False if low > 0.05 else None,
        value,
        low,
        high,
        "mean relative error",
        f"{len(errors)} runs held out of {len(lab.grid)}; bias {found.errors.mean():+.1%}, largest error "
        f"{errors.max():.1%}. Interval over runs.{_scatter(lab, preset.predicted_k)}",
    )


def _scatter(lab: Lab, k: int) -> str:
    """How much models of one design differ by their first weights alone: no law can predict better than that."""
    scatter = []
    for stage in ("planned", "chinchilla"):
        rates = [float(passk.mean_pass_at_k(lab.n_samples, one.n_correct, k)) for one in lab.side(stage)]
        if len(rates) > 1:
            scatter.append(f"{np.std(rates, ddof=1) / np.mean(rates):.1%}")
    if not scatter:
        return ""
    return (
        f" Models of one design, trained from different first weights, scatter by {' and '.join(scatter)} in pass@{k}."
    )


def contest(duel: DuelOutcome, preset: Preset) -> Claim:
    """Whether the planned design won its duel."""
    value, low, high = duel.gain
    after = " after fine-tuning on problems" if duel.tuned else " by vote" if duel.voted else ""
    name = "maj" if duel.voted else "pass"
    (n, rival_n), (k, rival_k), (p, rival_p) = duel.n_params, duel.k, duel.pass_at_k
    return Claim(
        f"Trained, the planned design beats the Chinchilla-style one at equal budgets{after}.",
        True if low > 0 else False if high < 0 else None,
        value,
        low,
        high,
        f"difference in {name}@k",
        f"Planned: N {format_quantity(n)}, D {format_quantity(duel.n_tokens[0])}, {name}@{k} {p:.3f} (pass@1 "
        f"{duel.pass_at_1[0]:.3f}). Chinchilla-style: N {format_quantity(rival_n)}, D "
        f"{format_quantity(duel.n_tokens[1])}, {name}@{rival_k} {rival_p:.3f} (pass@1 {duel.pass_at_1[1]:.3f}). "
        f"{preset.duel.repeats} models of each; interval over problems and models.",
    )


def agreement(lab: Lab) -> Claim:
    """Whether samples are drawn from the distribution that the model defines: counts against likelihoods."""
    p = np.concatenate([one.probability for one in lab.checkpoints])
    c = np.concatenate([one.n_correct for one in lab.checkpoints])
    variance = float((lab.n_samples * p * (1 - p)).sum())
    expected = float((lab.n_samples * p).sum())
    z = (float(c.sum()) - expected) / variance**0.5
    half = 1.645 * variance**0.5 / expected
    ratio = float(c.sum()) / expected
    return Claim(
        "Samples are right as often as the likelihood of the right answer says.",
        ratio - half < 1 < ratio + half,
        ratio,
        ratio - half,
        ratio + half,
        "right samples per expected one",
        f"{int(c.sum())} right samples among {lab.n_samples * c.size}; {z:+.2f} standard errors from the sum of the "
        "right answers' probabilities. Interval of sampling alone.",
    )
