"""How the wrong answers to a problem are shared, and how that changes with the success rate: from answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import arguments
from t2fast.data import Tallies, Trials
from t2fast.errors import DataError
from t2fast.fitting.clusters import cluster_weights, ends, problems_of
from t2fast.results import Result
from t2fast.rules import Majority, Tail
from t2fast.text import columns, warning_lines, wrapped

__all__ = ["TailFit", "fit_tail"]

Array = NDArray[np.float64]
#: Ranks of wrong answers whose shares are compared, and wrong answers at most.
_RANKS, _MOST = 40, 100
#: Rounds of unfolding, and simulated problems of each.
_ROUNDS, _SIMULATED = 6, 8000


@dataclass(frozen=True, repr=False, eq=False)
class TailFit(Result):
    """The tail of wrong answers; :func:`fit_tail` makes it.

    Examples
    --------
    >>> from t2fast.data import Tallies
    >>> found = fit_tail(Tallies.of([8] * 30, [[6, 2]] * 30))
    >>> round(found.rule.tail.top(0.5), 1)
    0.7
    """

    #: The vote against this tail, with draws of its shares.
    rule: Majority
    #: Success rates at which the tail was fitted, shape (rates,).
    rates: Array
    #: Mean share of the commonest wrong answer there, shape (rates,).
    top: Array
    #: Ends of its intervals, shape (rates, 2).
    top_interval: Array
    #: Problems that speak of each rate, shape (rates,): effective numbers.
    n_problems: Array
    #: Samples that were wrong.
    n_wrong: int
    #: Confidence level of the intervals, which resample problems.
    confidence_level: float
    #: What to know.
    warnings: tuple[str, ...] = ()

    figure: ClassVar[str | None] = "rules:tail"

    @property
    def tail(self) -> Tail:
        """The tail itself."""
        assert self.rule.tail is not None
        return self.rule.tail

    def headline(self) -> str:
        """The rule in words."""
        return self.rule.headline()

    def summary(self) -> str:
        """The tail at each success rate, with intervals."""
        level = f"{100 * self.confidence_level:.4g}%"
        rows = [("success rate", "problems", "commonest", f"{level} interval", "second", "third")]
        for rate, row, top, (low, high), problems in zip(
            self.rates, self.tail.shares, self.top, self.top_interval, self.n_problems, strict=True
        ):
            second, third = (f"{row[i]:.3f}" if i < len(row) else "-" for i in (1, 2))
            name = f"{rate:.3f}" if len(self.rates) > 1 else "all"
            rows.append((name, f"{problems:.0f}", f"{top:.3f}", f"[{low:.3f}, {high:.3f}]", second, third))
        lines = [
            *wrapped(self.rule.headline()),
            f"shares of the wrong answers to a problem, from {self.n_wrong} wrong samples",
        ]
        return "\n".join([*lines, *("  " + line for line in columns(rows, left=())), *warning_lines(self.warnings)])

    def to_dict(self) -> dict[str, Any]:
        """The fit as JSON data."""
        return {
            "rates": self.rates.tolist(),
            "top": self.top.tolist(),
            "top_interval": self.top_interval.tolist(),
            "n_problems": self.n_problems.tolist(),
            "n_wrong": self.n_wrong,
            "confidence_level": self.confidence_level,
            "rule": self.rule.brief(),
            "warnings": list(self.warnings),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row per success rate."""
        return [
            {"rate": float(rate), "top": float(top), "lower": float(low), "upper": float(high), "n_problems": float(m)}
            for rate, top, (low, high), m in zip(self.rates, self.top, self.top_interval, self.n_problems, strict=True)
        ]


