"""How a cheap verdict errs, from trials that also have a trusted one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import arguments
from t2fast.data import Trials
from t2fast.errors import DataError, T2Error
from t2fast.fitting.clusters import cluster_weights, ends, problems_of
from t2fast.results import Result
from t2fast.rules import Verifier
from t2fast.rules.verifier import Fallback
from t2fast.text import columns, warning_lines, wrapped

__all__ = ["VerifierFit", "false_positives_of", "fit_verifier"]

Array = NDArray[np.float64]
#: Success rates over which a problem's own is integrated, evenly spaced in the logit.
_LOGITS = np.linspace(-7.0, 7.0, 57)
#: Slopes beyond this are those of a step.
_STEEPEST = 20.0


@dataclass(frozen=True, repr=False, eq=False)
class VerifierFit(Result):
    r"""False positives and recall of a cheap verdict; :func:`fit_verifier` makes it.

    Examples
    --------
    >>> from t2fast.data import read_trials
    >>> from pathlib import Path
    >>> rows = [f"q{i % 30},{int(i % 3 == 0)},{int(i % 3 == 0 or i % 11 == 0)}" for i in range(300)]
    >>> _ = Path("double.csv").write_text("\n".join(["problem,correct,cheap", *rows]))
    >>> found = fit_verifier(read_trials("double.csv", ["cheap"]))
    >>> found.rule.headline()
    'verifier: false positives 9%, recall 100%; else a rejected sample'
    """

    #: The rule, with draws of its parameters.
    rule: Verifier
    #: Share of wrong samples that are accepted, whatever their problem.
    false_positive: float
    #: Ends of its interval.
    false_positive_interval: tuple[float, float]
    #: Share of right samples that are accepted.
    recall: float
    #: Ends of its interval.
    recall_interval: tuple[float, float]
    #: How the odds of a false positive rise with the odds of a right answer, as fitted; the rule may leave it out.
    slope: float
    #: Ends of its interval.
    slope_interval: tuple[float, float]
    #: Standard deviation of false positives between problems, beyond what chance makes.
    spread: float
    #: Problems, and samples right and wrong by the trusted verdict.
    n_problems: int
    n_right: int
    n_wrong: int
    #: Groups of problems of like success rate: (success rate, false positives, wrong samples), shape (groups, 3).
    observed: Array
    #: Confidence level of the intervals, which resample problems.
    confidence_level: float
    #: What to know.
    warnings: tuple[str, ...] = ()

    figure: ClassVar[str | None] = "rules:verifier"

    def headline(self) -> str:
        """The rule in words."""
        return self.rule.headline()

    def summary(self) -> str:
        """The rule, its rates and their intervals."""
        level = f"{100 * self.confidence_level:.4g}%"
        rows = [
            ("", "value", f"{level} interval over problems"),
            ("false positives", f"{self.false_positive:.4f}", _between(self.false_positive_interval)),
            ("recall", f"{self.recall:.4f}", _between(self.recall_interval)),
            ("slope", f"{self.slope:.3f}", _between(self.slope_interval)),
        ]
        kind = "rising with the success rate" if self.rule.slope else "constant"
        lines = [
            *wrapped(self.rule.headline()),
            f"{self.n_problems} problems, {self.n_right} right and {self.n_wrong} wrong samples",
            f"false positives {kind}",
            *("  " + line for line in columns(rows, left=(0, 2))),
            f"  false positives differ between problems by {self.spread:.3f} (standard deviation)",
        ]
        return "\n".join([*lines, *warning_lines(self.warnings)])

    def to_dict(self) -> dict[str, Any]:
        """The fit as JSON data."""
        names = ("false_positive", "recall", "slope", "spread", "n_problems", "n_right", "n_wrong", "confidence_level")
        data: dict[str, Any] = {name: getattr(self, name) for name in names}
        for name in ("false_positive", "recall", "slope"):
            data[f"{name}_interval"] = list(getattr(self, f"{name}_interval"))
        data["observed"] = self.observed.tolist()
        return data | {"rule": self.rule.brief(), "warnings": list(self.warnings)}


def _between(interval: tuple[float, float]) -> str:
    return f"[{interval[0]:.4f}, {interval[1]:.4f}]"


def false_positives_of(p: ArrayLike, precision: ArrayLike) -> Array:
    """The share of wrong samples that a test accepts, where a larger test that contains it is trusted.

    Parameters
    ----------
    p
        Share of samples that pass the larger test, in [0, 1).
    precision
        Share of samples that pass the larger test among those that pass the smaller one, in (0, 1].

    Returns
    -------
    ``(p / precision - p) / (1 - p)``.

    Raises
    ------
    T2Error
        For rates outside their ranges, and for pairs that would let more samples pass than there are.

    Examples
    --------
    >>> false_positives_of([0.215, 0.855], [0.762, 0.929]).round(3).tolist()
    [0.086, 0.451]
    """
    rate, right = arguments.numbers("p", p), arguments.numbers("precision", precision)
    for name, values in (("p", rate), ("precision", right)):
        if not ((values >= 0) & (values <= 1)).all():
            raise T2Error(f"{name}: must lie between 0 and 1")
    if (rate == 1).any() or (right == 0).any():
        raise T2Error("p = 1 leaves no wrong samples, and precision = 0 no right ones: there is nothing to tell")
    found = (rate / right - rate) / (1 - rate)
    if (found > 1 + 1e-9).any():
        raise T2Error("p and precision: more samples would pass the smaller test than there are")
    return np.asarray(found)


def fit_verifier(
    trials: Trials,
    *,
    rising: bool | None = None,
    fallback: Fallback = "rejected",
    confidence_level: float = 0.9,
    n_resamples: int = 400,
    seed: int = 0,
    source: str = "",
) -> VerifierFit:
    """Fit false positives and recall of a cheap verdict to trials that have a trusted one as well.

    Recall is the share of right samples accepted. The odds of a false positive are constant, or rise with the odds
    of a right answer as :class:`t2fast.Verifier` has it; the success rate of a problem is known from its samples only,
    so the likelihood integrates over it. Intervals and the rule's draws resample problems: the samples of one problem
    err together, and a problem that several models tried counts as one.

    Parameters
    ----------
    trials
        From ``read_trials(..., ["cheap"])``.
    rising
        Whether false positives rise with the success rate; by default where the interval of the slope lies above 0.
    fallback
        What becomes of a question whose samples are all rejected: as in :class:`t2fast.Verifier`.
    confidence_level, n_resamples, seed
        Of the intervals, and how many draws the rule carries.
    source
        What to write into the rule; by default the files.

    Raises
    ------
    DataError
        When the trials have no cheap verdicts, no right or no wrong samples, or are of one problem; or when no right
        sample is accepted.

    Examples
    --------
    ::

        trials = read_trials("eval_results.json", ["cheap"])  # evalplus: base tests are cheap, plus tests trusted
        fit_verifier(trials).rule.save("tests.json")
    """
    level = arguments.confidence_level(confidence_level)
    if not isinstance(trials, Trials) or trials.cheap is None:
        raise DataError("these trials have no cheap verdicts beside the trusted ones: read_trials(..., ['cheap'])")
    counts = trials.counts
    n, c = counts.n_samples, counts.n_correct
    starts = trials.starts[:-1]
    accepted = np.add.reduceat(trials.cheap.astype(np.int64), starts)
    both = np.add.reduceat((trials.cheap & trials.correct).astype(np.int64), starts)
    wrong, passed = n - c, accepted - both
    if not wrong.sum():
        raise DataError("all samples are right by the trusted verdict: they say nothing about false positives")
    if not c.sum():
        raise DataError("all samples are wrong by the trusted verdict: they say nothing about recall")
    if not both.sum():
        raise DataError("the cheap verdict accepts no right sample: recall is 0; are the two columns exchanged?")
    problems = problems_of(counts)
    weights = cluster_weights(problems, n_resamples, seed)
    right_drawn, wrong_drawn = weights @ c, weights @ wrong
    usable = (right_drawn > 0) & (wrong_drawn > 0) & (weights @ both > 0)
    weights = weights[usable]
    if len(weights) < 2:
        raise DataError("too few problems have right and wrong samples: resamples of them have one class only")
    recalls, constants = (weights @ both) / (weights @ c), (weights @ passed) / (weights @ wrong)
    constant = float(passed.sum() / wrong.sum())
    model = _Rising(n, c, wrong, passed)
    at = model.fitted(np.ones(len(n)), None)
    drawn = np.stack([model.fitted(row, at, steps=12) for row in weights])
    slope, slope_interval = float(at[1]), ends(drawn[:, 1], level)
    rises = slope_interval[0] > 0 if rising is None else rising
    warnings = []
    recall = float(both.sum() / c.sum())
    draws: dict[str, list[float]] = {"recall": recalls.tolist()}
    if rises and slope > 0:
        middle, middles = _share(at[0]), _share(drawn[:, 0])
        draws |= {"false_positive": middles.tolist(), "slope": np.maximum(drawn[:, 1], 0.0).tolist()}
        rule = Verifier(float(middle), recall, fallback, slope, draws=draws, source=source or _source(trials))
    else:
        if rises:
            warnings.append(f"false positives fall with the success rate (slope {slope:.2f}): taken as constant")
        draws |= {"false_positive": constants.tolist()}
        rule = Verifier(constant, recall, fallback, draws=draws, source=source or _source(trials))
    spread = _spread(passed, wrong)
    if spread > 2 * max(constant, 1e-9):
        warnings.append(
            "false positives sit in few problems: there more samples don't help, elsewhere they do, and one rate for "
            "all makes k look worse than it is"
        )
    if not passed.sum():
        warnings.append(f"no wrong sample was accepted: with {int(wrong.sum())} of them the rate may still be above 0")
    return VerifierFit(
        rule, constant, ends(constants, level), recall, ends(recalls, level), slope, slope_interval, spread,
        int(problems.max()) + 1, int(c.sum()), int(wrong.sum()), _groups(n, c, wrong, passed), level, tuple(warnings),
    )  # fmt: skip


def _source(trials: Trials) -> str:
    files = trials.counts.files
    return "" if not files else f"double verdicts in {files[0]}" + (f" and {len(files) - 1} more" if files[1:] else "")


def _groups(
    n: NDArray[np.int64], c: NDArray[np.int64], wrong: NDArray[np.int64], passed: NDArray[np.int64], most: int = 8
) -> Array:
    """Problems in order of success rate, in groups of about as many wrong samples: (rate, false positives, size)."""
    order = np.argsort(c / n, kind="stable")
    order = order[wrong[order] > 0]
    place = np.minimum((np.cumsum(wrong[order]) - 1) * most // int(wrong.sum()), most - 1)
    found = []
    for group in np.unique(place):
        rows = order[place == group]
        size = int(wrong[rows].sum())
        found.append([float((c[rows] / n[rows]) @ wrong[rows] / size), passed[rows].sum() / size, size])
    return np.asarray(found)


def _share(logit: ArrayLike) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0.0, -np.asarray(logit, np.float64))))


def _spread(passed: NDArray[np.int64], wrong: NDArray[np.int64]) -> float:
    """The standard deviation of false positives between problems, chance taken out: from pairs within a problem."""
    several = wrong >= 2
    if not several.any():
        return 0.0
    m, x = wrong[several].astype(np.float64), passed[several].astype(np.float64)
    # The mean of f^2 over wrong samples, from pairs without a sample in common.
    square = (m * x * (x - 1) / (m * (m - 1))).sum() / m.sum()
    mean = x.sum() / m.sum()
    return float(np.sqrt(max(square - mean**2, 0.0)))


class _Rising:
    """The likelihood of false positives whose odds rise with the odds of a right answer, success rates integrated."""

    def __init__(
        self, n: NDArray[np.int64], c: NDArray[np.int64], wrong: NDArray[np.int64], passed: NDArray[np.int64]
    ) -> None:
        # Rows that are alike are one.
        table, self.rows = np.unique(np.stack([n, c, passed], axis=1), axis=0, return_inverse=True)
        self.wrong = (table[:, 0] - table[:, 1]).astype(np.float64)
        self.passed = table[:, 2].astype(np.float64)
        a, b = _beta(n, c)
        # Beta's density per unit of logit is p^a (1 - p)^b.
        log_p, log_q = -np.logaddexp(0.0, -_LOGITS), -np.logaddexp(0.0, _LOGITS)
        prior = (table[:, 1] + a)[:, None] * log_p + (table[:, 0] - table[:, 1] + b)[:, None] * log_q
        self.prior = prior - prior.max(axis=1, keepdims=True)
        self.start = np.asarray([_logit(float(passed.sum()), float(wrong.sum())), 0.0])

    def fitted(self, weights: Array, start: Array | None, steps: int = 60) -> Array:
        """Intercept and slope that maximise the likelihood, rows counted so often."""
        count = np.bincount(self.rows, weights, minlength=len(self.wrong))
        at = self.start.copy() if start is None else start.copy()
        for _ in range(steps):
            line = at[0] + at[1] * _LOGITS
            share = _share(line)
            score = self.prior + self.passed[:, None] * line - self.wrong[:, None] * np.logaddexp(0.0, line)
            chance = np.exp(score - score.max(axis=1, keepdims=True))
            chance *= (count / chance.sum(axis=1))[:, None]
            # One step of Newton on what the expectation leaves to maximise.
            excess = self.passed @ chance - (self.wrong @ chance) * share
            curve = (self.wrong @ chance) * share * (1 - share)
            gradient = np.asarray([excess.sum(), excess @ _LOGITS])
            # A weak pull to a slope of 0 keeps steps out of reach where nothing was accepted, or all.
            matrix = np.asarray([[curve.sum(), curve @ _LOGITS], [curve @ _LOGITS, curve @ _LOGITS**2]])
            gradient -= 1e-3 * np.asarray([at[0] - self.start[0], at[1]])
            matrix += 1e-3 * np.eye(2)
            step = np.clip(np.linalg.solve(matrix, gradient), -2.0, 2.0)
            at += step
            at[1] = np.clip(at[1], -_STEEPEST, _STEEPEST)
            if np.abs(step).max() < 1e-8:
                break
        return at


def _logit(count: float, total: float) -> float:
    return float(np.log((count + 0.5) / (total - count + 0.5)))


def _beta(n: NDArray[np.int64], c: NDArray[np.int64]) -> tuple[float, float]:
    """A beta distribution of success rates over problems, by moments; flat where they say nothing."""
    mean = float(c.sum() / n.sum())
    several = n >= 2
    if not several.any() or not 0 < mean < 1:
        return 1.0, 1.0
    m, x = n[several].astype(np.float64), c[several].astype(np.float64)
    square = float((x * (x - 1) / (m * (m - 1))).mean())
    first = float((x / m).mean())
    variance = square - first**2
    if not (variance > 0 and 0 < first < 1):
        return 20 * mean, 20 * (1 - mean)
    size = min(max(first * (1 - first) / variance - 1, 0.05), 1e3)
    return size * first, size * (1 - first)
