"""What the table of a laboratory says about the train-to-test laws: each verdict a number with its interval.

Everything here follows from the table alone, the one of your own run or the one that comes with t2fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2fast import fitting, passk
from t2fast.costs import Budget
from t2fast.data import evaluate
from t2fast.datasets import Checkpoint, Lab
from t2fast.errors import T2Error
from t2fast.fitting import FitResult
from t2fast.lab.preset import Preset
from t2fast.laws import Law
from t2fast.planning import Design, Plan, plan
from t2fast.quantity import format_flops, format_quantity
from t2fast.text import columns, warning_lines

__all__ = ["Duel", "Findings", "HeldOut", "Verdict", "find", "fit_laws", "judge_duel", "propose"]

FloatArray = NDArray[np.float64]

_LEVEL = 0.9
#: Resampled duels and tables of held-out runs.
_DRAWS = 4000


@dataclass(frozen=True)
class Verdict:
    """One claim and what became of it.

    Parameters
    ----------
    claim
        What was asked.
    holds
        Whether the interval is on the claim's side; ``None`` where it lies on both.
    value, low, high
        The number, and its 90% interval.
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
        """The verdict as JSON data."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class HeldOut:
    """How well a law predicts runs that it was not fitted to.

    ``observed`` and ``predicted`` are pass@k; for Approach 1, which predicts that alone, the mean of -log pass@k.
    """

    law: str
    quantity: str
    n_params: FloatArray
    n_tokens: FloatArray
    observed: FloatArray
    predicted: FloatArray

    @property
    def errors(self) -> FloatArray:
        """Relative errors, by run."""
        return self.predicted / self.observed - 1


@dataclass(frozen=True)
class Duel:
    """Both designs, trained: pass@k at the k that each can pay for, and at k = 1.

    ``gain`` is the advantage of the planned design, with its 90% interval over questions and over training runs.
    """

    tuned: bool
    n_params: tuple[int, int]
    n_tokens: tuple[int, int]
    k: tuple[int, int]
    pass_at_k: tuple[float, float]
    pass_at_1: tuple[float, float]
    gain: tuple[float, float, float]


@dataclass(frozen=True)
class Findings:
    """All that a laboratory found; :func:`find` makes it."""

    lab: Lab
    preset: Preset
    laws: Laws
    plan: Plan
    held_out: tuple[HeldOut, ...]
    duels: tuple[Duel, ...]
    optima: FloatArray
    verdicts: tuple[Verdict, ...]

    @cached_property
    def law(self) -> Law:
        """The law fitted to all counts, with its source and the intervals of its coefficients."""
        versions = self.lab.manifest["versions"]
        source = (
            f"t2fast lab run --preset {self.preset.name} (torch {versions['torch']}, seed {self.preset.seed}): "
            f"beta-binomial likelihood with a latent loss on {self.lab.samples} sampled answers to each of "
            f"{len(self.lab.questions)} questions, {len(self.lab.grid)} models trained from scratch"
        )
        warning = "Models of a made-up world: a worked example, not advice for models of language."
        law = self.laws.bootstrap.law(_LEVEL)
        return replace(law, title="pass@k of the laboratory's models", source=source, warnings=(warning, *law.warnings))

    def summary(self) -> str:
        """The verdicts as text of at most 80 columns."""
        grid = self.lab.grid
        rates = [float(one.correct.mean()) / self.lab.samples for one in grid]
        n, d = [one.n_params for one in grid], [one.n_tokens for one in grid]
        lines = [
            f"Laboratory {self.preset.name}: {len(grid)} models, {len(self.lab.questions)} questions, "
            f"{self.lab.samples} samples of each",
            f"N {format_quantity(min(n))} to {format_quantity(max(n))}, D {format_quantity(min(d))} to "
            f"{format_quantity(max(d))}, pass@1 {min(rates):.3f} to {max(rates):.3f}",
            "",
        ]
        rows = [["", "value", "90% interval", "", ""]]
        for number, one in enumerate(self.verdicts, 1):
            says = {True: "holds", False: "does not hold", None: "open"}[one.holds]
            rows.append(
                [f"{number}.", _number(one.value), f"{_number(one.low)} to {_number(one.high)}", says, one.unit]
            )
        lines += columns(rows, left=(0, 3, 4))
        for number, one in enumerate(self.verdicts, 1):
            lines += ["", *_paragraph(f"{number}. {one.claim}", f"{one.detail}")]
        return "\n".join([*lines, "", *warning_lines(self.law.warnings)]).rstrip()

    __str__ = summary

    def to_dict(self) -> dict[str, Any]:
        """The findings as JSON data."""
        return {
            "preset": self.preset.name,
            "models": len(self.lab.grid),
            "verdicts": [one.to_dict() for one in self.verdicts],
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
                "counts": self.laws.counts.to_dict(),
                "loss": self.laws.loss.to_dict(),
                "approach_1": self.laws.approach_1.to_dict(),
                "approach_2": self.laws.approach_2.to_dict(),
            },
        }


def _number(value: float) -> str:
    """Three decimals, fewer for large numbers."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.3g}"