def fit_tail(
    votes: Trials | Tallies,
    *,
    rates: ArrayLike | None = None,
    confidence_level: float = 0.9,
    n_resamples: int = 200,
    seed: int = 0,
    source: str = "",
) -> TailFit:
    """Fit how wrong answers are shared, and how that changes with the success rate.

    Of few samples the commonest answer always has a large share. So the shares found are those with which simulated
    problems, of as many wrong samples each, show the mean sorted shares that the data show: first the nearest of
    Zipf's, geometric and uniform tails, then steps of unfolding from there for the ranks that samples show.

    Between two rates the tail is a mixture of theirs, as in :class:`t2fast.Tail`. Draws and
    intervals resample problems.

    Parameters
    ----------
    votes
        From ``read_trials(..., ["answers"])``, or tallies.
    rates
        Success rates at which to fit, rising, in [0, 1]; one or none for a single tail. By default up to four that
        divide the data evenly.
    confidence_level, n_resamples, seed
        Of the intervals, and how many draws the rule carries.
    source
        What to write into the rule; by default the files.

    Raises
    ------
    DataError
        When trials were read without answers, no sample is wrong, or no problem has two wrong ones.

    Examples
    --------
    ::

        trials = read_trials("samples.jsonl", extract=load_extractor("numeric"))
        fit_tail(trials).rule.save("votes.json")
    """
    level = arguments.confidence_level(confidence_level)
    if isinstance(votes, Trials):
        tallies, problems = votes.tallies(), problems_of(votes.counts)
        files = votes.counts.files
        if not source and files:
            source = f"answers in {files[0]}" + (f" and {len(files) - 1} more" if files[1:] else "")
    elif isinstance(votes, Tallies):
        tallies, problems = votes, np.arange(len(votes.right))
    else:
        raise DataError(f"votes = {arguments.shown(votes)}: must be Trials with answers, or Tallies")
    n = tallies.n_samples
    wrong = n - tallies.right
    if not wrong.sum():
        raise DataError("all samples are right: they say nothing about wrong answers")
    if not (wrong >= 2).any():
        raise DataError("no problem has two wrong samples: nothing says which wrong answers are common")
    seen = _sorted_shares(tallies, wrong)
    # Rates of few samples are drawn to the middle, or their noise would pass for a change of the tail.
    p = (tallies.right + 0.5) / (n + 1.0)
    # A single wrong sample is its own commonest answer.
    told = np.where(wrong >= 2, 1.0 - 1.0 / np.maximum(wrong, 1), 0.0)
    knots = _knots(p[wrong >= 2], rates)
    hats = _hats(p, knots) * told[:, None]
    total = hats.sum(axis=0)
    if (total == 0).any():
        raise DataError(f"rates: no problem with two wrong samples lies near {knots[total == 0][0]:.3g}")
    random = np.random.Generator(np.random.Philox(arguments.seed(seed)))
    shape = _hats(p, knots)
    means = _at_knots(shape, told, seen)
    fitted, near = [], []
    for i in range(len(knots)):
        shares, name = _unfolded(means[i], hats[:, i], wrong, random)
        fitted.append(shares)
        near.append(name)
    weights = cluster_weights(problems, n_resamples, seed)
    again = np.stack([_at_knots(shape, row * told, seen) for row in weights])
    tops, drawn = np.empty((len(weights), len(knots))), []
    for i, shares in enumerate(fitted):
        # Near the fit, shares follow what is seen.
        size = min(len(shares), _RANKS)
        factor = np.where(
            means[i, :size] > 0, again[:, i, :size] / np.where(means[i, :size] > 0, means[i, :size], 1), 1
        )
        moved = np.tile(shares, (len(weights), 1))
        moved[:, :size] *= np.clip(factor, 0.1, 10.0)
        moved /= moved.sum(axis=1, keepdims=True)
        tops[:, i] = moved[:, 0]
        drawn.append(-np.sort(-moved, axis=1))
    draws = [tuple(tuple(row[i].tolist()) for row in drawn) for i in range(len(weights))]
    several = len(knots) > 1
    name = f"fitted at {len(knots)} success rates" if several else f"fitted, near {near[0]}"
    tail = Tail(tuple(tuple(row.tolist()) for row in fitted), tuple(knots.tolist()) if several else (), name)
    top = np.asarray([row[0] for row in tail.shares])
    effective = total**2 / (hats**2).sum(axis=0)
    interval = np.stack([ends(tops[:, i], level) for i in range(len(knots))])
    warnings = []
    if (effective < 20).any():
        warnings.append(
            f"{effective.min():.0f} problems speak of the tail at a success rate of {knots[effective.argmin()]:.2f}"
        )
    if float(np.median(wrong[wrong >= 2])) < 8:
        warnings.append(
            f"half of the problems have fewer than {int(np.median(wrong[wrong >= 2])) + 1} wrong samples: rarer wrong "
            "answers are told apart poorly; draw more samples of each problem"
        )
    rule = Majority(tail, draws={"shares": draws}, source=source)
    return TailFit(rule, knots, top, interval, effective, int(wrong.sum()), level, tuple(warnings))


