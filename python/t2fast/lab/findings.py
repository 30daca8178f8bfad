"""All that a laboratory found: laws, plan, back-test, duel and claims; everything follows from its table alone."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from t2fast.data import evaluate
from t2fast.datasets import Lab
from t2fast.lab import advice_claims, claims
from t2fast.lab.advice_claims import differences
from t2fast.lab.answers import Answers
from t2fast.lab.back_test import COUNTS, NEGATIVE_LOG, HeldOut, back_test
from t2fast.lab.claims import Claim
from t2fast.lab.contestants import APPROACH_1, T2
from t2fast.lab.duel import DuelOutcome, judge_duel
from t2fast.lab.fits import LabFits, fit_laws, optima, propose
from t2fast.lab.intervals import CONFIDENCE_LEVEL
from t2fast.lab.preset import Preset
from t2fast.lab.verdict import Verdict, judge_advice, judge_families, noise, regret_lines
from t2fast.laws import Law
from t2fast.planning import Plan
from t2fast.quantity import format_quantity
from t2fast.results import Progress, Report, Result
from t2fast.text import columns, warning_lines

__all__ = ["Findings", "find"]

FloatArray = NDArray[np.float64]

#: What the laws of a laboratory are for, as presets say it.
_PURPOSE = "pass@k of sampled answers: plan N, D and k"


@dataclass(frozen=True, repr=False, eq=False)
class Findings(Result):
    """All that a laboratory found; :func:`find` makes it.

    Parameters
    ----------
    lab, preset
        The table, and what it was made with.
    fits, plan
        The laws fitted to its grid, and the plan of the duel's budgets.
    held_out, duels
        The back-test, by law; the duel, as trained and after fine-tuning. Empty where there were none.
    optima
        For each resampled law N and D of the best design with one sample, and with as many as can be paid for: a row
        of four numbers.
    claims
        What it says about train-to-test laws.
    verdicts
        The regrets of all contestants, rule by rule; empty where the preset asks for none.
    sampling_noise
        Standard deviation of a design's pass@k on a menu by the luck of sampling: its mean, and the largest.
    by_family
        The regrets of all contestants under pass@k, on each family of problems by itself.

    Examples
    --------
    >>> from t2fast.datasets import load_lab
    >>> from t2fast.lab.preset import load_preset
    >>> found = find(load_lab(), load_preset("tiny"))  # doctest: +SKIP
    """

    figure: ClassVar[str | None] = "lab:isoflop"

    lab: Lab
    preset: Preset
    fits: LabFits
    plan: Plan
    held_out: tuple[HeldOut, ...]
    duels: tuple[DuelOutcome, ...]
    optima: FloatArray
    claims: tuple[Claim, ...]
    verdicts: tuple[Verdict, ...] = ()
    sampling_noise: tuple[float, float] | None = None
    by_family: tuple[Verdict, ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Findings) and (self.lab, self.to_dict()) == (other.lab, other.to_dict())

    __hash__ = None  # type: ignore[assignment]

    def rows(self) -> list[dict[str, Any]]:
        """The claims, a row each."""
        return [one.to_dict() for one in self.claims]

    def pass_at_k(self, k: int) -> FloatArray:
        """Mean pass@k of each model of the grid, in its order."""
        return np.array([self.lab.pass_at_k(one, k) for one in self.lab.grid])

    @property
    def held(self) -> NDArray[np.bool_]:
        """Which models of the grid the back-test holds out."""
        return np.asarray(evaluate(self.preset.holdout, self.lab.losses))

    @cached_property
    def law(self) -> Law:
        """The law fitted to all counts, with its source and the intervals of its coefficients."""
        versions = self.lab.manifest["versions"]
        source = (
            f"t2fast lab run --preset {self.preset.name} (torch {versions['torch']}, seed {self.preset.seed}): "
            f"beta-binomial likelihood with a latent loss on {self.lab.n_samples} sampled answers to each of "
            f"{len(self.lab.problem_ids)} problems, {len(self.lab.grid)} models trained from scratch"
        )
        warning = "Models of a made-up world: a worked example, not advice for models of language."
        law = self.fits.bootstrap.law(CONFIDENCE_LEVEL)
        told: dict[str, Any] = {"title": "pass@k of the laboratory's models", "source": source, "purpose": _PURPOSE}
        return replace(law, **told, held_out=self._missed(COUNTS), warnings=(warning, *law.warnings))

    @cached_property
    def loss_law(self) -> Law:
        """The law of -log pass@k, fitted to the exact likelihoods of all right answers, with its source."""
        source = (
            f"t2fast lab run --preset {self.preset.name} (torch {self.lab.manifest['versions']['torch']}, seed "
            f"{self.preset.seed}): Approach 1 on the exact likelihoods of the right answers to "
            f"{len(self.lab.problem_ids)} problems, {len(self.lab.grid)} models trained from scratch"
        )
        law = self.fits.approach_1.law
        warning = "Models of a made-up world: a worked example, not advice for models of language."
        name, title = f"lab-{self.preset.name}-loss", "-log pass@k of the laboratory's models"
        told: dict[str, Any] = {"name": name, "title": title, "source": source, "purpose": _PURPOSE}
        return replace(law, **told, held_out=self._missed(NEGATIVE_LOG), warnings=(warning, *law.warnings))

    def _missed(self, law: str) -> str:
        """How far off a law was for the runs held out, as presets say it."""
        found = [float(np.abs(one.errors).mean()) for one in self.held_out if one.law == law]
        return f"{self.preset.holdout.replace('tokens_per_param', 'D/N')}: {found[0]:.0%}" if found else ""

    def summary(self) -> str:
        """The claims as text of at most 80 columns."""
        grid = self.lab.grid
        rates = [float(one.n_correct.mean()) / self.lab.n_samples for one in grid]
        n, d = [one.n_params for one in grid], [one.n_tokens for one in grid]
        lines = [
            f"Laboratory {self.preset.name}: {len(grid)} models, {len(self.lab.problem_ids)} problems, "
            f"{self.lab.n_samples} samples of each",
            f"N {format_quantity(min(n))} to {format_quantity(max(n))}, D {format_quantity(min(d))} to "
            f"{format_quantity(max(d))}, pass@1 {min(rates):.3f} to {max(rates):.3f}",
            "",
        ]
        lines += [*regret_lines(self.verdicts), ""] if self.verdicts else []
        rows = [["", "value", "90% interval", "", ""]]
        for number, one in enumerate(self.claims, 1):
            says = {True: "holds", False: "does not hold", None: "open"}[one.holds]
            numbers = [_number(one.value), f"{_number(one.low)} to {_number(one.high)}"]
            rows.append([f"{number}.", *(numbers if not math.isnan(one.value) else ["-", "-"]), says, one.unit])
        lines += columns(rows, left=(0, 3, 4))
        for number, one in enumerate(self.claims, 1):
            lines += ["", *_paragraph(f"{number}. {one.claim}", f"{one.detail}")]
        return "\n".join([*lines, "", *warning_lines(self.law.warnings)]).rstrip()

    def to_dict(self) -> dict[str, Any]:
        """The findings as JSON data."""
        return {
            "preset": self.preset.name,
            "models": len(self.lab.grid),
            "claims": [one.to_dict() for one in self.claims],
            "regret": {one.rule: one.regret.to_dict() for one in self.verdicts},
            "differences": differences(self.verdicts),
            "regret_by_family": {one.rule: one.regret.to_dict() for one in self.by_family},
            "sampling_noise": self.sampling_noise,
            "plan": self.plan.to_dict(),
            "held_out": [
                {
                    "law": one.law,
                    "quantity": one.quantity,
                    "runs": len(one.observed),
                    "relative_error": float(np.abs(one.errors).mean()),
                    "bias": float(one.errors.mean()),
                }
                for one in self.held_out
            ],
            "duels": [dict(one.__dict__) for one in self.duels],
            "laws": {
                "counts": self.fits.counts.to_dict(),
                "loss": self.fits.loss.to_dict(),
                "approach_1": self.fits.approach_1.to_dict(),
                "approach_2": self.fits.approach_2.to_dict(),
            },
        }


def _number(value: float) -> str:
    """Three decimals, fewer for large numbers."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.3g}"