def _paragraph(*texts: str) -> list[str]:
    import textwrap

    return [line for text in texts for line in textwrap.wrap(text, 80)]


# ---------------------------------------------------------------------------------------------------------------- laws


@dataclass(frozen=True)
class Laws:
    """The laws fitted to a grid: of the loss, Approach 1, Approach 2 and the likelihood of counts."""

    loss: FitResult
    approach_1: FitResult
    approach_2: FitResult
    counts: FitResult
    replicates: int = field(default=400, repr=False)

    @cached_property
    def bootstrap(self) -> fitting.Bootstrap:
        """Refits of the counts likelihood to runs drawn with replacement."""
        return self.counts.bootstrap(self.replicates)

    @cached_property
    def loss_bootstrap(self) -> fitting.Bootstrap:
        """Refits of the loss law to runs drawn with replacement."""
        return self.loss.bootstrap(self.replicates)


def _powers(most: int) -> FloatArray:
    return np.asarray(2.0 ** np.arange(int(np.log2(most)) + 1), dtype=np.float64)


def _curves(lab: Lab, rows: Sequence[Checkpoint]) -> dict[str, FloatArray]:
    """What Approach 2 of the paper is fitted to: pass@k at powers of two, and the loss of the right answers."""
    ks = _powers(lab.samples)
    values = [passk.mean_pass_at_k(lab.samples, one.correct, ks.astype(int)) for one in rows]
    each = len(ks)
    return {
        "n_params": np.repeat([float(one.n_params) for one in rows], each),
        "n_tokens": np.repeat([float(one.n_tokens) for one in rows], each),
        "k": np.tile(ks, len(rows)),
        "pass_at_k": np.concatenate(values),
        "loss": np.repeat([float(one.answer_nll.mean()) for one in rows], each),
    }


def fit_laws(lab: Lab, rows: Sequence[Checkpoint] | None = None, replicates: int = 400, name: str = "") -> Laws:
    """Fit all laws to the grid of a table, or to some of its checkpoints."""
    rows = lab.grid if rows is None else rows
    some = Lab(tuple(rows), lab.questions, lab.families, lab.samples, lab.manifest)
    options: dict[str, Any] = {"name": name, "params_counted": "total"}
    counts = some.table(rows)
    curves: dict[str, Any] = _curves(lab, rows)
    return Laws(
        fitting.fit_table(some.losses, "chinchilla", **options),
        fitting.fit_table(counts, "t2-loss", k=_powers(lab.samples), **options),
        fitting.fit_t2_pass(curves.pop("n_params"), curves.pop("n_tokens"), **curves, **options),
        fitting.fit_table(counts, "t2-pass", **options),
        replicates,
    )


# ------------------------------------------------------------------------------------------------------------ proposals


def propose(laws: Laws, preset: Preset) -> tuple[Design, Design, Plan]:
    """The two designs of the duel: the planned one, within the data, and the Chinchilla-style one of least loss."""
    duel = preset.duel
    budget = Budget(
        train_flops=duel.train_flops, inference_flops=duel.inference_flops, max_tokens=float(preset.longest_run)
    )
    found = plan(laws.counts.law, budget)
    beyond = found.extrapolation
    planned = found.design if beyond is not None and beyond.inside else found.inside_data
    if planned is None:
        raise T2Error(f"train_flops = {format_flops(duel.train_flops)}: pays for no design within the data")
    return planned, plan(laws.loss.law, Budget(train_flops=duel.train_flops)).design, found


def _optima(laws: Iterable[Law], preset: Preset) -> FloatArray:
    """For each law N and D of the best design with one sample, and of the best with as many as can be paid for."""
    rows = []
    for law in laws:
        try:
            one = plan(law, Budget(train_flops=preset.duel.train_flops, max_k=1)).design
            both = plan(
                law, Budget(train_flops=preset.duel.train_flops, inference_flops=preset.duel.inference_flops)
            ).design
        except T2Error:
            continue
        rows.append([one.n_params, one.n_tokens, both.n_params, both.n_tokens])
    return np.array(rows)


# ------------------------------------------------------------------------------------------------------------- verdicts


def _interval(values: FloatArray) -> tuple[float, float]:
    low, high = np.quantile(values, [0.5 - _LEVEL / 2, 0.5 + _LEVEL / 2])
    return float(low), float(high)