def _sorted_shares(tallies: Tallies, wrong: NDArray[np.int64]) -> Array:
    """Shares of each problem's wrong answers, the commonest first, shape (problems, ranks)."""
    problems = len(wrong)
    sizes = np.diff(tallies.starts)
    owner = np.repeat(np.arange(problems), sizes)
    order = np.lexsort((-tallies.wrong, owner))
    rank = np.arange(len(owner)) - np.repeat(tallies.starts[:-1], sizes)
    found = np.zeros((problems, _RANKS))
    kept = rank < _RANKS
    found[owner[order][kept], rank[kept]] = tallies.wrong[order][kept]
    return np.asarray(found / np.maximum(wrong, 1)[:, None])


def _knots(p: Array, rates: ArrayLike | None) -> Array:
    if rates is not None:
        given = np.atleast_1d(arguments.numbers("rates", rates))
        if given.ndim != 1 or not ((given >= 0) & (given <= 1)).all() or (np.diff(given) <= 0).any():
            raise DataError(f"rates = {arguments.shown(rates)}: must rise, and lie between 0 and 1")
        if given.size:
            return given
        return np.asarray([float(np.mean(p))])
    number = int(np.clip(len(p) // 40, 1, 4))
    if number == 1:
        return np.asarray([float(np.mean(p))])
    # Problems of nearly one rate say nothing of a change.
    apart: list[float] = []
    for knot in np.quantile(p, np.linspace(0.08, 0.92, number)).tolist():
        if not apart or knot - apart[-1] > 0.08:
            apart.append(knot)
    return np.asarray(apart)


def _hats(p: Array, knots: Array) -> Array:
    """The weight of each knot at each rate: linear between two, all beyond the last; shape (problems, knots)."""
    return np.stack([np.interp(p, knots, row) for row in np.eye(len(knots))], axis=1)


def _at_knots(shape: Array, weights: Array, seen: Array) -> Array:
    """Mean sorted shares at each knot, linear in between: least squares; means where that gives no shares."""
    weighted = shape.T * weights
    matrix, right = weighted @ shape, weighted @ seen
    total = weighted.sum(axis=1)
    plain = right / np.where(total > 0, total, 1.0)[:, None]
    if np.linalg.cond(matrix) > 1e4:
        return np.asarray(plain)
    # Ranks fall, and shares are not below 0.
    found = -np.sort(-np.clip(np.linalg.solve(matrix, right), 0.0, 1.0), axis=1)
    return np.asarray(found / np.maximum(found.sum(axis=1, keepdims=True), 1.0))


def _unfolded(seen: Array, weights: Array, wrong: NDArray[np.int64], random: np.random.Generator) -> tuple[Array, str]:
    """Shares with which simulated problems show the mean sorted shares seen, and the tail of a family next to them."""
    used = np.flatnonzero(weights)
    sizes = wrong[used[random.choice(len(used), _SIMULATED, p=weights[used] / weights[used].sum())]]
    few = sizes[: _SIMULATED // 8]
    # A tail of a family comes first: from few samples of each problem, shares of their own would not be told apart.
    distances = []
    for tail in _FAMILY:
        shown = _shown(few, np.asarray(tail.shares[0]), random)
        size = min(len(shown), _RANKS)
        distances.append(np.square(shown[:size] - seen[:size]).sum() + np.square(seen[size:]).sum())
    nearest = _FAMILY[int(np.argmin(distances))]
    shares = np.asarray(nearest.shares[0])[:_MOST]
    shares = shares / shares.sum()
    size = min(len(shares), _RANKS)
    for _ in range(_ROUNDS):
        shown = _shown(sizes, shares, random)[:size]
        # Ranks that are shown seldom follow the family.
        step = np.where((shown > 1e-3) & (seen[:size] > 0), seen[:size] / np.where(shown > 0, shown, 1.0), 1.0)
        shares[:size] *= np.clip(step, 0.7, 1.4) ** 0.7
        shares = -np.sort(-(shares / shares.sum()))
    return shares, nearest.name


def _shown(sizes: NDArray[np.int64], shares: Array, random: np.random.Generator) -> Array:
    """Mean sorted shares among so many wrong samples of each problem."""
    drawn = -np.sort(-random.multinomial(sizes, shares), axis=1)
    return np.asarray((drawn / sizes[:, None]).mean(axis=0))


def _family() -> tuple[Tail, ...]:
    sizes = (1, 2, 3, 5, 8, 12, 20, 30, 50, 100)
    found = [Tail.zipf(s, m) for s in np.linspace(0.0, 4.0, 17).tolist() for m in sizes if m > 1 or s == 0]
    return tuple(found + [Tail.geometric(q) for q in np.linspace(0.05, 0.95, 19).round(2).tolist()])


_FAMILY = _family()