def _paragraph(*texts: str) -> list[str]:
    return [line for text in texts for line in textwrap.wrap(text, 80)]


def find(lab: Lab, preset: Preset, progress: Report | None = None, *, answers: Answers | None = None) -> Findings:
    """Fit, back-test, plan and judge.

    Parameters
    ----------
    lab
        The table; without the duel's models, claims about it are left out.
    preset
        What the table was made with.
    progress
        Called with :class:`t2fast.results.Progress`, in steps.
    answers
        All answers, for what is decided by vote; left out without.

    Raises
    ------
    T2Error
        When a law cannot be fitted, or the duel's budget pays for no design.
    """
    steps = (
        "fitting laws",
        f"resampling {preset.n_resamples} tables",
        "predicting held-out runs",
        "following advice",
        "judging claims",
        "",
    )

    def say(done: int) -> None:
        if progress is not None:
            progress(Progress(done, len(steps) - 1, "steps", steps[done]))

    random = np.random.Generator(np.random.Philox(key=[preset.seed, 2]))
    say(0)
    fits = fit_laws(lab, n_resamples=preset.n_resamples, name=f"lab-{preset.name}")
    *_, planned = propose(fits, preset)
    say(1)
    resampled = optima(fits.bootstrap.laws(), preset)
    say(2)
    held_out = back_test(lab, preset)
    say(3)
    verdicts, by_family = judge_advice(lab, preset, answers), judge_families(lab, preset)
    say(4)
    duels = [judge_duel(lab, preset, tuned, random) for tuned in (False, True)]
    if preset.verdict is not None and answers is not None:
        duels.append(judge_duel(lab, preset, False, random, answers))
    fought = tuple(one for one in duels if one is not None)
    if verdicts:
        found = _registered(lab, preset, verdicts, fought, answers, random)
    else:
        found = (
            claims.shift(fits, resampled, preset),
            claims.measured_shift(lab, preset, random),
            *(claims.prediction(one, lab, preset, random) for one in held_out),
            *(claims.contest(one, preset) for one in fought),
            claims.agreement(lab),
        )
    spread = noise(lab, preset) if verdicts else None
    say(5)
    return Findings(lab, preset, fits, planned, held_out, fought, resampled, found, verdicts, spread, by_family)


def _registered(
    lab: Lab,
    preset: Preset,
    verdicts: tuple[Verdict, ...],
    duels: tuple[DuelOutcome, ...],
    answers: Answers | None,
    random: np.random.Generator,
) -> tuple[Claim, ...]:
    """The claims of the second study in the order of their registration; those without data are left out."""
    found = [
        *advice_claims.comparisons(verdicts),
        advice_claims.unseen(lab, preset, random),
        *(claims.contest(one, preset) for one in duels if not one.tuned),
        claims.measured_shift(
            lab, preset, random, "With samples to pay for, the best trained design has more tokens per parameter."
        ),
        advice_claims.larger_by_vote(lab, preset, answers, random) if answers is not None else None,
        advice_claims.overtrained(lab, preset, random),
        *advice_claims.comparisons(verdicts, [(T2, APPROACH_1)]),
        claims.agreement(lab),
    ]
    return tuple(one for one in found if one is not None)
