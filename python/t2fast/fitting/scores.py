"""How far apart a score holds right and wrong answers to the same problem: d', from scores with verdicts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2fast import arguments
from t2fast.data import Trials
from t2fast.errors import DataError
from t2fast.fitting.clusters import cluster_weights, ends, problems_of
from t2fast.results import Result
from t2fast.rules import BestOf
from t2fast.text import warning_lines

__all__ = ["ScoreFit", "fit_scores"]

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False, eq=False)
class ScoreFit(Result):
    r"""d' of a score; :func:`fit_scores` makes it.

    Examples
    --------
    >>> from pathlib import Path
    >>> from t2fast.data import read_trials
    >>> rows = [f"q{i // 4},{i % 2},{(i * 37 % 101) / 50 + i % 2}" for i in range(400)]
    >>> _ = Path("scores.csv").write_text("\n".join(["problem,correct,score", *rows]))
    >>> round(fit_scores(read_trials("scores.csv", ["scores", "verdicts"])).rule.d_prime, 1)
    1.1
    """

    #: The best of k by this score, with draws of d'.
    rule: BestOf
    #: Chance that a right sample scores above a wrong one of the same problem, ties counting half.
    auc: float
    #: Ends of its interval.
    auc_interval: tuple[float, float]
    #: Ends of the interval of d'.
    d_prime_interval: tuple[float, float]
    #: Problems that have right and wrong samples, and how many pairs those make.
    n_problems: int
    n_pairs: int
    #: Confidence level of the intervals, which resample problems.
    confidence_level: float
    #: What to know.
    warnings: tuple[str, ...] = ()

    def headline(self) -> str:
        """The rule in words."""
        return self.rule.headline()

    def summary(self) -> str:
        """The rule, d' and the area under the ROC curve, with intervals."""
        low, high = self.d_prime_interval
        lines = [
            self.rule.headline(),
            f"  d'   {self.rule.d_prime:.3f}  [{low:.3f}, {high:.3f}]",
            f"  AUC  {self.auc:.3f}  [{self.auc_interval[0]:.3f}, {self.auc_interval[1]:.3f}]",
            f"{100 * self.confidence_level:.4g}% intervals over {self.n_problems} problems, "
            f"{self.n_pairs} pairs of right and wrong",
        ]
        return "\n".join([*lines, *warning_lines(self.warnings)])

    def to_dict(self) -> dict[str, Any]:
        """The fit as JSON data."""
        return {
            "d_prime": self.rule.d_prime,
            "d_prime_interval": list(self.d_prime_interval),
            "auc": self.auc,
            "auc_interval": list(self.auc_interval),
            "n_problems": self.n_problems,
            "n_pairs": self.n_pairs,
            "confidence_level": self.confidence_level,
            "rule": self.rule.brief(),
            "warnings": list(self.warnings),
        }


def fit_scores(
    trials: Trials,
    *,
    confidence_level: float = 0.9,
    n_resamples: int = 400,
    seed: int = 0,
    source: str = "",
) -> ScoreFit:
    """Fit d' to scores of samples whose verdicts are known.

    Scores are compared within a problem only, as best-of-k compares them: what makes all samples of a problem score
    high helps nobody. Of each problem the share of pairs in which the right sample scores higher is taken (ties count
    half), its mean over problems weighted by ``n_right n_wrong / n``, and d' such that normal scores would give it:
    ``sqrt(2) Phi^-1(AUC)``. Intervals and the rule's draws resample problems.

    Parameters
    ----------
    trials
        From ``read_trials(..., ["scores", "verdicts"])``.
    confidence_level, n_resamples, seed
        Of the intervals, and how many draws the rule carries.
    source
        What to write into the rule; by default the files.

    Raises
    ------
    DataError
        When trials have no scores, no problem has right and wrong samples, or one alone has.

    Examples
    --------
    ::

        trials = read_trials("scored.jsonl", ["scores", "verdicts"])
        fit_scores(trials).rule.save("reward-model.json")
    """
    level = arguments.confidence_level(confidence_level)
    if not isinstance(trials, Trials) or trials.scores is None:
        raise DataError("these trials were read without scores: read_trials(..., ['scores', 'verdicts'])")
    shares, weights, pairs, rows = [], [], 0, []
    for row in range(len(trials.starts) - 1):
        place = trials.row(row)
        right, scores = trials.correct[place], trials.scores[place]
        good, bad = int(right.sum()), int((~right).sum())
        if not good or not bad:
            continue
        above = scores[right][:, None] - scores[~right][None, :] if good * bad <= 10**6 else None
        share = _ranked(scores, right) if above is None else float(((above > 0) + 0.5 * (above == 0)).mean())
        shares.append(share)
        weights.append(good * bad / (good + bad))
        pairs += good * bad
        rows.append(row)
    if not rows:
        judged = "right" if trials.correct.all() else "wrong" if not trials.correct.any() else "of one kind"
        raise DataError(
            f"no problem has right and wrong samples, all are {judged}: nothing says what the score tells apart"
        )
    problems = np.unique(problems_of(trials.counts)[rows], return_inverse=True)[1]
    each, weight = np.asarray(shares), np.asarray(weights)
    drawn = cluster_weights(problems, n_resamples, seed) * weight
    # Half a pair either way keeps a score without an error finite.
    room = 0.5 / pairs
    auc = float(np.clip((each * weight).sum() / weight.sum(), room, 1 - room))
    aucs = np.clip((drawn @ each) / drawn.sum(axis=1), room, 1 - room)
    primes = np.asarray([_d_prime(value) for value in aucs.tolist()])
    warnings = []
    if auc < 0.5:
        warnings.append(f"wrong samples score higher than right ones (AUC {auc:.3f}): is the score's sign reversed?")
    if auc == 1 - room:
        warnings.append("every right sample scores above every wrong one: d' is a lower bound")
    files = trials.counts.files
    if not source and files:
        source = f"scores in {files[0]}" + (f" and {len(files) - 1} more" if files[1:] else "")
    rule = BestOf(_d_prime(auc), draws={"d_prime": primes.tolist()}, source=source)
    return ScoreFit(
        rule, auc, ends(aucs, level), ends(primes, level), len(np.unique(problems)), pairs, level, tuple(warnings)
    )


def _d_prime(auc: float) -> float:
    """The d' of normal scores with this area, at least 0."""
    return max(0.0, math.sqrt(2) * NormalDist().inv_cdf(auc))


def _ranked(scores: Array, right: NDArray[np.bool_]) -> float:
    """The share of pairs in which the right sample scores higher, by ranks."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - 0.5 * (counts - 1))[place]
    good, bad = int(right.sum()), int((~right).sum())
    return float((ranks[right].sum() - good * (good + 1) / 2) / (good * bad))