def _shift(laws: Laws, optima: FloatArray, preset: Preset) -> Verdict:
    point = _optima([laws.counts.law], preset)[0]
    ratio = optima[:, 3] / optima[:, 2] * optima[:, 0] / optima[:, 1]
    low, high = _interval(ratio)
    n1, d1, n, d = point
    return Verdict(
        "With samples to pay for, the best model is smaller and trained longer than for one sample.",
        True if low > 1 else False if high < 1 else None,
        d / n * n1 / d1,
        low,
        high,
        "times the tokens per parameter",
        f"At {format_flops(preset.duel.train_flops)} FLOP of training the law's optimum for k = 1 has "
        f"{format_quantity(n1)} parameters and {format_quantity(d1 / n1)} tokens per parameter; with "
        f"{format_flops(preset.duel.inference_flops)} FLOP of inference per token it has {format_quantity(n)} and "
        f"{format_quantity(d / n)}. Interval over {len(optima)} resampled tables.",
    )


def _measured_shift(lab: Lab, preset: Preset, random: np.random.Generator) -> Verdict:
    """The same asked of the grid itself, without a law: which of its designs is best at each training budget."""
    questions = len(lab.questions)
    nominal = np.array(preset.train_flops)
    budgets: dict[int, list[tuple[float, list[FloatArray]]]] = {}
    for one in lab.grid:
        k = int(preset.duel.inference_flops // (2 * one.n_params))
        if 1 <= k <= lab.samples:
            place = int(np.abs(np.log(6.0 * one.n_params * one.n_tokens / nominal)).argmin())
            rates = [passk.pass_at_k(lab.samples, one.correct, samples) for samples in (1, k)]
            budgets.setdefault(place, []).append((one.n_tokens / one.n_params, rates))
    contests = [designs for designs in budgets.values() if len(designs) > 2]

    def shift(asked: NDArray[np.int64]) -> float:
        logs = []
        for designs in contests:
            best, both = (max(designs, key=lambda one: float(one[1][i][asked].mean()))[0] for i in (0, 1))
            logs.append(np.log(both / best))
        return float(np.exp(np.mean(logs)))

    value = shift(np.arange(questions))
    low, high = _interval(np.array([shift(random.integers(questions, size=questions)) for _ in range(_DRAWS // 4)]))
    return Verdict(
        "So it is among the trained models, without any law.",
        True if low > 1 else False if high < 1 else None,
        value,
        low,
        high,
        "times the tokens per parameter",
        f"Geometric mean over {len(contests)} training budgets of the grid: tokens per parameter of the design that "
        f"solves most with {format_flops(preset.duel.inference_flops)} FLOP of inference, against those of the design "
        "that solves most with one sample. Interval over questions.",
    )


def _back_test(lab: Lab, preset: Preset) -> tuple[HeldOut, ...]:
    held = evaluate(preset.holdout, lab.losses)
    grid = np.array(lab.grid, dtype=object)
    kept, hidden = grid[~held].tolist(), grid[held].tolist()
    if not hidden or len(kept) < 8:
        return ()
    laws = fit_laws(lab, kept)
    n, d = (np.array([float(getattr(one, name)) for one in hidden]) for name in ("n_params", "n_tokens"))
    k = preset.predicted_k
    rate = np.array([float(passk.mean_pass_at_k(lab.samples, one.correct, k)) for one in hidden])
    table = lab.table(hidden)
    shown, tokens, p = (table.number(name) for name in ("n_params", "n_tokens", "probability"))
    # In an order of its own.
    n1, d1, _, nll = fitting.neg_log_pass_at_k(shown, tokens, p, [k])
    found = [
        HeldOut("Approach 1", f"-log pass@{k}", n1, d1, nll, _values(laws.approach_1.law, n1, d1, k)),
        HeldOut("Approach 2", f"pass@{k}", n, d, rate, _values(laws.approach_2.law, n, d, k)),
        HeldOut("counts likelihood", f"pass@{k}", n, d, rate, _values(laws.counts.law, n, d, k)),
    ]
    return tuple(found)


def _values(law: Law, n: FloatArray, d: FloatArray, k: float) -> FloatArray:
    return np.asarray(law.value(n, d, k))


def _prediction(found: HeldOut, lab: Lab, preset: Preset, random: np.random.Generator) -> Verdict:
    errors = np.abs(found.errors)
    low, high = _interval(random.choice(errors, size=(_DRAWS, len(errors))).mean(axis=1))
    value = float(errors.mean())
    return Verdict(
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
        rates = [float(passk.mean_pass_at_k(lab.samples, one.correct, k)) for one in lab.side(stage)]
        if len(rates) > 1:
            scatter.append(f"{np.std(rates, ddof=1) / np.mean(rates):.1%}")
    if not scatter:
        return ""
    return (
        f" Models of one design, trained from different first weights, scatter by {' and '.join(scatter)} in pass@{k}."
    )


def judge_duel(lab: Lab, preset: Preset, tuned: bool, random: np.random.Generator) -> Duel | None:
    """Compare both sides of the duel; ``None`` when they were not trained."""
    sides = [lab.side(stage, tuned) for stage in ("planned", "chinchilla")]
    if not all(sides):
        return None
    ks, at_k, at_1 = [], [], []
    for side in sides:
        k = int(preset.duel.inference_flops // (2 * side[0].n_params))
        if not 1 <= k <= lab.samples:
            raise T2Error(
                f"inference_flops = {preset.duel.inference_flops:g}: pays for {k} samples of a model of "
                f"{format_quantity(side[0].n_params)} parameters; must be 1 to {lab.samples}"
            )
        ks.append(k)
        at_k.append(np.stack([passk.pass_at_k(lab.samples, one.correct, k) for one in side]))
        at_1.append(float(np.mean([one.correct for one in side])) / lab.samples)
    questions = at_k[0].shape[1]
    gains = np.empty(_DRAWS)
    for draw in range(_DRAWS):
        asked = random.integers(questions, size=questions)
        rates = [side[random.integers(len(side), size=len(side))][:, asked].mean() for side in at_k]
        gains[draw] = rates[0] - rates[1]
    means = [float(side.mean()) for side in at_k]
    first, second = sides[0][0], sides[1][0]
    return Duel(
        tuned,
        (first.n_params, second.n_params),
        (first.n_tokens, second.n_tokens),
        (ks[0], ks[1]),
        (means[0], means[1]),
        (at_1[0], at_1[1]),
        (means[0] - means[1], *_interval(gains)),
    )


def _contest(duel: Duel, preset: Preset) -> Verdict:
    value, low, high = duel.gain
    after = " after fine-tuning on questions" if duel.tuned else ""
    (n, rival_n), (k, rival_k), (p, rival_p) = duel.n_params, duel.k, duel.pass_at_k
    return Verdict(
        f"Trained, the planned design beats the Chinchilla-style one at equal budgets{after}.",
        True if low > 0 else False if high < 0 else None,
        value,
        low,
        high,
        "difference in pass@k",
        f"Planned: N {format_quantity(n)}, D {format_quantity(duel.n_tokens[0])}, pass@{k} {p:.3f} (pass@1 "
        f"{duel.pass_at_1[0]:.3f}). Chinchilla-style: N {format_quantity(rival_n)}, D "
        f"{format_quantity(duel.n_tokens[1])}, pass@{rival_k} {rival_p:.3f} (pass@1 {duel.pass_at_1[1]:.3f}). "
        f"{preset.duel.repeats} models of each; interval over questions and models.",
    )


def _agreement(lab: Lab) -> Verdict:
    """Whether samples are drawn from the distribution that the model defines: counts against likelihoods."""
    p = np.stack([one.probability for one in lab.checkpoints])
    c = np.stack([one.correct for one in lab.checkpoints])
    variance = float((lab.samples * p * (1 - p)).sum())
    expected = float((lab.samples * p).sum())
    z = (float(c.sum()) - expected) / variance**0.5
    half = 1.645 * variance**0.5 / expected
    ratio = float(c.sum()) / expected
    return Verdict(
        "Samples are right as often as the likelihood of the right answer says.",
        ratio - half < 1 < ratio + half,
        ratio,
        ratio - half,
        ratio + half,
        "right samples per expected one",
        f"{int(c.sum())} right samples among {lab.samples * c.size}; {z:+.2f} standard errors from the sum of the "
        "right answers' probabilities. Interval of sampling alone.",
    )


def find(lab: Lab, preset: Preset, progress: Callable[[str], None] | None = None) -> Findings:
    """Fit, back-test, plan and judge.

    Parameters
    ----------
    lab
        The table; without the duel's models its verdicts are left out.
    preset
        What the table was made with.
    progress
        Called with what is being done.
    """
    say = progress or (lambda _: None)
    random = np.random.Generator(np.random.Philox(key=[preset.seed, 2]))
    say("fitting laws")
    laws = fit_laws(lab, replicates=preset.bootstrap, name=f"lab-{preset.name}")
    *_, found = propose(laws, preset)
    say(f"resampling {preset.bootstrap} tables")
    optima = _optima(laws.bootstrap.laws(), preset)
    say("predicting held-out runs")
    held_out = _back_test(lab, preset)
    duels = tuple(d for tuned in (False, True) if (d := judge_duel(lab, preset, tuned, random)) is not None)
    verdicts = (
        _shift(laws, optima, preset),
        _measured_shift(lab, preset, random),
        *(_prediction(one, lab, preset, random) for one in held_out),
        *(_contest(one, preset) for one in duels),
        _agreement(lab),
    )
    return Findings(lab, preset, laws, found, held_out, duels, optima, verdicts)
